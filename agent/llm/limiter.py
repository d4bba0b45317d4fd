"""Bounds how many calls are in flight.

The bound can be changed while calls wait, so that it can follow what the server bears (additive increase,
multiplicative decrease) without another mechanism.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limiter:
    """At most `limit` holders of a slot at a time; those who wait get theirs in order."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0
        """Slots that are held now."""

    @property
    def limit(self) -> int:
        """The bound. A lower one takes effect as slots are given back; a higher one wakes those who wait."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._wake()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for as long as the context lasts."""
        await self._take()
        try:
            yield
        finally:
            self.in_flight -= 1
            self._wake()

    async def _take(self) -> None:
        if self.in_flight < self._limit and not self._waiting:
            self.in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot had been given and would be lost
                self.in_flight -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self.in_flight < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
