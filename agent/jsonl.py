"""Files of JSON lines that only grow: journals and the ledger.

A line counts once its newline is on the disk. What a killed writer or a full disk left of a line is cut off before the
next one is written, and left out by readers.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from sandbox.errors import StoreError
from sandbox.threads import DaemonThreads

SYNCS = 16
"""Files that are waited for at once."""


def read_lines(path: Path, what: str, *names: str) -> Iterator[dict[str, Any]]:
    """The lines of a file, none if it is not there; `what` names it in messages. Raises StoreError where it is damaged.

    Each line is an object that has these names; `kind` if none are given.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot read {what}: {error.strerror}", where=str(path)) from error
    *lines, _torn = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            parsed = json.loads(line)
        except ValueError as error:
            raise damaged(path, what, number) from error
        if not isinstance(parsed, dict) or not parsed.keys() >= {*(names or ("kind",))}:
            raise damaged(path, what, number)
        yield parsed


def take_lines(path: Path, what: str, take: Callable[[Mapping[str, Any]], None]) -> None:
    """Give each line to `take`. Raises StoreError for one that lacks what `take` looks for in it, too."""
    for number, line in enumerate(read_lines(path, what), 1):
        try:
            take(line)
        except (KeyError, TypeError) as error:
            raise damaged(path, what, number) from error


class DamagedFile(StoreError):
    """One file is not what was written; others may well be."""

    cause = "damaged file"


def damaged(path: Path, what: str, number: int) -> DamagedFile:
    """The error for a line, counted from 1, that is not what was written. Its message says how to go on."""
    return DamagedFile(
        f"line {number} of {what} is damaged: restore the file, or remove that line (what it held is then done again)",
        where=f"{path}:{number}",
        hint=f"sed -i.damaged '{number}d' '{path}', then: runoff resume RUN",
    )


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; file systems that cannot do that are left alone."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Appender:
    """Appends lines, and waits until they are on the disk. One writer at a time; the run's lock sees to that.

    A disk that others keep busy takes its time, and hundreds of calls wait for the same loop: `lasting` waits on a thread,
    once for all that was written while it waited before.
    """

    def __init__(self, path: Path, what: str, first: Mapping[str, Any]) -> None:
        """The file is made at the first line, with `first` ahead of it."""
        self.path = path
        self._what = what
        self._first = first
        self._handle: int | None = None
        self._new = False
        self._written = 0
        self._end: int | None = None
        """Bytes that this process knows to be on the disk: whatever lies behind them was never acknowledged."""
        self._losses = 0
        self._syncing = asyncio.Lock()

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line and wait until it is on the disk. Raises StoreError; the file can be written again after that."""
        self.write(line)
        with self._telling():
            self._sync(self._handle)
        self._end = self._written

    def write(self, line: Mapping[str, Any]) -> None:
        """Write a line without waiting. A kill of this process does not lose it, a power cut may until `lasting`."""
        with self._telling():
            if self._handle is None:
                self._open()
            self._put(line)

    async def lasting(self) -> None:
        """Wait until what is written by now is on the disk. Raises StoreError if it is lost, and no longer in the file."""
        written, losses = self._written, self._losses
        async with self._syncing:
            if self._losses == losses and self._end is not None and self._end >= written:
                return  # whoever waited before has seen to it
            handle, latest = self._handle, self._written
            try:
                await _threads().submit(partial(self._sync, handle))
            except OSError as error:
                if self._losses == losses:
                    self._take_back()
                raise self._fault(error) from error
            if self._losses != losses:  # another line could not be kept, and this one lay behind it
                raise self._fault(OSError(errno.EIO, os.strerror(errno.EIO)))
            self._end = max(self._end or 0, latest)

    def close(self) -> None:
        """Close the file; another line opens it again."""
        if self._handle is not None:
            if self._end is not None and self._end < self._written:
                with contextlib.suppress(OSError):
                    self._sync(self._handle)
                    self._end = self._written
            os.close(self._handle)
            self._handle = None

    def _open(self) -> None:
        self._new = self._new or not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        whole = self.path.read_bytes().rfind(b"\n") + 1
        self._end = self._written = whole if self._end is None else min(whole, self._end)
        os.ftruncate(self._handle, self._end)
        os.lseek(self._handle, self._end, os.SEEK_SET)
        if self._end == 0:
            self._put(self._first)

    def _put(self, line: Mapping[str, Any]) -> None:
        assert self._handle is not None  # noqa: S101  opened by the caller
        data = (json.dumps(line) + "\n").encode("ascii")
        written = self._written + len(data)
        while data:
            data = data[os.write(self._handle, data) :]
        self._written = written

    def _sync(self, handle: int | None) -> None:
        if handle is None:
            raise OSError(errno.EBADF, "it was closed meanwhile")
        os.fsync(handle)
        if self._new:
            sync_folder(self.path.parent)
            self._new = False

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turns a fault of the disk into one of ours, and cuts off what it has left of lines."""
        try:
            yield
        except OSError as error:
            self._take_back()
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write {self._what}: {error.strerror}",
            where=str(self.path),
            hint="make room or mend the rights, then: runoff resume RUN",
        )

    def _take_back(self) -> None:
        """Cut off what is not known to be kept; if that fails too, it is done when the file is opened again."""
        self._losses += 1
        if self._handle is not None:
            if self._end is not None:  # it could be read when it was opened
                with contextlib.suppress(OSError):
                    os.ftruncate(self._handle, self._end)
            os.close(self._handle)
            self._handle = None


@cache
def _threads() -> DaemonThreads:
    """Where this process waits for its disk."""
    return DaemonThreads(SYNCS, "runoff-sync")
