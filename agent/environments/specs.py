"""Environments by repository and version, as SWE-bench writes them down (`python`, `packages`, `install`, `test_cmd`, ...).

They were written for a conda environment in an image of its own. Here they become a set-up command for a plain virtual
environment; what only a system's package manager could do is dropped and told. A list of rows by instance, each with
`install_commands`, `env` and `test_command`, is read as well, so pins of one's own need no other form.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.environments.files import ConfigFiles, dig, strings
from agent.environments.project import is_requirement
from agent.environments.requirements import requirement_files
from agent.instances import Instance
from agent.repository import Repository
from sandbox.errors import InputError

SYSTEM = re.compile(
    r"^(sudo\s+)?([A-Z_]+=\S+\s+)*(apt-get|apt|dpkg|yum|dnf|apk|conda|mamba|locale-gen|update-locale)\b|>>?\s*/etc/"
)
"""Commands that need a package manager, or rights, of the whole system."""
NOT_FROM_PIP = frozenset(
    {"python", "pip", "nodefaults", "conda", "compilers", "c-compiler", "cxx-compiler", "nodejs", "git"}
)
IGNORED = frozenset({"no_use_env", "nano_cpus", "instance_id", "repo", "version", "base_commit"})
"""Keys about conda, about Docker, or that name the row."""


class SpecifiedLimits(BaseModel):
    """What one execution in this environment may use, where it is not what the run allows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float | None = Field(None, gt=0)
    memory_mb: int | None = Field(None, ge=64)
    processes: int | None = Field(None, ge=8)
    disk_mb: int | None = Field(None, ge=4)
    inodes: int | None = Field(None, ge=64)
    output_chars: int | None = Field(None, ge=200)


class InstallSpec(BaseModel):
    """One environment, in either form."""

    model_config = ConfigDict(extra="allow", frozen=True)

    python: str = ""
    """`3.9`, or a full version."""
    packages: str | list[str] = ""
    """`requirements.txt`, `environment.yml`, or requirements as on a command line."""
    pip_packages: list[str] = Field(default_factory=list)
    pre_install: list[str] = Field(default_factory=list)
    install: str = ""
    test_cmd: str | list[str] = ""
    eval_commands: list[str] = Field(default_factory=list)
    install_commands: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    test_command: str = ""
    limits: SpecifiedLimits | None = None


@dataclass(frozen=True, slots=True)
class SpecifiedEnvironment:
    """A spec as runoff can build it."""

    setup: str
    test: str
    python: str
    """`3.9`; empty if any will do."""
    variables: Mapping[str, str]
    limits: Mapping[str, float]
    """By the names of `sandbox.api.Limits`; only what is not to be as the run has it."""
    evidence: str
    told: tuple[str, ...]
    """What was dropped or done in another way."""


def specified(path: str, instance: Instance, repository: Repository) -> SpecifiedEnvironment:
    """The environment that the file has for the instance. Raises InputError (no such file, no entry, a broken entry)."""
    raw, evidence = _entry(path, _read(path), instance)
    try:
        spec = InstallSpec.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        message = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
        raise InputError(message, where=f"{path}: {evidence}", hint="correct the entry, or use --setup") from None
    told: list[str] = []
    files = ConfigFiles(repository)
    commands = [
        *_packages(spec, files, told),
        *([_pip(spec.pip_packages)] if spec.pip_packages else []),
        *spec.pre_install,
        *([spec.install] if spec.install else []),
        *(command for command in spec.install_commands if not _makes_venv(command)),
    ]
    kept = [command for command in commands if not SYSTEM.search(command)]
    told += [
        f"dropped, a package manager of the system is not used: {command}" for command in commands if command not in kept
    ]
    variables = {**_exports(spec.eval_commands, told), **spec.env}
    told += [
        f"ignored key: {key}" for key, value in raw.items() if key not in InstallSpec.model_fields and _unheard(key, value)
    ]
    test = " ".join(spec.test_cmd) if isinstance(spec.test_cmd, list) else spec.test_cmd
    return SpecifiedEnvironment(
        "\n".join(kept),
        spec.test_command or test,
        _python(spec),
        variables,
        spec.limits.model_dump(exclude_none=True) if spec.limits else {},
        f"{evidence} in {path}",
        tuple(told),
    )


