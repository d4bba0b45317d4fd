"""What a sandbox is: the types that cross its border and the protocol that its backends fulfil.

Backends: `docker_fast.FastDockerSandbox`, `docker_sandbox.DockerSandbox` and `local_sandbox.LocalSandbox`; `probe.choose`
picks one. A caller builds an `Environment` once and then executes scripts on (environment, patch) as often as it likes.
Every execution starts from the pristine tree at `WORKDIR`, with the patch on it and nothing of any earlier execution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from sandbox.patching import touched

WORKDIR = "/testbed"
"""Where the tree is, in every backend, so that what a model sees does not depend on the backend."""

Language = Literal["python", "bash"]
Limit = Literal["seconds", "memory", "processes", "disk", "inodes", "output"]
UNITS: Mapping[Limit, str] = {
    "seconds": "seconds",
    "memory": "MiB of memory",
    "processes": "processes",
    "disk": "MiB of disk",
    "inodes": "new files",
    "output": "characters of output",
}
INODES_PER_MB = 256
"""Files that may be made for each mebibyte of the disk limit."""
LEAST_INODES = 1024


def digest_of(*texts: str) -> str:
    """Hexadecimal SHA-256 over the texts, each preceded by its length, so that no two lists collide by concatenation."""
    total = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogateescape")
        total.update(f"{len(encoded)}:".encode())
        total.update(encoded)
    return total.hexdigest()


class Verdict(StrEnum):
    """What an exit code says, by the convention that every script is asked to keep."""

    PASS = "pass"  # noqa: S105  exit 0: the issue is solved
    ISSUE = "issue"  # exit 2: the issue is there
    BROKEN = "broken"  # anything else: a crash, a time-out, a limit, a patch that does not apply


@dataclass(frozen=True, slots=True)
class Limits:
    """What one execution may use. A limit that is reached ends the execution and is named in its result."""

    seconds: float = 120.0
    """Wall-clock seconds."""
    memory_mb: int = 2048
    """Mebibytes, over all processes of the execution."""
    processes: int = 256
    """Processes and threads alive at once."""
    disk_mb: int = 512
    """Mebibytes that may be written, over the tree, /tmp and /dev/shm."""
    output_chars: int = 8192
    """Characters of output that are kept; more is cut out of the middle."""
    inodes: int | None = None
    """Files and directories that may be made there; None for `INODES_PER_MB` a mebibyte."""

    @property
    def digest(self) -> str:
        """Identity by content; what `inodes` is by default has no part in it, since it came later."""
        values = (self.seconds, self.memory_mb, self.processes, self.disk_mb, self.output_chars)
        return digest_of(*map(str, values), *([] if self.inodes is None else [f"{self.inodes} inodes"]))

    @property
    def files(self) -> int:
        """`inodes`, or what it is by default."""
        return max(LEAST_INODES, self.disk_mb * INODES_PER_MB) if self.inodes is None else self.inodes

    def of(self, limit: Limit) -> float:
        """What a limit is set to, in its own unit."""
        by_name = {
            "seconds": self.seconds,
            "memory": self.memory_mb,
            "processes": self.processes,
            "disk": self.disk_mb,
            "inodes": self.files,
            "output": self.output_chars,
        }
        return by_name[limit]


@dataclass(frozen=True, slots=True)
class Patch:
    """A change to the tree at the base commit, as a git diff (`a/` and `b/` prefixes, relative to `WORKDIR`)."""

    diff: str

    @property
    def digest(self) -> str:
        """Identity by content."""
        return digest_of("patch", self.diff)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that the diff touches (new names), in order of appearance."""
        return tuple(dict.fromkeys(new for _, new in touched(self.diff)))

    @property
    def renamed(self) -> tuple[str, ...]:
        """The old names of the files that the diff renames."""
        return tuple(old for old, new in touched(self.diff) if old != new)


@dataclass(frozen=True, slots=True)
class Script:
    """A standalone program that exits 2 while the issue is there and 0 once it is solved."""

    text: str
    language: Language = "python"

    @property
    def digest(self) -> str:
        """Identity by content."""
        return digest_of("script", self.language, self.text)


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of one script on one tree."""

    exit_code: int | None
    """As the kernel reports it; negative for a signal; None if the script was never started (see `apply_error`)."""
    output: str
    """Standard output and error as they came, bounded by `Limits.output_chars`."""
    seconds: float
    timed_out: bool = False
    oom: bool = False
    apply_error: str = ""
    """Why the patch could not be put on the tree; empty if it could."""
    limit: Limit | None = None
    """The limit that ended the execution."""
    allowed: float | None = None
    """What that limit was set to, in the unit of `Limits`."""

    @property
    def limit_words(self) -> str:
        """Such as `512 MiB of disk`: the limit that ended it; empty if none did."""
        if self.limit is None:
            return ""
        return f"{self.allowed:g} {UNITS[self.limit]}" if self.allowed is not None else self.limit

    @property
    def verdict(self) -> Verdict:
        """PASS for exit 0, ISSUE for exit 2, BROKEN for all else and wherever a limit or the patch got in the way."""
        if self.apply_error or self.timed_out or self.oom or self.limit not in (None, "output"):
            return Verdict.BROKEN
        return {0: Verdict.PASS, 2: Verdict.ISSUE}.get(self.exit_code if self.exit_code is not None else -1, Verdict.BROKEN)


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """What to build: a tree, and what it needs to run.

    Either an image that has the tree at `WORKDIR` (`repository` is None), or a repository whose tree at `base_commit`
    is put there: into `image` if one is named, else into the backend's own base. `setup` then runs once, in the tree,
    with network, in a virtual environment of its own.
    """

    base_commit: str
    repository: Path | None = None
    """A git repository on this machine: a work tree, a bare one or a .git directory."""
    image: str = ""
    setup: str = ""
    """A shell command, run in the tree; `python` and `pip` are those of the environment."""
    python: str = ""
    """The interpreter to start from, as a command or path (`python3.9`); empty for the backend's own."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of every execution, on top of the fixed ones."""
    network: bool = False
    """Whether executions may reach the network. Set-up always may."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Limits of its executions, by the names of `Limits`, where they are not those of the run; no part of what is built."""
    about: Mapping[str, str] = field(default_factory=dict)
    """For people only, written on what is built (`project`, `instance`); the same tree with other words has the same key."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A built environment, ready to execute in. Only the backend that built it can use it."""

    key: str
    """Digest of what it was made of; the same content has the same key in every run."""
    backend: str
    location: str
    """An image id (docker) or a directory (local)."""
    variables: Mapping[str, str] = field(default_factory=dict)
    network: bool = False


class Sandbox(Protocol):
    """Runs what nobody has vetted. Safe to use from many tasks at once; bounded by its number of workers."""

    name: str
    """`docker` or `local`."""

    async def build(self, spec: EnvironmentSpec, log: Callable[[str], None] = ...) -> Environment:
        """Build the environment, or find it in the cache; `log` gets a line for each step.

        Raises EnvironmentBuildError (set-up failed, no such image or interpreter), SandboxError (engine, disk).
        """
        ...

    async def execute(
        self, environment: Environment, script: Script, patch: Patch | None = None, limits: Limits = ...
    ) -> Execution:
        """Run the script on the pristine tree with the patch on it.

        Whatever the script does is a value. Raises SandboxError only if the sandbox itself failed.
        """
        ...

    def interrupt(self) -> None:
        """Kill everything that this sandbox runs at once; may be called from a signal handler's callback."""
        ...

    async def close(self) -> None:
        """Release what it holds; nothing of this sandbox runs afterwards."""
        ...
