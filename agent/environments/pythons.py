"""The versions of Python that a repository asks for and those that it is tested with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from agent.environments.ci import Job
from agent.environments.files import ConfigFiles, dig, strings
from agent.environments.project import Project, poetry_specifier
from agent.environments.proposal import PythonRange, minor
from agent.environments.tox import Tox


def find_python(files: ConfigFiles, project: Project, tox: Tox, jobs: Sequence[Job]) -> PythonRange | None:
    """The range with its evidence; None where nothing is said."""
    requires, where = next(_requires(files, project), ("", ""))
    tested, tested_where = next(_tested(files, project, tox, jobs), ((), ""))
    return PythonRange(requires, where, tested, tested_where) if requires or tested else None


def _requires(files: ConfigFiles, project: Project) -> Iterator[tuple[str, str]]:
    pyproject = files.toml("pyproject.toml")
    poetry = dig(pyproject, "tool", "poetry", "dependencies", "python")
    sources = (
        (dig(pyproject, "project", "requires-python"), "requires-python in pyproject.toml"),
        (poetry_specifier(poetry) if isinstance(poetry, str) else "", "python in [tool.poetry.dependencies]"),
        (files.ini("setup.cfg").get("options", {}).get("python_requires"), "python_requires in setup.cfg"),
        (project.setup_py.get("python_requires"), "python_requires in setup.py"),
    )
    for value, where in sources:
        if isinstance(value, str) and re.fullmatch(r"[\d\s.,<>=!~*]{1,100}", value):
            yield value.strip(), where


def _tested(files: ConfigFiles, project: Project, tox: Tox, jobs: Sequence[Job]) -> Iterator[tuple[tuple[str, ...], str]]:
    pyproject = files.toml("pyproject.toml")
    classifiers = (
        (dig(pyproject, "project", "classifiers"), "classifiers in pyproject.toml"),
        (dig(pyproject, "tool", "poetry", "classifiers"), "classifiers in pyproject.toml"),
        (files.ini("setup.cfg").get("metadata", {}).get("classifiers"), "classifiers in setup.cfg"),
        (project.setup_py.get("classifiers"), "classifiers in setup.py"),
    )
    widest = max(jobs, key=lambda job: len(job.pythons), default=None)
    if widest is not None and widest.pythons:
        yield _sorted(widest.pythons), f"matrix of {widest.evidence}"
    for value, where in classifiers:
        if found := _sorted(re.findall(r"Python :: (3\.\d+)", "\n".join(strings(value)))):
            yield found, where
    if found := _sorted(f"3.{number}" for number in _tox_versions(tox.environments)):
        yield found, f"environments of {tox.evidence}"


def _tox_versions(environments: str) -> list[str]:
    """`py{37,38}, py3.9, 310` name 7, 8, 9 and 10; what stands in braces may leave `py` out."""
    return re.findall(r"(?<![\w.])(?:py)?3\.?(\d{1,2})(?![\w.])", environments.replace("{", ",").replace("}", ","))


def _sorted(versions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(versions), key=minor))
