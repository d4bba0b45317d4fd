"""Which candidates break what worked: the repository's own tests, chosen without labels, before and after each patch.

Tests that pass on the unpatched tree, each time that they run there, and fail with a patch are its new failures. Those that
fail or contradict themselves without it say nothing. A test that a right fix has to break is broken by most candidates,
and then tells nobody apart. A candidate is judged by its code: what it changes in tests is left out, so that no patch can
talk its way past them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from agent.cleaning import clean
from agent.instances import Instance
from agent.trajectory.flow import Flow
from sandbox.api import Execution, Limits, Patch, Script
from selection.bench import Bench
from selection.candidates import Candidate
from selection.chain import Contest, Placed, Ruling, by_score
from selection.outcomes import counted, line_of
from selection.patches.changes import paths, readable
from selection.suites.related import python_files, related, touched
from selection.suites.running import Ended, Suite, new_failures, suite_of

NAMED = 3
"""Tests and files that a reason names."""
SLOWER = 2
"""How many times longer than the unpatched tree a candidate's tests may take: machines are busy now and then."""
LIMITS = Limits(memory_mb=4096, processes=1024, disk_mb=1024, output_chars=20_000_000)
"""What tests of a repository need at the least; seconds are added."""


class WholeBench(Bench, Protocol):
    """What this step needs beside flows and files."""

    def paths(self, instance: Instance) -> Sequence[str]:
        """All files at the base commit. Raises InputError without a clone."""
        ...

    async def test_command(self, instance: Instance) -> str:
        """The repository's own, as settings or install specs give it; empty if nothing does. Raises as `Bench.flow`."""
        ...


@dataclass(frozen=True, slots=True)
class RegressionSettings:
    """How much is run."""

    files: int = 5
    """Test files at the most; their processes begin one after the other."""
    seconds: float = 300.0
    """Seconds that they may take together on the unpatched tree; tests that have not ended by then are left out."""
    repeats: int = 2
    """Runs on the unpatched tree, to find tests that contradict themselves."""


@dataclass(frozen=True, slots=True)
class Regression:
    """Orders by new failures, the fewest first."""

    bench: WholeBench
    settings: RegressionSettings = RegressionSettings()

    @property
    def name(self) -> str:
        """With the number of files, unless it is the usual one."""
        return "regression" if self.settings.files == RegressionSettings().files else f"regression:{self.settings.files}"

    async def __call__(self, contest: Contest) -> Ruling:
        """A candidate that does not apply is out. Where no test can be run the order stays, and a note says why."""
        if len(contest.candidates) == 1:
            return _as_it_was(contest, "nothing is left to compare")
        suite = suite_of(command := await self.bench.test_command(contest.instance))
        if suite is None:
            return _as_it_was(contest, f"no files can be given to the test command: {command or 'there is none'}")
        files = await self._chosen(contest, suite)
        if not files:
            return _as_it_was(contest, "no test file has to do with what the candidates touch")
        return await self._judged(contest, suite, files)

    async def _chosen(self, contest: Contest, suite: Suite) -> list[str]:
        """The test files to run, the closest to the change first. Seconds for a large tree, so a thread does it."""
        instance = contest.instance
        texts = self.bench.files(instance, python_files(self.bench.paths(instance)))
        places = {path for one in contest.candidates for path in paths(one.patch.diff)}
        before = {path: texts[path] for path in places if path in texts}
        found = await asyncio.to_thread(lambda: related(touched(contest.candidates, before), texts))
        return [one.path for one in found if suite.runs(one.path)][: self.settings.files]

    async def _judged(self, contest: Contest, suite: Suite, files: Sequence[str]) -> Ruling:
        seconds = self.settings.seconds
        limits = replace(LIMITS, seconds=seconds * SLOWER + 60)
        flow = await self.bench.flow(contest.instance, self.name, at_least=limits)
        bare = suite.script(files, seconds)
        before = await flow.all([partial(_run, script=bare, repeat=number) for number in range(self.settings.repeats)])
        sound = _sound([suite.outcomes(run) for run in before])
        if not sound:
            return _as_it_was(contest, f"no test passes on the unpatched tree: {line_of(before[0].output[-300:])}")
        patched = suite.script(files, seconds * SLOWER)
        runs: list[Callable[[Flow], Awaitable[Execution]]] = [
            partial(_run, script=patched, patch=_code(one)) for one in contest.candidates
        ]
        after = await flow.all(runs)
        placed = [
            _placed(one, run, new_failures(sound, suite.outcomes(run)), len(sound))
            for one, run in zip(contest.candidates, after, strict=True)
        ]
        return Ruling(
            by_score([one for one in placed if one.score is not None]),
            tuple(one for one in placed if one.score is None),
            f"{counted(len(sound), 'test')} of {', '.join(files)} pass on the unpatched tree",
            {"tests": len(sound), "files": len(files), "seconds": round(sum(run.seconds for run in (*before, *after)), 1)},
        )


async def _run(flow: Flow, script: Script, patch: Patch | None = None, repeat: int = 0) -> Execution:
    return await flow.run("tests", script, patch, repeat)


def _code(candidate: Candidate) -> Patch | None:
    """The patch without what it changes in tests; None if nothing is left."""
    diff = clean(readable(candidate.patch.diff)).diff
    return Patch(diff) if diff.strip() else None


def _sound(runs: Sequence[dict[str, Ended]]) -> dict[str, Ended]:
    """The tests that passed in every run."""
    first, *others = runs
    return {
        name: ended
        for name, ended in first.items()
        if ended is Ended.PASSED and all(other.get(name) is Ended.PASSED for other in others)
    }


def _placed(candidate: Candidate, run: Execution, broken: Sequence[str], tests: int) -> Placed:
    if run.apply_error:
        return Placed(candidate, f"it does not apply: {line_of(run.apply_error)}")
    if not broken:
        return Placed(candidate, f"breaks none of {counted(tests, 'test')}", 0.0)
    named = ", ".join(broken[:NAMED]) + (", ..." if len(broken) > NAMED else "")
    return Placed(candidate, f"breaks {len(broken)} of {counted(tests, 'test')}: {line_of(named)}", -float(len(broken)))


def _as_it_was(contest: Contest, why: str) -> Ruling:
    return Ruling(tuple(Placed(one, why) for one in contest.candidates), note=why)
