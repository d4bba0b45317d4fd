"""Says in words why the winner won and each of the others lost."""

from __future__ import annotations

from collections.abc import Sequence

from selection.outcomes import counted
from selection.record import Method
from selection.shortlist import Ranked, Shortlist, compare, deciding
from selection.trajectory import Decision


def winner(short: Shortlist, decision: Decision) -> Ranked | None:
    """Whom the trajectory chose, else the first of the ranking, else nobody."""
    if decision.chosen is None:
        return short.finalists[0] if short.finalists else None
    return next(one for one in short.finalists if one.candidate == decision.chosen)


def method(ranked: Sequence[Ranked], decision: Decision) -> Method:
    """What decided; `ranked` are all candidates that apply, the best first."""
    if not ranked:
        return Method.NONE
    if len(ranked) == 1:
        return Method.ONLY
    return Method.TRAJECTORY if decision.chosen else Method(deciding(ranked[0], ranked[1]).value)


def victory(ranked: Sequence[Ranked], decision: Decision, *, voted: bool) -> str:
    """Why the winner won, in a few sentences."""
    said = []
    if not ranked:
        said.append("There is no candidate that applies.")
    elif len(ranked) == 1:
        said.append("It is the only candidate that applies.")
    elif decision.chosen:
        effort = f"{counted(decision.calls, 'model call')} and {counted(len(decision.trials), 'script')}"
        place = next(number for number, one in enumerate(ranked, 1) if one.candidate == decision.chosen)
        said.append(f"The selection trajectory chose it after {effort}; in rank it was number {place}.")
    else:
        said.append(f"It is first in rank: {compare(ranked[0], ranked[1], 'the second')}.")
    if decision.undecided:
        said.append(f"The selection trajectory did not decide: {decision.undecided}.")
    if ranked and not voted:
        said.append("No vote took place: no script shows the issue on the unpatched code base every time.")
    return " ".join(said)


def defeat(one: Ranked, better: Ranked, short: Shortlist, decision: Decision) -> str:
    """Why a candidate that applies lost against the winner, `better`."""
    if one in short.others:
        return f"not on the short-list: {compare(one, short.finalists[-1], 'the last on it')}"
    if decision.chosen:
        return f"a finalist; the selection trajectory preferred {better.candidate.id}"
    return f"a finalist: {compare(one, better, 'the winner')}"
