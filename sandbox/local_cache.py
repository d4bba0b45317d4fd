"""Environments of the local backend as they lie in the cache, and which of them are in use.

A process may build an environment and execute in it hours later, so what it uses is written down. The file is locked by
whoever wrote it: the kernel lets go of the lock when the process ends, however it ends, and in whatever namespace it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from sandbox.cache import cache_directory
from sandbox.errors import SandboxError


@dataclass(frozen=True, slots=True)
class Built:
    """What the cache knows of an environment."""

    path: str
    """PATH of its executions."""
    prefixes: tuple[str, ...]
    """Directories that its interpreter needs, shown in the sandbox at the same place."""
    key: str = ""
    project: str = ""
    instance: str = ""
    """The instance that it was first built for."""
    commit: str = ""
    version: str = ""
    """The runoff that built it."""
    size: int = 0
    """Bytes on the disk."""


def environments() -> Path:
    """The folder that holds a folder for each environment, and hidden ones of builds under way."""
    return cache_directory() / "environments"


def read_built(location: Path) -> Built:
    """What is known of a cached environment. Raises SandboxError if it is gone."""
    try:
        held = json.loads((location / "built.json").read_text())
        known = {field.name: held[field.name] for field in fields(Built) if field.name in held}
        return Built(**{**known, "prefixes": tuple(known["prefixes"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SandboxError("a built environment is gone from the cache", where=str(location), hint="run it again") from error


def draft_of(location: Path) -> Path:
    """A new name for what is to become this environment, or was it and is being removed."""
    return location.with_name(f".{location.name}-{uuid4().hex[:8]}")


def drafts_of(location: Path) -> list[Path]:
    """All that have such a name."""
    return sorted(location.parent.glob(f".{location.name}-*"))


def build_lock(location: Path, seconds: float = -1) -> FileLock:
    """Held by whoever builds the environment; `seconds` to wait for it, for ever if negative."""
    return FileLock(cache_directory() / "locks" / f"{location.name}.lock", timeout=seconds)


def size_of(folder: Path) -> int:
    """Bytes on the disk; a file with several names counts once."""
    blocks = {}
    for place, _, names in os.walk(folder):
        for name in (".", *names):
            with contextlib.suppress(OSError):
                found = Path(place, name).lstat()
                blocks[found.st_dev, found.st_ino] = found.st_blocks
    return 512 * sum(blocks.values())


def remove_tree(folder: Path) -> None:
    """Remove a folder whatever its permissions: set-ups leave caches read-only. One that is gone is fine."""
    for place, directories, _ in os.walk(folder):
        for name in directories:
            if not Path(place, name).is_symlink():
                with contextlib.suppress(OSError):  # somebody else removes it too
                    Path(place, name).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


class Uses:
    """The environments that one sandbox uses. Safe to use from many threads."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._file: Path | None = None
        self._handle = -1
        self._lock = threading.Lock()

    def take(self, location: Path) -> bool:
        """Whether the environment is there; if it is, nobody prunes it until `close`, or until this process ends.

        Raises SandboxError if the cache cannot be written.
        """
        with self._lock:
            if location.name in self._names:
                return True
            try:
                with _changing():
                    if not location.is_dir():
                        return False
                    self._write(location.name)
            except OSError as error:
                raise SandboxError(f"the cache cannot be written: {error}", where=str(location), hint="df -h") from error
            self._names.add(location.name)
            return True

    def close(self) -> None:
        """Nothing is used any more."""
        with self._lock:
            self._names.clear()
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.unlink()
                os.close(self._handle)
                self._file, self._handle = None, -1

    def _write(self, name: str) -> None:
        if self._file is None:
            _counted()  # what dead processes left goes
            file = _users() / uuid4().hex
            self._handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            self._file = file
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        os.write(self._handle, f"{name}\n".encode())


def in_use() -> Counter[str]:
    """How many sandboxes of living processes use each environment, by the name of its folder."""
    with _changing():
        return _counted()


def _counted() -> Counter[str]:
    """As `in_use`, for who holds the lock."""
    found: Counter[str] = Counter()
    for file in _users().iterdir():
        with contextlib.suppress(OSError), file.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.update(set(held.read().splitlines()))
            else:
                file.unlink()
    return found


def discard(location: Path) -> str:
    """Remove an environment; why it could not be removed, empty if it is gone."""
    grave = draft_of(location)
    try:
        with _changing():
            if _counted()[location.name]:
                return "a process uses it"
            location.rename(grave)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return str(error)
    remove_tree(grave)
    return f"some of it cannot be removed: {grave}" if grave.exists() else ""


def _users() -> Path:
    folder = cache_directory() / "users"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def _changing() -> Iterator[None]:
    """Nobody begins to use an environment, or removes one, meanwhile."""
    with FileLock(cache_directory() / "locks" / "users.lock"):
        yield
