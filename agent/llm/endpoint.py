"""What the clients of both protocols share: where their attempts go, how long one may take, what to call its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import httpx2

from agent.llm.faults import cut_off, garbled, stalled

T = TypeVar("T")

STREAM_ABOVE = 4096
"""Replies that may be longer (in tokens) are streamed: gateways cut connections on which nothing moves for a minute."""
IDLE = 120.0
"""Seconds of silence that end an attempt once the text of a streamed reply has begun. Before that a server reads the
prompt and a model reasons, both for minutes and without a word; only the limit on the whole attempt holds there."""

CONNECTIONS = httpx2.Limits(max_connections=65_536)
"""At most so many, which is no limit: the run's limiter decides how many calls are in flight. The SDKs stop at 1,000, and
what waits for a connection there counts as a call that takes long."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model on a server."""

    spec: str
    base_url: str
    """Empty for the vendor's own server."""
    timeout: float
    """Seconds that a whole attempt may take."""
    idle: float
    """Seconds; see IDLE."""
    broken: type[Exception]
    """What the SDK raises for a connection that broke or was not made."""
    unreadable: type[Exception]
    """What the SDK raises for a success that it cannot read."""

    @property
    def where(self) -> str:
        """Model and server, for messages."""
        return f"{self.spec}, {self.base_url}" if self.base_url and self.base_url not in self.spec else self.spec

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Bounds an attempt, and names what ends it unless it is a status. Raises Transient."""
        try:
            async with asyncio.timeout(self.timeout):
                yield
        except (self.broken, httpx2.HTTPError, OSError) as error:
            raise cut_off(error, self.where) from error
        except (self.unreadable, ValueError) as error:
            raise garbled(error, self.where) from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Names an answer that cannot be read: the SDKs check no types, and assert the order of events."""
        try:
            yield
        except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise garbled(error, self.where) from error

    async def flowing(self, events: AsyncIterator[T], is_text: Callable[[T], bool]) -> AsyncIterator[T]:
        """The events of a streamed reply. Raises Transient where they stop coming after the first that `is_text`."""
        limit = None
        while True:
            try:
                async with asyncio.timeout(limit) as clock:
                    event = await anext(events)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                if clock.expired():
                    raise stalled(self.idle, self.where) from error
                raise
            if limit is None and is_text(event):
                limit = self.idle
            yield event
