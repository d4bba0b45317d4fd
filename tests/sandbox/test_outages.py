"""An engine of the tests' own is stopped and killed under executions and builds: all is ridden out, nothing is left."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox import docker_pool
from sandbox.api import Environment, Script, Verdict
from sandbox.docker_fast import FastDockerSandbox
from sandbox.docker_sandbox import DockerSandbox
from sandbox.errors import SandboxError
from sandbox.images import BASE
from tests.private_engine import PrivateEngine, private_engine

pytestmark = [
    *(pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("private_engine")),
    # The docker library leaves it to the garbage collector to close a socket whose engine is gone.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
ISSUE = "raise SystemExit(2)"
SANDBOXES = {"fast": FastDockerSandbox, "portable": DockerSandbox}


@pytest.fixture(scope="module")
def running_engine(require_docker: None, require_service: Callable[[object, str], None]) -> Iterator[PrivateEngine]:
    """Started once, with the base image."""
    require_service(os.geteuid() == 0 and shutil.which("dockerd"), "a private engine needs root: sudo scripts/docker-engine")
    bridge = Path("/sys/class/net/docker0")
    number = (bridge / "ifindex").read_text() if bridge.exists() else ""
    with private_engine() as engine:
        engine.copy(BASE)
        yield engine
    assert not number or (bridge / "ifindex").read_text() == number, "the machine's own engine keeps its bridge"


@pytest.fixture
def engine(running_engine: PrivateEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateEngine]:
    """The one that this process uses for a while; nothing may be left in it."""
    monkeypatch.setenv("DOCKER_HOST", running_engine.host)
    if not running_engine.answers():
        running_engine.start()
    yield running_engine
    if not running_engine.answers():
        running_engine.start()
    gc.collect()  # now, and not in a test that knows nothing of it
    assert running_engine.docker("ps", "-aq").stdout == ""
    assert [each for each in running_engine.mounts() if "overlay2" in each] == []


@pytest.fixture
def environment(engine: PrivateEngine, repository: Any) -> Environment:
    """Built by the first test that asks for it; the others find it."""

    async def build() -> Environment:
        sandbox = FastDockerSandbox(1)
        try:
            return await sandbox.build(repository.spec())
        finally:
            await sandbox.close()

    return asyncio.run(build())


@asynccontextmanager
async def opened(kind: str, lines: list[str], workers: int = 2) -> AsyncIterator[DockerSandbox]:
    sandbox = SANDBOXES[kind](workers, lines.append)
    try:
        yield sandbox
    finally:
        await sandbox.close()


async def begins(alive: Callable[[str], bool], token: str) -> None:
    async with asyncio.timeout(60):
        while not alive(token):  # noqa: ASYNC110  another process is waited for
            await asyncio.sleep(0.05)


async def away(engine: PrivateEngine, how: str, seconds: float = 2.0) -> None:
    await asyncio.to_thread({"stop": engine.stop, "crash": engine.crash}[how])
    await asyncio.sleep(seconds)
    await asyncio.to_thread(engine.start)


@pytest.mark.parametrize("how", ["stop", "crash"])
@pytest.mark.parametrize("kind", list(SANDBOXES))
async def test_engine_that_is_away_under_an_execution(
    engine: PrivateEngine, environment: Environment, token: str, alive: Callable[[str], bool], kind: str, how: str
) -> None:
    lines: list[str] = []
    text = f"import subprocess, sys, time\nsubprocess.Popen(['sleep', '{token}'])\ntime.sleep(2)\nsys.exit(2)"
    async with opened(kind, lines) as sandbox:
        await sandbox.execute(environment, Script(ISSUE))
        task = asyncio.create_task(sandbox.execute(environment, Script(text)))
        await begins(alive, token)
        await away(engine, how)
        execution = await task
        names = engine.docker("ps", "-aq").stdout.split()
    assert (execution.verdict, execution.limit) == (Verdict.ISSUE, None)
    assert len(names) <= 1, "what died with the engine is removed as soon as it is back"
    assert not alive(token)
    assert [line.partition(";")[0].partition(",")[0] for line in lines] == [
        "the Docker engine does not answer",
        "the Docker engine answers again",
    ]


async def test_containers_that_died_while_they_were_idle(
    engine: PrivateEngine, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them at once, more than there are tries: none of them costs a try."""
    async with opened("fast", [], workers=3) as sandbox:
        wait = Script("import time; time.sleep(1)\n" + ISSUE)
        await asyncio.gather(*(sandbox.execute(environment, wait) for _ in range(3)))
        assert len(engine.docker("ps", "-q").stdout.split()) == 3
        await away(engine, "stop", seconds=0)
        monkeypatch.setattr(docker_pool, "PAUSES", (0.0,))
        found = await asyncio.gather(*(sandbox.execute(environment, Script(ISSUE)) for _ in range(3)))
    assert [execution.verdict for execution in found] == [Verdict.ISSUE] * 3


@pytest.mark.parametrize("kind", list(SANDBOXES))
async def test_engine_that_stays_away(
    engine: PrivateEngine, environment: Environment, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("RUNOFF_ENGINE_WAIT", "1")
    async with opened(kind, []) as sandbox:
        await sandbox.execute(environment, Script(ISSUE))
        await asyncio.to_thread(engine.stop)
        with pytest.raises(SandboxError, match="has not answered for") as parked:
            await sandbox.execute(environment, Script(ISSUE))
        assert (parked.value.exit_code, parked.value.cause) == (4, "sandbox")
        await asyncio.to_thread(engine.start)
        assert (await sandbox.execute(environment, Script(ISSUE))).verdict is Verdict.ISSUE


async def test_build_that_is_cut_off(
    engine: PrivateEngine, repository: Any, token: str, alive: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no failure of the set-up command: it is built once more."""
    lines: list[str] = []
    async with opened("portable", lines) as sandbox:
        setup = f"sleep {token} & sleep 3; kill %1; echo ready > ready"
        task = asyncio.create_task(sandbox.build(repository.spec(setup=setup), lines.append))
        await begins(alive, token)
        await away(engine, "crash")
        built = await task
        execution = await sandbox.execute(built, Script("print(open('ready').read(), end='')"))
    assert execution.output == "ready\n"
    assert sum(line.startswith("running the set-up command") for line in lines) == 2
    assert any(line.endswith("; building once more") for line in lines)
