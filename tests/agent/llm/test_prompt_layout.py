"""Where prompt-cache breakpoints lie in the requests of a whole run, as Anthropic's client puts them on the wire.

A pipeline runs all its stages with a model that answers by stage, through the real client and a real HTTP server. The
cache that the vendor keeps is played by its documented rules, so that a layout which breaks sharing fails here.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.context.stage import ContextSettings
from agent.instances import Instance
from agent.llm.client import CallKey
from agent.llm.messages import Message, Part, Reply, Request
from agent.pipeline import Models, Pipeline, PipelineSettings
from agent.repository import Repository
from agent.store import InstanceStore, Parts
from agent.trajectory.settings import TrajectorySettings
from sandbox.api import Execution, Patch, Script
from selection.runoff import RunOff
from tests.agent.llm.dialects import Client, Clients, Played, message

SAMPLES = 3
FILES = {
    "texttools/slug.py": 'def slug(text):\n    words = text.lower().split(" ")\n    return "-".join(words)\n',
    "texttools/pad.py": "def pad(text, width):\n    return text.ljust(width)\n",
    "texttools/words.py": "def words(text):\n    return text.split()\n",
}
EDIT = """Why.
<edit>
<<<<<<< SEARCH texttools/slug.py
    words = text.lower().split(" ")
=======
    words = text.lower().split()[:{sample}99]
>>>>>>> REPLACE
</edit>"""
ANSWERS = {
    "relevance": ["Hm.", "RELEVANCE: Relevant\nSUMMARY: It matters."],
    "ranking": ['["texttools/slug.py", "texttools/pad.py", "texttools/words.py"]'],
    "testing": ["Hm.", "<test>\nraise SystemExit({sample})\n</test>", "<done>"],
    "editing": ["Hm.", EDIT, "<test>\nraise SystemExit(1{sample})\n</test>", "<done>"],
    "selection": ["Hm.", "<script>\nraise SystemExit(2)\n</script>", "<choose>1</choose>"],
}
"""What the model says in each stage, turn by turn."""

Trajectory = tuple[str, int, str]
Block = tuple[str, str]


@dataclass(frozen=True)
class Sent:
    """A request as it went over the wire: (role, text) of its blocks, and behind which of them a breakpoint lies."""

    blocks: tuple[Block, ...]
    marks: tuple[int, ...]

    @classmethod
    def read(cls, body: dict[str, Any]) -> Sent:
        messages = [{"role": "system", "content": body.get("system", [])}, *body["messages"]]
        found = [(each["role"], block) for each in messages for block in each["content"]]
        marks = tuple(at for at, (_, block) in enumerate(found) if "cache_control" in block)
        return cls(tuple((role, block["text"]) for role, block in found), marks)

    @property
    def shared(self) -> tuple[Block, ...]:
        """Up to the first breakpoint."""
        return self.blocks[: self.marks[0] + 1]

    def length(self, blocks: int | None = None) -> int:
        return sum(len(text) for _, text in self.blocks[:blocks])


@dataclass
class Machine:
    """The unpatched tree shows the issue, every patch solves it."""

    async def run(self, script: Script, patch: Patch | None = None, repeat: int = 0) -> Execution:
        return Execution(0 if patch else 2, f"it ran with {patch.digest if patch else 'nothing'}\n", 0.1)


@dataclass
class Wire:
    """Asks through the real client; keeps what went over the wire, by trajectory."""

    client: Client
    played: Played
    requests: dict[Trajectory, list[Request]] = field(default_factory=lambda: defaultdict(list))
    sent: dict[Trajectory, list[Sent]] = field(default_factory=lambda: defaultdict(list))
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def complete(self, request: Request, key: CallKey) -> Reply:
        async with self.lock:
            trajectory = (key.stage, key.sample, key.branch)
            turn = len(self.sent[trajectory])
            said = ANSWERS[key.stage][min(turn, len(ANSWERS[key.stage]) - 1)].replace("{sample}", str(key.sample + 1))
            self.played.plays(answering(said))
            self.requests[trajectory].append(request)
            reply = await self.client.complete(request, key)
            self.sent[trajectory].append(Sent.read(self.played.bodies[-1]))
            return reply

    def of(self, stage: str) -> list[list[Sent]]:
        """The requests of each of a stage's trajectories."""
        return [sent for trajectory, sent in self.sent.items() if trajectory[0] == stage]


def answering(text: str) -> Callable[..., Any]:
    async def handler(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(message(text))

    return handler


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost.invalid"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "base"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


@pytest.fixture
def run(tree: Path, tmp_path: Path, played: Played, clients: Clients) -> Callable[..., Any]:
    """Runs the pipeline and gives what went over the wire."""

    async def go(name: str = "run", **settings: Any) -> Wire:
        wire = Wire(clients["anthropic"], played)
        with Repository.open(tree) as repository:
            pipeline = Pipeline(
                Instance("texttools-1", "me/texttools", repository.commit, "slug('A  B') gives 'a--b'.", "1.0"),
                repository,
                Models(wire, wire, "big-model"),
                Machine(),  # type: ignore[arg-type]  the sandbox is not what is tested here
                InstanceStore(tmp_path / name),
                Parts(tmp_path / f"{name}-parts"),
                RunOff(),
                PipelineSettings(SAMPLES, context=ContextSettings(), trajectory=TrajectorySettings(**settings)),
            )
            await pipeline.run()
        return wire

    return go


STAGES = {"relevance": 3, "ranking": 3, "testing": SAMPLES, "editing": SAMPLES, "selection": 1}


@pytest.fixture(params=["none", "files"])
async def wire(run: Callable[..., Any], request: pytest.FixtureRequest) -> Wire:
    return await run(testing_context=request.param)


async def test_samples_share_everything_up_to_the_first_breakpoint(wire: Wire) -> None:
    for stage, trajectories in STAGES.items():
        firsts = [sent[0] for sent in wire.of(stage)]
        assert len(firsts) == trajectories, stage
        for one, other in combinations(firsts, 2):
            assert one.shared == other.shared, stage
        later = {each.shared for sent in wire.of(stage) for each in sent}
        assert later == {firsts[0].shared}, stage


async def test_what_samples_share_holds_everything_that_is_long_and_alike(wire: Wire) -> None:
    def shared(stage: str) -> str:
        return "".join(text for _, text in wire.of(stage)[0][0].shared)

    for stage in STAGES:
        assert "gives 'a--b'" in shared(stage), stage
    assert all(text in shared("editing") for text in FILES.values())
    assert shared("selection").count("diff --git") == SAMPLES
    first, second = (sent[0] for sent in wire.of("editing")[:2])
    assert first.blocks[len(first.shared) :] != second.blocks[len(second.shared) :]  # the script that seeds a sample


async def test_editing_finds_what_testing_has_cached_where_both_see_the_files(run: Callable[..., Any]) -> None:
    wire = await run(testing_context="files")
    assert len({sent.shared for stage in ("testing", "editing") for each in wire.of(stage) for sent in each}) == 1


async def test_each_turn_extends_the_one_before(wire: Wire) -> None:
    turns = 0
    for stage in ("testing", "editing", "selection"):
        for sent in wire.of(stage):
            for before, after in pairwise(sent):
                assert before.marks[-1] == len(before.blocks) - 1
                assert after.blocks[: len(before.blocks)] == before.blocks
                assert after.marks[-1] - before.marks[-1] < LOOKBACK
                turns += 1
    assert turns == SAMPLES * (2 + 3) + 2


async def test_a_reminder_shares_with_the_question_what_all_questions_share(wire: Wire) -> None:
    for question, reminder in wire.of("relevance"):
        assert reminder.blocks[: len(question.blocks)] == question.blocks
        assert question.marks == reminder.marks == (0,)  # a mark behind every file would be paid for and seldom read


async def test_at_most_four_breakpoints_go_over_the_wire(wire: Wire) -> None:
    sent = [each for stage in STAGES for trajectory in wire.of(stage) for each in trajectory]
    assert max(len(each.marks) for each in sent) <= 4
    assert all(each.marks[0] == 0 and each.blocks[0][0] == "system" for each in sent)


async def test_of_many_breakpoints_the_first_and_the_last_survive(played: Played, clients: Clients) -> None:
    played.plays(answering("Hello."))
    turns = [Message(role, (Part("turn", f"turn {at}", cache=True),)) for at, role in enumerate(["user", "assistant"] * 4)]
    request = Request((Message("system", (Part("issue", "Issue.", cache=True),)), *turns))
    await clients["anthropic"].complete(request, CallKey("one", "editing", 0, "", 0))
    sent = Sent.read(played.bodies[-1])
    assert [sent.blocks[at][1] for at in sent.marks] == ["Issue.", "turn 5", "turn 6", "turn 7"]


async def test_rendering_is_deterministic(run: Callable[..., Any]) -> None:
    first, second = await run("first"), await run("second")
    assert first.sent.keys() == second.sent.keys()
    for trajectory, sent in first.sent.items():
        assert sent == second.sent[trajectory], trajectory


LOOKBACK = 20
"""Blocks that the vendor looks back from a breakpoint for an entry, the breakpoint's own included."""


class VendorCache:
    """Entries end at breakpoints; a request reads the longest one that it finds within LOOKBACK of its own."""

    def __init__(self) -> None:
        self.entries: set[tuple[Block, ...]] = set()

    def ask(self, sent: Sent) -> int:
        """Blocks that were read from the cache."""
        near = [end for mark in sent.marks for end in range(max(1, mark + 2 - LOOKBACK), mark + 2)]
        read = max((end for end in near if sent.blocks[:end] in self.entries), default=0)
        self.entries |= {sent.blocks[: mark + 1] for mark in sent.marks}
        return read


async def test_turns_and_samples_hit_the_vendors_cache(run: Callable[..., Any]) -> None:
    """All that an earlier request of a sample held, and all that samples share, is read and not paid for again."""
    wire = await run()
    cache = VendorCache()
    for turn in range(4):
        for number, sent in enumerate(wire.of("editing")):
            read = cache.ask(sent[turn])
            shared = len(sent[turn].shared) if number else 0
            assert read == (len(sent[turn - 1].blocks) if turn else shared)


async def test_a_mark_that_is_lost_or_a_text_that_differs_would_be_seen(run: Callable[..., Any]) -> None:
    wire = await run()
    first, second = wire.of("editing")[0][:2]
    cache = VendorCache()
    cache.ask(replace(first, marks=first.marks[:1]))
    assert cache.ask(second) == len(first.shared)
    assert VendorCache().ask(second) == 0
