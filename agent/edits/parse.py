"""Reads the blocks of a reply's `<edit>`. Forgiving where only one reading is possible, strict elsewhere.

    <<<<<<< SEARCH path/to/file.py     <<<<<<< NEW path     <<<<<<< FILE path     <<<<<<< DELETE path
    lines of the file                  lines                lines
    =======                            >>>>>>> END          >>>>>>> END
    new lines
    >>>>>>> REPLACE

Forgiven: five to nine marker characters, the path on the line before, code fences around or inside a block, carriage
returns, trailing spaces behind markers, a path below the tree's root in the sandbox. Text between blocks is ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.edits.fences import FENCE, PATH_LINE, fenced_files, unfenced
from agent.edits.types import Create, Delete, Edit, EditFault, FaultKind, Lines, Replace, Rewrite
from sandbox.api import WORKDIR

_OPEN = re.compile(r"^ {0,3}(?P<mark><{5,9}) ?(?P<verb>SEARCH|NEW|FILE|DELETE)\b:? *(?P<path>.*)$")
_CLOSE = re.compile(r"^ {0,3}(?P<mark>>{5,9}) ?(?P<verb>REPLACE|END|NEW|FILE|SEARCH)?\b.*$")
_DIVIDER = re.compile(r"^={5,9}$")
_READINGS = 50  # lines of one block that are tried as its divider
_ECHO = 12  # lines of a malformed block that are shown


@dataclass(frozen=True, slots=True)
class Parsed:
    """The blocks that could be read and what was wrong with the others."""

    edits: tuple[Edit, ...]
    faults: tuple[EditFault, ...]


def parse(text: str, *, fences: bool = False, closed: bool = False) -> Parsed:
    """All blocks of an edit, in order.

    `fences`: where there is no block at all, a code fence that names a file counts as its whole text. Small models
    write that whatever they are told; it must be asked for, since a fence may also hold only a part of the file.
    `closed`: the edit as a whole ends where it was meant to, so a whole file that is its last block needs no end of its own.
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    edits: list[Edit] = []
    faults: list[EditFault] = []
    number = at = 0
    while at < len(lines):
        opened = _OPEN.match(lines[at].rstrip())
        if opened is None:
            closing = _CLOSE.match(lines[at].rstrip())
            if closing and closing["verb"]:
                number += 1
                message = "this closing marker has no opening marker (`<<<<<<< SEARCH path`) before it"
                faults.append(_malformed(number, message, lines[max(0, at - 3) : at + 1]))
            at += 1
            continue
        number += 1
        block, at = _block(lines, at, number, opened, closed=closed)
        if isinstance(block, EditFault):
            faults.append(block)
        elif not any(_same(block, other) for other in edits):
            edits.append(block)
    if not number and fences:
        return _from_fences(text, lines)
    if not number:
        faults.append(_none_found(text))
    return Parsed(tuple(edits), tuple(faults))


def clean_path(path: str) -> str:
    """A path as git spells it: without quotes, `./`, and the sandbox's root."""
    plain = path.strip().strip("`'\"*").strip().rstrip(":")
    plain = plain.removeprefix(f"{WORKDIR}/")
    return "/".join(part for part in plain.split("/") if part != ".") if not plain.endswith("/") else plain


def path_problem(path: str) -> str:
    """Why a path cannot be used; empty if it can."""
    parts = path.split("/")
    if not path:
        return "the block names no file: put the path behind the opening marker"
    if path.startswith("/") or re.match(r"^[A-Za-z]:[\\/]", path):
        return "paths are relative to the root of the repository"
    if ".." in parts or "" in parts:
        return "the path must name a file inside the repository"
    if any(part.lower() == ".git" for part in parts):
        return "git's own files cannot be changed"
    if not path.isprintable() or "\\" in path or len(path.encode("utf-8", "replace")) > 1024 or max(map(len, parts)) > 200:  # noqa: PLR2004
        return "the path has characters or a length that cannot be used"
    return ""


def _block(lines: list[str], at: int, number: int, opened: re.Match[str], *, closed: bool) -> tuple[Edit | EditFault, int]:
    """The block that opens at this line, and the line behind it."""
    verb = opened["verb"]
    path = clean_path(opened["path"]) or _path_before(lines, at)
    if verb == "DELETE":
        edit: Edit | EditFault = Delete(number, path)
        if problem := path_problem(path):
            edit = EditFault(FaultKind.BAD_PATH, number, problem, path, lines[at])
        follows = _CLOSE.match(lines[at + 1].rstrip()) if at + 1 < len(lines) else None
        return edit, at + (2 if follows else 1)
    end = _end(lines, at, opened["mark"])
    if end is None:
        return _unclosed(lines, at, number, verb, path, closed=closed)
    body = lines[at + 1 : end]
    if problem := path_problem(path):
        return EditFault(FaultKind.BAD_PATH, number, problem, path, _echo(lines[at : end + 1])), end + 1
    if verb != "SEARCH":
        return _whole(verb, number, path, body, closed=lines[end]), end + 1
    halves = _halves(body, opened["mark"])
    if not halves:
        message = "the block has no `=======` line between the lines to find and the lines to put there"
        return _malformed(number, message, lines[at : end + 1], path), end + 1
    return Replace(number, path, tuple(halves)), end + 1


