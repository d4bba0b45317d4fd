"""Normal forms of a change, one for each level of sameness: two patches with equal forms are the same change.

Where only the diff is known, what counts is which old lines go (by number) and which new ones come (by content). Hunks are
compared anew inside each block of changes, so that a line which one tool shows as kept and another as replaced by itself
makes no difference. Where the text of the files is known, the patch is applied and the result is compared instead.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from agent.languages import language_of
from selection.patches.changes import FileChange, Line
from selection.patches.code import code, code_lines

Entry = tuple[Line, tuple[Hashable, ...]]
"""A line and what of it is compared."""
_CACHED = 256
"""Files whose statements are kept: the candidates for one issue touch the same few."""
_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")


def of_lines(changes: Sequence[FileChange]) -> Hashable:
    """Without blank lines and white space at the end of lines."""
    return _form(changes, _spaced, lambda lines: lines)


def of_code(changes: Sequence[FileChange]) -> Hashable:
    """Without comments, docstrings and documentation, whatever the white space inside lines."""
    return _form(code(changes), _coded, lambda lines: lines)


def of_syntax(changes: Sequence[FileChange]) -> Hashable:
    """As `of_code`, however statements are broken into lines."""
    return _form(code(changes), _coded, _joined)


def _form(
    changes: Sequence[FileChange],
    entries: Callable[[FileChange], Iterator[list[Entry]]],
    finish: Callable[[tuple[Hashable, ...]], Hashable],
) -> Hashable:
    files = []
    for change in changes:
        blocks = [block for hunk in entries(change) for block in _blocks(hunk)]
        parts = tuple((anchor, gone, finish(come)) for anchor, gone, come in blocks)
        moved = change.old_path if change.old_path != change.path else ""
        if parts or moved or change.created or change.deleted:
            files.append((change.path, moved, change.created, change.deleted, parts))
    return tuple(sorted(files, key=repr))


def _spaced(change: FileChange) -> Iterator[list[Entry]]:
    for hunk in change.hunks:
        yield [(line, (text,)) for line in hunk if (text := line.text.expandtabs().rstrip())]


def _coded(change: FileChange) -> Iterator[list[Entry]]:
    indented = language_of(change.path) in ("python", "cython")
    for hunk in code_lines(change):
        yield [(one.line, (_indent(one.line.text) if indented else 0, *one.tokens)) for one in hunk]


def _indent(text: str) -> int:
    text = text.expandtabs()
    return len(text) - len(text.lstrip())


def _blocks(hunk: Sequence[Entry]) -> Iterator[tuple[int, tuple[int, ...], tuple[Hashable, ...]]]:
    """Each change of a hunk: the old line that it is at or before, the numbers of the lines that go, and what comes."""
    gone: list[Entry] = []
    come: list[Entry] = []
    for entry in hunk:
        if entry[0].sign == "-":
            gone.append(entry)
        elif entry[0].sign == "+":
            come.append(entry)
        else:
            yield from _changes(gone, come, entry[0].old)
            gone, come = [], []
    yield from _changes(gone, come, max((line.old for line, _ in (*gone, *come)), default=0) + 1)


def _changes(
    gone: Sequence[Entry], come: Sequence[Entry], following: int
) -> Iterator[tuple[int, tuple[int, ...], tuple[Hashable, ...]]]:
    old, new = [content for _, content in gone], [content for _, content in come]
    numbers = [line.old for line, _ in gone]
    if not old or not new:
        if old or new:
            yield (*numbers, following)[0], tuple(numbers), tuple(new)
        return
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield (*numbers[i:], following)[0], tuple(numbers[i:j]), tuple(new[k:m])


def _joined(lines: tuple[Hashable, ...]) -> Hashable:
    """The lines (indentation, tokens) as one sequence; inside brackets line ends and a last comma do not count."""
    depth = 0
    whole: list[Hashable] = []
    for line in lines:
        indent, *found = line if isinstance(line, tuple) else (0, line)
        if depth <= 0:
            whole.append(("line", indent))
        for token in found:
            depth += (token in _OPENING) - (token in _CLOSING)
            if token in _CLOSING and whole[-1] == ",":
                whole.pop()
            whole.append(token)
    return tuple(whole)


def applied(changes: Sequence[FileChange], files: Mapping[str, str]) -> dict[str, str | None] | None:
    """The text of each changed file afterwards, None for one that is deleted; None if a hunk does not fit.

    `files` maps paths to their text at the base commit. Hunks are put exactly where they say.
    """
    results: dict[str, str | None] = {}
    for change in changes:
        before = "" if change.created else files.get(change.old_path)
        after = None if before is None else _patched(change, before.split("\n"))
        if after is None:
            return None
        if change.old_path != change.path:
            results[change.old_path] = None
        results[change.path] = None if change.deleted else "\n".join(after)
    return results


def _patched(change: FileChange, before: Sequence[str]) -> list[str] | None:
    after: list[str] = []
    position = 0
    for hunk in change.hunks:
        if not hunk or hunk[0].old - 1 < position:
            return None
        after += before[position : hunk[0].old - 1]
        position = hunk[0].old - 1
        for line in hunk:
            if line.sign != "+":
                if position >= len(before) or before[position].rstrip("\r") != line.text:
                    return None
                position += 1
            if line.sign != "-":
                after.append(line.text)
    return [*after, *before[position:]]


def of_result(path: str, after: str, before: str) -> Hashable:
    """What a file has become: a Python file's syntax without docstrings; of other files the lines that are not blank.

    Statements that stand in `before` word for word are compared as text, which is faster than as trees by far.
    """
    new, old = (units(text) if language_of(path) == "python" else None for text in (after, before))
    if new is None:
        return tuple(line.rstrip() for line in after.split("\n") if line.strip())
    kept = {text for text, _ in old or ()}
    left = {text for text, _ in new}
    gone = {_dump(node): text for text, node in old or () if text not in left}
    return tuple(text if text in kept else gone.get(tree := _dump(node), tree) for text, node in new)


def _dump(statement: ast.AST) -> str:
    """The tree as text, without docstrings."""
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.body = [one for one in node.body if not _is_text(one)]
    return ast.dump(statement)


@lru_cache(_CACHED)
def units(text: str) -> tuple[tuple[str, ast.AST], ...] | None:
    """The statements of a module and of its classes, each as (text, tree); None if the text does not parse."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tuple(_units(tree.body, text.split("\n"), ""))


def _units(body: Sequence[ast.stmt], lines: Sequence[str], within: str) -> Iterator[tuple[str, ast.AST]]:
    for statement in body:
        if _is_text(statement):
            continue
        first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", ()))])
        last = statement.end_lineno or first
        if isinstance(statement, ast.ClassDef):
            inner, statement.body = statement.body, []
            yield "\n".join([within, *lines[first - 1 : inner[0].lineno - 1]]), statement
            yield from _units(inner, lines, f"{within}/{statement.name}")
            continue
        yield "\n".join([within, *lines[first - 1 : last]]), statement


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
