"""Keeps a run below a limit on dollars, tokens or calls, however many calls are in flight.

A call is admitted only if everything that is spent or reserved, this call's worst case included, stays within the
limit; the reservation is on the ledger before anybody else is asked. What does not fit only because of reservations in
flight waits, since most settle far below their worst case. What would not fit with nothing in flight is refused.

One instance may have a limit of its own within the run's; the same rules hold for it, and nobody else waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

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
    dollars_per_issue: float | None = None
    """The limit on each instance."""

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return (self.dollars, self.tokens, self.calls, self.dollars_per_issue) != (None, None, None, None)


class IssueBudgetReached(BudgetReached):
    """The limit on one instance is reached; the others go on."""

    cause = "issue budget"


@dataclass(slots=True)
class _Gate:
    """Where the calls of one instance wait for each other."""

    door: asyncio.Lock = field(default_factory=asyncio.Lock)
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    admitted: int = 0
    users: int = 0
    """Calls that wait here or are admitted; the gate is let go of with the last."""


class Budget:
    """Admits calls to a run's ledger. One for all models of the run."""

    def __init__(self, ledger: Ledger, limits: BudgetLimits = BudgetLimits()) -> None:
        self.limits = limits
        self._ledger = ledger
        self._admitted = 0
        self._door = asyncio.Lock()  # first come, first served
        self._freed = asyncio.Event()
        self._gates: dict[str, _Gate] = {}

    async def admit(self, worst: Worst, reserve: Callable[[], int], issue: str = "") -> int:
        """Wait until a call fits, then `reserve` it on the ledger. Balance it with `release`, however the call ends.

        `issue` is the instance that the call is made for. Raises BudgetReached where it cannot fit any more
        (IssueBudgetReached: the instance's), InputError where its price is unknown and dollars are limited.
        """
        if self.limits.dollars_per_issue is None:
            return await self._admit(worst, reserve)
        gate = self._gates.setdefault(issue, _Gate())
        async with self._passing(gate, issue):
            while (short := self.lacks_of_issue(worst, issue)) and gate.admitted:
                gate.freed.clear()
                await gate.freed.wait()
            if short:
                raise IssueBudgetReached(
                    f"the budget of the issue does not suffice for another call: {short}",
                    where=issue,
                    hint="raise it: runoff resume RUN --budget-per-issue MORE",
                )
            number = await self._admit(worst, reserve)  # nothing of this instance is reserved while this waits
            gate.admitted += 1
            gate.users += 1
            return number

    @asynccontextmanager
    async def _passing(self, gate: _Gate, issue: str) -> AsyncIterator[None]:
        gate.users += 1
        try:
            async with gate.door:
                yield
        finally:
            self._leave(gate, issue)

    def _leave(self, gate: _Gate, issue: str) -> None:
        gate.users -= 1
        if not gate.users:
            del self._gates[issue]

    async def _admit(self, worst: Worst, reserve: Callable[[], int]) -> int:
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

    def release(self, issue: str = "") -> None:
        """An admitted call has ended; who waits looks again."""
        self._admitted -= 1
        self._freed.set()
        if gate := self._gates.get(issue):
            gate.admitted -= 1
            gate.freed.set()
            self._leave(gate, issue)

    def admits(self, worst: Worst, issue: str = "") -> bool:
        """Whether `admit` would not have to wait: there is room, and nobody is ahead."""
        gate = self._gates.get(issue)
        return self.fits(worst, issue) and not self._door.locked() and not (gate and gate.door.locked())

    def fits(self, worst: Worst, issue: str = "") -> bool:
        """Whether a call of this worst case could begin now."""
        limited = self.limits.dollars is not None or self.limits.dollars_per_issue is not None
        return not (limited and worst.dollars is None) and not self.lacks(worst) and not self.lacks_of_issue(worst, issue)

    def lacks(self, worst: Worst, *, calls: int = 1) -> str:
        """What does not fit, in words; empty if it fits. `calls` 0: another attempt at a call that is admitted."""
        limits = self.limits
        if not limits:
            return ""
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

    def lacks_of_issue(self, worst: Worst, issue: str) -> str:
        """What does not fit into the limit on this instance, in words; empty if it fits."""
        limit = self.limits.dollars_per_issue
        if limit is None:
            return ""
        if worst.dollars is None:
            raise unknown_price(str(self._ledger.path))
        dollars = self._ledger.most_dollars_of(issue)
        if dollars + worst.dollars > limit + CENT:
            return _words(f"${limit:.2f}", f"${dollars:.4f}", f"${worst.dollars:.4f}")
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
