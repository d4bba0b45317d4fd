"""A trajectory's journal: a JSONL file with one line for each effect, which is log, record and transcript at once.

Lines are of five kinds: `start` (which trajectory, which format), `ask` and `run` (effects: branch, sequence, step,
digests of the request by named part, the result), `fork` (effects of a branch from here on no longer count) and `note`
(a fault of the infrastructure; replay skips it).
One fsync an effect; a torn last line is dropped. What reached a journal is never paid for again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agent.jsonl import Appender, take_lines
from sandbox.errors import InputError

FORMAT = 1
WHAT = "a journal"


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
        }


class Journal:
    """The journal of one trajectory. One writer at a time; the run's lock sees to that."""

    def __init__(self, path: Path, header: Mapping[str, Any] | None = None) -> None:
        """Read what is there. The file is made at the first append, with `header` as its first line."""
        self.path = path
        self._entries: dict[tuple[str, int], Entry] = {}
        self._file = Appender(path, WHAT, {"kind": "start", "format": FORMAT, **(header or {})})
        take_lines(path, WHAT, self._take)

    def _take(self, line: Mapping[str, Any]) -> None:
        match line["kind"]:
            case "start" if line["format"] != FORMAT:
                raise InputError(
                    f"the journal was written in format {line['format']}; this runoff reads format {FORMAT}",
                    where=str(self.path),
                    hint="use the runoff version that the run's manifest names",
                )
            case "fork":
                self._drop(line["branch"], line["sequence"])
            case "ask" | "run":
                entry = Entry(**line)
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
        self._file.append(entry.line())
        self._entries[entry.branch, entry.sequence] = entry

    def keep(self, entry: Entry) -> None:
        """The same without waiting: a kill does not lose it, a power cut may until the file is closed."""
        self._file.write(entry.line())
        self._entries[entry.branch, entry.sequence] = entry

    async def commit(self, entry: Entry) -> None:
        """`append` while others go on, for an effect that is not looked up again in this process."""
        self._file.write(entry.line())
        await self._file.lasting()

    def forget(self, entry: Entry) -> None:
        """Let go of an effect that was looked up and will not be again; it stays in the file."""
        self._entries.pop((entry.branch, entry.sequence), None)

    def note(self, **fields: Any) -> None:
        """Write a line for readers; replay skips it."""
        self._file.append({"kind": "note", **fields})

    def fork(self, branch: str, sequence: int) -> None:
        """Let go of the effects from (branch, sequence) on, on that branch; they stay in the file for readers.

        The line that says so is written like an effect, so a kill loses neither the old effects nor the new.
        """
        self._file.append({"kind": "fork", "branch": branch, "sequence": sequence})
        self._drop(branch, sequence)

    def _drop(self, branch: str, sequence: int) -> None:
        for place in [(name, number) for name, number in self._entries if name == branch and number >= sequence]:
            del self._entries[place]

    def close(self) -> None:
        """Close the file; an append opens it again."""
        self._file.close()
