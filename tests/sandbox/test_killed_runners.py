"""A runner that is killed from outside is the sandbox's loss, on every backend: the script runs again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from sandbox.api import Environment, Sandbox, Script, Verdict
from tests.processes import arguments_of, everybody


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def runner_of(token: str) -> int:
    """The first process of the namespace that a process with this token among its arguments is in; 0 if there is none."""
    for pid in (found for found in everybody() if token in arguments_of(found)):
        first = pid
        try:
            while status(first)["NSpid"][-1] != "1":
                first = int(status(first)["PPid"][0])
        except (OSError, ProcessLookupError):
            continue
        return first
    return 0


async def test_script_runs_again(
    sandbox: Sandbox, environment: Environment, token: str, alive: Callable[[str], bool]
) -> None:
    text = f"import subprocess, sys, time\nsubprocess.Popen(['sleep', '{token}'])\ntime.sleep(3)\nsys.exit(2)"
    task = asyncio.create_task(sandbox.execute(environment, Script(text)))
    async with asyncio.timeout(60):
        while not (runner := runner_of(token)):  # noqa: ASYNC110  another process is waited for
            await asyncio.sleep(0.05)
    assert len(status(runner)["NSpid"]) > 1, "it is not this machine's first process"
    os.kill(runner, signal.SIGKILL)
    execution = await task
    assert (execution.verdict, execution.limit, execution.exit_code) == (Verdict.ISSUE, None, 2)
    assert not alive(token)
