"""A small repository with a past and a future, and all backends with an environment built from it."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox import probe
from sandbox.api import Environment, EnvironmentSpec, Execution, Limits, Patch, Sandbox, Script
from sandbox.docker_fast import FastDockerSandbox
from sandbox.docker_sandbox import DockerSandbox
from sandbox.local_sandbox import LocalSandbox
from tests import image_registry
from tests.processes import arguments_of, everybody
from tests.sandbox import hostile

BACKENDS = [pytest.param("docker", marks=pytest.mark.docker), pytest.param("fast", marks=pytest.mark.docker), "local"]
DATES = {"GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z"}


@dataclass(frozen=True, slots=True)
class Repository:
    """Three commits: one before the base commit, the base, and the fix."""

    path: Path
    past: str
    base: str
    future: str

    def spec(self, **settings: object) -> EnvironmentSpec:
        return EnvironmentSpec(self.base, self.path, **settings)  # type: ignore[arg-type]


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **DATES, "GIT_CONFIG_GLOBAL": os.devnull},
    ).stdout.strip()


def commit(directory: Path, message: str, files: dict[str, str]) -> str:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    git(directory, "add", "-A")
    git(directory, "commit", "-qm", message)
    return git(directory, "rev-parse", "HEAD")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    path = tmp_path_factory.mktemp("repository")
    git(path, "init", "-q")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")  # tests side by side share an engine, but not its images
    past = commit(path, "first", {"pkg/__init__.py": "", "README": "one\ntwo\nthree\n", ".worker": worker})
    git(path, "tag", "-a", "-m", "first release", "v1")
    base = commit(path, "base", {"pkg/core.py": "def double(x):\n    return x + x + 1\n", "pkg/old.py": "OLD = True\n"})
    future = commit(path, "fix", {"pkg/core.py": "def double(x):\n    return x + x\n"})
    git(path, "tag", "v2")
    return Repository(path, past, base, future)


@pytest.fixture(scope="session", autouse=True)
def cache_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("cache")
        patch.setenv("RUNOFF_CACHE_DIR", str(directory))
        yield directory


def require(kind: str) -> None:
    """Skip what this machine cannot run; fail instead where CI promises it."""
    finding = asyncio.run({"docker": probe.probe_docker, "fast": probe.probe_fast, "local": probe.probe_local}[kind]())
    if not finding.works:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{kind}: {finding.words}")
        pytest.skip(f"{kind}: {finding.words}")


def make(kind: str, workers: int = 2) -> DockerSandbox | LocalSandbox:
    return {"docker": DockerSandbox, "fast": FastDockerSandbox, "local": LocalSandbox}[kind](workers)


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    require(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def environment(backend: str, repository: Repository) -> Iterator[Environment]:
    """Built once for all tests of a backend."""

    async def build() -> Environment:
        sandbox = make(backend)
        try:
            return await sandbox.build(repository.spec(variables={"GIVEN": "by the environment"}))
        finally:
            await sandbox.close()

    built = asyncio.run(build())
    yield built
    if built.backend == "docker":
        subprocess.run(["docker", "rmi", "-f", built.location], check=False, capture_output=True)


@pytest_asyncio.fixture
async def sandbox(backend: str) -> AsyncIterator[Sandbox]:
    made = make(backend)
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept(backend: str) -> AsyncIterator[Sandbox]:
    """One sandbox for all hostile tests of a module: what one of them leaves behind, the next would meet."""
    made = make(backend, 1)
    yield made
    await made.close()


@pytest.fixture
def attack(kept: Sandbox, environment: Environment) -> Callable[..., Awaitable[Execution]]:
    """Runs a hostile script and returns what became of it, after an innocent one found everything as it should be."""

    async def run(
        text: str, limits: Limits = hostile.SMALL, *, patch: Patch | None = None, network: bool = False
    ) -> Execution:
        place = replace(environment, network=network)
        execution = await kept.execute(place, Script(text), patch, limits)
        after = await kept.execute(place, Script(hostile.INNOCENT), None, limits)
        assert (after.output, after.exit_code, after.limit) == ("innocent\n", 2, None)
        return execution

    return run


@pytest.fixture
def make_sandbox(backend: str) -> Callable[[int], Sandbox]:
    """A sandbox with so many workers; the test closes it."""
    return lambda workers: make(backend, workers)


@pytest.fixture
def token() -> str:
    """A length of sleep that no other process has, to find a process by; containers' processes are seen from here too."""
    return f"{90_000 + secrets.randbelow(9_999)}.{secrets.randbelow(10**9):09d}"


@pytest.fixture
def alive() -> Callable[[str], bool]:
    """Whether a process with this token among its arguments exists."""

    return lambda token: any(token in arguments_of(pid) for pid in everybody())


@pytest.fixture
def remove_built() -> Callable[[Environment], None]:
    """Removes the image of an environment that only one test uses."""

    def remove(built: Environment) -> None:
        if built.backend == "docker":
            subprocess.run(["docker", "rmi", "-f", built.location], check=False, capture_output=True)

    return remove


@pytest.fixture(scope="session")
def require_docker() -> None:
    require("docker")


@pytest.fixture(scope="session")
def require_local() -> None:
    require("local")


@pytest.fixture
def registry(
    require_docker: None, require_service: Callable[[object, str], None], tmp_path: Path
) -> Iterator[image_registry.Registry]:
    """A registry with nothing in it; what the engine got from it is removed in the end."""
    require_service(image_registry.program(), image_registry.REASON)
    with image_registry.serve(tmp_path) as served:
        yield served
