"""Sums over calls to models: what is known, and how much is not."""

from __future__ import annotations

import operator
from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over calls. Tokens and dollars are those that are known; the fields beside them say how much is not."""

    calls: int = 0
    """Calls that were started."""
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    cache_untold: int = 0
    """Settled calls whose server did not say what it had in its cache."""
    uncounted: int = 0
    """Settled calls whose prompt or reply tokens the server did not tell."""
    dollars: float = 0.0
    """Of the settled calls whose price is known."""
    unpriced: int = 0
    """Settled calls whose dollars are unknown; while there are any, `dollars` is a lower bound."""
    failed: int = 0
    """Calls that ended with a fault."""
    unsettled: int = 0
    """Calls that neither settled nor failed: in flight now, or cut off by a kill."""
    unsettled_dollars: float = 0.0
    """The worst case of the unsettled calls, as far as their price is known."""
    unsettled_tokens: int = 0
    """The same in tokens."""
    maybe_billed: int = 0
    """Attempts that failed or were repeated after the server may have worked on them; not part of `dollars`."""
    uncertain_dollars: float = 0.0
    """The worst case of what may be on the bill besides: those attempts, and settled calls with no usage told."""
    uncertain_tokens: int = 0
    """The same in tokens."""
    seconds: float = 0.0
    """How long the settled calls took, added up; they ran side by side."""

    @property
    def tokens_used(self) -> int:
        """Prompt and reply tokens that servers told."""
        return self.input + self.cache_read + self.cache_write + self.output

    @property
    def known_dollars(self) -> float | None:
        """The dollars; None where calls are settled and the price of none is known."""
        return None if self.unpriced and not self.dollars else self.dollars

    @property
    def most_dollars(self) -> float:
        """What all this costs at the most, as far as prices are known: what a budget has to go by."""
        return self.dollars + self.unsettled_dollars + self.uncertain_dollars

    @property
    def most_tokens(self) -> int:
        """The same in tokens."""
        return self.tokens_used + self.unsettled_tokens + self.uncertain_tokens

    @property
    def money(self) -> str:
        """The dollars in words: what is known, what may come on top, and how many calls' price is not known."""
        unsure = self.most_dollars - self.dollars
        sure = f"${self.dollars:.4f}" + (f" and at most ${unsure:.4f} unsettled" if unsure else "")
        if not self.unpriced:
            return sure
        unknown = f"{self.unpriced} call{'s' if self.unpriced > 1 else ''} of unknown price"
        return f"{sure} and {unknown}" if self.dollars or unsure else unknown

    @property
    def cached(self) -> str:
        """The share of prompt tokens that a cache served, in words; what is not told is not zero."""
        prompt = self.input + self.cache_read + self.cache_write
        if not prompt or (self.cache_untold and not self.cache_read):
            return "cache share unknown"
        share = f"{self.cache_read / prompt:.0%} of the prompt tokens from a cache"
        return share + (f" ({self.cache_untold} calls did not say)" if self.cache_untold else "")

    @property
    def tokens(self) -> str:
        """The tokens in words, and how many calls did not tell theirs."""
        counted = f"{self.input + self.cache_read + self.cache_write:,} tokens in, {self.output:,} out"
        if not self.uncounted:
            return counted
        unknown = f"the tokens of {self.uncounted} calls unknown"
        return f"{counted}, {unknown}" if self.input or self.output else unknown

    def __add__(self, other: Totals) -> Totals:
        return Totals(*map(operator.add, _values(self), _values(other)))

    def __sub__(self, other: Totals) -> Totals:
        return Totals(*map(operator.sub, _values(self), _values(other)))


_values = operator.attrgetter(*(each.name for each in fields(Totals)))
"""Sums are taken at every call of a run."""


@dataclass(frozen=True, slots=True)
class Worst:
    """The most that one attempt at a call can use."""

    tokens: int
    """Prompt and reply together."""
    dollars: float | None
    """None: the price is unknown."""

    def times(self, attempts: int) -> Self:
        """Of so many attempts."""
        return type(self)(self.tokens * attempts, None if self.dollars is None else self.dollars * attempts)
