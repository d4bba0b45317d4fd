"""Normal forms of a change, one for each level of sameness: two patches with equal forms are the same change.

Where only the diff is known, what counts is which old lines go (by number) and which new ones come (by content). Hunks are
compared anew inside each block of changes, so that a line which one tool shows as kept and another as replaced by itself
makes no difference. Where the text of the files is known, the patch is applied and the result is compared instead.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from agent.languages import language_of
from selection.changes import FileChange, Line
from selection.code import code, code_lines

Entry = tuple[Line, tuple[Hashable, ...]]
"""A line and what of it is compared."""
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


def of_source(path: str, text: str) -> Hashable:
    """A file's content without comments and docstrings; of other files the lines without white space at their ends."""
    try:
        found = list(tokenize.generate_tokens(io.StringIO(text).readline)) if language_of(path) == "python" else None
    except (tokenize.TokenError, SyntaxError):
        found = None
    if found is None:
        return tuple(line.rstrip() for line in text.split("\n") if line.strip())
    kept = [(token.type, token.string) for token in found if token.type not in (tokenize.COMMENT, tokenize.NL)]
    breaks = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)
    plain: list[tuple[int, str]] = []
    for number, (kind, string) in enumerate(kept):
        alone = number + 1 < len(kept) and kept[number + 1][0] == tokenize.NEWLINE
        if kind == tokenize.STRING and alone and (number == 0 or kept[number - 1][0] in breaks):
            continue
        if kind == tokenize.NEWLINE and plain[-1:] and plain[-1][0] in breaks:
            continue  # it ended a docstring
        plain.append((kind, "" if kind in breaks else string))
    return tuple(plain)


def of_tree(path: str, text: str) -> Hashable:
    """A Python file's syntax tree without docstrings; as `of_source` for what does not parse."""
    if language_of(path) != "python":
        return of_source(path, text)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return of_source(path, text)
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                node.body = [one for one in node.body if not _is_text(one)]
            case _:
                pass
    return ast.dump(tree)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
