"""Building, caching, cancelling and interrupting, on all real backends."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import health
from sandbox.api import Environment, EnvironmentSpec, Limits, Sandbox, Script
from sandbox.errors import EnvironmentBuildError, SandboxError

SLEEP = "import os; print('sleeping', flush=True); os.execvp('sleep', ['sleep', '{token}'])"


async def appeared(alive: Callable[[str], bool], token: str) -> None:
    async with asyncio.timeout(30):
        while not alive(token):  # noqa: ASYNC110  another process is waited for
            await asyncio.sleep(0.05)


async def gone(alive: Callable[[str], bool], token: str, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while alive(token):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.05)
    return True


def containers(sandbox: Sandbox) -> list[str]:
    """Containers of this sandbox that the engine still has, running or not."""
    if sandbox.name != "docker":
        return []
    label = f"label=runoff.run={sandbox.engine.run}"  # type: ignore[attr-defined]
    listed = subprocess.run(["docker", "ps", "-aq", "--filter", label], check=True, capture_output=True, text=True)
    return listed.stdout.split()


async def test_cancelled_execution_leaves_nothing(
    sandbox: Sandbox, environment: Environment, token: str, alive: Callable[[str], bool]
) -> None:
    task = asyncio.create_task(sandbox.execute(environment, Script(SLEEP.format(token=token))))
    await appeared(alive, token)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 8)
    assert await gone(alive, token, 2)
    assert containers(sandbox) == []
    assert (await sandbox.execute(environment, Script("print('next')"))).output == "next\n"


async def test_interrupt_ends_everything(
    sandbox: Sandbox, environment: Environment, token: str, alive: Callable[[str], bool]
) -> None:
    tasks = [asyncio.create_task(sandbox.execute(environment, Script(SLEEP.format(token=token)))) for _ in range(3)]
    await appeared(alive, token)
    sandbox.interrupt()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert [type(result) for result in results] == [SandboxError] * 3
    assert await gone(alive, token, 2)
    assert containers(sandbox) == []
    with pytest.raises(SandboxError):
        await sandbox.execute(environment, Script("print('too late')"))


async def test_no_container_is_left_after_executions(sandbox: Sandbox, environment: Environment, backend: str) -> None:
    await sandbox.execute(environment, Script("import time; time.sleep(60)"), limits=Limits(seconds=0.5))
    assert len(containers(sandbox)) == (backend == "fast")  # the pool keeps its own, until it is closed
    await sandbox.close()
    assert containers(sandbox) == []


async def test_environment_is_cached_by_content(
    sandbox: Sandbox, environment: Environment, repository: Any, tmp_path: Path
) -> None:
    clone = tmp_path / "clone.git"
    await asyncio.to_thread(shutil.copytree, repository.path / ".git", clone)
    lines: list[str] = []
    again = await sandbox.build(EnvironmentSpec(repository.base[:10], clone, variables=environment.variables), lines.append)
    assert again == environment
    await asyncio.sleep(0)
    assert len(lines) == 1
    assert "cached" in lines[0]


@pytest.mark.slow
async def test_failing_set_up(sandbox: Sandbox, repository: Any) -> None:
    spec = repository.spec(setup="echo compiler not found >&2\nfalse || exit 7\necho never")
    with pytest.raises(EnvironmentBuildError) as caught:
        await sandbox.build(spec)
    assert "exit code 7" in caught.value.message
    assert "compiler not found" in caught.value.message
    assert caught.value.hint
    assert containers(sandbox) == []


@pytest.mark.slow
async def test_set_up_whose_output_has_no_last_newline(
    sandbox: Sandbox, repository: Any, remove_built: Callable[[Environment], None]
) -> None:
    built = await sandbox.build(repository.spec(setup="printf done; mkdir -p $HOME/kept/deep; chmod -R a-w $HOME/kept"))
    execution = await sandbox.execute(built, Script("print('ran')"))
    with pytest.raises(EnvironmentBuildError, match="exit code 3"):
        await sandbox.build(repository.spec(setup="printf 'no newline'; exit 3"))
    await sandbox.close()  # a pool's containers hold on to their image
    remove_built(built)
    assert (execution.exit_code, execution.output) == (0, "ran\n")


@pytest.mark.slow
async def test_set_up_changes_what_executions_see(
    sandbox: Sandbox, repository: Any, remove_built: Callable[[Environment], None]
) -> None:
    setup = """
pip install -q iniconfig==2.0.0
echo changed >> README
git fetch -q . HEAD
echo built > generated.txt
"""
    lines: list[str] = []
    built = await sandbox.build(repository.spec(setup=setup), lines.append)
    text = """
import importlib.metadata, os, subprocess
status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True).stdout.split()
print(importlib.metadata.version("iniconfig"), open("generated.txt").read().strip(), status, os.path.exists(".git/FETCH_HEAD"))
print([name for name in os.environ if "PIP" in name or "CERT" in name or "PROXY" in name.upper()])
print(os.path.exists("/run/runoff-ca.crt") and os.path.getsize("/run/runoff-ca.crt"))
"""
    execution = await sandbox.execute(built, Script(text))
    await sandbox.close()
    remove_built(built)
    first, second, third = execution.output.splitlines()
    assert (first, second) == ("2.0.0 built ['??', 'generated.txt'] False", "[]")
    assert third in ("False", "0")
    await asyncio.sleep(0)
    assert any("tracked files" in line for line in lines)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (EnvironmentSpec("0" * 40, Path("/nonexistent")), "not a git repository"),
        (EnvironmentSpec("0" * 40), "no commit"),
    ],
)
async def test_unusable_repository(sandbox: Sandbox, repository: Any, spec: EnvironmentSpec, words: str) -> None:
    if spec.repository is None:
        spec = EnvironmentSpec("0" * 40, repository.path)
    with pytest.raises(EnvironmentBuildError, match=words):
        await sandbox.build(spec)


async def test_unknown_interpreter(sandbox: Sandbox, repository: Any) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"no (such )?interpreter"):
        await sandbox.build(repository.spec(python="python1.5"))


async def test_health_of_the_baseline(sandbox: Sandbox, environment: Environment, repository: Any) -> None:
    baseline = await health.check_baseline(
        sandbox, environment, base_commit=repository.base, test_command="echo two tests failed; exit 3"
    )
    assert baseline.python.startswith("3.")
    assert (baseline.test_exit, baseline.test_tail) == (3, "two tests failed")
    assert "exits 3" in baseline.warning
    with pytest.raises(EnvironmentBuildError, match="not at the base commit"):
        await health.check_baseline(sandbox, environment, base_commit=repository.future)
