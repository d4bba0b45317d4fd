"""Scripts as voters: those that show the issue on the unpatched tree are run on every candidate.

A script that all candidates pass, or none, cannot tell them apart; one that half of them pass tells most. So a vote weighs
4 p (1 - p), where p is the share of candidates that pass: 1 at its best, 0 where the script says the same of all.

Scripts err too, and nobody labels them. A false alarm is a script that finds the issue in a right patch. Which patch is
right is not known, so the other scripts are asked: where more than half of at least two others pass some candidate, the
candidates that most of them pass are taken to be right, and the share of these that a script fails is its false alarms.
Scripts that share an error are not found out in this way, and where most are wrong the few that are right are blamed: it
is an estimate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from agent.trajectory.flow import Flow
from sandbox.api import Execution, Patch, Script, Verdict
from sandbox.matrix import Matrix, distinct, shows_issue
from selection.bench import Bench
from selection.candidates import Candidate
from selection.chain import Contest, Placed, Ruling, by_score
from selection.outcomes import counted, line_of
from selection.votes import Standing, Status, Tally, count, standings, voters

Written = Callable[[str], Sequence[tuple[str, Script]]]
"""The scripts for an instance, each with its origin. Raises StoreError for files that cannot be read."""
Verdicts = Mapping[str, Mapping[str, bool]]
"""By script, by candidate: whether the script passes."""


@dataclass(frozen=True, slots=True)
class Votes:
    """Orders by the weighted votes of scripts, the most first."""

    bench: Bench
    written: Written
    repeats: int = 2
    """Runs of each script on the unpatched tree, to find those that contradict themselves."""
    name: str = "votes"

    async def __call__(self, contest: Contest) -> Ruling:
        """A candidate that cannot be put on the tree is out. Where no script votes the order stays, and a note says why."""
        scripts = self.written(contest.instance.id)
        if len(contest.candidates) == 1 or not scripts:
            why = "nothing is left to compare" if scripts else "there are no scripts for this instance"
            return Ruling(tuple(Placed(one, why) for one in contest.candidates), note=why)
        flow = await self.bench.flow(contest.instance, self.name)
        matrix = await fill(flow, [script for _, script in scripts], contest.candidates, self.repeats)
        standing = standings(matrix, scripts)
        tallies = count(matrix, contest.candidates, standing)
        verdicts = verdicts_of(tallies, voters(standing))
        weights = {script: weight(passed) for script, passed in verdicts.items()}
        placed = [_placed(one, tallies[one.id], verdicts, weights) for one in contest.candidates]
        alarms = false_alarms(verdicts)
        figures = {
            "scripts": len(standing),
            "voters": len(verdicts),
            "judged": len(alarms),
            "false_alarms": round(sum(alarms.values()), 3),
            "seconds": round(_seconds(matrix), 1),
        }
        kept = by_score([one for one in placed if one.score is not None])
        return Ruling(kept, tuple(one for one in placed if one.score is None), _note(standing, alarms), figures)


async def fill(flow: Flow, scripts: Sequence[Script], candidates: Sequence[Candidate], repeats: int) -> Matrix:
    """Every script on the unpatched tree, and those that show the issue there each time on every candidate.

    The same as `sandbox.matrix.fill`, through a flow, so that what has run is replayed.
    """
    rows = distinct(scripts)
    runs = [(script, repeat) for script in rows for repeat in range(repeats)]
    before = await flow.all([partial(_run, script=script, repeat=repeat) for script, repeat in runs])
    baseline: dict[str, tuple[Execution, ...]] = {}
    for (script, _), execution in zip(runs, before, strict=True):
        baseline[script.digest] = (*baseline.get(script.digest, ()), execution)
    pairs = [(one.patch, script) for one in candidates for script in rows if shows_issue(baseline[script.digest])]
    bodies: list[Callable[[Flow], Awaitable[Execution]]] = [
        partial(_run, script=script, patch=patch) for patch, script in pairs
    ]
    cells = await flow.all(bodies) if pairs else []
    keys = [(patch.digest, script.digest) for patch, script in pairs]
    return Matrix(rows, tuple(one.patch for one in candidates), baseline, dict(zip(keys, cells, strict=True)))


async def _run(flow: Flow, script: Script, patch: Patch | None = None, repeat: int = 0) -> Execution:
    return await flow.run("script", script, patch, repeat)


def verdicts_of(tallies: Mapping[str, Tally], qualified: frozenset[str]) -> dict[str, dict[str, bool]]:
    """What the scripts that vote say of the candidates that could be put on the tree."""
    able = {name: tally for name, tally in tallies.items() if not tally.apply_error}
    return {
        script: {name: tally.verdicts.get(script) is Verdict.PASS for name, tally in sorted(able.items())}
        for script in sorted(qualified)
    }


def weight(passed: Mapping[str, bool]) -> float:
    """What the vote of a script is worth: 1 if half of the candidates pass, 0 if all do or none."""
    share = sum(passed.values()) / len(passed) if passed else 0.0
    return 4 * share * (1 - share)


def false_alarms(verdicts: Verdicts) -> dict[str, float]:
    """By script: the share of the candidates that are taken to be right which it fails. See the module.

    Scripts of which nothing can be said, for want of others that pass anything, are not in it.
    """
    found = {}
    for script, passed in verdicts.items():
        others = [held for name, held in verdicts.items() if name != script]
        votes = {name: sum(held[name] for held in others) for name in passed}
        most = max(votes.values(), default=0)
        if len(others) > 1 and most * 2 > len(others):
            right = [name for name, number in votes.items() if number == most]
            found[script] = sum(not passed[name] for name in right) / len(right)
    return found


def _placed(candidate: Candidate, tally: Tally, verdicts: Verdicts, weights: Mapping[str, float]) -> Placed:
    if tally.apply_error:
        return Placed(candidate, f"it does not apply: {line_of(tally.apply_error)}")
    passed = [script for script, held in verdicts.items() if held[candidate.id]]
    worth = sum(weights[script] for script in passed)
    whole = sum(weights.values())
    return Placed(
        candidate, f"passes {len(passed)} of {counted(len(verdicts), 'script')}, {worth:.2f} of {whole:.2f} votes", worth
    )


def _seconds(matrix: Matrix) -> float:
    return sum(run.seconds for runs in (*matrix.baseline.values(), tuple(matrix.cells.values())) for run in runs)


def _note(standing: Sequence[Standing], alarms: Mapping[str, float]) -> str:
    able = sum(one.status is Status.VOTES for one in standing)
    said = f"{able} of {counted(len(standing), 'script')} show the issue on the unpatched tree and vote"
    rate = sum(alarms.values()) / len(alarms) if alarms else 0.0
    return said + (f"; {100 * rate:.0f} % false alarms, by what the others say" if alarms else "")
