"""A model that answers by rule, behind a real flow with a real journal."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.llm.client import CallKey
from agent.llm.messages import Reply, Request
from agent.trajectory.flow import Flow, TrajectoryKey
from agent.trajectory.journal import Journal


class Scripted:
    """Answers each request with what `rule` says of it, and keeps what it was asked."""

    def __init__(self, rule: Callable[[Request, CallKey], str]) -> None:
        self._rule = rule
        self.asked: list[Request] = []
        self.keys: list[CallKey] = []

    async def complete(self, request: Request, key: CallKey) -> Reply:
        self.asked.append(request)
        self.keys.append(key)
        return Reply(self._rule(request, key))


@pytest.fixture
def scripted() -> Callable[..., Scripted]:
    return Scripted


@pytest.fixture
def make_flow(tmp_path: Path) -> Callable[..., Flow]:
    """A flow on the same journal each time: the second one resumes."""

    def make(model: Scripted, stage: str = "relevance") -> Flow:
        return Flow(TrajectoryKey("a__b-1", stage, 0), Journal(tmp_path / f"{stage}.jsonl"), model=model)

    return make
