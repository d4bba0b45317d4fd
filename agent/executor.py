"""Executes scripts for one instance: each (patch, script, repeat) once, shared by all trajectories and the matrix."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agent.redaction import of_process
from agent.trajectory.journal import Entry, Journal
from sandbox.api import Environment, Execution, Limits, Patch, Sandbox, Script, digest_of

Turn = Callable[[], AbstractAsyncContextManager[Any]]


class Executor:
    """A sandbox, an environment and limits, behind a cache by content that outlives the process."""

    def __init__(
        self, sandbox: Sandbox, environment: Environment, limits: Limits, cache: Path, turn: Turn = nullcontext
    ) -> None:
        """`cache`: a JSONL file of this instance; made at the first execution. `turn`: held while the sandbox is asked."""
        self._sandbox = sandbox
        self._environment = environment
        self._limits = limits
        self._turn = turn
        self._cache = Journal(cache, {"environment": environment.key})
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self, script: Script, patch: Patch | None = None, repeat: int = 0) -> Execution:
        """The execution of this script on this patch (None: the unpatched tree). Raises SandboxError."""
        environment = self._environment
        where = f"{environment.key} {environment.network}"
        pair = digest_of(where, script.digest, patch.digest if patch else "", self._limits.digest)
        async with self._locks[f"{pair} {repeat}"]:
            entry = self._cache.find("run", pair, repeat, {})
            if entry is None:
                async with self._turn():
                    started = time.monotonic()
                    executed = await self._sandbox.execute(self._environment, script, patch, self._limits)
                execution = _without_secrets(executed)
                result = {"execution": asdict(execution)}
                entry = Entry("run", pair, repeat, "", {}, result, time.monotonic() - started)
                self._cache.keep(entry)  # the journal of whoever asked waits for the disk; lost, it is executed again
        return Execution(**entry.result["execution"])

    @property
    def executed(self) -> tuple[int, float]:
        """(executions, their seconds added up) in the cache: those of earlier processes, too."""
        seconds = [entry.result["execution"]["seconds"] for entry in self._cache.entries()]
        return len(seconds), sum(seconds)

    def close(self) -> None:
        """Close the cache's file."""
        self._cache.close()


def _without_secrets(execution: Execution) -> Execution:
    """A sandbox has no key of this process, but the repository may: what prints it must not write it down."""
    known = of_process().known
    return replace(execution, output=known(execution.output), apply_error=known(execution.apply_error))
