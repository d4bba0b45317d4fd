"""Says what is wrong with an edit so that the next one is right: kind of fault, the nearest lines, what was fine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise

from rapidfuzz import fuzz, process

from agent.edits.match import Miss, Region, as_shown, occurrences
from agent.edits.types import EditFault, FaultKind, Lines, Nearest, Replace
from agent.lines import bare, left_out, split_lines
from agent.prompts.render import fence, render

_ECHO = 40  # search lines that are repeated to the model
_AROUND = 3  # lines before and after the nearest ones
_WINDOW = 60  # of the nearest lines that are shown
_WIDTH = 300  # characters of a line that are shown
_SHOWN = 4000  # characters of an echo or of near lines
_COMPARED = 8_000_000  # characters that one search by edit distance may look at
_ALIKE = 40.0  # per cent below which lines are not called near
_PLACES = 10  # of ambiguous lines that are named
_FAULTS = 8  # faults of one reply that are written out


def miss_fault(
    edit: Replace, miss: Miss, original: str, *, others: Iterable[str] = (), read: Callable[[str], str] = str
) -> EditFault:
    """Why a search block does not apply. `others` are the paths whose text, by `read`, may hold the lines instead."""
    lines = [bare(line) for line in split_lines(original)]
    echo = clip(miss.search, _ECHO)

    def fault(kind: FaultKind, message: str, nearest: Nearest | None = None, other: str = "") -> EditFault:
        return EditFault(kind, edit.number, message, edit.path, echo, nearest, other)

    if miss.found:
        places = ", ".join(str(at + 1) for at in miss.found[:_PLACES]) + (", ..." if len(miss.found) > _PLACES else "")
        message = f"the lines are in the file {len(miss.found)} times, from lines {places}; add lines until they are unique"
        return fault(FaultKind.AMBIGUOUS, message)
    if (at := _ignoring_space(miss.search, lines)) is not None:
        message = "the lines are in the file, but indentation or blank lines differ; copy them exactly as shown"
        return fault(FaultKind.WHITESPACE, message, _shown(edit.path, lines, *at))
    if any(line.strip() for line in miss.replace) and occurrences(miss.replace, lines, as_shown):
        message = "the new lines are in the original file already, and the lines to find are not: is this change needed?"
        return fault(FaultKind.ALREADY_APPLIED, message)
    nearest = nearest_lines(edit.path, miss.search, lines)
    for path in others:
        if path != edit.path and occurrences(miss.search, [bare(line) for line in split_lines(read(path))], as_shown):
            return fault(FaultKind.NOT_FOUND, f"the lines are not in this file, but they are in `{path}`", nearest, path)
    message = "the lines are not in the file; they must be whole lines, copied exactly from the original file"
    return fault(FaultKind.NOT_FOUND, message, nearest)


def nearest_lines(path: str, search: Lines, lines: Sequence[str]) -> Nearest | None:
    """The lines of the file with the smallest edit distance to the search, with a few lines around them."""
    search = search[:_ECHO]
    size = max(1, min(len(search), len(lines)))
    wanted = "\n".join(line.strip() for line in search)
    if not lines or not wanted.strip():
        return None
    length = max(1, sum(map(len, lines)) // len(lines)) * size
    step = max(1, len(lines) * length // _COMPARED)
    stripped = [line.strip()[: 4 * _WIDTH] for line in lines]
    starts = range(0, len(lines) - size + 1, step)
    windows = ("\n".join(stripped[at : at + size]) for at in starts)
    best = process.extractOne(wanted, windows, scorer=fuzz.ratio, score_cutoff=_ALIKE)
    return _shown(path, lines, starts[best[2]], starts[best[2]] + size) if best else None


def overlaps(path: str, regions: Sequence[Region]) -> list[EditFault]:
    """A fault for each block that changes lines which an earlier one changes too."""
    ordered = sorted(regions, key=lambda region: (region.first, region.block))
    faults: list[EditFault] = []
    for before, after in pairwise(ordered):
        if after.first < before.last:
            first, second = sorted((before.block, after.block))
            message = f"it changes lines that block {first} changes too; write one block for both changes"
            faults.append(EditFault(FaultKind.OVERLAP, second, message, path))
    return faults


def near_paths(path: str, paths: Collection[str]) -> list[str]:
    """Up to three paths that the model may have meant: the same file name first, then similar ones."""
    name = path.rpartition("/")[2]
    same = sorted(
        (other for other in paths if other.rpartition("/")[2] == name), key=lambda other: (-fuzz.ratio(path, other), other)
    )
    near = [other for other, _, _ in process.extract(path, paths, scorer=fuzz.ratio, limit=3, score_cutoff=70)]
    return list(dict.fromkeys([*same, *near]))[:3]


def excerpt(text: str, limit: int, around: Lines = ()) -> str:
    """A file's text of at most about `limit` characters, around the lines in question if it must be cut."""
    if len(text) <= limit:
        return text
    lines = [bare(line) for line in split_lines(text)]
    near = nearest_lines("", around, lines) if around else None
    middle = near.first + len(near.lines) // 2 if near else 0
    first = last = min(middle, len(lines) - 1)
    used = 0
    while used < limit and (first > 0 or last < len(lines)):
        if last < len(lines):
            used += len(lines[last]) + 1
            last += 1
        if first > 0 and used < limit:
            first -= 1
            used += len(lines[first]) + 1
    head = left_out(1, first) if first else ""
    tail = left_out(last + 1, len(lines)) if last < len(lines) else ""
    return head + "\n".join(lines[first:last])[: 2 * limit] + "\n" + tail


