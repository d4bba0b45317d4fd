"""Whether pip can install a repository, and what its packaging files say: extras, groups, version from git tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from agent.environments.files import ConfigFiles, Table, dig, strings, table
from agent.environments.literals import call_keywords

SCM_TOOLS = ("setuptools-scm", "setuptools_scm", "hatch-vcs", "versioningit", "pbr", "poetry-dynamic-versioning")
"""Build requirements that take the version from git's tags."""
_POETRY = re.compile(r"(\^|~|>=|<=|==|!=|<|>|=)?\s*(\d[\w.]*)(\.\*)?")


@dataclass(frozen=True, slots=True)
class Group:
    """Requirements under a name."""

    name: str
    requirements: tuple[str, ...]
    evidence: str


@dataclass(frozen=True, slots=True)
class Project:
    """What the packaging files say."""

    name: str = ""
    """As PEP 503 writes it; empty if it is not a literal."""
    evidence: str = ""
    """The file that lets pip install it; empty if none does."""
    legacy: bool = False
    """A setup.py without [build-system]: what it expects of setuptools is not written down."""
    takes_version_from: str = ""
    """The tool that takes the version from git's tags; empty if none does."""
    dependencies: tuple[str, ...] = ()
    extras: tuple[Group, ...] = ()
    """Installed with `.[name]`."""
    groups: tuple[Group, ...] = ()
    """Not part of the package: dependency groups, and what poetry, pdm, hatch and uv had before them."""
    setup_py: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of setup() that are literals."""


def read_project(files: ConfigFiles) -> Project:
    """The project at the root of the repository."""
    pyproject, setup_cfg = files.toml("pyproject.toml"), files.ini("setup.cfg")
    keywords = call_keywords(files.python("setup.py"), "setup")
    return Project(
        _name(pyproject, setup_cfg, keywords),
        _installable(files, pyproject),
        bool(files.text("setup.py")) and "build-system" not in pyproject,
        _scm(pyproject, setup_cfg, keywords),
        requirements(dig(pyproject, "project", "dependencies")) or _poetry(dig(pyproject, "tool", "poetry", "dependencies")),
        (*_extras(pyproject, setup_cfg, keywords),),
        (*_groups(pyproject),),
        keywords,
    )


def name_of(requirement: str) -> str:
    """The name that a requirement begins with, as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def requirements(value: Any) -> tuple[str, ...]:
    """The requirements (PEP 508) of a list or of lines; whatever is none, such as an option of pip's, is left out."""
    return tuple(text for text in strings(value) if is_requirement(text))


def is_requirement(text: str) -> bool:
    """Whether this is a requirement as PEP 508 has it."""
    try:
        Requirement(text)
    except (InvalidRequirement, RecursionError):
        return False
    return True


def _name(pyproject: Table, setup_cfg: Mapping[str, Mapping[str, str]], keywords: Mapping[str, Any]) -> str:
    names = (
        dig(pyproject, "project", "name"),
        dig(pyproject, "tool", "poetry", "name"),
        setup_cfg.get("metadata", {}).get("name"),
        keywords.get("name"),
    )
    return next((name_of(name) for name in names if isinstance(name, str) and name), "")


def _installable(files: ConfigFiles, pyproject: Table) -> str:
    tools = table(pyproject.get("tool"))
    if dig(tools, "poetry", "package-mode") is False or dig(tools, "uv", "package") is False:
        return ""
    if "build-system" in pyproject or dig(pyproject, "project", "name"):
        return "pyproject.toml"
    return "setup.py" if files.text("setup.py") else ""


def _scm(pyproject: Table, setup_cfg: Mapping[str, Mapping[str, str]], keywords: Mapping[str, Any]) -> str:
    wanted = " ".join(
        (
            *strings(dig(pyproject, "build-system", "requires")),
            *strings(keywords.get("setup_requires")),
            setup_cfg.get("options", {}).get("setup_requires", ""),
        )
    )
    if found := next((tool for tool in SCM_TOOLS if tool in wanted), ""):
        return found
    if keywords.get("use_scm_version"):
        return "setuptools-scm"
    return "pdm" if dig(pyproject, "tool", "pdm", "version", "source") == "scm" else ""


