"""Where a repository names what its tests need, best first: extras, groups, tox, requirement files, CI, nox."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from agent.environments.ci import Job
from agent.environments.files import ConfigFiles, strings
from agent.environments.literals import calls
from agent.environments.project import Group, Project, is_requirement, name_of, requirements
from agent.environments.tox import Tox

TEST_NAMES = ("test", "tests", "testing", "test-dependencies", "pytest", "unittest", "unit", "unit-tests")
DEV_NAMES = ("dev", "develop", "development", "devel", "dev-dependencies", "ci", "all")
TOOLS = frozenset(
    {
        *("pip", "setuptools", "wheel", "build", "twine", "uv", "poetry", "hatch", "pipenv", "pdm", "pre-commit"),
        *("tox", "tox-gh-actions", "tox-uv", "tox-venv", "nox", "codecov", "coveralls", "coverage"),
        *("flake8", "pycodestyle", "ruff", "black", "isort", "mypy", "pylint"),
    }
)
"""What CI installs to install or to publish, not to test."""
_OTHER_WORDS = re.compile(
    r"doc|lint|mypy|typing|types|bench|build|oldest|min\b|check|style|format|release|publish|sql|oracle|travis|optional|postgres|pre.?commit"
)
"""Words in a requirement file's path that say it is for something else."""
_PLACES = ("", "requirements", "tests", "test", "tests/requirements", "requirements/tests")


@dataclass(frozen=True, slots=True)
class Needs:
    """What to install beside the project."""

    rank: int
    """Lower is likelier."""
    evidence: str
    extras: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    """Of `pip install`: requirements, and `-r` with a file of the repository."""
    known: tuple[str, ...] = ()
    """Requirements that these bring, as far as they can be read."""


def needs(files: ConfigFiles, project: Project, tox: Tox, jobs: list[Job]) -> list[Needs]:
    """All sources that say something, the likeliest first."""
    found = [
        *_groups(project),
        *_tox(files, tox),
        *_requirement_files(files),
        *_tests_require(project),
        *_ci(files, jobs),
        *_nox(files),
    ]
    return sorted(found, key=lambda each: each.rank)


def requirement_files(files: ConfigFiles) -> list[Needs]:
    """Files of requirements for tests, for development and for the project, in this order."""
    return sorted(_requirement_files(files), key=lambda each: each.rank)


def tier(name: str) -> int | None:
    """0 and up for names of tests, 10 and up for names of development, None for others."""
    plain = name.lower().replace("_", "-")
    if plain in TEST_NAMES:
        return TEST_NAMES.index(plain)
    return 40 + DEV_NAMES.index(plain) if plain in DEV_NAMES else None


def _groups(project: Project) -> Iterator[Needs]:
    for extra in project.extras:
        if (rank := tier(extra.name)) is not None:
            yield Needs(rank, extra.evidence, extras=(extra.name,), known=_inside(extra, project.extras))
    for group in project.groups:
        if (rank := tier(group.name)) is not None and group.requirements:
            own = [text for text in group.requirements if name_of(text) == project.name]
            others = tuple(text for text in group.requirements if text not in own)
            extras = tuple(
                name for text in own for name in re.findall(r"[\w.-]+", "".join(re.findall(r"\[([^\]]*)\]", text)[:1]))
            )
            yield Needs(rank + 1, group.evidence, extras, others, others)


def _inside(extra: Group, extras: tuple[Group, ...]) -> tuple[str, ...]:
    """An extra's requirements, and those of extras of the same project that it names (`me[test]`)."""
    named = {
        name.strip()
        for text in extra.requirements
        for name in re.findall(r"\[([^\]]*)\]", text)[:1]
        for name in name.split(",")
    }
    return (*extra.requirements, *(text for other in extras if other.name in named for text in other.requirements))


def _tox(files: ConfigFiles, tox: Tox) -> Iterator[Needs]:
    arguments = _pip_arguments(
        files, [token for line in tox.deps for token in ([line] if is_requirement(line) else _tokens(line))]
    )
    extras = tuple(name for name in tox.extras if re.fullmatch(r"[\w.-]+", name))
    if arguments.install or extras:
        yield Needs(12, f"deps of {tox.evidence}", (*extras, *arguments.extras), arguments.install, arguments.known)


def _tests_require(project: Project) -> Iterator[Needs]:
    if wanted := requirements(project.setup_py.get("tests_require")):
        yield Needs(25, "tests_require in setup.py", arguments=wanted, known=wanted)


