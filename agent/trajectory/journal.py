"""A trajectory's journal: a JSONL file with one line for each effect, which is log, record and transcript at once.

Lines are of five kinds: `start` (which trajectory, which format), `ask` and `run` (effects: branch, sequence, step,
digests of the request by named part, the result), `fork` (effects of a branch from here on no longer count) and `note`
(a fault of the infrastructure; replay skips it).
One fsync an effect; a torn last line is dropped. What reached a journal is never paid for again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sandbox.errors import InputError, StoreError

FORMAT = 1


class JournalMismatch(InputError):
    """A journal holds an effect of another request than the one that is asked for now. `part` names what differs."""

    def __init__(self, part: str, *, where: str) -> None:
        super().__init__(
            f"the journal was written for another '{part}'",
            where=where,
            hint="resume with the settings and inputs of the first start, or start a new run with --run NAME",
        )
        self.part = part


@dataclass(frozen=True, slots=True)
class Entry:
    """One effect as the journal holds it."""

    kind: Literal["ask", "run"]
    branch: str
    sequence: int
    step: str
    parts: Mapping[str, str]
    """Digest of the request by named part."""
    result: Mapping[str, Any]
    seconds: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "kind": self.kind,
            "branch": self.branch,
            "sequence": self.sequence,
            "step": self.step,
            "parts": dict(self.parts),
            "result": dict(self.result),
            "seconds": round(self.seconds, 3),
            **self.extra,
        }


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal; a torn last line is left out. Raises StoreError for any other damage."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot read a journal: {error.strerror}", where=str(path)) from error
    *lines, _torn = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            parsed = json.loads(line)
        except ValueError as error:
            raise StoreError(
                f"line {number} of a journal is damaged", where=str(path), hint="restore the file, or start a new run"
            ) from error
        yield parsed


class Journal:
    """The journal of one trajectory. One writer at a time; the run's lock sees to that."""

    def __init__(self, path: Path, header: Mapping[str, Any] | None = None) -> None:
        """Read what is there. The file is made at the first append, with `header` as its first line."""
        self.path = path
        self._header = dict(header or {})
        self._entries: dict[tuple[str, int], Entry] = {}
        self._file: int | None = None
        for line in read_lines(path):
            if line["kind"] == "fork":
                self._drop(line["branch"], line["sequence"])
            if line["kind"] in ("ask", "run"):
                entry = Entry(
                    line["kind"],
                    line["branch"],
                    line["sequence"],
                    line["step"],
                    line["parts"],
                    line["result"],
                    line["seconds"],
                )
                self._entries[entry.branch, entry.sequence] = entry

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> tuple[Entry, ...]:
        """All effects, in the order in which they landed."""
        return tuple(self._entries.values())

    def at(self, branch: str, sequence: int) -> Entry | None:
        """The effect at this place, whatever was asked for."""
        return self._entries.get((branch, sequence))

    def find(self, kind: str, branch: str, sequence: int, parts: Mapping[str, str]) -> Entry | None:
        """The effect at this place, if it was journaled. Raises JournalMismatch if it was of another request."""
        entry = self.at(branch, sequence)
        if entry is None:
            return None
        where = f"{self.path}, branch '{branch}', effect {sequence}"
        if entry.kind != kind:
            raise JournalMismatch("kind of effect", where=where)
        for name in [*parts, *entry.parts]:
            if parts.get(name) != entry.parts.get(name):
                raise JournalMismatch(name, where=where)
        return entry

    def append(self, entry: Entry) -> None:
        """Write an effect and wait until it is on the disk."""
        self._write(entry.line())
        self._entries[entry.branch, entry.sequence] = entry

    def note(self, **fields: Any) -> None:
        """Write a line for readers; replay skips it."""
        self._write({"kind": "note", **fields})

    def fork(self, branch: str, sequence: int) -> None:
        """Let go of the effects from (branch, sequence) on, on that branch; they stay in the file for readers.

        The line that says so is written like an effect, so a kill loses neither the old effects nor the new.
        """
        self._write({"kind": "fork", "branch": branch, "sequence": sequence})
        self._drop(branch, sequence)

    def _drop(self, branch: str, sequence: int) -> None:
        for place in [(name, number) for name, number in self._entries if name == branch and number >= sequence]:
            del self._entries[place]

    def close(self) -> None:
        """Close the file; an append opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, line: Mapping[str, Any]) -> None:
        data = (json.dumps(line) + "\n").encode("ascii")
        try:
            if self._file is None:
                self._file = self._open()
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError as error:
            self.close()  # the next append cuts off what was written of this line
            raise StoreError(
                f"cannot write a journal: {error.strerror}", where=str(self.path), hint="make room, then: runoff resume RUN"
            ) from error

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        size = os.fstat(handle).st_size
        if size:
            tail = self.path.read_bytes()
            os.ftruncate(handle, tail.rfind(b"\n") + 1)
        end = os.lseek(handle, 0, os.SEEK_END)
        if end == 0:
            first = {"kind": "start", "format": FORMAT, **self._header}
            os.write(handle, (json.dumps(first) + "\n").encode("ascii"))
        return handle
