"""Blocking calls on threads of our own: side by side up to a limit, and after a close again."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sandbox.threads import DaemonThreads


async def test_bodies_side_by_side() -> None:
    threads, meeting = DaemonThreads(3, "test-side"), threading.Barrier(3, timeout=10)
    await asyncio.gather(*(threads.submit(meeting.wait) for _ in range(3)))
    threads.close()


async def test_what_a_body_raises() -> None:
    threads = DaemonThreads(1, "test-raise")
    with pytest.raises(ZeroDivisionError):
        await threads.submit(lambda: 1 // 0)
    assert await threads.submit(lambda: "goes on") == "goes on"
    threads.close()


@pytest.mark.parametrize("limit", [1, 3])
async def test_use_after_a_close(limit: int) -> None:
    threads = DaemonThreads(limit, "test-closed")
    for _ in range(3):
        assert await asyncio.wait_for(threads.submit(lambda: "done"), 10) == "done"
        threads.close()
