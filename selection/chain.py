"""A selector as a chain of filters and rankers, such as `consensus | votes | top:3 | trajectory`.

Each step is given the candidates that are left, the best first, and hands on those it keeps in its own order, with a
score and a reason for each; whoever drops out does so with a reason. A later ranker goes before an earlier one, whose order
breaks its ties. Steps that need a sandbox or a model join by being registered under a name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from agent.instances import Instance
from sandbox.api import Patch
from sandbox.errors import InputError
from selection.candidates import Candidate, Dropped, gather


@dataclass(frozen=True, slots=True)
class Placed:
    """A candidate as a step leaves it."""

    candidate: Candidate
    reason: str
    """Why it stands where it stands, or why it is out."""
    score: float | None = None
    """Higher is better; None from a step that scores nobody."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a step says."""

    kept: tuple[Placed, ...]
    """The best first."""
    out: tuple[Placed, ...] = ()
    note: str = ""
    """Anything about the step as a whole."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """The same in numbers, to be added up over instances."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What it rests on, as plain JSON values."""


@dataclass(frozen=True, slots=True)
class Contest:
    """What a step is given."""

    instance: Instance
    candidates: tuple[Candidate, ...]
    """Those that are left, the best first; by id before anyone has ranked them."""
    proposals: int
    """How many patches there were before any was dropped or merged."""


class Step(Protocol):
    """A filter or a ranker. The order in which members were given must have no influence on what it says."""

    @property
    def name(self) -> str:
        """As it is written in a chain, such as `top:3`."""
        ...

    async def __call__(self, contest: Contest) -> Ruling:
        """Raises RunoffError where the machinery fails; a candidate's faults are reasons, not errors."""
        ...


Factory = Callable[[str], Step]
"""Makes a step from its argument: what follows the colon, empty if nothing does. Raises ValueError for a bad one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate in the record of a step."""

    id: str
    members: tuple[str, ...]
    reason: str
    score: float | None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step in the record: nothing that it said is lost."""

    step: str
    kept: tuple[Entry, ...]
    out: tuple[Entry, ...]
    note: str
    figures: Mapping[str, float]
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """The outcome for one instance."""

    instance: str
    chosen: Candidate | None
    reason: str
    dropped: tuple[Dropped, ...]
    """Members without a patch."""
    steps: tuple[StepRecord, ...]
    spared: tuple[str, ...] = ()
    """Names of the steps that an early stop left out."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; the diff itself is in the predictions."""
        chosen = {"id": self.chosen.id, "members": list(self.chosen.origins)} if self.chosen else None
        return {**asdict(self), "chosen": chosen}


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps, one after the other."""

    steps: tuple[Step, ...]
    stop_at: float | None = None
    """End early, once a candidate is first that more than this share of all proposals came to."""
    spares: frozenset[str] = frozenset()
    """Before which steps, by their names without arguments, a chain may end early; empty for any."""

    @property
    def name(self) -> str:
        """As it is written in settings."""
        return " | ".join(step.name for step in self.steps)

    async def __call__(self, instance: Instance, proposals: Sequence[tuple[str, Patch | None]]) -> Choice:
        """Choose among what the members propose: (member, patch), None where it has none."""
        candidates, dropped = gather(sorted(proposals, key=lambda proposal: proposal[0]))
        total = sum(one.class_size for one in candidates)
        records: list[StepRecord] = []
        spared: tuple[str, ...] = ()
        reason = "no member has a patch"
        for place, step in enumerate(self.steps if candidates else ()):
            if records and self._dominated(candidates, total, step):
                reason = f"{candidates[0].class_size} of {total} proposals are this change; {reason}"
                spared = tuple(left.name for left in self.steps[place:])
                break
            ruling = await step(Contest(instance, candidates, total))
            candidates = tuple(placed.candidate for placed in ruling.kept)
            records.append(_record(step.name, ruling))
            if not candidates:
                reason = f"{step.name} left nobody: {ruling.out[0].reason if ruling.out else ruling.note}"
                break
            reason = f"{step.name}: {ruling.kept[0].reason}"
        return Choice(instance.id, candidates[0] if candidates else None, reason, dropped, tuple(records), spared)

    def _dominated(self, candidates: Sequence[Candidate], total: int, step: Step) -> bool:
        may_end = not self.spares or plain_name(step.name) in self.spares
        return self.stop_at is not None and may_end and candidates[0].class_size > self.stop_at * total


def plain_name(step: str) -> str:
    """A step's name without its argument."""
    return step.partition(":")[0].strip()


def _record(step: str, ruling: Ruling) -> StepRecord:
    return StepRecord(step, _entries(ruling.kept), _entries(ruling.out), ruling.note, ruling.figures, ruling.evidence)


def _entries(placed: Sequence[Placed]) -> tuple[Entry, ...]:
    return tuple(Entry(one.candidate.id, one.candidate.origins, one.reason, one.score) for one in placed)


def by_score(placed: Sequence[Placed]) -> tuple[Placed, ...]:
    """The highest score first; those with the same score stay in the order in which they came."""
    return tuple(sorted(placed, key=lambda one: -(one.score or 0.0)))


PRESETS = {
    "first": "clean | first",
    "random": "clean | random",
    "votes": "consensus | regression | votes",
    "model": "consensus | top:3 | single",
    "runoff": "consensus | regression | votes | top:3 | trajectory",
}
"""Selectors by a name. The first two choose one member's patch as it is, without merging."""
OPENING = ("clean", "equivalence")
"""What a chain begins with that names neither."""


def parse_chain(
    text: str,
    steps: Mapping[str, Factory],
    *,
    stop_at: float | None = None,
    presets: Mapping[str, str] = PRESETS,
    opening: Sequence[str] = OPENING,
    spares: Collection[str] = (),
) -> Chain:
    """The chain that a text names: steps with `|` between, each `name` or `name:argument`. Raises InputError.

    `presets` are chains by a name. One that names no step of `opening` begins with all of them. For `stop_at` and `spares`
    see `Chain`.
    """
    written = [part.strip() for part in presets.get(text.strip(), text).split("|")]
    if not set(opening).intersection(map(plain_name, written)):
        written = [*opening, *written]
    return Chain(tuple(_step(part, text, steps) for part in written), stop_at, frozenset(spares))


def _step(written: str, chain: str, steps: Mapping[str, Factory]) -> Step:
    name, _, argument = (part.strip() for part in written.partition(":"))
    hint = f"steps: {', '.join(steps)}; write them with | between, such as: consensus | top:3"
    if name not in steps:
        raise InputError(f"no step '{name}'" if name else "a step is empty", where=f"--selector {chain!r}", hint=hint)
    try:
        return steps[name](argument)
    except ValueError as error:
        raise InputError(f"step '{written}': {error}", where=f"--selector {chain!r}", hint=hint) from None
