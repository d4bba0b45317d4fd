"""Parts of a file that is larger than the whole context: the functions, methods and statements nearest to the issue.

Nearness is BM25 against the issue and what the relevance stage said of the file, where a definition's own name counts most.
Parts are whole and in the file's order; what lies between is named by its line numbers, so that nobody takes it for all.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agent.context.bm25 import scores
from agent.languages import language_of
from agent.lines import left_out, split_lines
from agent.llm.tokens import estimate

_CHUNK = 30
"""Lines of a part where the language's structure is not known, and of longer stretches between definitions."""
_HEAD_SHARE = 5
"""The file's first part, which holds its imports, is shown if it takes no more than so small a share of the room."""


@dataclass(frozen=True, slots=True)
class Part:
    """Lines `first` up to but not including `last` (from 0)."""

    first: int
    last: int
    name: str = ""
    """Of the function, method or class, if it is one."""
    headers: tuple[int, ...] = ()
    """Lines that say what it is in: the first of each class around it."""


def excerpt(path: str, text: str, *, wanted: str, tokens: int) -> str:
    """The parts nearest to the words of `wanted`, at most `tokens` estimated tokens; empty if no part fits."""
    taken = choose(path, text, wanted=wanted, tokens=tokens)
    return _shown(split_lines(text), taken) if taken else ""


def choose(path: str, text: str, *, wanted: str, tokens: int) -> list[Part]:
    """Which parts `excerpt` shows, the nearest first."""
    lines = split_lines(text)
    found = list(parts(path, text))
    order = _by_nearness(found, lines, wanted)
    if found and _cost(lines, found[:1]) * _HEAD_SHARE <= tokens:
        order.insert(0, found[0])
    taken: list[Part] = []
    used = 0
    for part in dict.fromkeys(order):
        if used + estimate("".join(lines[part.first : part.last])) > tokens:  # most of a long file, once the room is full
            continue
        if (cost := _cost(lines, [*taken, part])) <= tokens:
            taken.append(part)
            used = cost
    return taken


def parts(path: str, text: str) -> Iterator[Part]:
    """All lines of a file, in parts: Python's definitions and what is between them, other languages by number of lines."""
    total = len(split_lines(text))
    try:
        body = ast.parse(text).body if language_of(path) == "python" else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        body = []
    yield from _of_body(body, 0, total, ())


def _of_body(body: Sequence[ast.stmt], first: int, last: int, headers: tuple[int, ...]) -> Iterator[Part]:
    at = first
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        begins = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
        ends = node.end_lineno or node.lineno
        if begins < at:  # two statements on one line
            continue
        yield from _stretch(at, begins, headers)
        if isinstance(node, ast.ClassDef):
            inner = list(_of_body(node.body, begins, ends, (*headers, node.lineno - 1)))
            yield replace(inner[0], name=node.name)
            yield from inner[1:]
        else:
            yield Part(begins, ends, node.name, headers)
        at = ends
    yield from _stretch(at, last, headers)


def _stretch(first: int, last: int, headers: tuple[int, ...]) -> Iterator[Part]:
    for begin in range(first, last, _CHUNK):
        yield Part(begin, min(begin + _CHUNK, last), headers=headers)


def _by_nearness(found: Sequence[Part], lines: Sequence[str], wanted: str) -> list[Part]:
    near = scores([(part.name, "".join(lines[part.first : part.last])) for part in found], wanted)
    return [found[number] for number in sorted(range(len(found)), key=lambda number: (-near[number], number))]


def _cost(lines: Sequence[str], taken: Sequence[Part]) -> int:
    return estimate(_shown(lines, taken))


def _shown(lines: Sequence[str], taken: Sequence[Part]) -> str:
    numbers = {number for part in taken for number in (*part.headers, *range(part.first, part.last))}
    written = []
    gap = 0
    for number in [*sorted(numbers), len(lines)]:
        between = lines[gap:number]
        if any(line.strip() for line in between):
            between = [left_out(gap + 1, number)]
        written += [*between, *lines[number : number + 1]]
        gap = number + 1
    return "".join(written)
