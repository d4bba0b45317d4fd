"""Lets the first request of a shared prompt prefix go alone, so that the others find it in the server's cache.

Ten samples that start together would each pay for the same prefix, since none has been cached yet. So the first one
goes ahead and the rest wait until it has returned. If it fails they go together: a server that is down is not waited
for by one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LIFETIME = 300.0
"""Seconds that a vendor keeps an unused prefix (Anthropic's default); after a longer pause it is primed again."""


class Primer:
    """Single flight per prefix."""

    def __init__(self, *, enabled: bool = True, lifetime: float = LIFETIME) -> None:
        self._enabled = enabled
        self._lifetime = lifetime
        self._used: dict[str, float] = {}
        self._first: dict[str, asyncio.Lock] = {}
        self._failed: set[str] = set()

    @asynccontextmanager
    async def turn(self, prefix: str) -> AsyncIterator[None]:
        """Wait for this request's turn; the context is the request. An empty prefix never waits."""
        if not self._enabled or not prefix:
            yield
            return
        if not self._is_warm(prefix):
            async with self._first.setdefault(prefix, asyncio.Lock()):
                if not self._is_warm(prefix) and prefix not in self._failed:
                    self._failed.add(prefix)  # until it has returned well
                    yield
                    self._succeed(prefix)
                    return
        yield
        self._succeed(prefix)

    def _succeed(self, prefix: str) -> None:
        self._failed.discard(prefix)
        self._used[prefix] = time.monotonic()

    def _is_warm(self, prefix: str) -> bool:
        used = self._used.get(prefix)
        return used is not None and time.monotonic() - used < self._lifetime
