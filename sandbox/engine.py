"""The Docker engine as this project uses it: one container, one runner, one answer.

Everything here blocks and is meant for the threads of `threads.DaemonThreads`. Each thread has its own client, since
the HTTP session below a client is not meant to be shared.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any
from uuid import uuid4

import docker
import docker.constants
import docker.errors
import requests
from docker.transport import UnixHTTPAdapter

from sandbox import disk, leftovers, owners
from sandbox.errors import SandboxError, SandboxLost
from sandbox.jobs import HOST_NAME, RUNNER_MODULES, START_RUNNER, source

RUN_LABEL = leftovers.RUN
PID_LABEL = "runoff.pid"
HINT = "scripts/docker-engine"
PLACE = "/runoff"
INTERPRETERS = ("/opt/env/bin/python", "/opt/miniconda3/bin/python3", "python3", "python", "/usr/bin/python3")
NO_PYTHON = 67
"""Status of a container whose image has no Python."""
KILLED = 137
"""Status of a container whose first process got SIGKILL."""
LAUNCH = (
    f"for python in {' '.join(INTERPRETERS)}; do "
    'command -v "$python" > /dev/null 2>&1 && '
    f'exec "$python" -I -S -B -c "{START_RUNNER}" {PLACE}/job.json; done; exit {NO_PYTHON}'
)
ANSWER_BYTES = 64 << 20
REMOVAL_SECONDS = 5.0
"""How long the removal of a run's containers may take on a busy machine."""
CALL_SECONDS = 120
CONNECTIONS = 2
"""Kept open by each thread's client."""
ANSWER_SECONDS = 10
"""How long an engine may take to say its version before it counts as away."""
STOP_SIGNAL = "SIGKILL"
"""What an engine that stops ends our containers with: their first process takes no other hint, and it would wait 10 s."""
FAULTS = leftovers.FAULTS


@dataclass(frozen=True, slots=True)
class Ending:
    """How a container ended."""

    status: int
    answer: bytes
    """What the runner wrote to standard output."""
    diagnosis: str
    """What it wrote to standard error."""
    oom: bool
    seconds: float


@dataclass(slots=True)
class Stop:
    """Tells a thread that works on a container that nobody wants the result any more."""

    name: str = field(default_factory=lambda: f"runoff-{uuid4().hex[:12]}")
    wanted: bool = True


