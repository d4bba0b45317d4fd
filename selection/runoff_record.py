"""From what the steps of a run-off said to its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from sandbox.api import Patch, Verdict
from sandbox.matrix import Matrix
from selection.candidates import Candidate, gather
from selection.chain import Choice, StepRecord, plain_name
from selection.equivalence import Level, classes
from selection.explain import Course, asks, defeat, victory
from selection.ranking import Ranked, rank
from selection.record import Entrant, Selection, Trial
from selection.votes import Standing, Tally, voters

_APART = ("trials", "argument")
"""Evidence that the record holds in places of its own."""


def record(
    choice: Choice,
    *,
    selector: str,
    patches: Sequence[tuple[str, Patch | None]],
    tallies: Mapping[str, Tally],
    standing: Sequence[Standing],
    matrix: Matrix,
    files_before: Mapping[str, str],
) -> Selection:
    """The record of a run-off; the arguments are what `selection.runoff` worked with."""
    everyone = _everyone(choice, patches, tallies)
    course = _course(choice, everyone)
    voted = bool(voters(standing))
    reason = victory(course, voted=voted, ends=_ends(choice))
    fates = [(one, reason if one == course.winner else defeat(one, course)) for one in course.ranked]
    fates += [(everyone[entry.id], entry.reason) for step in choice.steps[:1] for entry in step.out]
    by_votes = rank([one.candidate for one in course.ranked], tallies)
    asked = [step for step in choice.steps if asks(step)]
    return Selection(
        chosen=choice.chosen.id if choice.chosen else None,
        method=course.method,
        reason=reason,
        vote_took_place=voted,
        shortlist=tuple(one.candidate.id for one in course.finalists),
        candidates=tuple(_entrant(one, tallies, why, finalist=one in course.finalists) for one, why in fates),
        standings=tuple(standing),
        dropped=choice.dropped,
        calls=sum(int(step.figures["calls"]) for step in asked),
        trials=tuple(_trial(trial) for step in asked for trial in step.evidence.get("trials", ())),
        argument=_argument(course.decider),
        selector=selector,
        steps=tuple(_without_trials(step) for step in choice.steps),
        spared=choice.spared,
        alike=_alike([one.candidate for one in course.ranked], matrix, files_before),
        first_by_votes=by_votes[0].candidate.id if by_votes else "",
    )


def _ends(choice: Choice) -> list[str]:
    """What became of each sample that has no part in the run-off."""
    held = [(entry.reason, len(entry.members)) for step in choice.steps[:1] for entry in step.out]
    ends = [*((one.reason, 1) for one in choice.dropped), *held]
    return [reason.partition(":")[0] for reason, samples in ends for _ in range(samples)]


def _everyone(
    choice: Choice, patches: Sequence[tuple[str, Patch | None]], tallies: Mapping[str, Tally]
) -> dict[str, Ranked]:
    """All candidates that any step saw, by id, with the samples that the steps put together."""
    places = {origin: place for place, (origin, _) in enumerate(patches)}
    known = {one.id: one for one in gather(patches)[0]}
    found: dict[str, Ranked] = {}
    for step in choice.steps:
        for entry in (*step.kept, *step.out):
            origins = tuple(sorted(entry.members, key=places.__getitem__))
            found[entry.id] = Ranked(replace(known[entry.id], origins=origins), tallies[entry.id].votes)
    return found


def _course(choice: Choice, everyone: Mapping[str, Ranked]) -> Course:
    before = list(takewhile(lambda step: not asks(step), choice.steps))
    finalists = tuple(everyone[entry.id] for entry in before[-1].kept) if before else ()
    short = [step for step in reversed(before) if plain_name(step.step) == "top"]
    others = tuple(everyone[entry.id] for step in short for entry in step.out)
    winner = everyone[choice.chosen.id] if choice.chosen else None
    return Course((*finalists, *others), finalists, choice.steps, winner, choice.spared)


def _argument(decider: StepRecord | None) -> str:
    """What a model said for its choice; of several answers the first that names the winner."""
    if decider is None:
        return ""
    answers: Sequence[Mapping[str, str]] = decider.evidence.get("answers", ())
    chosen = (answer["words"] for answer in answers if answer["chosen"] == decider.evidence["chosen"])
    return str(decider.evidence.get("argument", next(chosen, "")))


def _trial(held: Mapping[str, Any]) -> Trial:
    verdicts = {candidate: Verdict(verdict) for candidate, verdict in held["verdicts"].items()}
    return Trial(held["script"], held["language"], Verdict(held["baseline"]), verdicts)


def _without_trials(step: StepRecord) -> StepRecord:
    return replace(step, evidence={name: value for name, value in step.evidence.items() if name not in _APART})


def _alike(candidates: Sequence[Candidate], matrix: Matrix, files: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    groups = classes([one.patch for one in candidates], Level.BEHAVIOUR, files=files, matrix=matrix)
    return tuple(tuple(candidates[index].id for index in group) for group in groups if len(group) > 1)


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
