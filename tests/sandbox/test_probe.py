"""The choice of a sandbox, and what an ordinary user gets."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import probe
from sandbox.api import Environment, Script
from sandbox.docker_fast import FastDockerSandbox
from sandbox.docker_sandbox import DockerSandbox
from sandbox.errors import SandboxUnavailable

ROOT = Path(probe.__file__).parents[1]
NOBODY = 65534
ORDINARY = """
import asyncio, sys
from pathlib import Path
from sandbox.api import EnvironmentSpec, Limits, Script
from sandbox.errors import SandboxError
from sandbox.local_sandbox import LocalSandbox

async def main():
    sandbox = LocalSandbox(1)
    print(sandbox.describe())
    try:
        await sandbox.try_out()
    except SandboxError as error:
        print("refused:", error.message)
        return
    built = await sandbox.build(EnvironmentSpec("HEAD", Path(sys.argv[1])))
    for text in ("open('left', 'w'); raise SystemExit(2)", "import os; raise SystemExit(os.path.exists('left'))"):
        print("exit", (await sandbox.execute(built, Script(text))).exit_code)
    greedy = "kept = []\\nwhile True: kept.append(bytearray(8 << 20))"
    print("limit", (await sandbox.execute(built, Script(greedy), None, Limits(memory_mb=128, seconds=30))).limit)
    bomb = "import os, time\\nwhile True:\\n try: os.fork()\\n except OSError: time.sleep(.1)"
    print("limit", (await sandbox.execute(built, Script(bomb), None, Limits(processes=30, seconds=30))).limit)

asyncio.run(main())
"""


async def test_auto_falls_back_where_no_engine_answers(monkeypatch: pytest.MonkeyPatch, require_local: None) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    lines: list[str] = []
    sandbox = await probe.choose("auto", 1, lines.append)
    await sandbox.close()
    assert sandbox.name == "local"
    assert "no engine answers" in lines[0]


async def test_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(SandboxUnavailable, match="no engine answers") as caught:
        await probe.choose("docker")
    assert (caught.value.exit_code, caught.value.hint) == (4, "scripts/docker-engine")


@pytest.mark.docker
async def test_portable_is_a_container_an_execution_even_where_the_fast_path_works(require_docker: None) -> None:
    lines: list[str] = []
    sandbox = await probe.choose("portable", 1, lines.append)
    await sandbox.close()
    assert type(sandbox) is DockerSandbox
    assert lines[0].startswith("sandbox docker (portable): a new container an execution")


@pytest.mark.docker
async def test_sandbox_that_was_tried_is_the_one_that_is_used(
    require_docker: None, environment: Environment, backend: str
) -> None:
    if backend == "local":
        return
    sandbox = await probe.choose("docker", 1)
    try:
        assert isinstance(sandbox, FastDockerSandbox)
        assert (await sandbox.execute(environment, Script("raise SystemExit(2)"))).exit_code == 2
        assert sandbox.engine.remove_all() == 1
    finally:
        await sandbox.close()


@pytest.mark.docker
async def test_findings(require_docker: None, require_local: None) -> None:
    findings = {finding.subject: finding for finding in await probe.probe()}
    assert findings["docker"].works
    assert "answers" in findings["docker"].words
    assert findings["local"].works
    assert findings["docker fast path"].works
    assert set(findings) == {"docker", "docker fast path", "base image", "local"}


@pytest.mark.docker
def test_engine_script_does_nothing_twice(require_docker: None) -> None:
    done = subprocess.run([ROOT / "scripts/docker-engine"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    refused = subprocess.run([ROOT / "scripts/docker-engine", "--nonsense"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "usage:" in refused.stderr


@pytest.fixture
def place_for_nobody(repository: object) -> Iterator[Path]:
    """A directory that an ordinary user can use, with what the local backend imports and a repository."""
    with tempfile.TemporaryDirectory(prefix="runoff-ordinary-") as name:
        place = Path(name)
        for module in ("sandbox", "filelock", "platformdirs"):
            found = importlib.util.find_spec(module)
            shutil.copytree(Path(found.origin).parent, place / module)  # type: ignore[arg-type, union-attr]
        shutil.copytree(repository.path, place / "repository")  # type: ignore[attr-defined]
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        place.chmod(0o755)
        yield place


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user all the other tests ask this")
def test_ordinary_user(place_for_nobody: Path) -> None:
    system = "/usr/local/bin:/usr/bin:/bin"
    reachable = [sys.executable, shutil.which(f"python3.{sys.version_info.minor}", path=system)]
    environment = {"PATH": system, "HOME": str(place_for_nobody), "PYTHONPATH": str(place_for_nobody)}
    for python in filter(None, reachable):
        # Through env: setpriv itself may still start what its new user may not.
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", python]
        if subprocess.run([*command, "-c", ""], env=environment, capture_output=True, check=False).returncode == 0:
            break
    else:
        pytest.skip("no interpreter of this version that an ordinary user may start")
    repository = str(place_for_nobody / "repository")
    done = subprocess.run(
        [*command, "-c", ORDINARY, repository], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert "as this user, in a user namespace" in lines[0]
    if lines[1].startswith("refused:"):
        assert "user namespace" in lines[1]
    else:
        assert lines[1:] == ["exit 2", "exit 0", "limit memory", "limit processes"]
