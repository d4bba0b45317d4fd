"""Which of a repository's own tests have to do with a change: by names, by imports, by the functions that it touches.

Nothing is read but the tree at the base commit and what the candidates touch. (Agentless takes the names of test files from
the gold test patch. Ours never sees it.) Every sign is worth the more, the fewer test files show it: log(1 + N / n).
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from agent.cleaning import reason
from selection.candidates import Candidate
from selection.patches.changes import FileChange, essence
from selection.patches.code import is_prose

REACH = 3
"""Imports between a test file and a touched module, at the most."""
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]+)|import[ \t]+([\w., \t]+))", re.MULTILINE
)
_TESTS = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+test", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_][^\W_]*|\d+")


@dataclass(frozen=True, slots=True)
class Related:
    """A test file."""

    path: str
    worth: float
    """Higher is closer to the change."""


Touched = Mapping[str, Mapping[str, float]]
"""By path: the names of the functions and classes that are touched there, each with the share of proposals that do so; the
path's own share under the empty name."""


def python_files(paths: Iterable[str]) -> list[str]:
    """Those that choosing reads."""
    return sorted(path for path in paths if path.endswith(".py"))


def is_test(path: str, text: str) -> bool:
    """Whether a file holds tests, and not merely what tests share."""
    return reason(path, new=False) == "test" and not path.endswith("conftest.py") and _TESTS.search(text) is not None


def touched(candidates: Sequence[Candidate], files: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """What the candidates touch, tests and documentation aside. `files`: texts at the base commit."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for candidate in candidates:
        for change in essence(candidate.patch.diff):
            if not is_prose(change):
                names = {"", *_names(change, files.get(change.old_path, ""))}
                found[change.old_path].update(dict.fromkeys(names, candidate.class_size))
    total = sum(candidate.class_size for candidate in candidates)
    return {path: {name: count / total for name, count in names.items()} for path, names in found.items()}


def _names(change: FileChange, text: str) -> set[str]:
    """The functions and classes around the changed lines."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return set()
    lines = {line.old for hunk in change.hunks for line in hunk if line.sign != " "}
    return {name for name, first, last in _definitions(tree) if any(first <= line <= last for line in lines)}


def _definitions(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """(name, first line, last line) of each function and class, in others too; expressions hold none."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno, node.end_lineno or node.lineno
        if not isinstance(node, ast.expr):
            yield from _definitions(node)


def related(changes: Touched, files: Mapping[str, str]) -> list[Related]:
    """The test files that have to do with the change, the closest first. `files`: all of the tree that is Python."""
    tests = {path: text for path, text in files.items() if is_test(path, text)}
    worth: Counter[str] = Counter()
    for signs in (_by_import(changes, files, tests), _by_symbol(changes, tests), _by_name(changes, tests)):
        for share, shown in signs:
            for test in shown:
                worth[test] += share * math.log(1 + len(tests) / len(shown))  # type: ignore[assignment]  # adds fractions
    found = (Related(path, value) for path, value in worth.items())
    return sorted(found, key=lambda one: (-round(one.worth, 9), one.path))


Sign = tuple[float, Sequence[str]]
"""(what it counts, the test files that show it)."""


def _by_symbol(changes: Touched, tests: Mapping[str, str]) -> Iterable[Sign]:
    """The names of touched functions and classes, as words of the test files."""
    for names in changes.values():
        for name, share in names.items():
            word = re.compile(rf"\b{re.escape(name)}\b")
            if name and (shown := [path for path, text in tests.items() if name in text and word.search(text)]):
                yield share, shown


def _by_name(changes: Touched, tests: Mapping[str, str]) -> Iterable[Sign]:
    """Words that the path of a touched file has in common with the path of a test file.

    That of the top folder, which is the project's own name more often than not, is in a few test files by accident.
    """
    words = {path: _words(path) for path in tests}
    for path, names in changes.items():
        for word in sorted(_words(path.partition("/")[2] or path)):
            if shown := [test for test, held in words.items() if word in held]:
                yield names[""], shown


def _words(path: str) -> set[str]:
    """In lower case and in the singular, without those that say that a file is a test."""
    words = {word.lower().removesuffix("s") for word in _WORD.findall(path.removesuffix(".py"))}
    return words - {"test", "testing", "init", "src", "lib"}


def _by_import(changes: Touched, files: Mapping[str, str], tests: Mapping[str, str]) -> Iterable[Sign]:
    """How many imports lead from a test file to a touched module: the fewer, the more it counts."""
    modules = {_module(path): path for path in files}
    importers: dict[str, set[str]] = defaultdict(set)
    for path, text in files.items():
        for name in imports(path, text):
            if (target := modules.get(name)) is not None:
                importers[target].add(path)
    for path, names in changes.items():
        near = _distances(path, importers)
        for distance in range(1, REACH + 1):
            if shown := [test for test in tests if near.get(test, REACH + 1) <= distance]:
                yield names[""] / distance, shown


def _distances(path: str, importers: Mapping[str, set[str]]) -> dict[str, int]:
    found = {path: 0}
    queue = deque([path])
    while queue:
        one = queue.popleft()
        for importer in importers.get(one, ()) if found[one] < REACH else ():
            if importer not in found:
                found[importer] = found[one] + 1
                queue.append(importer)
    return found


def _module(path: str) -> str:
    """The dotted name, as it is imported: packages below `src` or `lib` are imported without it."""
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return name.removeprefix("src.").removeprefix("lib.")


def imports(path: str, text: str) -> set[str]:
    """The dotted names that a file imports, of modules or of what is in them; read without parsing."""
    package = PurePosixPath(path).parent.parts
    found: set[str] = set()
    for source, names, plain in _IMPORT.findall(text):
        if plain:
            found.update(part.split()[0] for part in plain.split(",") if part.split())
            continue
        base = _absolute(source, package)
        parts = (part.split() for part in names.strip("()").replace("\\", " ").split(","))
        found.update({base, *(f"{base}.{part[0]}" for part in parts if part)})
    return found


def _absolute(source: str, package: Sequence[str]) -> str:
    """The name of a module that may be given relative to its package."""
    dots = len(source) - len(source.lstrip("."))
    if not dots:
        return source
    above = [part for part in package[: len(package) - dots + 1] if part not in ("src", "lib")]
    return ".".join([*above, *filter(None, [source.lstrip(".")])])
