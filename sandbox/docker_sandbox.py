"""The portable Docker backend: a new container for every execution.

It asks nothing of the engine but its API, so it works with any engine, at half a second an execution. Files are put in
before the start and the runner is the container's command (PID 1, so no init of the engine's), which spares `exec`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from uuid import uuid4

from sandbox import patching, seccomp
from sandbox.api import Environment, EnvironmentSpec, Execution, Limit, Limits, Patch, Script
from sandbox.docker_build import PATH_LABEL, Builder
from sandbox.engine import KILLED, NO_PYTHON, Ending, Engine, Stop, faults, hardening
from sandbox.errors import EnvironmentBuildError, SandboxError, SandboxLost
from sandbox.jobs import SYSTEM_PATH, ended_by, execution_of, job_of, naming_the_limit, refused, variables
from sandbox.layer_watch import LayerWatch
from sandbox.threads import DaemonThreads
from sandbox.tries import Outages, Tries

T = TypeVar("T")
GRACE_SECONDS = 60.0
"""How much longer than its script a runner may live, for applying the patch and cleaning up."""
SPARE_THREADS = 2
PAUSES = (0.0, 0.2, 1.0, 3.0)
"""Seconds before each try of an execution."""
BUILD_PAUSES = (0.0, 1.0)


class DockerSandbox:
    """Runs scripts in containers of the Docker engine. See `sandbox.api.Sandbox`."""

    name = "docker"

    def __init__(self, workers: int = 2, log: Callable[[str], None] = lambda line: None) -> None:
        """`workers`: executions at once; `log` hears when the engine is away. Nothing is contacted before the first use."""
        self.engine = Engine(uuid4().hex)
        self._outages = Outages(self.engine, log)
        self._gate = asyncio.Semaphore(workers)
        self._threads = DaemonThreads(workers + SPARE_THREADS, "runoff-docker")
        self._interrupted = False
        self._paths: dict[str, str] = {}

    def describe(self) -> str:
        """What this backend promises, in words."""
        return (
            "docker (portable): a new container an execution; no network, no capabilities, memory and processes bounded by "
            "the engine, what is written to the tree watched every two seconds rather than bounded"
        )

    async def build(self, spec: EnvironmentSpec, log: Callable[[str], None] = lambda line: None) -> Environment:
        """As the protocol says."""
        loop = asyncio.get_running_loop()
        stop = Stop()

        def tell(line: str) -> None:
            loop.call_soon_threadsafe(log, line)

        return await self._call(stop, lambda: self._build(stop, tell, spec))

    async def execute(
        self,
        environment: Environment,
        script: Script,
        patch: Patch | None = None,
        limits: Limits = Limits(),  # noqa: B008  frozen
    ) -> Execution:
        """As the protocol says."""
        if patch is not None and (reason := patching.check(patch.diff)):
            return refused(reason)
        async with self._gate:
            stop = Stop()
            execution = await self._call(stop, lambda: self._execute(stop, environment, script, patch, limits))
        return naming_the_limit(execution, limits)

    def interrupt(self) -> None:
        """As the protocol says. Blocks for as long as the engine takes to remove the containers."""
        self._interrupted = True
        self.engine.remove_all()

    async def close(self) -> None:
        """As the protocol says."""
        self._interrupted = True
        await self._threads.submit(self.engine.remove_all)
        self._threads.close()
        self.engine.close()

    async def _call(self, stop: Stop, body: Callable[[], T]) -> T:
        """The body on a thread; when this task is cancelled its container goes first, and then the thread ends."""
        if self._interrupted:
            raise SandboxError("the sandbox was interrupted", where="docker", hint="runoff resume RUN")
        running = self._threads.submit(body)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.wanted = False
            with contextlib.suppress(Exception):
                await self._threads.submit(lambda: self.engine.remove(stop.name))
                await asyncio.wait([running], timeout=5)
            if running.done() and not running.cancelled():
                running.exception()  # fetched, so that it is not reported as lost
            raise

    def _build(self, stop: Stop, tell: Callable[[str], None], spec: EnvironmentSpec) -> Environment:
        """A build that is cut off is done once more."""
        tries = Tries(self._outages, lambda: self._wanted(stop), BUILD_PAUSES)
        self._outages.ride_out(lambda: self._wanted(stop))
        while True:
            try:
                return Builder(self.engine, stop, tell).build(spec)
            except SandboxLost as error:
                if not tries.another(error.message):
                    raise
                tell(f"{error.message}; building once more")

    def _execute(
        self, stop: Stop, environment: Environment, script: Script, patch: Patch | None, limits: Limits
    ) -> Execution:
        tries = Tries(self._outages, lambda: self._wanted(stop), PAUSES)
        while True:
            try:
                return self._execute_once(stop, environment, script, patch, limits)
            except SandboxLost as error:
                if not tries.another(error.message):
                    raise tries.spent() from error

    def _wanted(self, stop: Stop) -> bool:
        return stop.wanted and not self._interrupted

    def _execute_once(
        self, stop: Stop, environment: Environment, script: Script, patch: Patch | None, limits: Limits
    ) -> Execution:
        job = job_of(script, patch, limits, variables(self._path(environment), environment.variables))
        job["file_mb"] = limits.disk_mb
        job["filters"] = seccomp.programs()
        settings = {
            **hardening(disk_mb=limits.disk_mb, inodes=limits.files),
            "network_mode": "bridge" if environment.network else "none",
            "mem_limit": f"{limits.memory_mb}m",
            "memswap_limit": f"{limits.memory_mb}m",
            "pids_limit": limits.processes + 1,
        }
        ending, outgrown = self._run(stop, environment.location, settings, job, limits)
        if outgrown and not ending.answer:
            return ended_by(outgrown, ending.seconds)
        execution = self._read(ending, environment)
        return replace(execution, limit=outgrown) if outgrown and execution.limit in (None, "output") else execution

    def _run(
        self, stop: Stop, image: str, settings: dict[str, Any], job: dict[str, Any], limits: Limits
    ) -> tuple[Ending, Limit | None]:
        """How the container ended, and which limit the files that were written in it go beyond."""
        try:
            container = self.engine.create(image, stop, settings)
            self.engine.put(container, job)
            if not self._wanted(stop):
                raise SandboxError("the execution was interrupted", where=stop.name, hint="runoff resume RUN")
            watch = LayerWatch(self.engine, stop.name, limits)
            with watch.watched():
                ending = self.engine.finish(container, limits.seconds + GRACE_SECONDS)
            outgrown = watch.outgrown or watch.look()
        finally:
            self.engine.remove(stop.name)
        if outgrown is None:
            watch.acquit()
        return ending, outgrown

    def _read(self, ending: Ending, environment: Environment) -> Execution:
        if ending.status == NO_PYTHON and not ending.answer:
            raise EnvironmentBuildError("the image has no Python that could run a job", where=environment.location[:19])
        if not ending.answer and ending.oom:
            return ended_by("memory", ending.seconds)
        if not ending.answer and ending.status == KILLED:
            raise SandboxLost(
                "the container was killed from outside", where=environment.location[:19], hint="runoff resume RUN"
            )
        return execution_of(ending.answer, ending.diagnosis, "Docker engine")

    def _path(self, environment: Environment) -> str:
        if environment.location not in self._paths:
            with faults("the environment's image cannot be looked up"):
                image = self.engine.client.images.get(environment.location)
            self._paths[environment.location] = (image.labels or {}).get(PATH_LABEL, SYSTEM_PATH)
        return self._paths[environment.location]
