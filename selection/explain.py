"""Says in words why the winner of a run-off won and each of the others lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from selection.chain import Entry, StepRecord, plain_name
from selection.outcomes import counted
from selection.ranking import Ranked, compare, deciding
from selection.record import Method
from selection.steps.rulings import UNCOMPARED

ASKING = {"trajectory": Method.TRAJECTORY, "single": Method.SINGLE, "pairwise": Method.PAIRWISE}
"""The steps that may ask a model, with the method that they are."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a run-off went."""

    ranked: tuple[Ranked, ...]
    """All that apply: the finalists in the order in which a model was asked about them, then the others."""
    finalists: tuple[Ranked, ...]
    steps: tuple[StepRecord, ...]
    winner: Ranked | None
    spared: tuple[str, ...] = ()
    """Steps that an early stop left out."""

    @property
    def decider(self) -> StepRecord | None:
        """The last step that put somebody first; a model that was asked and did not decide is none."""
        return next((step for step in reversed(self.steps) if _decides(step)), None)

    @property
    def method(self) -> Method:
        """What decided."""
        if len(self.ranked) < 2:  # noqa: PLR2004  it takes two to decide between
            return Method.ONLY if self.ranked else Method.NONE
        name = plain_name(self.decider.step) if self.decider else ""
        if name in ASKING:
            return ASKING[name]
        return Method.CONSENSUS if name == "consensus" else Method(deciding(*self.ranked[:2]).value)


def asks(step: StepRecord) -> bool:
    """Whether the step may ask a model."""
    return plain_name(step.step) in ASKING


def _decides(step: StepRecord) -> bool:
    return step.evidence["chosen"] is not None if asks(step) else step.step in ("votes", "consensus")


def victory(course: Course, *, voted: bool, ends: Sequence[str]) -> str:
    """Why the winner won, in a few sentences; `ends` says of each sample without a candidate what became of it."""
    said = [_decision(course, ends), *map(_silence, course.steps)]
    if course.spared and course.winner:
        size = course.winner.candidate.class_size
        said.append(f"{counted(size, 'sample')} came to it, so these steps were left out: {', '.join(course.spared)}.")
    if course.ranked and not voted:
        said.append("No vote took place: no script shows the issue on the unpatched code base every time.")
    return " ".join(filter(None, said))


def _decision(course: Course, ends: Sequence[str]) -> str:
    match course.method:
        case Method.NONE:
            return f"There is no candidate that applies{_how_often(ends)}."
        case Method.ONLY:
            size = course.winner.candidate.class_size if course.winner else 1
            return "It is the only candidate that applies" + (f": {size} samples came to it." if size > 1 else ".")
        case Method.CONSENSUS:
            return f"It is first by consensus: {_reason(course.decider, course.winner)}."
        case Method.TRAJECTORY | Method.SINGLE | Method.PAIRWISE as method:
            place = next(number for number, one in enumerate(course.ranked, 1) if one == course.winner)
            return f"The {method.value} chose it {_effort(course.decider)}; in rank it was number {place}."
    return f"It is first in rank: {compare(course.ranked[0], course.ranked[1], 'the second')}."


def _how_often(ends: Sequence[str]) -> str:
    """` (2 samples: does not apply; 1 sample: the patch is empty)`; empty if nothing is known."""
    often = "; ".join(f"{counted(times, 'sample')}: {end}" for end, times in Counter(ends).most_common())
    return f" ({often})" if often else ""


def _effort(step: StepRecord | None) -> str:
    assert step is not None  # noqa: S101  a method of a model has its step
    calls = counted(int(step.figures["calls"]), "model call")
    if "trials" in step.evidence:
        return f"after {calls} and {counted(len(step.evidence['trials']), 'script')}"
    return f"after {calls} ({step.kept[0].reason})"


def _silence(step: StepRecord) -> str:
    """That a model was asked in vain."""
    method = ASKING.get(plain_name(step.step))
    if method is None or not step.evidence["undecided"]:
        return ""
    return f"The {method.value} did not decide: {step.evidence['undecided']}."


def defeat(one: Ranked, course: Course) -> str:
    """Why a candidate that applies lost against the winner."""
    winner, decider, method = course.winner, course.decider, course.method
    assert winner is not None  # noqa: S101  somebody who applies was beaten
    if one not in course.finalists:
        return f"not on the short-list: {_behind(one, course)}"
    if method in ASKING.values():
        said = _reason(decider, one)
        return said if said.startswith(UNCOMPARED) else f"a finalist; the {method.value} preferred {winner.candidate.id}"
    if method is Method.CONSENSUS:
        return f"a finalist: {_reason(decider, one)}"
    return f"a finalist: {compare(one, winner, 'the winner')}"


def _behind(one: Ranked, course: Course) -> str:
    if any(step.step == "consensus" for step in course.steps):
        return next(reason for step in course.steps if (reason := _of(step.out, one)))
    return compare(one, course.finalists[-1], "the last on it")


def _reason(step: StepRecord | None, one: Ranked | None) -> str:
    return _of(step.kept, one) if step and one else ""


def _of(entries: Sequence[Entry], one: Ranked) -> str:
    return next((entry.reason for entry in entries if entry.id == one.candidate.id), "")
