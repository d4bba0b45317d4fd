"""One container of the pool, and the conversation with the runner in it.

The container is closed to the outside: no network (unless the environment opens it), a read-only root, no capability but
SETFCAP, which the kernel asks of whoever maps the superuser into a user namespace. It gets the runner's sources and its
plans over the attached standard input, so that nothing of the host is mounted into it.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import docker

from sandbox import seccomp
from sandbox.engine import ANSWER_BYTES, FAULTS, INTERPRETERS, NO_PYTHON, STOP_SIGNAL, Engine, Stop, faults
from sandbox.errors import SandboxError
from sandbox.jobs import HOST_NAME, RUNNER_MODULES, source

MODULES = (*RUNNER_MODULES, "namespaces", "pooled_runner")
BOOTSTRAP = """
import json, sys, types
package = sys.modules["sandbox"] = types.ModuleType("sandbox")
for name, source in json.loads(sys.stdin.buffer.readline().decode()):
    module = sys.modules["sandbox." + name] = types.ModuleType("sandbox." + name)
    setattr(package, name, module)
    exec(compile(source, name + ".py", "exec"), module.__dict__)
package.pooled_runner.serve()
"""
LAUNCH = (
    f"for python in {' '.join(INTERPRETERS)}; do "
    f'command -v "$python" > /dev/null 2>&1 && exec "$python" -I -S -B -c "$0"; done; exit {NO_PYTHON}'
)
RESERVE_MB = 48
"""Memory on top of an execution's own: for the first process, and for the layers of patches."""
LAYERS_MB = 32
RESERVE_PROCESSES = 3
"""The container's first process, the one that makes the namespaces, and the runner."""
START_SECONDS = 60.0


class Lost(Exception):
    """The container or its runner is gone, and with it the answer; what it was asked can be asked again elsewhere."""


class Unusable(Exception):
    """The fast path does not work with this image on this engine; the words say why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a container is good for; those of one kind are interchangeable."""

    image: str
    network: bool
    memory_mb: int
    processes: int