def _extras(pyproject: Table, setup_cfg: Mapping[str, Mapping[str, str]], keywords: Mapping[str, Any]) -> list[Group]:
    sources = (
        (dig(pyproject, "project", "optional-dependencies"), "[project.optional-dependencies] {} in pyproject.toml"),
        (dig(pyproject, "tool", "poetry", "extras"), "[tool.poetry.extras] {} in pyproject.toml"),
        (dig(pyproject, "tool", "flit", "metadata", "requires-extra"), "[tool.flit.metadata.requires-extra] {}"),
        (setup_cfg.get("options.extras_require"), "[options.extras_require] {} in setup.cfg"),
        (keywords.get("extras_require"), "extras_require {} in setup.py"),
    )
    return [
        Group(name, requirements(wanted), evidence.format(name))
        for groups, evidence in sources
        for name, wanted in table(groups).items()
        if re.fullmatch(r"[A-Za-z0-9][\w.-]{0,60}", name)
    ]


def _groups(pyproject: Table) -> list[Group]:
    tool = table(pyproject.get("tool"))
    standard = table(pyproject.get("dependency-groups"))
    found = [
        Group(name, _dependency_group(standard, name), f"[dependency-groups] {name} in pyproject.toml") for name in standard
    ]
    for name, group in table(dig(tool, "poetry", "group")).items():
        wanted = _poetry(table(group).get("dependencies"))
        found.append(Group(name, wanted, f"[tool.poetry.group.{name}.dependencies] in pyproject.toml"))
    found.append(
        Group("dev", _poetry(dig(tool, "poetry", "dev-dependencies")), "[tool.poetry.dev-dependencies] in pyproject.toml")
    )
    for name, wanted in table(dig(tool, "pdm", "dev-dependencies")).items():
        found.append(Group(name, requirements(wanted), f"[tool.pdm.dev-dependencies] {name} in pyproject.toml"))
    found.append(Group("dev", requirements(dig(tool, "uv", "dev-dependencies")), "[tool.uv] dev-dependencies"))
    for name, settings in table(dig(tool, "hatch", "envs")).items():
        wanted = (*strings(dig(settings, "dependencies")), *strings(dig(settings, "extra-dependencies")))
        found.append(Group(_plain(name), requirements(wanted), f"[tool.hatch.envs.{name}] in pyproject.toml"))
    return [group for group in found if group.requirements]


def _plain(hatch_environment: str) -> str:
    return {"default": "dev", "hatch-test": "test"}.get(hatch_environment, hatch_environment)


def _dependency_group(groups: Table, name: str, depth: int = 0) -> tuple[str, ...]:
    """A group's requirements and those of the groups that it includes (PEP 735)."""
    found: list[str] = []
    items = groups.get(name)
    for item in items[:200] if isinstance(items, list) else ():
        if isinstance(item, str):
            found += requirements([item])
        elif isinstance(included := table(item).get("include-group"), str) and depth < 4:  # noqa: PLR2004  or it is a ring
            found += _dependency_group(groups, included, depth + 1)
    return tuple(dict.fromkeys(found))[:200]


def _poetry(dependencies: Any) -> tuple[str, ...]:
    """Poetry's table of dependencies as requirements; those without a version that can be said stand bare."""
    found = []
    for name, wanted in table(dependencies).items():
        version = wanted if isinstance(wanted, str) else table(wanted).get("version", "")
        if name == "python" or table(wanted).get("optional") or table(wanted).get("path"):
            continue
        python = poetry_specifier(str(table(wanted).get("python", "")))
        pieces = re.findall(r"([<>=!]+)([\d.]+)", python)
        marker = " and ".join(f'python_version {operator} "{number}"' for operator, number in pieces)
        found.append(f"{name}{poetry_specifier(str(version))}" + (f" ; {marker}" if marker else ""))
    return requirements(found)


def poetry_specifier(version: str) -> str:
    """`^1.2` as `>=1.2,<2`; what PEP 440 cannot say is left out."""
    pieces: list[str] = []
    for operator, number, star in _POETRY.findall(version if "||" not in version and "|" not in version else ""):
        parts = [int(part) for part in re.findall(r"\d+", number)[:3]]
        match operator:
            case "^" | "~":
                at = 0 if operator == "^" and (parts[0] or len(parts) == 1) else min(1, len(parts) - 1)
                upper = [*parts[:at], parts[at] + 1]
                pieces += [f">={number}", f"<{'.'.join(map(str, upper))}"]
            case "" | "=":
                pieces.append(f"=={number}{star}")
            case _:
                pieces.append(f"{operator}{number}{star}")
    return ",".join(pieces)
