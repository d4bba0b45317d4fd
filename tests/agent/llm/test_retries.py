"""The retry layer, and how it reads what servers ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.errors import RequestRefused, ServerUnavailable
from agent.llm.faults import Transient, retry_after_of
from agent.llm.retry import GaveUp, Repeat, RetryLimits, with_retries

QUICK = RetryLimits(attempts=4, seconds=30, first_wait=0.001, longest_wait=0.01)
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def failing(times: int, fault: Exception) -> Callable[[], Awaitable[str]]:
    left = [times]

    async def call() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise fault
        return "done"

    return call


async def test_passing_fault_is_repeated_and_reported() -> None:
    repeats: list[Repeat] = []
    fault = Transient("busy", where="model")
    assert await with_retries(failing(2, fault), QUICK, repeats.append) == "done"
    assert [(repeat.attempt, repeat.fault) for repeat in repeats] == [(1, fault), (2, fault)]


async def test_callable_that_returns_a_coroutine() -> None:
    async def call(text: str) -> str:
        return text

    assert await with_retries(lambda: call("done"), QUICK, lambda repeat: None) == "done"


async def test_giving_up() -> None:
    repeats: list[Repeat] = []
    with pytest.raises(GaveUp, match="gave up after 4 attempts: busy") as raised:
        await with_retries(failing(99, Transient("busy", where="model", may_be_billed=True)), QUICK, repeats.append)
    assert len(repeats) == 3
    assert isinstance(raised.value, ServerUnavailable)
    assert (raised.value.where, raised.value.may_be_billed, raised.value.exit_code) == ("model", True, 4)
    assert "runoff resume" in raised.value.hint


async def test_final_fault_is_raised_at_once() -> None:
    with pytest.raises(RequestRefused):
        await with_retries(failing(1, RequestRefused("no")), QUICK, lambda repeat: pytest.fail("repeated"))


async def test_pause_the_server_asks_for_is_kept() -> None:
    repeats: list[Repeat] = []
    started = asyncio.get_running_loop().time()
    await with_retries(failing(1, Transient("busy", retry_after=0.2)), QUICK, repeats.append)
    assert 0.2 <= repeats[0].wait < 0.3
    assert asyncio.get_running_loop().time() - started >= 0.2


async def test_pause_longer_than_the_limit_ends_it_at_once() -> None:
    started = asyncio.get_running_loop().time()
    with pytest.raises(GaveUp, match="1 attempt:"):
        await with_retries(failing(9, Transient("busy", retry_after=3600)), QUICK, lambda repeat: pytest.fail("repeated"))
    assert asyncio.get_running_loop().time() - started < 1


async def test_waits_grow_up_to_the_longest() -> None:
    repeats: list[Repeat] = []
    limits = RetryLimits(attempts=7, seconds=30, first_wait=0.01, longest_wait=0.05)
    with pytest.raises(GaveUp):
        await with_retries(failing(99, Transient("busy")), limits, repeats.append)
    assert all(repeat.wait <= 0.05 for repeat in repeats)
    assert repeats[-1].wait == 0.05
    assert repeats[0].wait < repeats[-1].wait


async def test_cancellation_during_a_pause() -> None:
    task = asyncio.create_task(with_retries(failing(9, Transient("busy", retry_after=20)), QUICK, lambda repeat: None))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@given(st.integers(0, 10**9 - 1))
def test_retry_after_in_seconds(seconds: int) -> None:
    assert retry_after_of({"Retry-After": f" {seconds} "}) == seconds


@given(st.integers(-(10**6), 10**6), st.sampled_from(["retry-after", "Retry-After", "RETRY-AFTER"]))
def test_retry_after_as_a_date(offset: int, name: str) -> None:
    date = format_datetime(NOW + timedelta(seconds=offset), usegmt=True)
    assert retry_after_of({name: date}, NOW) == max(0, offset)


@given(st.text())
def test_retry_after_of_any_text_is_a_pause_or_nothing(text: str) -> None:
    pause = retry_after_of({"Retry-After": text}, NOW)
    assert pause is None or pause >= 0


def test_no_retry_after() -> None:
    assert retry_after_of({"Content-Type": "text/plain"}) is None
