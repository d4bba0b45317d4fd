"""The fast Docker backend: containers that stay, and a runner inside that gives each execution namespaces of its own.

It builds and uses the same images as the portable backend and falls back to it, image by image, where the kernel, the
engine or the image does not let it work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox import images, seccomp
from sandbox.api import WORKDIR, Environment, Execution, Limits, Patch, Script
from sandbox.docker_build import KEY_LABEL, PATH_LABEL
from sandbox.docker_pool import Kind, Pool, Unusable
from sandbox.docker_sandbox import GRACE_SECONDS, DockerSandbox
from sandbox.engine import Stop
from sandbox.errors import SandboxError
from sandbox.jobs import HOST_NAME, SYSTEM_PATH, ended_by, execution_from, job_of, variables

TRIAL = """
import os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
open("written", "w").close()
sys.exit(any(int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")) or os.getppid() != 1)
"""
"""Checks what the fast path rests on: the tree can be written to, no capability is left, the processes are its own."""
NOTHING_TO_TRY = "no image is here to try it with; the first execution will show"


class FastDockerSandbox(DockerSandbox):
    """Runs scripts in long-lived containers of the Docker engine. See `sandbox.api.Sandbox`."""

    def __init__(self, workers: int = 2, log: Callable[[str], None] = lambda line: None) -> None:
        """`workers`: executions, and containers, at once; `log` hears of images that get the portable path."""
        super().__init__(workers, log)
        self._pool = Pool(self.engine, workers, self._outages)
        self._log = log
        self._refusals: dict[str, str] = {}

    def describe(self) -> str:
        """What this backend promises, in words."""
        return (
            "docker (fast path): a container a worker, and in it namespaces and a throw-away overlay an execution; no "
            "network, no capabilities, memory and processes bounded by the engine, disk by a tmpfs"
        )

    async def try_out(self) -> None:
        """Run a script on whatever image is here. Raises SandboxError, in the kernel's or engine's words, if it fails."""
        await self._call(stop := Stop(), lambda: self._try_out(stop))

    def interrupt(self) -> None:
        """As the protocol says. Blocks for as long as the engine takes to remove the containers."""
        self._pool.forbid()
        super().interrupt()
        self._pool.close()

    async def close(self) -> None:
        """As the protocol says."""
        self._interrupted = True
        await self._threads.submit(self._pool.close)
        await super().close()

    def _execute_once(
        self, stop: Stop, environment: Environment, script: Script, patch: Patch | None, limits: Limits
    ) -> Execution:
        if environment.location not in self._refusals:
            job = job_of(script, patch, limits, variables(self._path(environment), environment.variables))
            try:
                return self._answer(stop, environment.location, job, limits, network=environment.network)
            except Unusable as error:
                self._refusals[environment.location] = str(error)
                self._log(f"{environment.location[:19]} gets the portable path: {error}")
        return super()._execute_once(stop, environment, script, patch, limits)

    def _answer(
        self, stop: Stop, image: str, job: dict[str, Any], limits: Limits, *, network: bool = False, tree: str = WORKDIR
    ) -> Execution:
        plan = {
            "job": {**job, "file_mb": limits.disk_mb},
            "tree": tree,
            "overlay": True,
            "binds": [],
            "tmp": "",
            "disk_mb": limits.disk_mb,
            "inodes": limits.files,
            "network": network,
            "host_name": HOST_NAME,
            "filters": seccomp.programs(),
            "grace": GRACE_SECONDS / 2,
        }
        kind = Kind(image, network, limits.memory_mb, limits.processes)
        seconds = 2 * limits.seconds + 2 * GRACE_SECONDS  # making the layer of the patch may take as long as the script
        answer = self._pool.run(stop, kind, plan, seconds)
        if answer == {"limit": "memory"}:
            return ended_by("memory", 0.0)
        return execution_from(answer, "Docker engine")

    def _try_out(self, stop: Stop) -> None:
        client = self.engine.client
        image: Any = images.find(client, images.BASE) or next(iter(client.images.list(filters={"label": KEY_LABEL})), None)
        if image is None:
            raise Untried(NOTHING_TO_TRY, where="docker", hint="scripts/docker-engine")
        limits = Limits(seconds=20, memory_mb=256, disk_mb=16)
        job = job_of(Script(TRIAL), None, limits, variables((image.labels or {}).get(PATH_LABEL, SYSTEM_PATH), {}))
        try:
            execution = self._answer(stop, image.id, job, limits, tree="/usr")
        except Unusable as error:
            raise SandboxError(str(error), where="docker") from error
        if execution.exit_code != 0:
            raise SandboxError(f"a trivial script exits {execution.exit_code}: {execution.output[-300:]}", where="docker")


class Untried(SandboxError):
    """There was nothing to try the fast path with."""
