"""What a step that asks a model says: whom it prefers first, and where it says nothing the order so far, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selection.chain import Contest, Placed, Ruling, by_score
from selection.outcomes import counted

UNCOMPARED = "not compared"
"""How the reason begins for a candidate that no model was shown."""


def preferred(contest: Contest, compared: Sequence[Placed], calls: int, note: str, evidence: Mapping[str, Any]) -> Ruling:
    """Those that were compared, by score and then as they were, then the others as they were."""
    first, *others = by_score(compared)
    level = [one.candidate.id for one in others if one.score == first.score]
    asked = {one.candidate.id for one in compared}
    rest = [one for one in contest.candidates if one.id not in asked]
    behind = [Placed(one, f"{UNCOMPARED}: behind the first {len(compared)}") for one in rest]
    notes = [counted(calls, "model call"), note, f"level with the first: {', '.join(level)}" if level else ""]
    said = {"chosen": first.candidate.id, "undecided": "", **evidence}
    return Ruling((first, *others, *behind), note=_joined(notes), figures={"calls": calls}, evidence=said)


def as_before(contest: Contest, why: str, calls: int = 0, evidence: Mapping[str, Any] | None = None) -> Ruling:
    """The order so far, since nothing was decided."""
    kept = tuple(Placed(one, f"number {place} of the order so far") for place, one in enumerate(contest.candidates, 1))
    notes = [counted(calls, "model call") if calls else "", why, "the order so far stands"]
    said = {"chosen": None, "undecided": why if calls else "", **(evidence or {})}
    return Ruling(kept, note=_joined(notes), figures={"calls": calls}, evidence=said)


def _joined(notes: Sequence[str]) -> str:
    return "; ".join(note for note in notes if note)
