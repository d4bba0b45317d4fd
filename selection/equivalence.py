"""When two patches are the same change, so that agreement between systems can be counted.

Five levels, each at least as coarse as the one before: two patches that are the same at one level are the same at every
later one. At every level being the same is an equivalence relation, so patches fall into classes; sizes are votes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache

from sandbox.api import Execution, Patch, Verdict
from sandbox.matrix import Matrix
from selection.candidates import normalize
from selection.patches import forms
from selection.patches.changes import FileChange, Unparsable, essence, parse
from selection.patches.code import code

_CACHED = 100_000


class Level(StrEnum):
    """What is not told apart, from the finest level to the coarsest."""

    TEXT = "text"
    """Index lines of git, and white space on blank lines (`selection.candidates.normalize`)."""
    SPACE = "space"
    """Blank lines and white space at the end of lines; tests, artefacts and scratch files."""
    COMMENTS = "comments"
    """Comments, docstrings, documentation, white space inside lines, the kind of quotes."""
    SYNTAX = "syntax"
    """How statements are broken into lines; with the files' texts: whatever gives the same syntax tree."""
    BEHAVIOUR = "behaviour"
    """Whatever ends the same way in all scripts that ran."""


def classes(
    patches: Sequence[Patch],
    level: Level = Level.SYNTAX,
    *,
    files: Mapping[str, str] | None = None,
    matrix: Matrix | None = None,
) -> tuple[tuple[int, ...], ...]:
    """The classes, as ascending indices into `patches`, ordered by their first index.

    `files` maps paths to their text at the base commit: with it, SYNTAX compares what the patches make of them.
    `matrix` is needed for BEHAVIOUR. Raises ValueError without it.
    """
    if level is Level.BEHAVIOUR and matrix is None:
        raise ValueError("behaviour can be compared only where scripts ran: a matrix is missing")
    leaders = list(range(len(patches)))
    for finer in list(Level)[: list(Level).index(level) + 1]:
        if finer is Level.BEHAVIOUR and matrix:
            behaviours = outcomes(matrix)
            _merge(leaders, (behaviours.get(patch.digest) for patch in patches))
            continue
        _merge(leaders, (_of_diff(patch.diff, finer) for patch in patches))
        if finer is Level.SYNTAX and files:
            made = {index: _made(patches[index].diff, files) for index in set(leaders)}
            _merge(leaders, (made.get(index) for index in range(len(patches))))
    members: dict[int, list[int]] = {}
    for index in range(len(patches)):
        members.setdefault(leaders[index], []).append(index)
    return tuple(map(tuple, members.values()))


def same(one: Patch, other: Patch, level: Level = Level.SYNTAX, *, files: Mapping[str, str] | None = None) -> bool:
    """Whether two patches are the same change at a level other than BEHAVIOUR."""
    return len(classes((one, other), level, files=files)) == 1


def finest(one: Patch, other: Patch, *, files: Mapping[str, str] | None = None) -> Level | None:
    """The finest level at which two patches are the same change; None if no level but BEHAVIOUR can make them so."""
    levels = [level for level in Level if level is not Level.BEHAVIOUR]
    return next((level for level in levels if same(one, other, level, files=files)), None)


@lru_cache(_CACHED)
def _of_diff(diff: str, level: Level) -> Hashable:
    """The normal form of a diff; None, which equals nothing, if it has none at this level. Not for BEHAVIOUR."""
    if level is Level.TEXT:
        return normalize(diff)
    found = _changes(diff)
    if found is None:
        return None
    match level:
        case Level.SPACE:
            return forms.of_lines(found)
        case Level.COMMENTS:
            return forms.of_code(found)
        case _:
            return forms.of_syntax(found)


def _changes(diff: str) -> Sequence[FileChange] | None:
    """What counts of a diff; all of it, if it consists of tests and artefacts only; None if it cannot be parsed."""
    try:
        return essence(diff) or parse(diff)
    except Unparsable:
        return None


def _made(diff: str, files: Mapping[str, str]) -> Hashable:
    """The form of what the patch makes of the files; None where it does not fit on them."""
    found = _changes(diff)
    after = forms.applied(code(found), files) if found is not None else None
    if after is None:
        return None
    results = []
    for path, text in sorted(after.items()):
        before = files.get(path, "")
        was = forms.of_result(path, before, before)
        now = None if text is None else forms.of_result(path, text, before)
        if now != was or path not in files:
            results.append((path, now))
    return ("made", *results)


def outcomes(matrix: Matrix) -> dict[str, Hashable]:
    """How all scripts ended on a patch, by its digest, for patches that all ran on and at least one passed on.

    A shared failure says nothing: patches that do not apply all end the same way.
    """
    endings: dict[str, Hashable] = {}
    for digest in {patch for patch, _ in matrix.cells}:
        cells = [matrix.cells.get((digest, script.digest)) for script in matrix.scripts]
        ran = [cell for cell in cells if cell is not None]
        if len(ran) == len(cells) and any(cell.verdict is Verdict.PASS for cell in ran):
            endings[digest] = tuple(map(_ending, ran))
    return endings


def _ending(execution: Execution) -> Hashable:
    return execution.verdict, execution.exit_code, execution.timed_out, execution.limit


def _merge(leaders: list[int], keys: Iterable[Hashable]) -> None:
    """Join the classes of all indices with equal keys (union-find); afterwards each index names its leader itself."""
    first: dict[Hashable, int] = {}
    for index, key in enumerate(keys):
        if key is not None:
            one, other = _leader(leaders, first.setdefault(key, index)), _leader(leaders, index)
            leaders[max(one, other)] = min(one, other)
    for index in range(len(leaders)):
        leaders[index] = _leader(leaders, index)


def _leader(leaders: list[int], index: int) -> int:
    while leaders[index] != index:
        index = leaders[index]
    return index
