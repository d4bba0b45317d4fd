"""The run-off: from the execution matrix to the patch that won, with the evidence.

`RunOff` is what the pipeline is given as its selector.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from agent.instances import Instance
from agent.trajectory.flow import Flow
from sandbox.api import Execution, Patch, Script, Verdict
from sandbox.matrix import Matrix
from selection.candidates import Candidate, Dropped, gather
from selection.explain import defeat, method, victory, winner
from selection.record import Entrant, Selection
from selection.shortlist import Ranked, Shortlist, shortlist
from selection.trajectory import Decision, SelectionSettings, choose
from selection.votes import Standing, Tally, count, standings, voters


@dataclass(frozen=True, slots=True)
class RunOff:
    """A selector for the pipeline: takes what trajectories ended with, in types of the lower layers only."""

    settings: SelectionSettings = field(default_factory=SelectionSettings)

    async def __call__(
        self,
        flow: Flow,
        instance: Instance,
        *,
        matrix: Matrix,
        patches: Sequence[tuple[str, Patch | None]],
        scripts: Sequence[tuple[str, Script]],
        files_before: Mapping[str, str],
    ) -> Selection:
        """As `select`; `patches` are (origin, final patch), None where a trajectory ended without one."""
        candidates, dropped = gather(patches)
        return await select(
            flow,
            instance,
            matrix=matrix,
            candidates=candidates,
            dropped=dropped,
            scripts=scripts,
            files_before=files_before,
            settings=self.settings,
        )


async def select(
    flow: Flow,
    instance: Instance,
    *,
    matrix: Matrix,
    candidates: Sequence[Candidate],
    scripts: Sequence[tuple[str, Script]],
    files_before: Mapping[str, str],
    settings: SelectionSettings,
    dropped: Sequence[Dropped] = (),
) -> Selection:
    """Votes, short-list, selection trajectory.

    A candidate that no script of the matrix ran on is applied once, to see whether it can be.

    `scripts` are (origin, final script); `files_before` maps the paths that candidates edit to their text at the base
    commit, new files left out. `flow` is that of the selection trajectory, with an executor. Raises what it raises.
    """
    standing = standings(matrix, scripts)
    tallies = await _probe(flow, candidates, count(matrix, candidates, standing))
    short = shortlist(candidates, tallies, settings.finalists)
    decision = Decision(None)
    if len(short.finalists) > 1 and settings.turns > 0:
        decision = await choose(
            flow,
            instance,
            [one.candidate for one in short.finalists],
            files_before=files_before,
            example=_example(matrix, short, tallies, voters(standing)),
            settings=settings,
        )
    return _record(short, tallies, standing, decision, dropped)


async def _probe(flow: Flow, candidates: Sequence[Candidate], tallies: Mapping[str, Tally]) -> dict[str, Tally]:
    """Find out whether candidates apply that no script ran on: nothing else would, where no script may vote."""
    untried = [one for one in candidates if not tallies[one.id].verdicts]
    if not untried:
        return dict(tallies)
    bodies: list[Callable[[Flow], Awaitable[Execution]]] = [partial(_apply, patch=one.patch) for one in untried]
    probes = zip(untried, await flow.all(bodies), strict=True)
    return {**tallies, **{one.id: replace(tallies[one.id], apply_error=run.apply_error) for one, run in probes}}


async def _apply(flow: Flow, patch: Patch) -> Execution:
    return await flow.run("apply", Script("exit 0\n", "bash"), patch)


def _example(matrix: Matrix, short: Shortlist, tallies: Mapping[str, Tally], qualified: frozenset[str]) -> Script | None:
    """The script that votes and divides the finalists most evenly; the first by digest of several such."""

    def imbalance(script: Script) -> tuple[int, str]:
        verdicts = [tallies[one.candidate.id].verdicts.get(script.digest) for one in short.finalists]
        return abs(2 * verdicts.count(Verdict.PASS) - len(verdicts)), script.digest

    return min((script for script in matrix.scripts if script.digest in qualified), key=imbalance, default=None)


def _record(
    short: Shortlist,
    tallies: Mapping[str, Tally],
    standing: Sequence[Standing],
    decision: Decision,
    dropped: Sequence[Dropped],
) -> Selection:
    ranked = (*short.finalists, *short.others)
    best = winner(short, decision)
    voted = bool(voters(standing))
    reason = victory(ranked, decision, voted=voted)
    fates = [(one, reason if best is None or best == one else defeat(one, best, short, decision)) for one in ranked]
    fates += short.out
    return Selection(
        chosen=best.candidate.id if best else None,
        method=method(ranked, decision),
        reason=reason,
        vote_took_place=voted,
        shortlist=tuple(one.candidate.id for one in short.finalists),
        candidates=tuple(_entrant(one, tallies, why, finalist=one in short.finalists) for one, why in fates),
        standings=tuple(standing),
        dropped=tuple(dropped),
        calls=decision.calls,
        trials=decision.trials,
        argument=decision.argument,
    )


def _entrant(ranked: Ranked, tallies: Mapping[str, Tally], reason: str, *, finalist: bool) -> Entrant:
    candidate = ranked.candidate
    return Entrant(
        id=candidate.id,
        origins=candidate.origins,
        diff=candidate.patch.diff,
        class_size=candidate.class_size,
        changed_lines=candidate.changed_lines,
        votes=ranked.votes,
        verdicts=tallies[candidate.id].verdicts,
        finalist=finalist,
        reason=reason,
    )
