"""The steps of a chain that need neither a model nor a sandbox: cleaning, merging, agreement, baselines, short-lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from agent.cleaning import clean
from agent.instances import Instance
from sandbox.api import digest_of
from selection.candidates import Candidate
from selection.chain import Contest, Factory, Placed, Ruling, by_score
from selection.consensus import Agreement, Split
from selection.equivalence import Level, classes, finest
from selection.outcomes import line_of
from selection.patches.changes import Unparsable, essence, noise, parse, paths
from selection.patches.trees import misfit

NAMED = 3
"""How many other members a reason names."""
_APART = {
    Level.SPACE: "white space at line ends, tests or artefacts",
    Level.COMMENTS: "comments, docstrings or white space",
    Level.SYNTAX: "comments, docstrings or how statements are laid out",
}
"""What sets patches apart that are the same at a level and at no finer one."""
T = TypeVar("T")


class HoldsFiles(Protocol):
    """Where the files of an instance are (`selection.patches.trees.Trees`)."""

    def files(self, instance: Instance, paths: Collection[str]) -> Mapping[str, str] | None:
        """The text of those of the paths that are files at the base commit; None if it cannot be known."""
        ...


@dataclass(frozen=True, slots=True)
class Clean:
    """Drops what cannot be a solution: no diff, tests or artefacts only, no change left, not to be put on the tree."""

    trees: HoldsFiles | None = None
    """Where the files are; without it nobody can know whether a patch applies."""
    name: str = "clean"

    async def __call__(self, contest: Contest) -> Ruling:
        """Keeps the order."""
        faults = {one.id: fault(one.patch.diff) for one in contest.candidates}
        files = _files(self.trees, contest)
        if files is not None:
            sound = [one for one in contest.candidates if not faults[one.id]]
            faults |= {one.id: _misfit(one, files) for one in sound}
        kept = tuple(Placed(one, _kept(one)) for one in contest.candidates if not faults[one.id])
        out = tuple(Placed(one, faults[one.id]) for one in contest.candidates if faults[one.id])
        return Ruling(kept, out, "" if files is not None or self.trees is None else "there is no clone with the base commit")


def _misfit(candidate: Candidate, files: Mapping[str, str]) -> str:
    reason = misfit(clean(candidate.patch.diff).diff, files)
    return f"it does not apply: {line_of(reason)}" if reason else ""


def _files(trees: HoldsFiles | None, contest: Contest) -> Mapping[str, str] | None:
    return (
        trees.files(contest.instance, {path for one in contest.candidates for path in paths(one.patch.diff)})
        if trees
        else None
    )


def fault(diff: str) -> str:
    """Why a diff is no solution; empty if it may be one."""
    try:
        parse(diff)
    except Unparsable as error:
        return f"it cannot be parsed: {error}"
    removed = noise(diff)
    left = essence(diff)
    if not left:
        kinds = sorted(set(removed.values()))
        return f"it changes nothing else than {' and '.join(f'{kind}s' for kind in kinds)}: {_some(sorted(removed))}"
    if not any(change.hunks or change.created or change.deleted or change.old_path != change.path for change in left):
        return f"it changes no line of {_some([change.path for change in left])}"
    return ""


def _kept(candidate: Candidate) -> str:
    removed = noise(candidate.patch.diff)
    return (
        f"looked at without {_some([f'{path} ({why})' for path, why in sorted(removed.items())])}" if removed else "in order"
    )


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Makes one candidate of all that are the same change, and puts the biggest class first."""

    level: Level = Level.SYNTAX
    trees: HoldsFiles | None = None
    """Where the files are: with them syntax trees are compared, without them the lines of the diffs."""

    @property
    def name(self) -> str:
        """With the level, unless it is the usual one."""
        return "equivalence" if self.level is Level.SYNTAX else f"equivalence:{self.level.value}"

    async def __call__(self, contest: Contest) -> Ruling:
        """A class keeps the name and the patch of its shortest member; of several, of the first by digest."""
        files = _files(self.trees, contest)
        groups = classes([one.patch for one in contest.candidates], self.level, files=files)
        kept, out = [], []
        for group in groups:
            members = sorted(
                (contest.candidates[index] for index in group), key=lambda one: (one.changed_lines, one.patch.digest)
            )
            merged = _merged(members)
            reason = f"{merged.class_size} of {contest.proposals} proposals are this change"
            kept.append(Placed(merged, reason, merged.class_size))
            out += [Placed(one, _twin(one, merged, files)) for one in members[1:]]
        return Ruling(by_score(kept), tuple(out), f"{len(kept)} distinct changes in {contest.proposals} proposals")


def _twin(one: Candidate, merged: Candidate, files: Mapping[str, str] | None) -> str:
    level = finest(one.patch, merged.patch, files=files)
    return f"the same change as {merged.id}" + (f" but for {_APART[level]}" if level in _APART else "")