def feedback(faults: Sequence[EditFault], blocks: Sequence[int], shown: dict[str, str]) -> str:
    """What the model is told. `blocks`: numbers of all blocks; `shown`: text by path of files it had not seen."""
    bad = {fault.block for fault in faults}
    fine = [number for number in blocks if number not in bad and 0 not in bad]
    written = [(fault, _near_text(fault.nearest)) for fault in faults[:_FAULTS]]
    files = [fence(text, "file", path=path) for path, text in shown.items()]
    return render("edit_feedback", faults=written, more=len(faults) - len(written), fine=_listed(fine), files=files)


def clip(lines: Sequence[str], limit: int) -> str:
    """Lines as one text, bounded in number, width and all."""
    shown = [line if len(line) <= _WIDTH else line[:_WIDTH] + " ..." for line in lines[:limit]]
    while len(shown) > 1 and sum(map(len, shown)) > _SHOWN:
        shown.pop()
    return "\n".join(shown) + (f"\n... ({len(lines) - len(shown)} more lines)" if len(lines) > len(shown) else "")


def _ignoring_space(search: Lines, lines: Sequence[str]) -> tuple[int, int] | None:
    """Where the search is if blank lines and white space at both ends of lines do not count: (first, behind the last)."""
    wanted = ["".join(line.split()) for line in search if line.strip()]
    numbered = [(number, "".join(line.split())) for number, line in enumerate(lines) if line.strip()]
    found = occurrences(wanted, [line for _, line in numbered])
    return (numbered[found[0]][0], numbered[found[0] + len(wanted) - 1][0] + 1) if found else None


def _shown(path: str, lines: Sequence[str], first: int, last: int) -> Nearest:
    start = max(0, first - _AROUND)
    return Nearest(path, start + 1, tuple(lines[start : min(last + _AROUND, start + _WINDOW)]))


def _near_text(nearest: Nearest | None) -> str:
    if nearest is None:
        return ""
    clipped = clip(nearest.lines, _WINDOW).split("\n")
    return "\n".join(f"{number:>5} | {line}" for number, line in enumerate(clipped, nearest.first))


def _listed(numbers: Sequence[int]) -> str:
    words = [str(number) for number in numbers]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
