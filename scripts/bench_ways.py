"""What `bench_sandbox` compares ours with: no isolation, and a container for each execution as the reference has it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import docker
import docker.errors
from bench_cells import MODULE, SHARED, Cell, git

from sandbox.api import Environment, Limits, Sandbox
from sandbox.docker_build import PATH_LABEL
from sandbox.engine import archive
from sandbox.jobs import SYSTEM_PATH, variables
from sandbox.threads import DaemonThreads

LIMITS = Limits(seconds=120)
LABEL = "runoff.bench"

Way = Callable[[Cell], Awaitable[int | None]]
"""Executes a cell; gives the exit code."""


class Blocking(ABC):
    """A way that executes on threads, as many at once as there are workers."""

    def __init__(self, workers: int) -> None:
        self._threads = DaemonThreads(workers, "bench")
        self._gate = asyncio.Semaphore(workers)
        self._under_way: set[asyncio.Future[int | None]] = set()

    async def __call__(self, cell: Cell) -> int | None:
        """The exit code."""
        async with self._gate:
            running = self._threads.submit(lambda: self._run(cell))
            self._under_way.add(running)
            try:
                return await asyncio.shield(running)
            finally:
                if running.done():
                    self._under_way.discard(running)

    async def close(self) -> None:
        """End what is under way, which there is only after an interruption, and wait until it has ended."""
        while self._under_way:
            self._kill()
            ended, self._under_way = await asyncio.wait(self._under_way, timeout=1)
            for running in ended:
                running.exception()  # fetched, so that it is not reported as lost
        self._threads.close()

    @abstractmethod
    def _run(self, cell: Cell) -> int | None:
        """Execute the cell, blocking."""

    @abstractmethod
    def _kill(self) -> None:
        """End the processes that the threads wait for."""


class Bare(Blocking):
    """No isolation: what the executions themselves take.

    A tree for each worker, cleaned up after each cell by name, as somebody who knows the scripts could.
    """

    def __init__(self, tree: Path, place: Path, python: str, workers: int) -> None:
        """`tree`: a repository to clone; `python`: an interpreter that has what the tree needs."""
        super().__init__(workers)
        self._python = python
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._trees: list[Path] = []
        for number in range(workers):
            copy = place / f"bare-{number}"
            git(place, "clone", "-q", str(tree), str(copy))
            self._trees.append(copy)

    def _run(self, cell: Cell) -> int:
        tree = self._trees.pop()
        try:
            return self._run_in(tree, cell)
        finally:
            self._trees.append(tree)

    def _kill(self) -> None:
        for process in list(self._processes):
            process.kill()

    def _run_in(self, tree: Path, cell: Cell) -> int:
        if cell.patch:
            git(tree, "apply", "-", stdin=cell.patch.diff)
        shared = tree.with_suffix(".shared")  # two workers in one /dev/shm would see each other's files
        with tempfile.NamedTemporaryFile("w", suffix=".py", dir=tree.parent) as script:
            script.write(cell.script.text.replace(SHARED, str(shared)))
            script.flush()
            environment = {"PYTHONPATH": str(tree), "PATH": SYSTEM_PATH, "PYTHONHASHSEED": "0"}
            with subprocess.Popen([self._python, script.name], cwd=tree, env=environment) as process:
                self._processes.add(process)
                code = process.wait()
            self._processes.discard(process)
        if cell.patch or cell.pollutes:
            git(tree, "checkout", "-q", "--", MODULE)
            for stale in (tree / MODULE).parent.glob(f"__pycache__/{Path(MODULE).stem}.*"):
                stale.unlink()  # its time is told in seconds: the next patch could be as old and as long
        if cell.pollutes:
            (tree / "left").unlink()
            shared.unlink()
        return code


class Reference(Blocking):
    """A container for each execution, in which everything is done by exec, and which is then stopped."""

    def __init__(self, environment: Environment, stop_seconds: int, workers: int) -> None:
        """`stop_seconds`: how long the container's first process is given to end, which it ignores."""
        super().__init__(workers)
        self._environment = environment
        self._stop_seconds = stop_seconds
        self._token = uuid4().hex
        self._client = docker.from_env(timeout=120)
        path = self._client.images.get(environment.location).labels.get(PATH_LABEL, SYSTEM_PATH)
        self._variables = variables(path, environment.variables)

    async def close(self) -> None:
        """As `Blocking`; then no container is left."""
        await super().close()
        self._client.close()

    def _kill(self) -> None:
        with contextlib.suppress(docker.errors.APIError):  # its thread removes one meanwhile
            for container in self._client.containers.list(all=True, filters={"label": f"{LABEL}={self._token}"}):
                container.remove(force=True)

    def _run(self, cell: Cell) -> int | None:
        container: Any = self._client.containers.run(
            self._environment.location,
            entrypoint=["tail", "-f", "/dev/null"],
            detach=True,
            network_mode="none",
            labels={LABEL: self._token},
        )
        try:
            files = {"script.py": cell.script.text.encode(), "patch.diff": (cell.patch.diff if cell.patch else "").encode()}
            container.put_archive("/", archive(files))
            if cell.patch:
                applied = container.exec_run(["git", "apply", "/runoff/patch.diff"], workdir="/testbed")
                if applied.exit_code != 0:
                    raise RuntimeError(applied.output.decode())
            command = ["timeout", str(LIMITS.seconds), "python", "/runoff/script.py"]
            return int(container.exec_run(command, workdir="/testbed", environment=self._variables).exit_code)
        finally:
            container.stop(timeout=self._stop_seconds)
            container.remove()


def in_sandbox(sandbox: Sandbox, environment: Environment) -> Way:
    """A backend of ours as a way."""

    async def run(cell: Cell) -> int | None:
        return (await sandbox.execute(environment, cell.script, cell.patch, LIMITS)).exit_code

    return run
