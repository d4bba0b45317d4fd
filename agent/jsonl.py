"""Files of JSON lines that only grow: journals and the ledger.

A line counts once its newline is on the disk. What a killed writer or a full disk left of a line is cut off before the
next one is written, and left out by readers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sandbox.errors import StoreError


def read_lines(path: Path, what: str) -> Iterator[dict[str, Any]]:
    """The lines of a file, none if it is not there; `what` names it in messages. Raises StoreError where it is damaged."""
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
            hint = "restore the file, or start a new run with --run NAME"
            raise StoreError(f"line {number} of {what} is damaged", where=str(path), hint=hint) from error
        yield parsed


class Appender:
    """Appends lines, one fsync each. One writer at a time; the run's lock sees to that."""

    def __init__(self, path: Path, what: str, first: Mapping[str, Any]) -> None:
        """The file is made at the first line, with `first` ahead of it."""
        self.path = path
        self._what = what
        self._first = first
        self._handle: int | None = None

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line and wait until it is on the disk. Raises StoreError; the file can be written again after that."""
        try:
            if self._handle is None:
                self._open()
            self._write(line)
        except OSError as error:
            self.close()  # what was written of the line is cut off when the file is opened again
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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._handle, self.path.read_bytes().rfind(b"\n") + 1)
        if os.lseek(self._handle, 0, os.SEEK_END) == 0:
            self._write(self._first)

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._handle is not None  # noqa: S101  opened by the caller
        data = (json.dumps(line) + "\n").encode("ascii")
        while data:
            data = data[os.write(self._handle, data) :]
        os.fsync(self._handle)