def _read(path: str) -> Any:
    try:
        return json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        hint = "name a JSON file: repository, then version, then python, packages, install, test_cmd"
        raise InputError(f"cannot read the install specs: {error}", where=path, hint=hint) from None


def _entry(path: str, document: Any, instance: Instance) -> tuple[dict[str, Any], str]:
    """The entry for the instance: by its id, else by its repository and version."""
    rows = document if isinstance(document, list) else []
    by_id = {row["instance_id"]: row for row in rows if isinstance(row, dict) and "instance_id" in row}
    if isinstance(found := by_id.get(instance.id) or dig(document, instance.id), dict):
        return found, instance.id
    named = [row for row in rows if isinstance(row, dict) and row.get("repo") == instance.repo and instance.version]
    for row in named:
        if row.get("version") == instance.version:
            return row, f"{instance.repo} {instance.version}, from {row.get('instance_id', 'a row')},"
    versions = dig(document, instance.repo) or {str(row.get("version")): row for row in named}
    if isinstance(found := dig(versions, instance.version), dict):
        return found, f"{instance.repo} {instance.version}"
    known = ", ".join(versions) if isinstance(versions, dict) and versions else "none"
    raise InputError(
        f"no spec for {instance.repo} {instance.version or '(the instance names no version)'}",
        where=path,
        hint=f"versions of {instance.repo} there: {known}; add one, or use --setup",
    )


def _packages(spec: InstallSpec, files: ConfigFiles, told: list[str]) -> list[str]:
    if spec.packages == "requirements.txt":
        found = requirement_files(files)
        if not found:
            told.append("packages: requirements.txt, but the tree has no such file")
            return []
        told.append(f"packages: requirements.txt is taken to be {found[0].evidence}")
        return [_pip(found[0].arguments)]
    if spec.packages == "environment.yml":
        return _conda(files, told)
    wanted = spec.packages if isinstance(spec.packages, list) else shlex.split(spec.packages)
    return [_pip(wanted)] if wanted else []


def _conda(files: ConfigFiles, told: list[str]) -> list[str]:
    """The packages of a conda environment, asked of pip by the same names."""
    paths = [path for path in files.paths if path.rpartition("/")[2] in ("environment.yml", "environment.yaml")]
    paths.sort(key=lambda path: (path.count("/"), path))
    items = dig(files.yaml(paths[0]), "dependencies") if paths else None
    if not isinstance(items, list):
        told.append("packages: environment.yml, but the tree has no such file")
        return []
    names = [re.sub(r"(?<![<>=!~])=(?!=)([\w.]+)", r"==\1.*", text) for text in strings(items)]
    names += [text for item in items for text in strings(dig(item, "pip"))]
    wanted = [name for name in names if is_requirement(name) and re.split(r"[^\w-]", name)[0] not in NOT_FROM_PIP]
    told.append(f"packages: conda's of {paths[0]} are asked of pip by the same names")
    left = [name for name in names if name not in wanted]
    told += [f"dropped, conda only: {', '.join(left)}"] if left else []
    return [_pip(wanted)] if wanted else []


def _pip(packages: Any) -> str:
    words = [word for package in packages for word in (shlex.split(package) if package.startswith("-") else [package])]
    return f"python -m pip install {shlex.join(words)}"


def _makes_venv(command: str) -> bool:
    return bool(re.match(r"python[\d.]*\s+-m\s+venv\b", command))


def _python(spec: InstallSpec) -> str:
    """`3.9`, from the key or from the command that makes the virtual environment."""
    texts = (spec.python, *(command for command in spec.install_commands if _makes_venv(command)))
    return next((match[0] for text in texts if (match := re.search(r"3\.\d+", text))), "")


def _exports(commands: list[str], told: list[str]) -> dict[str, str]:
    variables = {}
    for command in commands:
        if match := re.fullmatch(r"export (\w+)=([\w.:/-]*)", command.strip()):
            variables[match[1]] = match[2]
        else:
            told.append(f"dropped, only plain variables are set before the tests: {command}")
    return variables


def _unheard(key: str, value: Any) -> bool:
    """Whether the key might have meant something for the set-up: not what only records how a test went."""
    return (
        key not in IGNORED and isinstance(value, str | list) and ("install" in key or "pip" in key) and key != "pip_freeze"
    )
