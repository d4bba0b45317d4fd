"""Judges that answer by what they are shown, and the bench that steps with a model get in tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.instances import Instance
from agent.llm.client import CallKey
from agent.llm.messages import Reply, Request
from agent.trajectory.flow import Asks, Flow, Runs, TrajectoryKey
from agent.trajectory.journal import Journal
from sandbox.api import Limits
from sandbox.errors import InputError

_CANDIDATE = re.compile(r'<candidate number="(\d+)">\n(.*?)\n</candidate>', re.DOTALL)


def shown(request: Request) -> dict[int, str]:
    """The diffs that a request shows, by number."""
    text = "\n".join(message.text for message in request.messages)
    return {int(number): diff for number, diff in _CANDIDATE.findall(text)}


@dataclass
class Judge:
    """Names the candidate that `prefer` likes best; it never learns who is who but by the diffs."""

    prefer: Callable[[int, str], float]
    """Of a number and a diff; the highest wins."""
    requests: list[Request] = field(default_factory=list)

    async def complete(self, request: Request, key: CallKey) -> Reply:
        self.requests.append(request)
        best = max(shown(request).items(), key=lambda item: self.prefer(*item))
        return Reply(f"It looks best.\n\n<choose>{best[0]}</choose>")


def by_content(*words: str) -> Judge:
    """Likes the first word best, then the second, whatever the number."""
    return Judge(lambda number, diff: -next((place for place, word in enumerate(words) if word in diff), len(words)))


def by_place(number: int) -> Judge:
    """Always names the same number."""
    return Judge(lambda place, diff: place == number)


@dataclass
class Table:
    """A bench: real journals in a folder, the files of one small tree."""

    folder: Path
    model: Asks
    texts: Mapping[str, str] | None
    """None where there is no clone."""
    executor: Runs | None = None
    opened: list[Flow] = field(default_factory=list)

    async def flow(self, instance: Instance, step: str, *, at_least: Limits | None = None) -> Flow:
        journal = Journal(self.folder / f"{instance.id}-{step.replace(':', '-')}.jsonl")
        self.opened.append(Flow(TrajectoryKey(instance.id, step, 0), journal, model=self.model, executor=self.executor))
        return self.opened[-1]

    def files(self, instance: Instance, paths: Collection[str]) -> Mapping[str, str]:
        if self.texts is None:
            raise InputError("there is no clone", where=instance.repo, hint="give one with --repos")
        return {path: self.texts[path] for path in paths if path in self.texts}