def _requirement_files(files: ConfigFiles) -> Iterator[Needs]:
    for path in files.paths:
        place = PurePosixPath(path)
        folder = "" if str(place.parent) == "." else str(place.parent)
        if place.suffix != ".txt" or folder not in _PLACES or "require" not in path.lower():
            continue
        words = path.lower().removesuffix(".txt")
        if _OTHER_WORDS.search(words):
            continue
        if re.search(r"test|py3$", words):
            rank = 20
        elif re.search(r"dev", words):
            rank = 30
        elif words in ("requirements", "requirements/requirements"):
            rank = 60
        else:
            continue
        yield Needs(rank + len(folder.split("/")) - 1, path, arguments=("-r", path), known=_inside_file(files, path))


def _inside_file(files: ConfigFiles, path: str, depth: int = 0) -> tuple[str, ...]:
    """The requirements of a file and of those that it names with `-r`."""
    found: list[str] = []
    for line in strings(files.text(path)):
        text = re.sub(r"\s#.*$", "", line).strip()
        if (match := re.match(r"(?:-r|--requirement)[\s=]+(\S+)$", text)) and depth < 3:  # noqa: PLR2004  or it is a ring
            found += _inside_file(files, str(PurePosixPath(path).parent / match[1]), depth + 1)
        elif is_requirement(text):
            found.append(text)
    return tuple(found)


def _ci(files: ConfigFiles, jobs: list[Job]) -> Iterator[Needs]:
    for job in jobs:
        tokens = [token for line in job.lines for token in _pip_install(line)]
        arguments = _pip_arguments(files, tokens)
        if arguments.install or arguments.extras:
            yield Needs(50, f"pip install in {job.evidence}", arguments.extras, arguments.install, arguments.known)


def _nox(files: ConfigFiles) -> Iterator[Needs]:
    tree = files.python("noxfile.py")
    for function in getattr(tree, "body", []):
        if tier(getattr(function, "name", "")) is None:
            continue
        tokens = [
            str(value)
            for call in calls(function, "install")
            for part in call.args
            if isinstance(value := getattr(part, "value", None), str)
        ]
        arguments = _pip_arguments(files, tokens)
        if arguments.install or arguments.extras:
            evidence = f"session {function.name} in noxfile.py"
            yield Needs(28, evidence, arguments.extras, arguments.install, arguments.known)


@dataclass(frozen=True, slots=True)
class _Arguments:
    extras: tuple[str, ...]
    install: tuple[str, ...]
    known: tuple[str, ...]


def _pip_arguments(files: ConfigFiles, tokens: list[str]) -> _Arguments:
    """What of these arguments of pip's is kept: the project's extras, requirements, and files of the repository."""
    extras: list[str] = []
    install: list[str] = []
    rest = iter(tokens)
    for token in rest:
        if match := re.fullmatch(r"(-e\s*)?\.(/)?\[([\w.,\s-]+)\]", token):
            extras += [name.strip() for name in match[3].split(",")]
        elif token in ("-r", "--requirement") or (token.startswith("-r") and len(token) > 2):  # noqa: PLR2004
            path = (next(rest, "") if token in ("-r", "--requirement") else token[2:].strip()).removeprefix("./")
            if files.exists(path):
                install += ["-r", path]
        elif token in ("-c", "--constraint"):
            next(rest, "")
        elif re.match(r"[A-Za-z0-9]", token) and is_requirement(token) and name_of(token) not in TOOLS:
            install.append(token.strip())
    named = [path for option, path in pairwise(install) if option == "-r"]
    known = (*install, *(text for path in named for text in _inside_file(files, path)))
    return _Arguments(tuple(dict.fromkeys(extras)), _without_repeats(install), known)


def _without_repeats(arguments: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for number, argument in enumerate(arguments):
        after_r = number > 0 and arguments[number - 1] == "-r"
        if argument != "-r" and argument not in kept:
            kept += ["-r", argument] if after_r else [argument]
    return tuple(kept[:100])


def _pip_install(line: str) -> list[str]:
    """The arguments of a `pip install`; nothing for any other command and where a variable would be needed."""
    match = re.match(r"(?:uv\s+)?(?:python[\d.]*\s+-m\s+)?pip[\d.]*\s+install\s+(.*)", line)
    return _tokens(match[1]) if match and "$" not in line else []


def _tokens(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []
