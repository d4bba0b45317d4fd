"""Code fences that a model puts around lines out of habit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from agent.edits.types import Lines

FENCE = re.compile(r"^\s*(```+|~~~+)[\w+.-]*\s*$")
FENCE_OPEN = re.compile(r"^\s*(```+|~~~+)")
PATH_LINE = re.compile(r"^[\w./@+-]*[/.][\w./@+-]+$")
_CLOSING = ("```", "~~~")
_PROSE = (".md", ".markdown", ".mdx", ".rst", ".txt")


def unfenced(lines: Lines, path: str) -> Lines:
    """Without a code fence around all lines; in Markdown and its like a fence is content."""
    if path.endswith(_PROSE) or len(lines) < 2:  # noqa: PLR2004  a fence has two ends
        return lines
    return lines[1:-1] if FENCE.match(lines[0]) and lines[-1].strip() in _CLOSING else lines


def fenced_files(lines: Sequence[str]) -> Iterator[tuple[str, Lines]]:
    """(path, text) of each code fence that names a file: on the line before it, or behind its language.

    A fence ends at the last closing line before the next such fence, since code may hold fences itself.
    """
    starts = [(at, path) for at, line in enumerate(lines) if FENCE_OPEN.match(line) and (path := _path_of(lines, at))]
    for (at, path), (limit, _) in pairwise([*starts, (len(lines), "")]):
        ends = [index for index in range(at + 1, limit) if lines[index].strip() in _CLOSING]
        if ends:
            yield path, tuple(lines[at + 1 : ends[-1]])


def _path_of(lines: Sequence[str], at: int) -> str:
    words = lines[at].strip().strip("`~").split()
    named = words[-1:] or [""]
    before = next((line for line in reversed(lines[max(0, at - 2) : at]) if line.strip()), "")
    for candidate in (named[0].rpartition(":")[2], before.strip().lstrip("# ").strip("`*:' ")):
        if PATH_LINE.match(candidate):
            return candidate
    return ""
