"""Lets the first request of a shared prompt prefix go alone, so that the others find it in the server's cache.

Ten samples that start together would each pay for the same prefix, since none has been cached yet. So the first one
goes ahead and the rest wait until it has returned. If it fails they go together: a server that is down is not waited
for by one after the other. A prefix that the server cannot cache, being too short, is not waited for at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.llm.prefix_cache import OWN_SERVER, PrefixCache


class Primer:
    """Single flight per prefix, at the first use and again whenever the prefix may have left the cache."""

    def __init__(self, cache: PrefixCache = OWN_SERVER, *, enabled: bool = True) -> None:
        self._cache = cache
        self._enabled = enabled
        self._used: dict[str, float] = {}
        self._flights: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def turn(self, prefix: str, tokens: int) -> AsyncIterator[None]:
        """Wait for this request's turn; the context is the request.

        `prefix` names what is shared, `tokens` is its length as estimated. An empty or too short prefix never waits, and
        nobody waits twice: requests that have waited go together, whatever became of the one that they waited for.
        """
        if not self._enabled or not prefix or tokens < self._cache.min_tokens:
            yield
            return
        first: asyncio.Event | None = None
        if flight := self._flights.get(prefix):
            await flight.wait()
        elif not self._is_warm(prefix):
            first = self._flights[prefix] = asyncio.Event()
        started = time.monotonic()
        try:
            yield
            self._used[prefix] = max(started, self._used.get(prefix, started))  # the cache counts from when it was read
        finally:
            if first:
                del self._flights[prefix]
                first.set()

    def _is_warm(self, prefix: str) -> bool:
        used = self._used.get(prefix)
        return used is not None and time.monotonic() - used < self._cache.lifetime
