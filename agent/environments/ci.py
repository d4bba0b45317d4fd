"""The commands that continuous integration runs, job by job: GitHub's workflows, GitLab, Travis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from agent.environments.files import ConfigFiles, dig, strings, table

MOST_WORKFLOWS, MOST_JOBS, MOST_STEPS, MOST_LINES = 12, 20, 40, 60
_OTHER = re.compile(r"publish|release|deploy|doc|lint|stale|label|codeql|bench|fuzz|pypi", re.IGNORECASE)
"""Workflows that do something else than testing."""
_LIKELY = re.compile(r"test|ci|python|main|build|unit|check", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Job:
    """One job's shell lines, each with a name of the step that it stands in."""

    evidence: str
    """Such as `job "tests" of .github/workflows/ci.yml`."""
    steps: tuple[tuple[str, str], ...]
    """(step, line)."""
    pythons: tuple[str, ...] = ()
    """Versions of its matrix."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines alone."""
        return tuple(line for _, line in self.steps)


def read_jobs(files: ConfigFiles) -> list[Job]:
    """The jobs, those of workflows that are named for tests first."""
    workflows = [path for path in files.paths if path.startswith(".github/workflows/") and path.endswith((".yml", ".yaml"))]
    workflows = [path for path in workflows if not _OTHER.search(PurePosixPath(path).name)]
    workflows.sort(key=lambda path: ("test" not in path, not _LIKELY.search(PurePosixPath(path).name)))
    jobs = [job for path in workflows[:MOST_WORKFLOWS] for job in _github(path, files.yaml(path))]
    return [*jobs, *_gitlab(files.yaml(".gitlab-ci.yml")), *_travis(files.yaml(".travis.yml"))]


def _github(path: str, document: Any) -> Iterator[Job]:
    for name, job in [*table(dig(document, "jobs")).items()][:MOST_JOBS]:
        steps = dig(job, "steps")
        found: list[tuple[str, str]] = []
        for step in steps[:MOST_STEPS] if isinstance(steps, list) else ():
            run = table(step).get("run")
            called = table(step).get("name")
            label = f'step "{called}"' if isinstance(called, str) else f'a step of job "{name}"'
            found += [(f"{label} of {path}", line) for line in shell_lines(run)]
        yield Job(f'job "{name}" of {path}', tuple(found[:MOST_LINES]), _matrix(dig(job, "strategy", "matrix")))


def _gitlab(document: Any) -> Iterator[Job]:
    path = ".gitlab-ci.yml"
    for name, job in [*table(document).items()][:MOST_JOBS]:
        lines = [
            line for key in ("before_script", "script") for text in _texts(table(job).get(key)) for line in shell_lines(text)
        ]
        if lines:
            yield Job(f'job "{name}" of {path}', tuple((f'job "{name}" of {path}', line) for line in lines[:MOST_LINES]))


def _travis(document: Any) -> Iterator[Job]:
    steps = [
        (f"{key} of .travis.yml", line)
        for key in ("before_install", "install", "before_script", "script")
        for text in _texts(table(document).get(key))
        for line in shell_lines(text)
    ]
    if steps:
        yield Job(".travis.yml", tuple(steps[:MOST_LINES]), _versions(table(document).get("python")))


def shell_lines(run: Any) -> list[str]:
    """The simple commands of a script: continued lines joined, `&&` split, comments and blank lines left out."""
    joined = re.sub(r"\\\n\s*", " ", run) if isinstance(run, str) else ""
    pieces = (piece.strip() for line in strings(joined) for piece in line.split("&&"))
    return [piece for piece in pieces if piece and not piece.startswith("#")]


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else strings(value)


def _matrix(matrix: Any) -> tuple[str, ...]:
    found = [version for key, value in table(matrix).items() if "python" in key.lower() for version in _versions(value)]
    rows = table(matrix).get("include")
    for row in rows[:MOST_STEPS] if isinstance(rows, list) else ():
        found += [version for key, value in table(row).items() if "python" in key.lower() for version in _versions(value)]
    return tuple(dict.fromkeys(found))


def _versions(value: Any) -> tuple[str, ...]:
    texts = _texts(value)
    return tuple(match[0] for text in texts if (match := re.match(r"3\.\d+", text)))
