"""The process that the local backend keeps for each worker: it forks a sandbox for each plan that it is told."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from sandbox import jobs
from sandbox.errors import SandboxError
from sandbox.jobs import SYSTEM_PATH

BOOTSTRAP = "import sys; sys.path.append(sys.argv[1]); from sandbox import pooled_runner; pooled_runner.serve_host()"
CHUNK = 1 << 16


class Lost(Exception):
    """The process is gone, and with it the answer."""


class Worker:
    """A running process. Not safe for use by two threads at once; `kill` may come from any."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", "-c", BOOTSTRAP, str(jobs.SOURCES.resolve().parent)]
        pipe, environment = subprocess.PIPE, {"PATH": SYSTEM_PATH}
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd="/", start_new_session=True
        )
        self._greeted = False

    def ask(self, plan: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to the plan. Raises Lost if the process ends before, TimeoutError after so many seconds."""
        deadline = time.monotonic() + seconds
        try:
            assert self._process.stdin is not None  # noqa: S101  it is a pipe
            self._process.stdin.write(json.dumps(plan).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Lost(self._last_words()) from error
        if not self._greeted:
            self._hear(deadline)
            self._greeted = True
        said = self._hear(deadline)
        try:
            answer: dict[str, Any] = json.loads(said)
        except ValueError as error:
            raise Lost(f"the answer cannot be read: {error}") from error
        return answer

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it, and with it all that runs below."""
        self._process.kill()

    def close(self) -> None:
        """Kill it and wait until it is gone."""
        self._process.kill()
        with contextlib.suppress(OSError), self._process:  # what was not written any more
            pass

    def _hear(self, deadline: float) -> bytes:
        """The next line of its standard output; it says nothing that it was not asked."""
        assert self._process.stdout is not None  # noqa: S101  it is a pipe
        handle = self._process.stdout.fileno()
        ready = select.poll()
        ready.register(handle, select.POLLIN)
        line = bytearray()
        while not line.endswith(b"\n"):
            if not ready.poll(1000 * max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            data = os.read(handle, CHUNK)
            if not data:
                raise Lost(self._last_words())
            line += data
        return bytes(line)

    def _last_words(self) -> str:
        self._process.kill()
        assert self._process.stderr is not None  # noqa: S101  it is a pipe
        return self._process.stderr.read().decode("utf-8", "replace").strip()[-500:] or "it said nothing"


class Workers:
    """The idle ones, kept for the next execution."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._closed = False
        self._lock = threading.Lock()

    def take(self) -> Worker:
        """An idle worker, else a new one. Raises SandboxError if none can be started."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
                worker.close()
        try:
            return Worker()
        except OSError as error:
            raise SandboxError(
                f"a process cannot be started: {error.strerror}", where="local", hint="runoff doctor"
            ) from error

    def give(self, worker: Worker, *, healthy: bool) -> None:
        """Take it back, or end it if it is not healthy or nobody needs it any more."""
        with self._lock:
            keep = healthy and not self._closed
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.close()

    def close(self) -> None:
        """End the idle ones; busy ones end when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()