def _unclosed(lines: list[str], at: int, number: int, verb: str, path: str, *, closed: bool) -> tuple[Edit | EditFault, int]:
    """A block without its end is torn, but for a whole file in a closed code fence or at the end of a closed edit."""
    following = (index for index in range(at + 1, len(lines)) if _OPEN.match(lines[index].rstrip()))
    after = next(following, len(lines))
    body = _trimmed(lines[at + 1 : after])
    ends = unfenced(tuple(body), "") != tuple(body) or (closed and after == len(lines))
    if verb != "SEARCH" and ends and not path_problem(path):
        return _whole(verb, number, path, body, closed=""), after
    closer = ">>>>>>> REPLACE" if verb == "SEARCH" else ">>>>>>> END"
    return _malformed(number, f"the block is not closed by `{closer}`", lines[at:after], path), after


def _from_fences(text: str, lines: list[str]) -> Parsed:
    edits: list[Edit] = []
    faults: list[EditFault] = []
    for number, (named, content) in enumerate(fenced_files(lines), 1):
        path = clean_path(named)
        if problem := path_problem(path):
            faults.append(EditFault(FaultKind.BAD_PATH, number, problem, path, named))
        else:
            edits.append(Rewrite(number, path, content))
    return Parsed(tuple(edits), tuple(faults if edits or faults else [_none_found(text)]))


def _end(lines: list[str], at: int, mark: str) -> int | None:
    """Where the block closes: at a marker as long as its own if there is one before the next block opens."""
    other: int | None = None
    for index in range(at + 1, len(lines)):
        line = lines[index].rstrip()
        closed, opened = _CLOSE.match(line), _OPEN.match(line)
        if closed and closed["verb"] and len(closed["mark"]) == len(mark):
            return index
        if closed and other is None:
            other = index
        if opened and len(opened["mark"]) == len(mark):
            break
    return other


def _halves(body: list[str], mark: str) -> list[tuple[Lines, Lines]]:
    dividers = [index for index, line in enumerate(body) if _DIVIDER.match(line.rstrip())]
    as_long = [index for index in dividers if len(body[index].rstrip()) == len(mark)]
    return [(tuple(body[:index]), tuple(body[index + 1 :])) for index in (as_long or dividers)[:_READINGS]]


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def _whole(verb: str, number: int, path: str, body: list[str], *, closed: str) -> Edit:
    if "REPLACE" in closed and body and _DIVIDER.match(body[0].rstrip()):
        body = body[1:]  # written like a search block with nothing to search for
    lines = unfenced(tuple(body), path)
    return Create(number, path, lines) if verb == "NEW" else Rewrite(number, path, lines)


def _path_before(lines: list[str], at: int) -> str:
    for line in reversed(lines[max(0, at - 3) : at]):
        if not line.strip() or FENCE.match(line):
            continue
        path = clean_path(line.lstrip("# "))
        return path if PATH_LINE.match(path) else ""
    return ""


def _same(edit: Edit, other: Edit) -> bool:
    """Whether a block merely repeats another one."""
    match edit, other:
        case (Replace(path=a, halves=x), Replace(path=b, halves=y)):
            return (a, x) == (b, y)
        case (Create(path=a, lines=c), Create(path=b, lines=d)) | (Rewrite(path=a, lines=c), Rewrite(path=b, lines=d)):
            return (a, c) == (b, d)
        case (Delete(path=a), Delete(path=b)):
            return a == b
        case _:
            return False


def _none_found(text: str) -> EditFault:
    message = "there is no block in the edit"
    if re.search(r"^(@@ -\d|--- a/|diff --git )", text, re.MULTILINE):
        message = "this is a diff; write blocks instead"
    return _malformed(0, message, text.split("\n"))


def _malformed(number: int, message: str, lines: list[str], path: str = "") -> EditFault:
    kind = FaultKind.MALFORMED if number else FaultKind.NO_BLOCK
    return EditFault(kind, number, message, path, _echo(lines))


def _echo(lines: list[str]) -> str:
    shown = [line[:200] for line in lines[:_ECHO]]
    return "\n".join(shown) + (f"\n... ({len(lines) - _ECHO} more lines)" if len(lines) > _ECHO else "")
