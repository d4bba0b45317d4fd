"""The original code around the candidates' changes, as much of it as a prompt has room for.

Whole files where they fit; else the same number of lines around every change, the most that fits. Which excerpts are shown
depends on the changes of all candidates together, so every prompt about them can share the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selection.patches.changes import Unparsable, parse

MARGINS = (200, 80, 40, 20, 10, 5)
"""Lines around a change that are tried, where whole files are too long."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of a file."""

    path: str
    first: int
    """Number of its first line, from 1."""
    last: int
    text: str
    whole: bool
    """Whether this is all of the file."""


def excerpts(diffs: Sequence[str], files: Mapping[str, str], chars: int) -> tuple[Excerpt, ...]:
    """Of the files that the diffs change, by path: at most `chars` characters in all, nothing where not even a little fits.

    `files` maps paths to their text at the base commit. The order of the diffs has no influence.
    """
    touched = _touched(diffs)
    lines = {path: files[path].splitlines(keepends=True) for path in sorted(touched) if files.get(path)}
    longest = max(map(len, lines.values()), default=0)
    for margin in (longest, *MARGINS):
        found = [
            Excerpt(path, first, last, "".join(text[first - 1 : last]), (first, last) == (1, len(text)))
            for path, text in lines.items()
            for first, last in _windows(touched[path], margin, len(text))
        ]
        if sum(len(one.text) for one in found) <= chars:
            return tuple(found)
    return ()


def _touched(diffs: Sequence[str]) -> dict[str, set[int]]:
    """Old line numbers at which a file changes, by its old path; of a diff that cannot be parsed none."""
    touched: dict[str, set[int]] = {}
    for diff in diffs:
        try:
            changes = parse(diff)
        except Unparsable:
            continue
        for change in changes:
            numbers = touched.setdefault(change.old_path, set())
            numbers.update(line.old for hunk in change.hunks for line in hunk if line.sign != " ")
    return touched


def _windows(numbers: set[int], margin: int, length: int) -> list[tuple[int, int]]:
    """Ranges of lines (first, last) with the margin around each number; those that touch are one."""
    windows: list[tuple[int, int]] = []
    for number in sorted(numbers):
        first, last = max(1, number - margin), min(length, number + margin)
        if first > length:
            continue
        if windows and first <= windows[-1][1] + 1:
            windows[-1] = (windows[-1][0], max(last, windows[-1][1]))
        else:
            windows.append((first, last))
    return windows
