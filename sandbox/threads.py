"""Blocking calls on daemon threads of our own.

`asyncio.to_thread` uses non-daemon threads: a cancelled call to an engine that hangs would hold up `asyncio.run` and
the interpreter's exit until it returns. These threads hold up neither.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Task = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class DaemonThreads:
    """At most `limit` daemon threads, started as they are needed; they live until `close`."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0
        """Bodies that are under way or wait for a thread. Counted where the loop runs: a lock that is shared with the
        threads is handed to and fro, hundreds of times a second where each call to a model waits for the disk."""

    def submit(self, body: Callable[[], T]) -> asyncio.Future[T]:
        """Start the body on a thread; the future belongs to the running loop. Cancelling it does not stop the body."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._busy += 1
        if self._threads == 0 or self._threads < min(self._busy, self._limit):
            self._threads += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._tasks.put((body, loop, future))
        return future

    def close(self) -> None:
        """Let the threads end, each after what it has under way. What is submitted later starts new ones."""
        for _ in range(self._threads):
            self._tasks.put(None)
        self._threads = 0

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if task is None:
                return
            body, loop, future = task
            result: Any = None
            fault: BaseException | None = None
            try:
                result = body()
            except BaseException as error:
                fault = error
            try:
                loop.call_soon_threadsafe(self._settle, future, result, fault)
            except RuntimeError:
                self._busy -= 1  # the loop is closed: nobody waits any more

    def _settle(self, future: asyncio.Future[Any], result: Any, fault: BaseException | None) -> None:
        self._busy -= 1
        if future.done():
            return
        if fault is None:
            future.set_result(result)
        else:
            future.set_exception(fault)
