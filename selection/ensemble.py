"""Chooses between the patches of other systems, or of several runs, given as files of predictions.

What is read: of the data set the columns that every solver may see (`agent.rows.ALLOWED`), of each member its patches.
Labels are neither needed nor reachable from here; a contract of import-linter and tests hold that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.endings import Ending
from agent.instances import Instance
from agent.scheduler import Carry, Job, LocalScheduler
from sandbox.api import Patch, digest_of
from sandbox.errors import InputError
from selection.chain import Chain, Choice
from selection.patches.changes import readable
from selection.predictions import Predictions, read_predictions

GENERIC = frozenset(["predictions", "preds", "all_preds"])
"""Names of files that say nothing about whose predictions they hold; the folder's name does."""
_NAMED = 3
_HINT = "name a file of predictions, or a run that has ended"


@dataclass(frozen=True, slots=True)
class Member:
    """One system's predictions under a name that no other member has."""

    name: str
    predictions: Predictions

    def told(self, known: Iterable[str]) -> list[str]:
        """What is odd about the predictions, a line each; `known` are the instances of the data set."""
        here = list(known)
        lines = [f"{self.name}: {line.removeprefix(f'{self.predictions.name}: ')}" for line in self.predictions.told(here)]
        there = [patch for name, patch in self.predictions.patches.items() if name in set(here)]
        if mended := sum(patch != _mended(patch) for patch in there):
            lines.append(f"{self.name}: {mended} patches were written backwards or cut short, and are mended")
        if missing := self.predictions.missing(here):
            some = [*missing[:_NAMED], *["..."] * (len(missing) > _NAMED)]
            lines.append(f"{self.name}: {len(missing)} instances have no row ({', '.join(some)})")
        return lines


def read_members(sources: Sequence[Path], runs: Path = Path("runs")) -> tuple[Member, ...]:
    """The members, in the order given: files of predictions, and runs of runoff by folder, or by name in `runs`.

    Raises InputError.
    """
    files = [_file(source, runs) for source in sources]
    if twice := [str(file) for file, count in Counter(file.resolve() for file in files).items() if count > 1]:
        raise InputError("predictions are given twice", where=twice[0], hint="each member has one vote: name it once")
    return tuple(Member(name, read_predictions(file)) for name, file in zip(_names(files), files, strict=True))


def _file(source: Path, runs: Path) -> Path:
    folder = runs / source if not source.exists() and (runs / source).is_dir() else source
    if not folder.is_dir():
        return source
    file = folder / "predictions.jsonl"
    if not file.is_file():
        raise InputError("the folder has no predictions.jsonl", where=str(folder), hint=_HINT)
    return file


def _names(files: Sequence[Path]) -> list[str]:
    """What tells the files apart: the name, else with as many folders before it as it takes."""
    plain = [file.resolve().with_suffix("") for file in files]
    paths = [path.parent if path.name in GENERIC and path.parent.name else path for path in plain]
    paths = [path if paths.count(path) == 1 else plain[place] for place, path in enumerate(paths)]
    paths = [path if paths.count(path) == 1 else files[place].resolve() for place, path in enumerate(paths)]
    names = ["/".join(path.parts[-1:]) for path in paths]
    for depth in range(2, max(len(path.parts) for path in paths) + 1):
        counts = Counter(names)
        names = [name if counts[name] == 1 else "/".join(paths[place].parts[-depth:]) for place, name in enumerate(names)]
    return names


def proposals(members: Sequence[Member], instances: Iterable[str]) -> dict[str, tuple[tuple[str, Patch | None], ...]]:
    """For each instance what the members propose: (member, patch), None from one that has no patch or no row.

    A spoiled diff is mended (`selection.patches.changes.readable`); all others are as they came, byte by byte.
    """
    return {
        instance: tuple((member.name, _mended(member.predictions.patches.get(instance))) for member in members)
        for instance in instances
    }


def _mended(patch: Patch | None) -> Patch | None:
    if patch is None:
        return None
    text = readable(patch.diff)
    return patch if text == patch.diff else Patch(text)


def digest(chain: Chain, proposed: Mapping[str, Sequence[tuple[str, Patch | None]]], *more: str) -> str:
    """What the choices depend on, and whatever more is given: a record with another digest is of another ensemble."""
    parts = [*more, chain.name, f"{chain.stop_at}"]
    for instance, offers in sorted(proposed.items()):
        parts += [instance, *(text for member, patch in offers for text in (member, patch.digest if patch else ""))]
    return digest_of(*parts)


async def choose(
    chain: Chain,
    instances: Sequence[Instance],
    proposed: Mapping[str, Sequence[tuple[str, Patch | None]]],
    *,
    done: Callable[[Choice], None],
    parked: Callable[[Ending], None],
    at_once: int = 1,
) -> Ending | None:
    """Choose for each instance, so many at once. What stopped it early, if anything did.

    `done` is told of each choice as it is made, `parked` of an instance for which the machinery failed: nothing is chosen
    for it, and the others go on, unless its fault is everybody's. Raises what these two raise.
    """
    known = {instance.id: instance for instance in instances}
    choices: dict[str, Choice] = {}

    async def carry(job: Job) -> Ending:
        choice = choices[job.instance] = await chain(known[job.instance], proposed[job.instance])
        return Ending(job.instance, None, choice.reason, patch=choice.chosen is not None)

    @asynccontextmanager
    async def factory() -> AsyncIterator[Carry]:
        yield carry

    def ended(ending: Ending) -> None:
        choice = choices.pop(ending.instance, None)
        if choice is None:
            parked(ending)
        else:
            done(choice)

    jobs = [Job(name, rank) for rank, name in enumerate(known)]
    return await LocalScheduler(min(at_once, max(1, len(jobs)))).run(jobs, factory, ended)
