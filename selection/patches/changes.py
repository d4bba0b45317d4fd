"""What a diff changes, line by line: the ground on which patches are cleaned, told apart and compared.

Diffs of other systems are often spoiled: their last blank context lines are stripped with the white space at their end,
or they lead from the new tree back to the old one. What they change is still plain, so they are mended here first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchedFile, PatchSet

from agent.cleaning import reason
from sandbox.patching import HUNK, header_lines

Sign = Literal["+", "-", " "]
_RANGES = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)", re.ASCII | re.DOTALL)
_TURNED = (
    ("--- b/", "+++ b/"),
    ("+++ a/", "--- a/"),
    ("--- /dev/null", "+++ /dev/null"),
    ("+++ /dev/null", "--- /dev/null"),
    ("new file mode", "deleted file mode"),
    ("deleted file mode", "new file mode"),
    ("rename from ", "rename to "),
    ("rename to ", "rename from "),
)
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
        text = readable(diff)
        files = PatchSet(text if text.endswith("\n") else text + "\n")
    except (UnidiffParseError, ValueError) as error:
        raise Unparsable(str(error).strip() or type(error).__name__) from error
    if not files:
        raise Unparsable("no file header was found")
    return tuple(map(_file, files))


@lru_cache(_CACHED)
def essence(diff: str) -> tuple[FileChange, ...]:
    """What is left without what `noise` names; empty if nothing is, or nothing parses."""
    try:
        left_out = noise(diff)
        return tuple(change for change in parse(diff) if change.path not in left_out)
    except Unparsable:
        return ()


def paths(diff: str) -> frozenset[str]:
    """All files that a diff names, before and after; none if it cannot be parsed."""
    try:
        return frozenset(path for change in parse(diff) for path in (change.old_path, change.path))
    except Unparsable:
        return frozenset()


def noise(diff: str) -> dict[str, str]:
    """The reason by path (`agent.cleaning`) for tests, artefacts and scratch files. Raises Unparsable."""
    reasons = {change.path: reason(change.path, new=change.created) for change in parse(diff)}
    return {path: why for path, why in reasons.items() if why}


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


@lru_cache(_CACHED)
def readable(diff: str) -> str:
    """The diff as `git apply` wants it: turned round if it leads from the new tree to the old, its end mended.

    The very same text if there is nothing to mend.
    """
    text = _turned(diff) if _is_backward(diff) else diff
    start = max(text.rfind("\n@@ -"), -1) + 1
    head, _, body = text[start:].partition("\n")
    if not (announced := HUNK.match(head)):
        return text
    lines = body.removesuffix("\n").split("\n")
    old = int(announced[1] or 1) - sum(not line.startswith(("+", "\\")) for line in lines)
    new = int(announced[2] or 1) - sum(not line.startswith(("-", "\\")) for line in lines)
    return text.removesuffix("\n") + "\n" + " \n" * old if old == new > 0 else text


def _is_backward(diff: str) -> bool:
    """Whether all headers lead from `b/` to `a/`: the two trees were given to `git diff` in the wrong order."""
    headers = [line[:6] for line in header_lines(diff) if line.startswith(("--- ", "+++ "))]
    return bool({"--- b/", "+++ a/"} & set(headers)) and not {"--- a/", "+++ b/"} & set(headers)


def _turned(diff: str) -> str:
    """The diff that undoes this one, with the usual prefixes."""
    old = new = 0
    turned = []
    for line in diff.split("\n"):
        if old > 0 or new > 0:
            old -= not line.startswith(("+", "\\"))
            new -= not line.startswith(("-", "\\"))
            turned.append({"+": "-", "-": "+"}.get(line[:1], line[:1]) + line[1:])
        elif hunk := _RANGES.match(line):
            old, new = (int(hunk[place] or 1) for place in (2, 4))
            turned.append(f"@@ -{hunk[3]},{new} +{hunk[1]},{old} @@{hunk[5]}")
        else:
            turned.append(next((there + line[len(here) :] for here, there in _TURNED if line.startswith(here)), line))
    return _names_first("\n".join(turned))


def _names_first(diff: str) -> str:
    """With the old name before the new one, which turning round has swapped."""
    return re.sub(
        r"^(\+\+\+ .*)\n(--- .*)$",
        r"\2\n\1",
        re.sub(r"^diff --git b/(.*) a/", r"diff --git a/\1 b/", diff, flags=re.MULTILINE),
        flags=re.MULTILINE,
    )