class Worker:
    """A running container. Not safe for use by two threads at once."""

    def __init__(self, engine: Engine, kind: Kind, name: str) -> None:
        self.kind = kind
        self.name = name
        self.asked = 0
        """How many plans it was given."""
        self._engine = engine
        self._stream: Any = None
        self._socket: socket.socket | None = None
        self._pending = bytearray()
        self._said = bytearray()

    @classmethod
    def start(cls, engine: Engine, kind: Kind, stop: Stop) -> Worker:
        """Create the container, named by `stop`, and wait until its runner is ready.

        Raises Unusable if it cannot run there, Lost if it is removed meanwhile, SandboxError if the engine fails.
        """
        engine.settle()
        stop.name = f"runoff-{uuid4().hex[:12]}"
        worker = cls(engine, kind, stop.name)
        try:
            with faults("the container could not be started"):
                worker._create()
            worker._tell([(name, source(name)) for name in MODULES])
            worker._hear(START_SECONDS)
        except Lost:
            reason = worker._why_it_ended()
            worker.close()
            if reason:
                raise Unusable(reason) from None
            raise
        except BaseException:
            worker.close()
            raise
        return worker

    def ask(self, plan: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The runner's answer. Raises Lost if there is none within `seconds`."""
        self.asked += 1
        self._tell(plan)
        try:
            answer: dict[str, Any] = json.loads(self._hear(seconds))
        except ValueError as error:
            raise Lost(f"the runner's answer cannot be read: {error}") from error
        return answer

    def alive(self) -> bool:
        """Whether nothing has come over the connection since the last answer; its end would have."""
        if self._socket is None:
            return False
        look = select.poll()
        look.register(self._socket, select.POLLIN)
        return not look.poll(0)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended the container for want of memory."""
        with contextlib.suppress(*FAULTS, SandboxError):
            return bool(self._engine.client.api.inspect_container(self.name)["State"].get("OOMKilled"))
        return False

    def close(self) -> None:
        """Remove the container and let go of the connection."""
        self._engine.remove(self.name)
        if self._stream is not None:
            parts: tuple[Any, ...] = (getattr(self._stream, "_response", None), self._stream, self._socket)
            for part in parts:
                with contextlib.suppress(OSError, ValueError, AttributeError):  # each may have closed the next
                    part.close()
            self._stream = self._socket = None

    def _create(self) -> None:
        api: Any = self._engine.client.api
        config = api.create_container_config(
            self.kind.image,
            command=["-c", LAUNCH, BOOTSTRAP],
            entrypoint=["/bin/sh"],
            hostname=HOST_NAME,
            user="0:0",
            working_dir="/",
            stdin_open=True,
            labels=self._engine.labels,
            host_config=host_config(api, self.kind),
        )
        config["StopSignal"] = STOP_SIGNAL
        config["StdinOnce"] = True  # so that its end, when this process is killed, reaches the runner
        container = api.create_container_from_config(config, self.name)["Id"]
        self._stream = api.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        self._socket = getattr(self._stream, "_sock", self._stream)
        api.start(container)

    def _tell(self, message: Any) -> None:
        if self._socket is None:
            raise Lost("the container is gone")
        try:
            self._socket.settimeout(START_SECONDS)
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise Lost(f"the container does not listen: {error}") from error

    def _hear(self, seconds: float) -> bytes:
        """The next line of standard output."""
        deadline = time.monotonic() + seconds
        while (end := self._pending.find(b"\n")) < 0:
            stream, size = struct.unpack(">B3xI", self._receive(8, deadline))
            content = self._receive(size, deadline)
            if stream == 1:
                self._pending += content
            else:
                self._said = (self._said + content)[-4000:]
            if len(self._pending) > ANSWER_BYTES:
                raise Lost("the runner's answer has no end")
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line

    def _receive(self, size: int, deadline: float) -> bytes:
        if self._socket is None:
            raise Lost("the container is gone")
        parts = bytearray()
        try:
            while len(parts) < size:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(min(size - len(parts), 1 << 20))
                if not data:
                    raise Lost("the container ended")
                parts += data
        except TimeoutError as error:
            raise Lost("the runner did not answer in time") from error
        except OSError as error:
            raise Lost(f"the connection to the container broke: {error}") from error
        return bytes(parts)

    def _why_it_ended(self) -> str:
        """In words, if it ended of itself; empty if it was killed or removed."""
        with contextlib.suppress(*FAULTS, SandboxError):
            state = self._engine.client.api.inspect_container(self.name)["State"]
            if state.get("ExitCode") == NO_PYTHON:
                return "the image has no Python that could run a job"
            said = self._said.decode("utf-8", "replace").strip().rpartition("\n")[2]
            if not state.get("Running") and said:
                return f"the runner does not start: {said}"
        return ""


def host_config(api: Any, kind: Kind) -> dict[str, Any]:
    """What the engine holds the container to."""
    config: dict[str, Any] = api.create_host_config(
        cap_drop=["ALL"],
        cap_add=["SETFCAP"],
        security_opt=["no-new-privileges:true", f"seccomp={seccomp.profile()}"],
        read_only=True,
        network_mode="bridge" if kind.network else "none",
        mem_limit=f"{kind.memory_mb + RESERVE_MB}m",
        memswap_limit=f"{kind.memory_mb + RESERVE_MB}m",
        pids_limit=kind.processes + RESERVE_PROCESSES,
        tmpfs={"/runoff": f"size={LAYERS_MB}m,mode=700,nosuid,nodev,noexec"},
        log_config=docker.types.LogConfig(type="none"),
    )
    # The kernel gives a new namespace a /proc of its own only if the old one is whole. Each execution's own is masked again
    # and read-only (`namespaces.mount_proc`); the whole one is seen by nothing but the container's first process.
    config["MaskedPaths"] = config["ReadonlyPaths"] = []
    return config
