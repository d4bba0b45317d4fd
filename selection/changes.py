"""What a diff changes, line by line: the ground on which patches are cleaned, told apart and compared.

Diffs of other systems are often cut short: their last blank context lines are stripped with the white space at their
end. Such a diff still says what it changes, so its end is mended here before `unidiff` reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchedFile, PatchSet

from agent.cleaning import clean
from sandbox.patching import HUNK

Sign = Literal["+", "-", " "]
_CACHED = 20_000
"""Diffs whose changes are kept in memory: those of a split of 500 instances and 40 members."""


class Unparsable(ValueError):
    """A text that is no unified diff."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a hunk."""

    sign: Sign
    text: str
    """Without its end."""
    old: int
    """Its number in the file before the change; of an added line, the number of the old line that it comes before."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """What happens to one file."""

    path: str
    """Its name after the change; before it, if the change deletes the file."""
    old_path: str
    created: bool
    deleted: bool
    hunks: tuple[tuple[Line, ...], ...]


@lru_cache(_CACHED)
def parse(diff: str) -> tuple[FileChange, ...]:
    """The files that a diff changes, in its order. Raises Unparsable with the reason."""
    try:
        files = PatchSet(_mended(diff))
    except (UnidiffParseError, ValueError) as error:
        raise Unparsable(str(error).strip() or type(error).__name__) from error
    if not files:
        raise Unparsable("no file header was found")
    return tuple(map(_file, files))


@lru_cache(_CACHED)
def essence(diff: str) -> tuple[FileChange, ...]:
    """What is left without tests, artefacts and scratch files (`agent.cleaning`); empty if nothing is, or nothing parses."""
    kept = clean(diff).diff
    try:
        return parse(kept) if kept.strip() else ()
    except Unparsable:
        return ()


def _file(file: PatchedFile) -> FileChange:
    old = re.sub(r"^a/", "", file.source_file.strip('"'))
    created, deleted = file.is_added_file, file.is_removed_file
    hunks = tuple(tuple(_lines(hunk)) for hunk in file)
    return FileChange(file.path, file.path if created else old, created, deleted, hunks)


def _lines(hunk: Hunk) -> list[Line]:
    lines = []
    old = hunk.source_start + (hunk.source_length == 0)
    for line in hunk:
        text = line.value.rstrip("\r\n")
        if line.is_added:
            lines.append(Line("+", text, old))
        elif line.is_removed or line.is_context:
            lines.append(Line("-" if line.is_removed else " ", text, old))
            old += 1
    return lines


def _mended(diff: str) -> str:
    """The diff with the blank context lines that its last hunk announces and lacks."""
    text = diff if diff.endswith("\n") else diff + "\n"
    start = max(text.rfind("\n@@ -"), -1) + 1
    head, _, body = text[start:].partition("\n")
    if not (announced := HUNK.match(head)):
        return text
    lines = body.split("\n")[:-1]
    old = int(announced[1] or 1) - sum(not line.startswith(("+", "\\")) for line in lines)
    new = int(announced[2] or 1) - sum(not line.startswith(("-", "\\")) for line in lines)
    return text + " \n" * old if old == new > 0 else text
