"""The local backend: namespaces and a constructed root on this host, no engine needed."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sandbox import cgroups, patching, seccomp
from sandbox.api import Environment, EnvironmentSpec, Execution, Limits, Patch, Script
from sandbox.errors import SandboxError
from sandbox.jobs import (
    HOST_NAME,
    SYSTEM_PATH,
    VENV,
    ended_by,
    execution_from,
    job_of,
    naming_the_limit,
    refused,
    variables,
)
from sandbox.local_build import Builder, interpreter
from sandbox.local_cache import Built, Uses, read_built
from sandbox.local_worker import Lost, Worker, Workers
from sandbox.privileges import other_uid
from sandbox.threads import DaemonThreads

T = TypeVar("T")
GRACE_SECONDS = 60.0
TRIES = 3
"""How often an execution is begun if its worker is killed meanwhile."""
HINT = "runoff doctor"


@dataclass(slots=True)
class Stop:
    """Ends the worker that carries a plan out, and with it all that runs below."""

    wanted: bool = True
    worker: Worker | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self, worker: Worker) -> None:
        """The worker is at it. Raises SandboxError if the plan is not wanted any more."""
        with self.lock:
            if not self.wanted:
                raise interrupted()
            self.worker = worker

    def release(self) -> None:
        """The worker is done with it and may be given another."""
        with self.lock:
            self.worker = None

    def now(self) -> None:
        """Kill it."""
        with self.lock:
            self.wanted = False
            if self.worker is not None:
                self.worker.kill()


def interrupted() -> SandboxError:
    """What a thread raises whose result nobody wants any more."""
    return SandboxError("the execution was interrupted", where="local", hint="runoff resume RUN")


class LocalSandbox:
    """Runs scripts in namespaces of this host. See `sandbox.api.Sandbox`."""

    name = "local"

    def __init__(self, workers: int = 2) -> None:
        """`workers`: executions at once."""
        self._gate = asyncio.Semaphore(workers)
        self._threads = DaemonThreads(workers + 1, "runoff-local")
        self._uid = other_uid()
        self._parents = cgroups.find_parents()
        if self._parents is not None:
            cgroups.sweep(self._parents)
        self._stops: dict[int, Stop] = {}
        self._workers = Workers()
        self._uses = Uses()
        self._interrupted = False

    def describe(self) -> str:
        """What this backend promises, in words."""
        bounded = set(self._parents.directories) if self._parents else set()
        who = f"as user {self._uid}, who owns nothing else" if self._uid else "as this user, in a user namespace"
        weaker = []
        if "memory" not in bounded:
            weaker.append("resident memory is watched twenty times a second rather than bounded, as no cgroup is writable")
        if "pids" not in bounded and self._uid:
            weaker.append("processes are counted twenty times a second rather than bounded, as no cgroup is writable")
        text = f"local: namespaces and a constructed root, {who}; no network, no capabilities, disk bounded by a tmpfs"
        return "; weaker: ".join([text, *weaker])

    async def build(self, spec: EnvironmentSpec, log: Callable[[str], None] = lambda line: None) -> Environment:
        """As the protocol says."""
        loop = asyncio.get_running_loop()
        stop = Stop()

        def tell(line: str) -> None:
            loop.call_soon_threadsafe(log, line)

        builder = Builder(self._uid, self._uses, tell, lambda plan, seconds: self._launch(stop, plan, None, seconds))
        return await self._call(stop, lambda: builder.build(spec))

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

    async def try_out(self) -> None:
        """Run a trivial script on an empty tree. Raises SandboxError in the kernel's words if it cannot be done."""
        await self._call(stop := Stop(), lambda: self._try_out(stop))

    def interrupt(self) -> None:
        """As the protocol says."""
        self._interrupted = True
        for stop in list(self._stops.values()):
            stop.now()
        self._workers.close()

    async def close(self) -> None:
        """As the protocol says."""
        self.interrupt()
        self._threads.close()
        self._uses.close()

    async def _call(self, stop: Stop, body: Callable[[], T]) -> T:
        if self._interrupted:
            raise SandboxError("the sandbox was interrupted", where="local", hint="runoff resume RUN")
        self._stops[id(stop)] = stop
        running = self._threads.submit(body)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.now()
            with contextlib.suppress(Exception):
                await asyncio.wait([running], timeout=5)
            if running.done() and not running.cancelled():
                running.exception()  # fetched, so that it is not reported as lost
            raise
        finally:
            del self._stops[id(stop)]

    def _execute(
        self, stop: Stop, environment: Environment, script: Script, patch: Patch | None, limits: Limits
    ) -> Execution:
        self._uses.take(Path(environment.location))
        built = read_built(Path(environment.location))
        job = job_of(script, patch, limits, variables(built.path, environment.variables))
        group = self._make_group(limits)
        try:
            plan = self._plan(job, built, environment, limits, group)
            return self._launch(stop, plan, group, limits.seconds + GRACE_SECONDS, TRIES)
        finally:
            if group is not None:
                group.remove()

    def _try_out(self, stop: Stop) -> None:
        python, limits = interpreter(""), Limits(seconds=20)
        job = job_of(Script("import os, sys\nsys.exit(os.getcwd() != '/testbed')"), None, limits, variables(SYSTEM_PATH, {}))
        job["environment"]["PATH"] = f"{Path(python.executable).parent}:{SYSTEM_PATH}"
        group = self._make_group(limits)
        try:
            with tempfile.TemporaryDirectory(prefix="runoff-tree-") as tree:
                Path(tree).chmod(0o755)
                plan = self._bounded(job, limits, group)
                plan["tree"] = tree
                plan["binds"] += [(path, path, False) for path in python.prefixes]
                execution = self._launch(stop, plan, group, limits.seconds)
        finally:
            if group is not None:
                group.remove()
        if execution.exit_code != 0:
            raise SandboxError(
                f"a trivial script exits {execution.exit_code}: {execution.output[-300:]}", where="local", hint=HINT
            )

    def _make_group(self, limits: Limits) -> cgroups.Group | None:
        if self._parents is None:
            return None
        try:
            group = self._parents.make()
            group.bound(limits.memory_mb, limits.processes + 2)  # the worker's child and the runner are in it too
        except OSError as error:
            raise SandboxError(f"no cgroup for an execution: {error.strerror}", where="local", hint=HINT) from error
        return group

    def _plan(
        self, job: dict[str, Any], built: Built, environment: Environment, limits: Limits, group: cgroups.Group | None
    ) -> dict[str, Any]:
        """What a worker is told; see `namespaces`."""
        location = Path(environment.location)
        plan = self._bounded(job, limits, group)
        plan["binds"] += [(path, path, False) for path in built.prefixes]
        plan["binds"].append((str(location / "venv"), VENV, False))
        return {
            **plan,
            "tree": str(location / "tree"),
            "network": environment.network,
        }

    def _bounded(self, job: dict[str, Any], limits: Limits, group: cgroups.Group | None) -> dict[str, Any]:
        """The part of a plan that bounds an execution."""
        bounded = set(group.directories) if group else set()
        job["watch_memory"] = "memory" not in bounded
        job["file_mb"] = limits.disk_mb  # files that only exist in memory included
        if "pids" not in bounded and not self._uid:
            job["rlimit_processes"] = limits.processes + 3  # counted within the user namespace
        return {
            "job": job,
            "overlay": True,
            "binds": [(source, target, False) for source, target in group.views] if group else [],
            "tmp": "",
            "disk_mb": limits.disk_mb,
            "inodes": limits.files,
            "network": False,
        }

    def _launch(
        self, stop: Stop, plan: dict[str, Any], group: cgroups.Group | None, seconds: float, tries: int = 1
    ) -> Execution:
        with tempfile.TemporaryDirectory(prefix="runoff-stage-") as stage:
            common = {
                "stage": stage,
                "uid": self._uid,
                "host_name": HOST_NAME,
                "filters": seccomp.programs(),
                "grace": GRACE_SECONDS / 2,
            }
            whole = {**plan, **common, "cgroups": group.procs if group else []}
            started = time.monotonic()
            for _ in range(tries):
                answer = self._ask(stop, whole, seconds)
                if "lost" in answer and group is not None and group.killed_for_memory():
                    return ended_by("memory", time.monotonic() - started)
                if not stop.wanted:
                    raise interrupted()
                if "lost" not in answer:
                    return execution_from(answer, "local")
        raise SandboxError(f"the runner gave no answer: {answer['lost']}", where="local", hint=HINT)

    def _ask(self, stop: Stop, plan: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer of a worker; {"lost"} if it, or the runner, ended without one."""
        worker, healthy = self._workers.take(), False
        try:
            stop.hold(worker)
            answer = worker.ask(plan, seconds)
            healthy = "lost" not in answer
        except Lost as error:
            return {"lost": str(error)}
        except TimeoutError as error:
            raise SandboxError(f"the runner did not end within {seconds:.0f} s", where="local", hint=HINT) from error
        else:
            return answer
        finally:
            stop.release()
            self._workers.give(worker, healthy=healthy)