class Engine:
    """The engine that the environment (DOCKER_HOST, else the default socket) names."""

    def __init__(self, run: str) -> None:
        """`run` labels every container, so that one sandbox can remove its own and no other's."""
        self.run = run
        self.keep_free: int | None = None
        """Bytes that builds leave free on the engine's disk; None for what RUNOFF_KEEP_FREE says."""
        self._local = threading.local()
        self._clients: list[docker.DockerClient] = []
        self._owed: set[str] = set()
        self._disk: disk.DiskLimit | None = None

    @property
    def client(self) -> docker.DockerClient:
        """The client of the calling thread. Raises SandboxError if the engine does not answer."""
        if reason := refusal():
            raise SandboxLost(f"the Docker engine does not answer: {reason}", where="Docker engine", hint=HINT)
        client = getattr(self._local, "client", None)
        if client is None:
            with faults("the Docker engine does not answer"):
                client = docker.from_env(timeout=CALL_SECONDS)
            keep_few_connections(client)
            self._local.client = client
            self._clients.append(client)
        return client

    @property
    def labels(self) -> dict[str, str]:
        """What every container carries."""
        return {RUN_LABEL: self.run, PID_LABEL: str(os.getpid()), owners.OWNER_LABEL: owners.this_process()}

    def release(self) -> None:
        """Close the calling thread's client, where the thread is about to end."""
        client = getattr(self._local, "client", None)
        if client is not None and client in self._clients:
            self._clients.remove(client)
            client.close()
        self._local.client = None

    def close(self) -> None:
        """Close the clients of all threads; what they have under way fails."""
        while self._clients:
            self._clients.pop().close()

    def answers(self) -> bool:
        """Whether the engine answers now; asked on a new connection."""
        if refusal():
            return False
        try:
            docker.from_env(timeout=ANSWER_SECONDS).close()  # making a client asks for the version
        except FAULTS:
            return False
        return True

    def create(self, image: str, stop: Stop, settings: Mapping[str, Any]) -> Any:
        """A container that will start the runner; not started. It gets a name of its own, which `stop` is told."""
        self.settle()
        stop.name = f"runoff-{uuid4().hex[:12]}"
        with faults("the container could not be created"):
            return self.client.containers.create(
                image,
                command=["-c", LAUNCH],
                entrypoint=["/bin/sh"],
                name=stop.name,
                labels=self.labels,
                hostname=HOST_NAME,
                user="0:0",
                working_dir="/",
                stop_signal=STOP_SIGNAL,
                log_config=docker.types.LogConfig(type="json-file"),
                use_config_proxy=False,  # the user's proxies would become part of the image
                **settings,
            )

    def put(self, container: Any, job: Mapping[str, Any]) -> None:
        """Put the runner and its job into the container."""
        files = {f"sandbox/{name}.py": source(name).encode() for name in RUNNER_MODULES}
        files["job.json"] = json.dumps(job).encode()
        with faults("files could not be put into the container"):
            container.put_archive("/", archive(files))

    def put_tree(self, container: Any, tar: IO[bytes]) -> None:
        """Unpack a tar file at the container's root."""
        with faults("the tree could not be put into the container"):
            container.put_archive("/", tar)

    def finish(self, container: Any, seconds: float) -> Ending:
        """Start the container and wait until it ends. Raises SandboxError if it outlives `seconds` or is removed."""
        started = time.monotonic()
        with faults("the container did not run"):
            container.start()
            try:
                status = container.wait(timeout=seconds)["StatusCode"]
            except requests.exceptions.Timeout as error:
                raise SandboxError(
                    f"the runner did not end within {seconds:.0f} s", where=container.name, hint=HINT
                ) from error
            except requests.exceptions.ConnectionError as error:
                if "timed out" in str(error).lower():
                    raise SandboxError(
                        f"the runner did not end within {seconds:.0f} s", where=container.name, hint=HINT
                    ) from error
                raise
            elapsed = time.monotonic() - started
            answer = container.logs(stdout=True, stderr=False)[:ANSWER_BYTES]
            diagnosis = container.logs(stdout=False, stderr=True, tail=20).decode("utf-8", "replace")
            container.reload()
            oom = bool(container.attrs["State"].get("OOMKilled"))
        return Ending(status, answer, diagnosis, oom, elapsed)

    def written_mb(self, name: str) -> float:
        """Mebibytes in the container's own layer; zero once it is gone."""
        with contextlib.suppress(*FAULTS, SandboxError):
            listed = self.client.api.containers(all=True, filters={"name": f"^/{name}$"}, size=True)
            return float(sum(entry.get("SizeRw") or 0 for entry in listed)) / (1 << 20)
        return 0.0

    def written_files(self, name: str) -> int:
        """Files and directories that the container has made, changed or removed in its own layer; zero once it is gone."""
        with contextlib.suppress(*FAULTS, SandboxError):
            return len(self.client.api.diff(name) or [])
        return 0

    def signal(self, name: str, signal: str) -> None:
        """Send the runner a signal; a container that is gone is none's concern."""
        with contextlib.suppress(*FAULTS, SandboxError):
            self.client.api.kill(name, signal)

    def remove(self, name: str) -> None:
        """Remove a container with force, running or not. If the engine is away or refuses, `settle` does it later."""
        try:
            self.client.api.remove_container(name, force=True, v=True)
        except docker.errors.NotFound:
            self._owed.discard(name)
        except (*FAULTS, SandboxError):
            self._owed.add(name)
        else:
            self._owed.discard(name)

    def settle(self) -> None:
        """Remove the containers that could not be removed when it was their time."""
        for name in list(self._owed):
            self.remove(name)

    def prune(self) -> None:
        """Remove what runs that were killed left, as far as it is certain that they were."""
        with contextlib.suppress(*FAULTS, SandboxError):
            for left in leftovers.find(self.client):
                leftovers.remove(self.client, left)

    def disk_limit(self) -> disk.DiskLimit:
        """How much has to stay free where the engine keeps its images; where that is, it is asked once."""
        keep = disk.keep_free() if self.keep_free is None else self.keep_free
        if self._disk is None or self._disk.keep != keep:
            self._disk = disk.limit_of(self.client, keep)
        return self._disk

    def remove_all(self) -> int:
        """Remove every container of this run and wait until they are gone; how many there were at first."""
        with contextlib.suppress(*FAULTS, SandboxError):
            first = listed = self._listed()
            deadline = time.monotonic() + REMOVAL_SECONDS
            while listed and time.monotonic() < deadline:
                for name in listed:
                    self.remove(name)  # refused while another thread's removal is under way: look again
                time.sleep(0.02)
                listed = self._listed()
            return len(first)
        return 0

    def _listed(self) -> list[str]:
        filters = {"label": f"{RUN_LABEL}={self.run}"}
        return [entry["Id"] for entry in self.client.api.containers(all=True, quiet=True, filters=filters)]


