"""Which scripts may vote, and for whom.

A script is evidence only if it shows the issue on the unpatched code base: one that exits 0 there as well says nothing
about a patch. (CodeMonkeys, arXiv 2501.14723, counts such scripts. Ours does not.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sandbox.api import Execution, Script, Verdict
from sandbox.matrix import Matrix
from selection.candidates import Candidate
from selection.outcomes import outcome


class Status(StrEnum):
    """What a script's runs on the unpatched code base make of it."""

    VOTES = "votes"  # shows the issue every time
    NO_ISSUE = "no-issue"  # exits 0 although nothing is fixed
    BROKEN = "broken"  # crashes, times out, reaches a limit
    FLAKY = "flaky"  # contradicts itself


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a script votes, and why."""

    script: str
    """Its digest."""
    origins: tuple[str, ...]
    """The samples that wrote it, such as `testing/3`."""
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What the scripts say of one candidate."""

    verdicts: Mapping[str, Verdict]
    """By script digest, voting or not; a script that never ran on this candidate is not in it."""
    votes: int
    """Scripts that vote and pass."""
    apply_error: str = ""
    """Why the patch could not be put on the tree; empty if it could, or if nothing was tried."""


def standings(matrix: Matrix, scripts: Sequence[tuple[str, Script]] = ()) -> tuple[Standing, ...]:
    """The standing of each script of the matrix, in its order; `scripts` are (origin, script) and name the origins.

    A script that several samples wrote word for word is one script and has one vote.
    """
    origins: dict[str, dict[str, None]] = {}
    for origin, script in scripts:
        origins.setdefault(script.digest, {})[origin] = None
    digests = dict.fromkeys(script.digest for script in matrix.scripts)
    return tuple(
        Standing(digest, tuple(origins.get(digest, ())), *_status(matrix.baseline.get(digest, ()))) for digest in digests
    )


def _status(baseline: Sequence[Execution]) -> tuple[Status, str]:
    where = "on the unpatched code base"
    if not baseline:
        return Status.BROKEN, f"was never run {where}"
    endings = " / ".join(dict.fromkeys(outcome(execution) for execution in baseline))
    verdicts = {execution.verdict for execution in baseline}
    if len(verdicts) > 1:
        return Status.FLAKY, f"contradicts itself in {len(baseline)} runs {where}: {endings}"
    match verdicts.pop():
        case Verdict.ISSUE:
            times = "once" if len(baseline) == 1 else f"in each of {len(baseline)} runs"
            return Status.VOTES, f"{endings} {where}, {times}"
        case Verdict.PASS:
            return Status.NO_ISSUE, f"{endings} {where}: it does not show the issue"
        case Verdict.BROKEN:
            return Status.BROKEN, f"{endings} {where}"


def voters(standing: Sequence[Standing]) -> frozenset[str]:
    """Digests of the scripts that vote."""
    return frozenset(one.script for one in standing if one.status is Status.VOTES)


def count(matrix: Matrix, candidates: Sequence[Candidate], standing: Sequence[Standing]) -> dict[str, Tally]:
    """The tally of each candidate, by its id. The order of scripts and candidates has no influence."""
    qualified = voters(standing)
    return {candidate.id: _tally(matrix, candidate, qualified) for candidate in candidates}


def _tally(matrix: Matrix, candidate: Candidate, qualified: frozenset[str]) -> Tally:
    digest = candidate.patch.digest
    cells = {script.digest: matrix.cells.get((digest, script.digest)) for script in matrix.scripts}
    ran = {script: cell for script, cell in cells.items() if cell is not None}
    verdicts = {script: cell.verdict for script, cell in ran.items()}
    votes = sum(script in qualified and verdict is Verdict.PASS for script, verdict in verdicts.items())
    faults = sorted({cell.apply_error for cell in ran.values() if cell.apply_error})
    return Tally(verdicts, votes, faults[0] if faults else "")
