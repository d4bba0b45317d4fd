"""Files of JSON lines that only grow: journals and the ledger.

A line counts once its newline is on the disk. What a killed writer or a full disk left of a line is cut off before the
next one is written, and left out by readers.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sandbox.errors import StoreError


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
    """Appends lines, one fsync each. One writer at a time; the run's lock sees to that."""

    def __init__(self, path: Path, what: str, first: Mapping[str, Any]) -> None:
        """The file is made at the first line, with `first` ahead of it."""
        self.path = path
        self._what = what
        self._first = first
        self._handle: int | None = None
        self._end: int | None = None
        """Bytes that this process knows to be on the disk: whatever lies behind them was never acknowledged."""

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line and wait until it is on the disk. Raises StoreError; the file can be written again after that."""
        try:
            if self._handle is None:
                self._open()
            self._write(line)
        except OSError as error:
            self._take_back()
            raise StoreError(
                f"cannot write {self._what}: {error.strerror}",
                where=str(self.path),
                hint="make room or mend the rights, then: runoff resume RUN",
            ) from error

    def close(self) -> None:
        """Close the file; another line opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> None:
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        whole = self.path.read_bytes().rfind(b"\n") + 1
        self._end = whole if self._end is None else min(whole, self._end)
        os.ftruncate(self._handle, self._end)
        os.lseek(self._handle, self._end, os.SEEK_SET)
        if self._end == 0:
            self._write(self._first)
        if new:
            sync_folder(self.path.parent)

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._handle is not None  # noqa: S101  opened by the caller
        assert self._end is not None  # noqa: S101  likewise
        data = (json.dumps(line) + "\n").encode("ascii")
        end = self._end + len(data)
        while data:
            data = data[os.write(self._handle, data) :]
        os.fsync(self._handle)
        self._end = end

    def _take_back(self) -> None:
        """Cut off what was written of a line that failed; if that fails too, it is done when the file is opened again."""
        if self._handle is not None and self._end is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._end)
        self.close()