def _merged(members: Sequence[Candidate]) -> Candidate:
    origins = sorted(dict.fromkeys(origin for one in members for origin in one.origins))
    return replace(members[0], origins=tuple(origins))


@dataclass(frozen=True, slots=True)
class Consensus:
    """Puts first the patch that agrees most with those of the other members (`selection.consensus`)."""

    split: Split
    name: str = "consensus"

    async def __call__(self, contest: Contest) -> Ruling:
        """A candidate's score is the best of its members'."""
        agreements = self.split.agreements(contest.instance.id)
        return Ruling(by_score([self._placed(one, agreements) for one in contest.candidates]))

    def _placed(self, candidate: Candidate, agreements: dict[str, Agreement]) -> Placed:
        mine = (agreements[origin] for origin in sorted(candidate.origins) if origin in agreements)
        best = max(mine, key=lambda agreement: agreement.score, default=None)
        if best is None or not best.likest:
            return Placed(candidate, "there is no other code to agree with", 0.0)
        likest = ", ".join(f"{member} {like:.2f}" for member, like in best.likest[:NAMED])
        return Placed(candidate, f"agrees {best.score:.2f} times as much as is usual ({likest})", best.score)


@dataclass(frozen=True, slots=True)
class First:
    """Puts first the patch of the first member that still has one, in the order of the members."""

    members: tuple[str, ...]
    name: str = "first"

    async def __call__(self, contest: Contest) -> Ruling:
        """The one step for which the order of the members counts: it is the user's own ranking."""
        places = {member: place for place, member in enumerate(self.members)}
        found = [(min(places.get(origin, len(places)) for origin in one.origins), one) for one in contest.candidates]
        return Ruling(
            tuple(Placed(one, f"member {place + 1}", -place) for place, one in sorted(found, key=lambda pair: pair[0]))
        )


@dataclass(frozen=True, slots=True)
class Random:
    """Puts first the patch of a member drawn by lot; the same seed draws the same, in whatever order they are given."""

    seed: int = 0

    @property
    def name(self) -> str:
        """With the seed, unless it is 0."""
        return f"random:{self.seed}" if self.seed else "random"

    async def __call__(self, contest: Contest) -> Ruling:
        """A change that several members came to has as many lots."""
        lots = [
            (min(digest_of(f"{self.seed}", contest.instance.id, origin) for origin in one.origins), one)
            for one in contest.candidates
        ]
        return Ruling(
            tuple(Placed(one, f"drawn by lot with seed {self.seed}") for _, one in sorted(lots, key=lambda lot: lot[0]))
        )


@dataclass(frozen=True, slots=True)
class Top:
    """Keeps the first few."""

    count: int

    @property
    def name(self) -> str:
        """With the number."""
        return f"top:{self.count}"

    async def __call__(self, contest: Contest) -> Ruling:
        """Keeps the order."""
        kept = tuple(Placed(one, f"number {place}") for place, one in enumerate(contest.candidates[: self.count], 1))
        rest = enumerate(contest.candidates[self.count :], self.count + 1)
        return Ruling(kept, tuple(Placed(one, f"number {place}, behind the first {self.count}") for place, one in rest))


def label_free(
    split: Split, members: Sequence[str], *, seed: int = 0, trees: HoldsFiles | None = None
) -> dict[str, Factory]:
    """The steps of this module by name. `members` in the user's order."""
    return {
        "clean": plain(lambda: Clean(trees)),
        "equivalence": lambda argument: Equivalence(_level(argument), trees),
        "consensus": plain(lambda: Consensus(split)),
        "first": plain(lambda: First(tuple(members))),
        "random": lambda argument: Random(number(argument, least=0) if argument else seed),
        "top": lambda argument: Top(number(argument, least=1)),
    }


def plain(make: Callable[[], T]) -> Callable[[str], T]:
    """A factory of a step that takes no argument."""

    def factory(argument: str) -> T:
        if argument:
            raise ValueError("it takes no argument")
        return make()

    return factory


def _level(argument: str) -> Level:
    usable = [level.value for level in Level if level is not Level.BEHAVIOUR]
    if argument and argument not in usable:
        raise ValueError(f"the level is one of {', '.join(usable)}")
    return Level(argument) if argument else Level.SYNTAX


def number(argument: str, *, least: int) -> int:
    """An argument that is a number. Raises ValueError."""
    if not argument.isdecimal() or int(argument) < least:
        raise ValueError(f"it takes a whole number from {least} on, such as {least + 2}")
    return int(argument)


def _some(names: Collection[str]) -> str:
    return ", ".join(list(names)[:NAMED]) + (", ..." if len(names) > NAMED else "")
