"""Repeats calls that failed for a passing reason; the only place that does, since the SDKs' own retries are off.

Honours Retry-After, else waits exponentially longer with jitter. Every repeat is reported, none is silent. What counts
against the time limit are the waits: an attempt that took long, or stood in the limiter's queue, may still be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_exponential_jitter, wait_random

from agent.llm.errors import ServerUnavailable
from agent.llm.faults import Transient
from agent.llm.limiter import Slot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How long to try."""

    attempts: int = 8
    """Attempts in all, the first included."""
    seconds: float = 600.0
    """Seconds of waiting between attempts, in all; a Retry-After that is longer ends the attempts at once."""
    silences: int = 2
    """Attempts that may run into a time limit: each took that long and may be on the bill."""
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled each time."""
    longest_wait: float = 60.0
    """Seconds at most between attempts where the server asks for none."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """An attempt that failed and is about to be repeated."""

    attempt: int
    """Which one failed; 1 is the first."""
    wait: float
    """Seconds until the next."""
    fault: Transient


async def with_retries(
    call: Callable[[], Awaitable[T]], limits: RetryLimits, on_repeat: Callable[[Repeat], None], slot: Slot | None = None
) -> T:
    """The result of the first attempt that succeeds. Raises ServerUnavailable after the last; other errors at once.

    `slot`: the call's place among those in flight, which it leaves while it waits.
    """
    backoff = wait_exponential_jitter(multiplier=limits.first_wait, max=limits.longest_wait, jitter=limits.first_wait)
    spread = wait_random(0, limits.first_wait)  # so that calls parked together do not return together
    silences = 0

    def wait(state: RetryCallState) -> float:
        asked = _fault(state).retry_after
        return backoff(state) if asked is None else asked + spread(state)

    def enough(state: RetryCallState) -> bool:
        waited = state.idle_for + state.upcoming_sleep
        return state.attempt_number >= limits.attempts or silences >= limits.silences or waited > limits.seconds

    def report(state: RetryCallState) -> None:
        on_repeat(Repeat(state.attempt_number, state.next_action.sleep if state.next_action else 0.0, _fault(state)))

    async def attempt() -> T:  # tenacity awaits what is declared a coroutine function, and nothing else
        nonlocal silences
        try:
            result = await call()
        except Transient as fault:
            silences += fault.silent
            if slot is not None:
                slot.failed(fault)
            raise
        if slot is not None:
            slot.succeeded()
        return result

    attempts = AsyncRetrying(
        sleep=asyncio.sleep if slot is None else slot.rest,
        retry=retry_if_exception_type(Transient),
        stop=enough,
        wait=wait,
        before_sleep=report,
        retry_error_callback=_give_up,
    )
    return await attempts(attempt)


def _fault(state: RetryCallState) -> Transient:
    fault = state.outcome.exception() if state.outcome else None
    if not isinstance(fault, Transient):
        raise TypeError("only a Transient is retried")
    return fault


class GaveUp(ServerUnavailable):
    """The attempts are used up. `may_be_billed`: the last one may be on the bill (earlier ones were reported)."""

    def __init__(self, message: str, *, where: str, hint: str, may_be_billed: bool) -> None:
        super().__init__(message, where=where, hint=hint)
        self.may_be_billed = may_be_billed


def _give_up(state: RetryCallState) -> None:
    fault = _fault(state)
    tried = f"{state.attempt_number} attempt{'s' if state.attempt_number > 1 else ''}"
    raise GaveUp(
        f"gave up after {tried}: {fault.message}",
        where=fault.where,
        hint=fault.hint if "runoff resume" in fault.hint else f"{fault.hint}; or later: runoff resume RUN",
        may_be_billed=fault.may_be_billed,
    ) from fault
