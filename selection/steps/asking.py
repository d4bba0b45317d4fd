"""Two ways to ask a model that runs nothing: all candidates in one prompt, or two by two.

Models lean to the first or the last of what they are shown. So a prompt's order comes from digests and not from ranks,
further asks begin with another candidate each, and pairs are shown in both orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import isqrt
from typing import Any

from agent.instances import Instance
from agent.trajectory.flow import Flow
from sandbox.api import digest_of
from sandbox.errors import InputError
from selection.bench import Bench
from selection.candidates import Candidate
from selection.chain import Contest, Placed, Ruling
from selection.outcomes import counted
from selection.patches.excerpts import Excerpt, excerpts
from selection.steps.judge import Answer, bare, judge
from selection.steps.rulings import as_before, preferred
from selection.trajectory import SelectionSettings


@dataclass(frozen=True, slots=True)
class Single:
    """Shows the candidates in one prompt and asks for one; of several asks the majority decides.

    Each ask begins with another candidate, so a leaning to the first or the last is spread over all of them.
    """

    bench: Bench
    settings: SelectionSettings
    asks: int

    @property
    def name(self) -> str:
        """With the number of asks, unless it is one."""
        return "single" if self.asks == 1 else f"single:{self.asks}"

    @property
    def most_calls(self) -> int:
        """Model calls for one instance at most."""
        return self.asks * self.settings.attempts

    async def __call__(self, contest: Contest) -> Ruling:
        """A candidate's score is the number of asks that named it; ties stay in the order so far."""
        shown = contest.candidates[: self.settings.shown]
        if len(shown) < 2:  # noqa: PLR2004  it takes two
            return as_before(contest, "nothing was asked")
        base = by_lot(contest.instance, shown)
        turns = [base[at % len(base) :] + base[: at % len(base)] for at in range(self.asks)]
        asked = await _asked(self.bench, self.settings, contest, self.name, turns)
        votes = Counter(answer.chosen.id for answer in asked.answers if answer.chosen)
        if not votes:
            return as_before(contest, "; ".join(asked.notes), asked.calls, asked.evidence)
        placed = [Placed(one, f"named in {votes[one.id]} of {counted(self.asks, 'ask')}", votes[one.id]) for one in shown]
        return preferred(contest, placed, asked.calls, "; ".join(asked.notes), asked.evidence)


@dataclass(frozen=True, slots=True)
class Pairwise:
    """Compares the first few two by two, each pair in both orders; who wins more comparisons goes first (Copeland).

    A pair counts as level where the two orders disagree, which is what a leaning to the first or the second looks like.
    """

    bench: Bench
    settings: SelectionSettings
    count: int

    @property
    def name(self) -> str:
        """With the number of candidates, unless it is the usual one."""
        return "pairwise" if self.count == fit(self.settings.pairs) else f"pairwise:{self.count}"

    @property
    def most_calls(self) -> int:
        """Model calls for one instance at most."""
        return self.count * (self.count - 1) * self.settings.attempts

    async def __call__(self, contest: Contest) -> Ruling:
        """A candidate's score is its wins and half its draws; ties stay in the order so far."""
        shown = contest.candidates[: self.count]
        if len(shown) < 2:  # noqa: PLR2004  it takes two
            return as_before(contest, "nothing was asked")
        pairs = list(combinations(by_lot(contest.instance, shown), 2))
        turns = [order for one, other in pairs for order in ((one, other), (other, one))]
        asked = await _asked(self.bench, self.settings, contest, self.name, turns)
        winners = [_agreed(*asked.answers[at : at + 2]) for at in range(0, len(turns), 2)]
        level = winners.count(None)
        notes = "; ".join((f"{level} of {counted(len(pairs), 'pair')} level", *asked.notes))
        if level == len(pairs):
            return as_before(contest, notes, asked.calls, asked.evidence)
        placed = [_standing(one, pairs, winners) for one in shown]
        return preferred(contest, placed, asked.calls, notes, asked.evidence)


def _agreed(one: Answer, other: Answer) -> Candidate | None:
    return one.chosen if one.chosen == other.chosen else None


def _standing(one: Candidate, pairs: Sequence[tuple[Candidate, Candidate]], winners: Sequence[Candidate | None]) -> Placed:
    mine = [winner for pair, winner in zip(pairs, winners, strict=True) if one in pair]
    won, level = mine.count(one), mine.count(None)
    return Placed(one, f"won {won} of {counted(len(mine), 'comparison')}, {level} level", won + level / 2)


def by_lot(instance: Instance, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """In an order that depends on the instance and the patches alone."""
    return tuple(sorted(candidates, key=lambda one: digest_of(instance.id, one.patch.digest)))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What questions about one instance came to, in their order."""

    answers: tuple[Answer, ...]
    notes: tuple[str, ...]
    """What kept the model from seeing or saying more."""
    evidence: dict[str, Any]

    @property
    def calls(self) -> int:
        return sum(answer.calls for answer in self.answers)


async def _asked(
    bench: Bench, settings: SelectionSettings, contest: Contest, step: str, orders: Sequence[Sequence[Candidate]]
) -> _Asked:
    """One question for each order, side by side; all orders together hold the candidates whose code is shown."""
    shown = list(dict.fromkeys(one for order in orders for one in order))
    code, missing = _code(bench, contest.instance, shown, settings)
    bodies: list[Callable[[Flow], Awaitable[Answer]]] = [
        partial(judge, instance=contest.instance, order=order, code=code, settings=settings) for order in orders
    ]
    flow = await bench.flow(contest.instance, step)
    answers = await flow.all(bodies)
    plain = [_plain(order, answer) for order, answer in zip(orders, answers, strict=True)]
    return _Asked(tuple(answers), (*_silence(answers), *missing), {"answers": plain})


def _code(
    bench: Bench, instance: Instance, candidates: Sequence[Candidate], settings: SelectionSettings
) -> tuple[tuple[Excerpt, ...], list[str]]:
    """What the model is shown of the original code; why it is nothing, where no clone has it."""
    if not settings.code_chars:
        return (), []
    try:
        files = bench.files(instance, {path for one in candidates for path in one.paths})
    except InputError as error:
        return (), [f"diffs alone were shown: {error.message}"]
    return excerpts([bare(one.patch.diff) for one in candidates], files, settings.code_chars), []


def _plain(order: Sequence[Candidate], answer: Answer) -> dict[str, Any]:
    """An answer for the record."""
    chosen = answer.chosen.id if answer.chosen else None
    return {"order": [one.id for one in order], "chosen": chosen, "words": answer.words, "calls": answer.calls}


def _silence(answers: Sequence[Answer]) -> list[str]:
    """Why asks named nobody."""
    faults = Counter(answer.words for answer in answers if answer.chosen is None)
    return [f"{counted(times, 'ask')}: {fault}" for fault, times in sorted(faults.items())]


def fit(pairs: int) -> int:
    """The most candidates that have no more pairs than that."""
    return (1 + isqrt(1 + 8 * pairs)) // 2
