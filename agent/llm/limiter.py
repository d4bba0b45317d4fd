"""Bounds how many calls are in flight, by what the server bears.

The bound follows additive increase, multiplicative decrease, as TCP's congestion window does (Chiu and Jain 1989; RFC
5681): it falls by half when the server says that it is overloaded, and rises by one after as many good calls as it is
wide, up to what the user allows. A pause that the server asks of one call holds back all of them. A call that waits to
be repeated gives its place to another, and is the first to get one again. Calls of lower rank go first: an instance
that began early ends early, where all would else end together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count

from agent.llm.faults import Transient

LONGEST_HOLD = 120.0
"""Seconds that one call's Retry-After holds the others at most; afterwards each is told by the server itself."""
UNASKED_HOLD = 10.0
"""The same where an overloaded server names no pause and the call that was turned away chose its own."""


class Limiter:
    """At most `limit` holders of a slot at a time; those who wait go by: repeated calls first, then rank, then order."""

    def __init__(self, limit: int) -> None:
        """`limit` is what the user allows, and what the bound begins with."""
        self._ceiling = self._limit = max(1, limit)
        self._waiting: list[tuple[bool, int, int, asyncio.Future[None]]] = []
        self._arrivals = count()
        self._hold: asyncio.TimerHandle | None = None
        self._good = 0
        self.round = 0
        """Counts the decreases; a call belongs to the round in which its attempt began."""
        self.in_flight = 0
        """Slots that are held now."""

    @property
    def limit(self) -> int:
        """The bound of this moment, 1 to what the user allows."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        """What the user allows from now on; a lower one takes effect as slots are given back."""
        self._ceiling = self._limit = max(1, limit)
        self._good = 0
        self._wake()

    @asynccontextmanager
    async def slot(self, rank: int = 0) -> AsyncIterator[Slot]:
        """Hold a slot for as long as the context lasts, but for its rests. Of those who wait a lower rank goes first."""
        slot = Slot(self, rank)
        await slot.take()
        try:
            yield slot
        finally:
            slot.give_back()

    def hold(self, seconds: float) -> None:
        """Let no call begin for `seconds`, or as long as an earlier hold still lasts if that is longer."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if seconds <= 0 or (self._hold is not None and self._hold.when() >= until):
            return
        if self._hold is not None:
            self._hold.cancel()
        self._hold = loop.call_at(until, self._release)

    def raise_bound(self, began: int) -> None:
        """A call of round `began` ended well: as many of this round as the bound is wide raise it by one."""
        if began != self.round or self._limit >= self._ceiling:
            return
        self._good += 1
        if self._good >= self._limit:
            self._limit += 1
            self._good = 0
            self._wake()

    def lower_bound(self, began: int) -> None:
        """A call of round `began` met an overloaded server: the first of a round halves the bound, the others do not."""
        if began != self.round:
            return
        self.round += 1
        self._good = 0
        self._limit = max(1, self._limit // 2)

    async def take(self, *, again: bool, rank: int = 0) -> None:
        """Wait for a slot; with `again` before those who have not had one yet."""
        if self._free and not self._waiting:
            self.in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (not again, rank, next(self._arrivals), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot had been given and would be lost
                self.give_back()
            raise

    def give_back(self) -> None:
        """Leave a slot to the next."""
        self.in_flight -= 1
        self._wake()

    @property
    def _free(self) -> bool:
        return self._hold is None and self.in_flight < self._limit

    def _release(self) -> None:
        self._hold = None
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._free:
            turn = heappop(self._waiting)[-1]
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


class Slot:
    """One call's place among those in flight; tells the limiter how the server took each attempt."""

    def __init__(self, limiter: Limiter, rank: int = 0) -> None:
        self._limiter = limiter
        self._rank = rank
        self._held = False
        self._round = 0
        self._fault: Transient | None = None

    async def take(self, *, again: bool = False) -> None:
        """Wait for the place; the attempt belongs to the round in which it gets it."""
        await self._limiter.take(again=again, rank=self._rank)
        self._held, self._round = True, self._limiter.round

    def give_back(self) -> None:
        """Leave the place, if it is held."""
        if self._held:
            self._held = False
            self._limiter.give_back()

    def succeeded(self) -> None:
        """The attempt ended well."""
        self._limiter.raise_bound(self._round)

    def failed(self, fault: Transient) -> None:
        """The attempt failed in passing; only an overload says something about the bound."""
        self._fault = fault
        if fault.overload:
            self._limiter.lower_bound(self._round)

    async def rest(self, seconds: float) -> None:
        """Wait before the next attempt, while another call has the place.

        The pause that the server asked for is everybody's. An overloaded server that named none would turn others away
        as well, so for a part of the wait nobody begins. A call that gives up, because the pause is longer than it may
        wait, does not come here and holds nobody: the others find out, and end too.
        """
        if self._fault is not None and self._fault.retry_after is not None:
            self._limiter.hold(min(self._fault.retry_after, LONGEST_HOLD))
        elif self._fault is not None and self._fault.overload:
            self._limiter.hold(min(seconds, UNASKED_HOLD))
        self.give_back()
        await asyncio.sleep(seconds)
        await self.take(again=True)
