"""`runoff` with a sandbox that executes nothing, for `scripts/soak_batch.py` alone: what it does is worked out from digests.

The command is the real one in all else. An execution ends after a time and with an exit code that follow from the
patch's and the script's digests; on the unpatched tree every script shows the issue.
"""

from __future__ import annotations

import asyncio

from agent.cli.app import main
from sandbox import probe
from sandbox.api import Environment, EnvironmentSpec, Execution, Patch, Script, Verdict, digest_of
from sandbox.health import PYTHON, TREE

SECONDS = 0.1
"""What an execution takes on average."""
EXITS = {Verdict.PASS: 0, Verdict.ISSUE: 2, Verdict.BROKEN: 1}


class Pretended:
    """Fulfils `sandbox.api.Sandbox`."""

    name = "docker"

    def __init__(self, workers: int) -> None:
        self._gate = asyncio.Semaphore(workers)

    async def build(self, spec: EnvironmentSpec, *_: object) -> Environment:
        """Nothing is built; where the tree is, is its commit."""
        return Environment(spec.base_commit, "pretended", spec.base_commit)

    async def execute(self, environment: Environment, script: Script, patch: Patch | None = None, *_: object) -> Execution:
        """As the digests will have it."""
        if script == PYTHON:
            return Execution(0, "runoff-python: 3.11.2\n", 0.0)
        if script == TREE:
            return Execution(0, f"runoff-head: {environment.location}\nrunoff-changed: 0\n", 0.0)
        number = int(digest_of(script.digest, patch.digest if patch else "")[:8], 16)
        seconds = SECONDS * (0.5 + number % 1000 / 1000)
        async with self._gate:
            await asyncio.sleep(seconds)
        verdict = (Verdict.PASS, Verdict.PASS, Verdict.ISSUE, Verdict.BROKEN)[number % 4] if patch else Verdict.ISSUE
        return Execution(EXITS[verdict], f"line of output number {number}\n" * 20, seconds)

    def interrupt(self) -> None:
        """Nothing runs."""

    async def close(self) -> None:
        """Nothing is held."""


async def choose(_: object, workers: int, *__: object) -> Pretended:
    """In place of `sandbox.probe.choose`."""
    return Pretended(workers)


if __name__ == "__main__":
    vars(probe)["choose"] = choose  # the one thing that is not as in the command
    main()
