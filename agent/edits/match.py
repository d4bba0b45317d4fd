"""Finds the lines that a block wants to replace: whole lines, exactly once.

Forgiven, because the file's own lines are kept where nothing is replaced and only one reading is left: carriage returns,
spaces at line ends, blank lines or code fences around both halves, tags that the prompt's fence had to neutralize, and both
halves being indented by the same white space too much or too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from agent.edits.fences import unfenced
from agent.edits.types import Lines, Replace
from agent.lines import bare, split_lines
from agent.prompts.render import neutralize

_TAG = "file"  # what `agent.context.packing.render_file` fences with
_RAW_TAG = re.compile(rf"<(?=\s*/?\s*{_TAG}\b)", re.IGNORECASE)
_NEUTRAL_TAG = re.compile(rf"&lt;(?=\s*/?\s*{_TAG}\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Region:
    """Lines `first` up to but not including `last` (from 0) give way to `lines`."""

    first: int
    last: int
    lines: Lines
    block: int


@dataclass(frozen=True, slots=True)
class Miss:
    """The search lines are not there exactly once."""

    search: Lines
    replace: Lines
    found: tuple[int, ...] = ()
    """Where they are, as line numbers from 0: none, or several."""


def locate(edit: Replace, original: str) -> Region | Miss:
    """Where the block applies. Of several readings of the block the longest search that fits counts."""
    lines = [bare(line) for line in split_lines(original)]
    several: Miss | None = None
    for search, replace in reversed(edit.halves):
        for wanted, new, view in _readings(search, replace, edit.path, lines):
            found = occurrences(wanted, lines, view)
            if len(found) == 1:
                last = found[0] + len(wanted)
                as_is = dict(zip(wanted, lines[found[0] : last], strict=True))
                back = restore(new, original)
                return Region(found[0], last, tuple(as_is.get(a, b) for a, b in zip(new, back, strict=True)), edit.number)
            if found:
                several = several or Miss(search, replace, tuple(found))
                break
    search, replace = edit.halves[0]
    return several or Miss(unfenced(search, edit.path), unfenced(replace, edit.path))


def occurrences(wanted: Sequence[str], lines: Sequence[str], view: Callable[[str], str] = str) -> list[int]:
    """Where the wanted lines begin, both sides seen through `view`."""
    if not wanted or len(wanted) > len(lines):
        return []
    target = [view(line) for line in wanted]
    seen = [view(line) for line in lines]
    size = len(target)
    return [at for at in range(len(seen) - size + 1) if seen[at] == target[0] and seen[at : at + size] == target]


def as_shown(line: str) -> str:
    """A line as a prompt shows it, without spaces at its end."""
    return neutralize(line.rstrip(), _TAG)


def restore(lines: Lines, original: str) -> Lines:
    """Tags as the file has them, where the prompt showed them neutralized and the file has none like that itself."""
    if not _RAW_TAG.search(original) or _NEUTRAL_TAG.search(original):
        return lines
    return tuple(_NEUTRAL_TAG.sub("<", line) for line in lines)


def replaced(original: str, regions: Sequence[Region]) -> str:
    """The text with all regions replaced; they must not overlap. New lines end as the lines around them do."""
    lines = split_lines(original)
    end = dominant_end(original)
    for region in sorted(regions, key=lambda region: region.first, reverse=True):
        new = [line + end for line in region.lines]
        old = lines[region.first : region.last]
        if new and old and region.last == len(lines) and not old[-1].endswith("\n"):
            new[-1] = new[-1].removesuffix(end)
        as_was = {(bare(line), line.endswith("\n")): line for line in old}  # mixed line ends stay as they were
        lines[region.first : region.last] = [as_was.get((bare(line), line.endswith("\n")), line) for line in new]
    return "".join(lines)


def rewritten(original: str | None, lines: Lines) -> str:
    """A whole new text with the line ends of the original; a new text ends with a line feed."""
    if not lines:
        return ""
    end = dominant_end(original or "")
    text = end.join(lines)
    return text if original and not original.endswith("\n") else text + end


def dominant_end(text: str) -> str:
    """How most lines of a text end."""
    return "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"


def _readings(
    search: Lines, replace: Lines, path: str, lines: Sequence[str]
) -> Iterator[tuple[Lines, Lines, Callable[[str], str]]]:
    """The block from the strictest reading to the most forgiving one."""
    yield search, replace, str
    yield search, replace, str.rstrip
    yield search, replace, as_shown
    search, replace = unfenced(search, path), unfenced(replace, path)
    yield search, replace, as_shown
    while search and replace and not search[0].strip() and not replace[0].strip():
        search, replace = search[1:], replace[1:]
    while search and replace and not search[-1].strip() and not replace[-1].strip():
        search, replace = search[:-1], replace[:-1]
    yield search, replace, as_shown
    if moved := _moved(search, replace, lines):
        yield *moved, as_shown


def _moved(search: Lines, replace: Lines, lines: Sequence[str]) -> tuple[Lines, Lines] | None:
    """Both halves under the file's indentation, where theirs is off by the same white space throughout.

    None if the search is not there exactly once, or the two halves do not begin at the same depth: then it is not sure what
    was meant.
    """
    found = occurrences(search, lines, str.strip)
    if len(found) != 1 or not search[0].strip() or (replace and _indent(replace[0]) != _indent(search[0])):
        return None
    mine, theirs = _indent(search[0]), _indent(lines[found[0]])
    if theirs.endswith(mine):
        more = theirs.removesuffix(mine)
        halves = [tuple(more + line if line.strip() else line for line in half) for half in (search, replace)]
    elif mine.endswith(theirs):
        less = mine.removesuffix(theirs)
        if not all(line.startswith(less) for half in (search, replace) for line in half if line.strip()):
            return None
        halves = [tuple(line.removeprefix(less) for line in half) for half in (search, replace)]
    else:
        return None
    return halves[0], halves[1]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
