"""A cgroup for each execution of the local backend, where this process may make one: version 1 or 2.

A group is made below the process's own, so that whatever bounds this process bounds the executions too. On version 2
the kernel lets no group have both processes and controllers for children; there the nearest ancestor that can is taken.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

CONTROLLERS = ("memory", "pids")
REMOVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Group:
    """One execution's group: a directory a controller (version 1), or one for both (version 2)."""

    directories: dict[str, Path]
    """By controller."""
    unified: bool

    @property
    def procs(self) -> list[str]:
        """Files to write a process's id to."""
        return [str(path / "cgroup.procs") for path in sorted(set(self.directories.values()))]

    @property
    def views(self) -> list[tuple[str, str]]:
        """(directory, where the runner looks for its counters)."""
        if self.unified:
            return [(str(next(iter(self.directories.values()))), "/sys/fs/cgroup")]
        return [(str(path), f"/sys/fs/cgroup/{name}") for name, path in self.directories.items()]

    def bound(self, memory_mb: int, processes: int) -> None:
        """Set the limits. Raises OSError if the kernel refuses."""
        size = str(memory_mb << 20)
        names = {"memory": ("memory.max",) if self.unified else ("memory.limit_in_bytes",), "pids": ("pids.max",)}
        values = {"memory": size, "pids": str(processes)}
        for controller, directory in self.directories.items():
            for name in names[controller]:
                (directory / name).write_text(values[controller])
        if "memory" in self.directories:
            swap = ("memory.swap.max", "0") if self.unified else ("memory.memsw.limit_in_bytes", size)
            with contextlib.suppress(OSError):  # kernels without swap accounting
                (self.directories["memory"] / swap[0]).write_text(swap[1])

    def killed_for_memory(self) -> bool:
        """Whether the kernel ended a process of the group since memory ran out."""
        if "memory" not in self.directories:
            return False
        name = "memory.events" if self.unified else "memory.oom_control"
        with contextlib.suppress(OSError):
            counts = dict(line.split() for line in (self.directories["memory"] / name).read_text().splitlines())
            return int(counts.get("oom_kill", 0)) > 0
        return False

    def remove(self) -> None:
        """Remove the group; its last processes may take a moment to go."""
        deadline = time.monotonic() + REMOVE_SECONDS
        for directory in set(self.directories.values()):
            while True:
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.01)
                else:
                    break


@dataclass(frozen=True, slots=True)
class Parents:
    """Where groups can be made."""

    directories: dict[str, Path]
    unified: bool

    def make(self) -> Group:
        """A new, empty group. Raises OSError if it cannot be made."""
        name = f"runoff-{os.getpid()}-{uuid4().hex[:8]}"
        made = {controller: parent / name for controller, parent in self.directories.items()}
        for directory in sorted(set(made.values())):
            directory.mkdir(exist_ok=True)
        return Group(made, self.unified)


def find_parents() -> Parents | None:
    """Where this process may make groups that bound memory or processes; None if nowhere. Tries it."""
    own = _own_paths()
    if "" in own and (parents := _unified(own[""])):
        return parents
    mounts = _mounts()
    usable: dict[str, Path] = {}
    for controller in CONTROLLERS:
        if controller in own and controller in mounts:
            parent = mounts[controller] / own[controller].lstrip("/")
            if _works(Parents({controller: parent}, unified=False)):
                usable[controller] = parent
    return Parents(usable, unified=False) if usable else None


def sweep(parents: Parents) -> None:
    """Remove the empty groups that a killed process of ours has left."""
    for directory in set(parents.directories.values()):
        for group in directory.glob("runoff-*-*"):
            if not Path("/proc", group.name.split("-")[1]).exists():
                with contextlib.suppress(OSError):
                    group.rmdir()


def _unified(own: str) -> Parents | None:
    mount = Path("/sys/fs/cgroup")
    if not (mount / "cgroup.controllers").is_file():
        return None
    directory = mount / own.lstrip("/")
    for parent in (directory, *directory.parents):
        if not parent.is_relative_to(mount):
            return None
        parents = Parents(dict.fromkeys(CONTROLLERS, parent), unified=True)
        with contextlib.suppress(OSError):
            enabled = (parent / "cgroup.subtree_control").read_text().split()
            if set(CONTROLLERS) <= set(enabled) and _works(parents):
                return parents
    return None


def _works(parents: Parents) -> bool:
    """Whether a group can be made there, bounded, and entered by a process."""
    group = None
    try:
        group = parents.make()
        group.bound(64, 16)
        pid = os.posix_spawnp("sleep", ["sleep", "5"], {"PATH": os.defpath})
        try:
            for procs in group.procs:
                Path(procs).write_text(str(pid))
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    except OSError:
        return False
    else:
        return True
    finally:
        if group is not None:
            group.remove()


def _own_paths() -> dict[str, str]:
    """The path of this process in each hierarchy; that of version 2 under the empty name."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            found.update(dict.fromkeys(names.split(","), path))
    return found


def _mounts() -> dict[str, Path]:
    """Where the hierarchies of version 1 are mounted, by controller; only those mounted from their root."""
    found: dict[str, Path] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            if kind == "cgroup" and left.split()[3] == "/":
                found.update({name: Path(left.split()[4]) for name in options.split(",") if name in CONTROLLERS})
    return found
