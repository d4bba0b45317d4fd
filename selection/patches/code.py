"""The code that a change adds and removes: without comments, docstrings, blank lines and documentation.

Two systems that mend the same bug word their comments differently. Only the diff is known here, so where a docstring
begins is read off the quotes in a hunk; where the file is known, `selection.patches.forms` parses it instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from agent.languages import language_of
from selection.patches.changes import FileChange, Line

_CACHED = 100_000
"""Lines whose tokens are kept: patches for one issue share most of theirs."""
PROSE = frozenset([".rst", ".md", ".txt"])
_HASH_COMMENTS = frozenset(["python", "cython", "shell", "ruby", "yaml", "config", "r", "julia", "perl", "elixir"])
_SLASH_COMMENTS = frozenset(
    ["c", "cpp", "csharp", "go", "java", "javascript", "kotlin", "php", "rust", "scala", "swift", "typescript", "zig"]
)
_QUOTES = re.compile(r"\"\"\"|'''")
_DOCSTRING = re.compile(r"\s*[rRuU]?(\"\"\"|''')")
_TOKEN = re.compile(r"""[^\W\d]\w*|\d[\w.]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[^\w\s]""")


@dataclass(frozen=True, slots=True)
class CodeLine:
    """An added, removed or context line that is code."""

    line: Line
    tokens: tuple[str, ...]


def is_prose(change: FileChange) -> bool:
    """Whether the file is documentation, which no program reads."""
    return PurePosixPath(change.path).suffix.lower() in PROSE


def code(changes: Sequence[FileChange]) -> tuple[FileChange, ...]:
    """Without documentation, unless the change consists of nothing else."""
    return tuple(change for change in changes if not is_prose(change)) or tuple(changes)


def code_lines(change: FileChange) -> Iterator[tuple[CodeLine, ...]]:
    """For each hunk its lines that are code, context included."""
    language = language_of(change.path)
    for hunk in change.hunks:
        lines = _outside_docstrings(hunk) if language in ("python", "cython") else hunk
        found = (CodeLine(line, tokens(line.text, language)) for line in lines)
        yield tuple(one for one in found if one.tokens)


@lru_cache(_CACHED)
def tokens(text: str, language: str = "python") -> tuple[str, ...]:
    """Words, numbers, strings (one token each, in single quotes) and signs of a line, up to a comment."""
    found: list[str] = []
    for word in _TOKEN.findall(text):
        if word == "#" and language in _HASH_COMMENTS:
            break
        if word == "/" and found[-1:] == ["/"] and language in _SLASH_COMMENTS:
            found.pop()
            break
        found.append(f"'{word[1:-1]}'" if len(word) > 1 and word[0] == '"' else word)
    return tuple(found)


def _outside_docstrings(hunk: Sequence[Line]) -> Iterator[Line]:
    """The lines of a hunk that are in no docstring, before the change for removed lines and after it for the others."""
    inside = dict.fromkeys(("old", "new"), _begins_inside(hunk))
    for line in hunk:
        sides = {"+": ("new",), "-": ("old",), " ": ("old", "new")}[line.sign]
        within = inside[sides[-1]]
        marks = len(_QUOTES.findall(line.text))
        opens = not within and _DOCSTRING.match(line.text) is not None
        if marks % 2 and (within or opens):
            inside.update(dict.fromkeys(sides, not within))
        if not (within or opens):
            yield line


def _begins_inside(hunk: Sequence[Line]) -> bool:
    """Whether a hunk begins within a docstring, by the first quotes in it: they open one, or close one."""
    previous = ""
    for line in hunk:
        if line.sign != "+" and (mark := _QUOTES.search(line.text)):
            before, after = line.text[: mark.start()].strip(), line.text[mark.end() :].strip()
            if len(_QUOTES.findall(line.text)) % 2 == 0 or after:
                return False
            if before in ("", "r", "R", "u", "U"):
                return line.old > 1 and not previous.endswith((":", "\\"))
            return not before.endswith(("=", "(", ",", "+", "[", "{", ":", "return"))
        if line.sign != "+" and line.text.strip():
            previous = line.text.strip()
    return False
