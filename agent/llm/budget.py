"""Keeps a run below a limit on dollars, tokens or calls, however many calls are in flight.

A call is admitted only if everything that is spent or reserved, this call's worst case included, stays within the
limit; the reservation is on the ledger before anybody else is asked. What does not fit only because of reservations in
flight waits, since most settle far below their worst case. What would not fit with nothing in flight is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.llm.ledger import Ledger
from agent.llm.totals import Worst
from sandbox.errors import BudgetReached, InputError

CENT = 1e-9
"""Dollars by which sums of floats may be off."""


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """Limits on a whole run, all its processes together. None: no limit."""

    dollars: float | None = None
    tokens: int | None = None
    """Prompt and reply tokens, cached ones included."""
    calls: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return (self.dollars, self.tokens, self.calls) != (None, None, None)


class Budget:
    """Admits calls to a run's ledger. One for all models of the run."""

    def __init__(self, ledger: Ledger, limits: BudgetLimits = BudgetLimits()) -> None:
        self.limits = limits
        self._ledger = ledger
        self._admitted = 0
        self._door = asyncio.Lock()  # first come, first served
        self._freed = asyncio.Event()

    async def admit(self, worst: Worst, reserve: Callable[[], int]) -> int:
        """Wait until a call fits, then `reserve` it on the ledger. Balance it with `release`, however the call ends.

        Raises BudgetReached where it cannot fit any more, InputError where its price is unknown and dollars are limited.
        """
        async with self._door:
            while (short := self.lacks(worst)) and self._admitted:
                self._freed.clear()
                await self._freed.wait()
            if short:
                raise BudgetReached(
                    f"the budget does not suffice for another call: {short}",
                    where=str(self._ledger.path),
                    hint="raise it: runoff resume RUN --budget MORE (or --budget-tokens, --budget-calls)",
                )
            number = reserve()
            self._admitted += 1
            return number

    def release(self) -> None:
        """An admitted call has ended; who waits looks again."""
        self._admitted -= 1
        self._freed.set()

    def admits(self, worst: Worst) -> bool:
        """Whether `admit` would not have to wait: there is room, and nobody is ahead."""
        return self.fits(worst) and not self._door.locked()

    def fits(self, worst: Worst) -> bool:
        """Whether a call of this worst case could begin now."""
        unknown = self.limits.dollars is not None and worst.dollars is None
        return not unknown and not self.lacks(worst)

    def lacks(self, worst: Worst, *, calls: int = 1) -> str:
        """What does not fit, in words; empty if it fits. `calls` 0: another attempt at a call that is admitted."""
        limits = self.limits
        dollars, tokens, made = self._ledger.most
        if limits.dollars is not None:
            if worst.dollars is None:
                raise unknown_price(str(self._ledger.path))
            if dollars + worst.dollars > limits.dollars + CENT:
                return _words(f"${limits.dollars:.2f}", f"${dollars:.4f}", f"${worst.dollars:.4f}")
        if limits.tokens is not None and tokens + worst.tokens > limits.tokens:
            return _words(f"{limits.tokens:,} tokens", f"{tokens:,}", f"{worst.tokens:,}")
        if limits.calls is not None and made + calls > limits.calls:
            return f"all {limits.calls:,} calls are made"
        return ""


def unknown_price(where: str, flag: str = "--price") -> InputError:
    """The error for a limit on dollars that cannot be kept."""
    return InputError(
        "the price of the model is unknown, so a budget in dollars cannot be kept",
        where=where,
        hint=f"give {flag} INPUT,CACHE_READ,CACHE_WRITE,OUTPUT in dollars per million tokens (0,0 if it costs nothing),"
        " or limit --budget-tokens or --budget-calls",
    )


def _words(limit: str, used: str, wanted: str) -> str:
    return f"{used} of {limit} are spent or reserved, and it may take {wanted}"
