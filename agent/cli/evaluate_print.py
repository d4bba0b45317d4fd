"""What `runoff evaluate` says at its end."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console

from agent.cli.json_events import emit
from selection.evaluation.record import NAME, Submission, Summary, counts
from selection.evaluation.verdicts import Outcome
from selection.reports.statistics import wilson


def conclude(summary: Summary, submissions: list[Submission], errors: Console, *, as_json: bool) -> int:
    """Print the score of each submission. The exit code: 4 if the infrastructure kept something from being judged."""
    place = summary.folder / NAME
    judged = {
        one.name: [summary.outcome(one, name) for name in summary.instances if name in one.patches] for one in submissions
    }
    candidates = [judgement for one in submissions for judgement in summary.of_candidates(one)]
    if as_json:
        emit(
            "result",
            file=str(place),
            note=summary.note,
            submissions={name: _plain(counts(each)) for name, each in judged.items()},
        )
    else:
        typer.echo(summary.note)
        for one in submissions:
            typer.echo(f"{one.name}: {in_words(counts(judged[one.name]))}")
        typer.echo(f"results: {place}\nmore: runoff report {summary.folder}")
    tried = [
        summary.outcome(one, name)
        for one in submissions
        for name in summary.instances
        if name in one.patches and name not in one.settled
    ]
    faults = [judgement for judgement in tried + candidates if judgement and judgement.outcome is Outcome.INFRASTRUCTURE]
    if faults and not as_json:
        errors.print(
            f"not judged, as the infrastructure failed: {len(faults)}; the same command tries them again", style="yellow"
        )
    return 4 if faults else 0


def _plain(outcomes: dict[str, int]) -> dict[str, Any]:
    judged = sum(count for outcome, count in outcomes.items() if Outcome(outcome).judged)
    resolved = outcomes.get(Outcome.RESOLVED, 0)
    return {"outcomes": outcomes, "resolved": resolved, "judged": judged, "interval": wilson(resolved, judged)}


def in_words(outcomes: dict[str, int]) -> str:
    """Such as `5 of 8 resolved (62.5 %, 95 % interval 30.6 to 86.3 %); unresolved 3`."""
    judged = sum(count for outcome, count in outcomes.items() if Outcome(outcome).judged)
    resolved = outcomes.get(Outcome.RESOLVED, 0)
    low, high = wilson(resolved, judged)
    share = f" ({resolved / judged:.1%}, 95 % interval {low:.1%} to {high:.1%})" if judged else ""
    rest = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.items() if outcome != Outcome.RESOLVED)
    return f"{resolved} of {judged} resolved{share}" + (f"; {rest}" if rest else "")
