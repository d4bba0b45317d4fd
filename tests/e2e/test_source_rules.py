"""Rules about the source that no linter knows."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "sandbox", "selection")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60

# flow.py and journal.py carry effects out, so they may know the time and start tasks; the stages may not.
EFFECTS = {"flow.py", "journal.py"}
FORBIDDEN_MODULES = {"time", "datetime", "random", "secrets", "uuid", "threading"}
FORBIDDEN_CALLS = {"create_task", "ensure_future", "gather", "TaskGroup", "to_thread", "urandom", "sleep"}


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z", "--", *patterns]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


def test_length_of_files() -> None:
    sources = [*tracked("*.py", "*.j2"), *(path for path in tracked("scripts/*", ".ci/*") if not path.suffix)]
    assert sources
    lines = {path: len(path.read_text().splitlines()) for path in sources}
    assert {str(path): count for path, count in lines.items() if count > LONGEST_FILE} == {}


def test_length_of_functions() -> None:
    too_long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in tracked("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LONGEST_FUNCTION
    ]
    assert too_long == []


def test_module_docstrings() -> None:
    modules = [path for package in PACKAGES for path in tracked(f"{package}/*.py")]
    assert modules
    assert [str(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text()))] == []


def trajectories() -> list[Path]:
    found = [path for path in tracked("agent/trajectory/*.py") if path.name not in EFFECTS]
    return [*found, *tracked("selection/trajectory.py")]


def sources_of_chance(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.split(".")[0] in FORBIDDEN_MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] in FORBIDDEN_MODULES:
                    yield module
                yield from (name.name for name in names if name.name in FORBIDDEN_CALLS)
            case ast.Attribute(attr=attr) if attr in FORBIDDEN_CALLS:
                yield attr


@pytest.mark.parametrize("path", trajectories(), ids=lambda path: str(path.relative_to(ROOT)))
def test_determinism_of_trajectories(path: Path) -> None:
    assert list(sources_of_chance(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "import os, random as chance",
        "from datetime import datetime",
        "from asyncio import create_task",
        "import asyncio\nasync def go(): await asyncio.gather()",
        "import asyncio\nasyncio.get_running_loop().create_task(None)",
    ],
)
def test_sources_of_chance_that_the_rule_sees(code: str) -> None:
    assert list(sources_of_chance(code))
