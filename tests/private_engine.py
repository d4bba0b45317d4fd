"""A Docker engine of one's own, beside the machine's: to be stopped, killed and started again without harm to anybody.

It needs root and the engine's package (`scripts/docker-engine`). It keeps everything in a temporary folder and in a network
namespace of its own, and ends with the process that started it. The namespace matters: an engine takes the bridge docker0
for its own, and one that is told to have none removes it from under the machine's engine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.processes import children, command_of

GUARD = 'unshare --net dockerd "$@" & pid=$!; cat > /dev/null; kill $pid 2> /dev/null; wait $pid'
"""The engine gets a SIGTERM as soon as nobody holds the other end of standard input any more."""
START_SECONDS = 60.0
STOP_SECONDS = 40.0
LEFT_OUT = (
    *("proc", "sys", "dev", "usr/include", "usr/libexec", "usr/share/doc", "usr/share/man", "usr/share/locale"),
    *("usr/lib/gcc", "usr/share/perl", "usr/lib/x86_64-linux-gnu/perl*", "usr/lib/x86_64-linux-gnu/*.a"),
    *("usr/lib/x86_64-linux-gnu/gconv", "usr/lib/python3/dist-packages", "usr/share/zoneinfo", "usr/sbin"),
    *("usr/bin/x86_64-linux-gnu-*", "usr/lib/apt", "var/cache", "var/lib/apt", "var/lib/dpkg/info"),
)
"""Of an image that is copied: what nothing here runs. It halves the time that the copy takes."""


class PrivateEngine:
    """An engine, running or not. Its methods block."""

    def __init__(self, place: Path) -> None:
        """`place`: an empty folder; a short path, since sockets lie below it."""
        self.place = place
        self.socket = place / "engine.sock"
        self.group = f"/runoff-{place.name}"
        """Parent of its containers' control groups."""
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """What DOCKER_HOST has to be."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError, with the end of its log, if it does not."""
        for name in ("pid", "exec/containerd/containerd.pid"):  # of the dead, who may not have been waited for yet
            (self.place / name).unlink(missing_ok=True)
        options = {
            "data-root": self.place / "root",
            "exec-root": self.place / "exec",
            "pidfile": self.place / "pid",
            "host": self.host,
            "iptables": "false",
            "ip-masq": "false",
            "exec-opt": "native.cgroupdriver=cgroupfs",
            "cgroup-parent": self.group,
        }
        command = ["sh", "-c", GUARD, "engine", *(f"--{name}={value}" for name, value in options.items())]
        with (self.place / "log").open("ab") as log:
            self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline or self._guard.poll() is not None:
                said = (self.place / "log").read_text("utf-8", "replace")[-2000:]
                raise RuntimeError(f"a private Docker engine does not start: {said}")
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it does."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.docker("version", timeout=10, check=False).returncode == 0
        return False

    def stop(self) -> None:
        """As a service manager does: SIGTERM, and wait."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            try:
                self._guard.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.crash()

    def crash(self) -> None:
        """SIGKILL, as for want of memory. Its containers stay, with nobody to look after them, until it is started again."""
        if pid := self._pid():
            os.kill(pid, signal.SIGKILL)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait(STOP_SECONDS)

    def close(self) -> None:
        """Stop it and remove all that it had."""
        self.stop()
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for mount in reversed(self.mounts()):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        shutil.rmtree(self.place, ignore_errors=True)
        for folder in sorted(self.groups(), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def docker(self, *arguments: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The docker command, on this engine."""
        command = ["docker", "--host", self.host, *arguments]
        return subprocess.run(command, check=check, capture_output=True, text=True, timeout=timeout)

    def copy(self, image: str) -> None:
        """Copy an image, under its name, from the engine that the environment names; without its config and `LEFT_OUT`."""
        exclude = [f"--exclude=./{name}" for name in LEFT_OUT]
        packing = ["docker", "run", "--rm", "--network=none", "--entrypoint=tar", image, "-C", "/", *exclude, "-c", "."]
        with subprocess.Popen(packing, stdout=subprocess.PIPE) as packed:
            unpacking = ["docker", "--host", self.host, "import", "-", image]
            subprocess.run(unpacking, check=True, stdin=packed.stdout, capture_output=True)
        if packed.returncode != 0:
            raise RuntimeError(f"{image} could not be read: is it there? scripts/docker-engine makes it")

    def mounts(self) -> list[str]:
        """Mount points below its folder."""
        with Path("/proc/self/mounts").open() as lines:
            return [words[1] for words in map(str.split, lines) if words[1].startswith(f"{self.place}/")]

    def processes(self) -> list[int]:
        """It, its helpers, and what runs in its containers."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._owns(path)]

    def groups(self) -> list[Path]:
        """Control groups of its containers, in all hierarchies."""
        top = Path("/sys/fs/cgroup")
        roots = [path for pattern in (self.group[1:], f"*{self.group}") for path in top.glob(pattern) if path.is_dir()]
        return [*roots, *(below for root in roots for below in root.rglob("*") if below.is_dir())]

    def forgotten(self) -> dict[int, str]:
        """Shims of containers that it does not know, in which nothing runs, with the container's id: by process.

        An engine that is killed while it makes a container leaves such a one, and no request to the engine can remove it.
        """
        known = self.docker("ps", "-aq", "--no-trunc").stdout.split()
        return {
            pid: container
            for pid in self.processes()
            if (container := _shim_of(pid)) and container not in known and not any(children(pid))
        }

    def _owns(self, process: Path) -> bool:
        with contextlib.suppress(OSError):
            if str(self.place).encode() in (process / "cmdline").read_bytes():
                return process.name != str(os.getpid())
            return f"{self.group}/" in (process / "cgroup").read_text()
        return False

    def _pid(self) -> int:
        """Of the engine; 0 if it does not run."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.place / "pid").read_text())
            if (Path("/proc") / str(pid) / "exe").readlink().name == "dockerd":
                return pid
        return 0


def _shim_of(pid: int) -> str:
    """The container that a process looks after; empty if it is no shim."""
    words = command_of(pid).split()
    return words[words.index("-id") + 1] if words and words[0].endswith("containerd-shim-runc-v2") and "-id" in words else ""


@contextlib.contextmanager
def private_engine() -> Iterator[PrivateEngine]:
    """One that runs, in a folder of its own, and is gone afterwards."""
    engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="runoff-engine-")))
    try:
        engine.start()
        yield engine
    finally:
        engine.close()
