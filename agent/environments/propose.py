"""From a repository at a commit to the commands that likely set it up and test it, with the evidence for each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from packaging.version import InvalidVersion, Version

from agent.environments.ci import read_jobs
from agent.environments.files import ConfigFiles
from agent.environments.project import Project, is_requirement, name_of, read_project
from agent.environments.proposal import Found, Proposal
from agent.environments.pythons import find_python
from agent.environments.requirements import Needs, needs
from agent.environments.testing import find_test, plain, pytest_options
from agent.environments.tox import read_tox
from agent.repository import Repository

MOST = 5
"""Candidates; each that fails costs a build."""
MADE_UP = "999.0"
"""The version where no tag says one: high, since plugins ask for the least version that they work with."""
VERSION_VARIABLES = {
    "pbr": "PBR_VERSION",
    "pdm": "PDM_BUILD_SCM_VERSION",
    "poetry-dynamic-versioning": "POETRY_DYNAMIC_VERSIONING_BYPASS",
}
PLUGINS = (
    (r"--(no-)?cov\b", "pytest-cov"),
    (r"(^|[ '\"])(-n[ =]?(\d|auto|logical)|--numprocesses|--dist)", "pytest-xdist"),
    (r"asyncio_(mode|default)", "pytest-asyncio"),
    (r"(--|\b)timeout=|--timeout\b", "pytest-timeout"),
    (r"--benchmark", "pytest-benchmark"),
    (r"--mypy", "pytest-mypy"),
    (r"DJANGO_SETTINGS_MODULE|--ds=", "pytest-django"),
    (r"--(random-order|randomly)", "pytest-randomly"),
)
"""What in pytest's configuration makes it refuse to start without which plugin."""
OLD_SETUPTOOLS = "pip install 'setuptools<81' wheel && "
"""With pkg_resources, which setup.py files of its time import."""


def propose(repository: Repository) -> Proposal:
    """What the files at the commit say. Raises InfrastructureError only where git cannot be read."""
    files = ConfigFiles(repository)
    project, tox, jobs = read_project(files), read_tox(files), read_jobs(files)
    test = find_test(files, tox, jobs)
    runner = tuple(name for name in _runner(files, test) if name != project.name)
    wanted = needs(files, project, tox, [job for job in jobs if any(plain(files, line) for line in job.lines)])
    distinct: dict[str, Found] = {}
    for found in _setups(project, wanted, runner, _version_prefix(project, repository)):
        distinct.setdefault(found.value, found)
    return Proposal(tuple(distinct.values())[:MOST], test, find_python(files, project, tox, jobs))


def _setups(project: Project, wanted: Sequence[Needs], runner: tuple[str, ...], prefix: str) -> Iterator[Found]:
    """Candidates, the likeliest first; the last one installs the project and what runs tests, no more."""
    why = prefix and f"; no tag says the version that {project.takes_version_from} asks for"
    if not project.evidence:
        yield from _without_packaging(project, wanted, runner)
        return
    for source in _distinct(wanted)[: MOST - 2]:
        extras = f"[{','.join(source.extras)}]" if source.extras else ""
        command = _pip("-e", f".{extras}", *source.arguments, *_missing(runner, source.known))
        yield Found(prefix + command, f"{source.evidence}{why}")
    yield Found(prefix + _pip("-e", ".", *runner), f"{project.evidence}{why}")
    if project.legacy:
        command = _pip("--no-build-isolation", "-e", ".", *runner)
        yield Found(prefix + OLD_SETUPTOOLS + command, f"{project.evidence}, with setuptools of its time")


def _without_packaging(project: Project, wanted: Sequence[Needs], runner: tuple[str, ...]) -> Iterator[Found]:
    """For a folder that pip cannot install: its requirements, else the runner, else nothing."""
    own = _distinct([source for source in wanted if source.arguments])
    for source in own[: MOST - 2]:
        base = next((other for other in own if other.arguments == ("-r", "requirements.txt")), source)
        arguments = source.arguments if base is source else (*base.arguments, *source.arguments)
        yield Found(_pip(*project.dependencies, *arguments, *_missing(runner, source.known)), source.evidence)
    if project.dependencies:
        yield Found(_pip(*project.dependencies, *runner), "dependencies in pyproject.toml")
    if runner:
        yield Found(_pip(*runner), "no packaging; what the tests need to start")
    yield Found("", "no packaging: nothing to install")


def _distinct(wanted: Sequence[Needs]) -> list[Needs]:
    """One of each kind, so that a failing kind is not tried again with another name."""
    kept: dict[tuple[tuple[str, ...], tuple[str, ...]], Needs] = {}
    for source in wanted:
        kept.setdefault((source.extras, source.arguments), source)
    return list(kept.values())


def _pip(*arguments: str) -> str:
    return f"pip install {shlex.join(arguments)}"


def _runner(files: ConfigFiles, test: Found | None) -> tuple[str, ...]:
    """What must be installed for the test command to start."""
    if test is None or "-m pytest" not in test.value:
        return ()
    options = f"{pytest_options(files)} {test.value}"
    return ("pytest", *(plugin for pattern, plugin in PLUGINS if re.search(pattern, options)))


def _missing(runner: tuple[str, ...], known: Sequence[str]) -> list[str]:
    """What of the runner the requirements do not name."""
    names = {name_of(text) for text in known if is_requirement(text)}
    return [name for name in runner if name not in names]


def _version_prefix(project: Project, repository: Repository) -> str:
    """Tells the version to a tool that reads tags where no tag says one; empty where none is needed."""
    if project.takes_version_from == "" or _is_version(repository.tag):
        return ""
    variable = VERSION_VARIABLES.get(project.takes_version_from, "SETUPTOOLS_SCM_PRETEND_VERSION")
    return f"export {variable}={MADE_UP}; "


def _is_version(tag: str) -> bool:
    try:
        Version(re.sub(r"^\D*", "", tag))
    except InvalidVersion:
        return False
    return True
