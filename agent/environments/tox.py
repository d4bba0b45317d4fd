"""tox's default environment, from tox.ini, setup.cfg, tox.toml or pyproject.toml: what it installs and what it runs."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from agent.environments.files import ConfigFiles, Ini, dig, strings

PLACES = re.compile(r"\{(toxinidir|tox_root|envsitepackagesdir|env_site_packages_dir)\}/")
"""What tox calls the tree's root, and where it installs; with an editable install that is the root too."""
_FACTORS = re.compile(r"^([\w{},.!*-]+):\s+(.*)$")
_HERE = re.compile(r"^(py|py3|py311|test|tests|testing|default)$")
"""Factors that are taken to hold."""


@dataclass(frozen=True, slots=True)
class Tox:
    """What the default environment needs and runs."""

    evidence: str = ""
    deps: tuple[str, ...] = ()
    """Lines, as `pip install` would take them."""
    extras: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    """`NAME=value` of setenv, where the value is plain."""
    environments: str = ""
    """The list of environments, unexpanded."""


def read_tox(files: ConfigFiles) -> Tox:
    """The first file that has a default environment."""
    for path in ("tox.ini", "setup.cfg"):
        sections = files.ini(path)
        section = sections.get("testenv") or sections.get("testenv:py") or sections.get("testenv:test")
        if section and (path == "tox.ini" or "tox:tox" in sections):
            return _from_ini(sections, section, f"[testenv] in {path}")
    pyproject = files.toml("pyproject.toml")
    for path, document in (("tox.toml", files.toml("tox.toml")), ("pyproject.toml", dig(pyproject, "tool", "tox"))):
        if isinstance(settings := dig(document, "env_run_base"), dict):
            return _from_toml(settings, str(dig(document, "env_list") or ""), f"env_run_base in {path}")
    return Tox()


def _from_ini(sections: Ini, section: Any, evidence: str) -> Tox:
    def lines(key: str) -> tuple[str, ...]:
        conditional = (_unconditional(line) for line in _resolved(sections, section.get(key, "")))
        return tuple(line for line in conditional if line is not None)

    environments = " ".join(
        dict(sections.get("tox") or sections.get("tox:tox") or {}).get(key, "") for key in ("envlist", "env_list")
    )
    commands = tuple(line.removeprefix("-").strip() for line in _joined(lines("commands")))
    variables = tuple(
        f"{name.strip()}={value.strip()}"
        for name, sign, value in (line.partition("=") for line in lines("setenv"))
        if sign and re.fullmatch(r"[A-Z_][A-Z0-9_]*", name.strip()) and re.fullmatch(r"[\w./:-]+", value.strip())
    )
    extras = tuple(name for line in lines("extras") for name in re.split(r"[,\s]+", line) if name)
    return Tox(evidence, tuple(filter(None, map(_without_places, lines("deps")))), extras, commands, variables, environments)


def _from_toml(settings: Any, environments: str, evidence: str) -> Tox:
    commands = [
        shlex.join(str(word) for word in command if isinstance(word, str))
        for command in settings.get("commands") or ()
        if isinstance(command, list)
    ]
    deps = (*strings(settings.get("deps")), *strings(settings.get("dependencies")))
    return Tox(evidence, deps, tuple(strings(settings.get("extras"))), tuple(commands), (), environments)


def _resolved(sections: Ini, value: str, depth: int = 0) -> list[str]:
    """A value's lines, with `{[section]key}` on a line of its own put in."""
    lines: list[str] = []
    for line in strings(value):
        if (match := re.fullmatch(r"\{\[([^\]]+)\](\w+)\}", line)) and depth < 3:  # noqa: PLR2004  or it is a ring
            lines += _resolved(sections, sections.get(match[1], {}).get(match[2], ""), depth + 1)
        else:
            lines.append(re.sub(r"\s#.*$", "", line))
    return lines[:200]


def _unconditional(line: str) -> str | None:
    """The line without a condition that holds here; None if its condition does not."""
    match = _FACTORS.match(line)
    if match is None or line.startswith("-"):
        return line
    alternatives = (case for condition in _expanded(match[1]) for case in condition.split(","))
    return match[2] if any(_holds(case) for case in alternatives) else None


def _expanded(condition: str, depth: int = 0) -> list[str]:
    """`py{36,37}-x` as `py36-x` and `py37-x`."""
    braces = re.search(r"\{([^{}]*)\}", condition)
    if braces is None or depth > 3:  # noqa: PLR2004  more than anybody writes; each level multiplies
        return [condition]
    before, after = condition[: braces.start()], condition[braces.end() :]
    return [done for name in braces[1].split(",")[:20] for done in _expanded(f"{before}{name.strip()}{after}", depth + 1)]


def _holds(case: str) -> bool:
    """Whether all factors of `py311-test` are those of a plain environment; one after `!` must not be."""
    return all(
        bool(_HERE.match(factor.lstrip("!"))) != factor.startswith("!") for factor in case.strip().split("-") if factor
    )


def _joined(lines: tuple[str, ...]) -> list[str]:
    return [" ".join(line.split()) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def _without_places(line: str) -> str:
    """A line of deps without tox's names for the tree; empty if another substitution is left."""
    plain = PLACES.sub("", line).replace("{toxinidir}", ".")
    return "" if "{" in plain else plain
