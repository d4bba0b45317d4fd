"""The processes that the local backend keeps: killed, replaced, and gone when nobody needs them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest_asyncio

from sandbox.api import Environment, EnvironmentSpec, Limits, Script
from sandbox.local_sandbox import LocalSandbox

COUNTED = "import os, sys, time; print('{token}', flush=True); os.execvp('sleep', ['sleep', '{token}'])"
OWNER = """
import asyncio, sys
from pathlib import Path
from sandbox.api import EnvironmentSpec, Script
from sandbox.local_sandbox import LocalSandbox
async def main():
    sandbox = LocalSandbox(1)
    environment = await sandbox.build(EnvironmentSpec(sys.argv[1], Path(sys.argv[2])))
    await sandbox.execute(environment, Script(sys.argv[3]))
asyncio.run(main())
"""


@pytest_asyncio.fixture
async def local() -> AsyncIterator[LocalSandbox]:
    sandbox = LocalSandbox(1)
    yield sandbox
    await sandbox.close()


@pytest_asyncio.fixture
async def built(local: LocalSandbox, repository: object) -> Environment:
    return await local.build(repository.spec())  # type: ignore[attr-defined]


def workers() -> set[int]:
    """Living workers that this process started."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            command, status = (entry / "cmdline").read_bytes(), (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError):
            continue
        if b"serve_host" in command and int(status[1]) == os.getpid() and status[0] != "Z":
            found.add(int(entry.name))
    return found


async def test_one_process_serves_many_executions(local: LocalSandbox, built: Environment) -> None:
    before = workers()
    codes = [(await local.execute(built, Script(f"raise SystemExit({code})"))).exit_code for code in (0, 2, 7)]
    assert codes == [0, 2, 7]
    assert workers() == before
    assert len(before) == 1


async def test_idle_worker_that_was_killed(local: LocalSandbox, built: Environment) -> None:
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
    assert (await local.execute(built, Script("print('next')"))).output == "next\n"


async def test_worker_killed_at_work(
    local: LocalSandbox, built: Environment, token: str, alive: Callable[[str], bool]
) -> None:
    task = asyncio.create_task(local.execute(built, Script(COUNTED.format(token=token)), None, Limits(seconds=4)))
    async with asyncio.timeout(30):
        while not alive(token):  # noqa: ASYNC110  another process is waited for
            await asyncio.sleep(0.05)
    (first,) = workers()
    os.kill(first, signal.SIGKILL)
    execution = await task
    assert (execution.limit, execution.output) == ("seconds", f"{token}\n")  # of the second try, which nobody disturbed
    assert workers().isdisjoint({first})
    assert not alive(token)


async def test_closing_ends_the_workers(local: LocalSandbox, built: Environment) -> None:
    await local.execute(built, Script("pass"))
    assert workers()
    await local.close()
    assert not workers()


def test_death_of_the_owner_ends_what_it_runs(repository: object, token: str, alive: Callable[[str], bool]) -> None:
    spec: EnvironmentSpec = repository.spec()  # type: ignore[attr-defined]
    command = [sys.executable, "-c", OWNER, spec.base_commit, str(spec.repository), COUNTED.format(token=token)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(root)}) as owner:
        until = time.monotonic() + 60
        while not alive(token):
            assert time.monotonic() < until
            assert owner.poll() is None
            time.sleep(0.05)
        owner.kill()
    until = time.monotonic() + 5
    while alive(token) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(token)
