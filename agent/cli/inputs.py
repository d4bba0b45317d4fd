"""The issue and the repository that a command works on: from settings, or from what an earlier run recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.cli.settings import SolveSettings
from agent.instances import Instance, find, from_issue
from agent.repository import Repository
from sandbox.api import EnvironmentSpec
from sandbox.errors import InputError
from sandbox.threads import DaemonThreads


@dataclass(frozen=True, slots=True)
class Inputs:
    """The issue and its repository, opened; the repository is to be closed."""

    instance: Instance
    repository: Repository
    source: str
    """The repository's path or URL, to open it again."""

    def to_json(self) -> dict[str, Any]:
        """For instance.json."""
        spec = self.instance.environment
        environment = {**asdict(spec), "repository": str(spec.repository) if spec.repository else None} if spec else None
        return {**asdict(self.instance), "environment": environment, "source": self.source}


async def open_inputs(settings: SolveSettings) -> Inputs:
    """The issue and the repository that the settings name. Raises InputError and, for a URL, InfrastructureError."""
    return await DaemonThreads(1, "inputs").submit(lambda: _open_inputs(settings))


async def reopen_inputs(recorded: Mapping[str, Any]) -> Inputs:
    """From what `Inputs.to_json` made."""
    fields = {key: value for key, value in recorded.items() if key != "source"}
    if environment := fields["environment"]:
        place = Path(environment["repository"]) if environment["repository"] else None
        fields["environment"] = EnvironmentSpec(**{**environment, "repository": place})
    instance = Instance(**fields)
    open_it = lambda: Repository.open(recorded["source"], instance.base_commit)  # noqa: E731
    return Inputs(instance, await DaemonThreads(1, "inputs").submit(open_it), recorded["source"])


def _open_inputs(settings: SolveSettings) -> Inputs:
    if settings.instance or settings.dataset:
        return _from_dataset(settings)
    if not settings.repo:
        raise InputError(
            "no repository is named",
            where="--repo",
            hint="runoff solve --repo . --issue issue.md, or --instance ID --dataset SOURCE",
        )
    if re.match(r"\w+://[^/@]*:[^/@]*@", settings.repo):
        raise InputError(
            "a repository's URL is written to files and must not hold a password",
            where="--repo",
            hint="use ssh, or git's credential helper, and leave the password out of the URL",
        )
    if not settings.issue:
        raise InputError(
            "no issue is named", where="--issue", hint="--issue FILE, --issue 'TEXT', or --issue - for standard input"
        )
    repository = Repository.open(settings.repo, settings.base)
    instance = from_issue(repository, settings.issue)
    return Inputs(_with_environment(instance, repository, settings), repository, _lasting(settings.repo))


def _from_dataset(settings: SolveSettings) -> Inputs:
    if not (settings.instance and settings.dataset):
        raise InputError("--instance and --dataset go together", where="--dataset", hint="--instance ID --dataset FILE")
    instance = find(settings.dataset, settings.instance, split=settings.split)
    source = settings.repo or f"https://github.com/{instance.repo}"
    repository = Repository.open(source, instance.base_commit)
    return Inputs(_with_environment(instance, repository, settings), repository, _lasting(source))


def _lasting(source: str) -> str:
    """A path that holds from another working directory too; a URL as it is."""
    place = Path(source).expanduser()
    return str(place.resolve()) if place.exists() else source


def _with_environment(instance: Instance, repository: Repository, settings: SolveSettings) -> Instance:
    """The instance with the environment that the flags ask for; without any, its own."""
    if instance.environment and not (settings.setup or settings.image or settings.python):
        return instance
    spec = EnvironmentSpec(
        instance.base_commit, repository.path.resolve(), image=settings.image, setup=settings.setup, python=settings.python
    )
    return replace(instance, environment=spec)