def address() -> str:
    """Where the engine is, as DOCKER_HOST says, or else the default."""
    return os.environ.get("DOCKER_HOST") or docker.constants.DEFAULT_UNIX_SOCKET.replace("http+unix", "unix")


def refusal() -> str:
    """Why the engine's socket cannot be opened; empty if it can, or is no Unix socket.

    Asked before the library is: it lets go of a socket that it could not connect without closing it.
    """
    if not address().startswith("unix://"):
        return ""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(ANSWER_SECONDS)
            probe.connect(address().removeprefix("unix://"))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def keep_few_connections(client: docker.DockerClient) -> None:
    """On a Unix socket a client keeps one connection for each URL, up to 25, and every container has URLs of its own."""
    adapter: Any = client.api.get_adapter(client.api.base_url)
    if isinstance(adapter, UnixHTTPAdapter):
        few = UnixHTTPAdapter(f"http+unix://{adapter.socket_path}", CALL_SECONDS, pool_connections=CONNECTIONS)
        client.api.mount("http+docker://", few)
        adapter.close()


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar with the files in a directory of root's own."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for place in ("", *sorted({f"/{parent}" for name in files if (parent := name.rpartition("/")[0])})):
            directory = tarfile.TarInfo(f"{PLACE.lstrip('/')}{place}")
            directory.type, directory.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(directory)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{PLACE.lstrip('/')}/{name}")
            entry.size, entry.mode = len(content), 0o400
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@contextlib.contextmanager
def faults(what: str) -> Iterator[None]:
    """Turn the engine's exceptions into SandboxLost; an image that is not there will not be there the next time either."""
    try:
        yield
    except FAULTS as error:
        explanation = getattr(error, "explanation", None) or str(error)
        kind = SandboxError if isinstance(error, docker.errors.ImageNotFound) else SandboxLost
        raise kind(f"{what}: {explanation}", where="Docker engine", hint=HINT) from error


def hardening(names: Sequence[str] = ("/tmp", "/dev/shm"), *, disk_mb: int, inodes: int) -> dict[str, Any]:  # noqa: S108  in the container
    """Settings that take privileges away, and bound what is written to memory-backed file systems."""
    return {
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": dict.fromkeys(names, f"size={disk_mb}m,nr_inodes={inodes},mode=1777,exec,nosuid,nodev"),
    }
