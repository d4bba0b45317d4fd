"""The issue and the repository that a command works on: from settings, or from what an earlier run recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from agent.cli.settings import AUTO, NONE, SolveSettings
from agent.environments.proposal import Found, Proposal, Recorded, shown
from agent.environments.propose import propose
from agent.environments.specs import specified
from agent.instances import Instance, find, from_issue
from agent.repository import Repository
from agent.revisions import is_url
from sandbox.api import EnvironmentSpec
from sandbox.errors import InputError
from sandbox.threads import DaemonThreads

T = TypeVar("T")
NOTHING = Found("", "")
SUBMODULES = "submodules are not part of the tree in the sandbox; tests that read them fail"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The issue and its repository, opened; the repository is to be closed."""

    instance: Instance
    repository: Repository
    source: str
    """The repository's path or URL, to open it again."""
    proposal: Proposal | None = None
    """What the repository's files say; None where an image or a recorded run says it."""
    setups: tuple[Found, ...] = ()
    """Set-ups to choose from; empty if the environment's own is to be used."""
    test: Found = NOTHING
    """The command of the health check; without evidence if the user gave it, empty if there is none."""
    wanted_python: str = ""
    """The version that install specs ask for, such as `3.9`."""
    told: tuple[str, ...] = ()
    """What the user should hear of how the environment was understood."""
    recorded: Recorded | None = None
    """What is used, once it is known."""

    def found(self) -> list[str]:
        """What is going to be used and why, a line each; nothing of what the user gave."""
        lines = [f"{'set-up' if not at else '  else'}: {words(setup)}" for at, setup in enumerate(self.setups)]
        if self.test.evidence:
            lines.append(f"test command: {words(self.test)}")
        if self.proposal and (python := self.proposal.python):
            tested = f"tested with {', '.join(python.tested)} ({shown(python.tested_evidence)})" if python.tested else ""
            requires = f"{python.requires} ({python.requires_evidence})" if python.requires else ""
            lines.append(f"Python: {'; '.join(filter(None, (requires, tested)))}")
        return [*lines, *map(shown, self.told)]

    def taken_up(self, held: Mapping[str, Any] | None) -> Inputs:
        """With what an earlier run of the same name found (its instance.json), so that nothing is guessed again."""
        found = (held or {}).get("found")
        if not (held and found and self.setups and held.get("environment")):
            return self
        recorded, environment = Recorded.from_json(found), _environment(held["environment"])
        test = NOTHING if self.test.evidence else self.test
        return replace(
            self,
            instance=replace(self.instance, environment=environment),
            setups=(),
            test=test,
            wanted_python="",
            told=(),
            recorded=recorded,
        )

    def to_json(self) -> dict[str, Any]:
        """For instance.json."""
        spec = self.instance.environment
        environment = {**asdict(spec), "repository": str(spec.repository) if spec.repository else None} if spec else None
        if environment:
            del environment["about"]  # made of the instance again where it is built
            if not environment["limits"]:
                del environment["limits"]
        found = {"found": self.recorded.to_json()} if self.recorded else {}
        return {**asdict(self.instance), "environment": environment, "source": self.source, **found}


async def open_inputs(settings: SolveSettings) -> Inputs:
    """The issue and the repository that the settings name. Raises InputError and, for a URL, InfrastructureError."""
    return await on_a_thread(lambda: _open_inputs(settings))


async def found_in(settings: SolveSettings) -> list[str]:
    """What the files of a repository on this machine say about the settings that are `auto`; nothing if there is none."""
    if not settings.repo or is_url(settings.repo) or settings.instance:
        return []
    try:
        inputs = await open_inputs(settings.model_copy(update={"issue": settings.issue or "none"}))
    except InputError:
        return []
    with inputs.repository:
        return inputs.found()


def words(found: Found) -> str:
    """A command and its evidence, fit to be shown."""
    return f"{shown(found.value) or 'none'}   from {shown(found.evidence)}"


async def reopen_inputs(recorded: Mapping[str, Any], settings: SolveSettings) -> Inputs:
    """From what `Inputs.to_json` made. A test command that was found is not run again; one that was given is."""
    fields = {key: value for key, value in recorded.items() if key not in ("source", "found")}
    if fields["environment"]:
        fields["environment"] = _environment(fields["environment"])
    instance = Instance(**fields)
    open_it = lambda: Repository.open(recorded["source"], instance.base_commit)  # noqa: E731
    repository = await on_a_thread(open_it)
    found = Recorded.from_json(recorded["found"]) if "found" in recorded else None
    return Inputs(instance, repository, recorded["source"], test=_given(settings.test_command), recorded=found)


async def row_inputs(recorded: Mapping[str, Any], source: str, settings: SolveSettings) -> Inputs:
    """From what `row_json` made: an instance of a data set, with its repository at `source`. Raises as `open_inputs`."""
    fields = {key: value for key, value in recorded.items() if key not in ("source", "row")}
    instance = Instance(**{**fields, "environment": _environment(fields["environment"])})
    return await on_a_thread(lambda: inputs_of(instance, settings.model_copy(update={"repo": source})))


def row_json(instance: Instance) -> dict[str, Any]:
    """For the instance.json of an instance that nothing has been opened of yet; `row` says so."""
    spec = instance.environment
    environment = {**asdict(spec), "repository": None} if spec else None
    if environment:
        del environment["about"], environment["limits"]
    return {**asdict(instance), "environment": environment, "source": "", "row": True}


async def on_a_thread(body: Callable[[], T]) -> T:
    """The result of what blocks, on a thread that nothing has to wait for."""
    threads = DaemonThreads(1, "inputs")
    try:
        return await threads.submit(body)
    finally:
        threads.close()


def _environment(recorded: Mapping[str, Any]) -> EnvironmentSpec:
    place = Path(recorded["repository"]) if recorded["repository"] else None
    return EnvironmentSpec(**{**recorded, "repository": place})


def _open_inputs(settings: SolveSettings) -> Inputs:
    if settings.instance or settings.dataset:
        return _from_dataset(settings)
    if settings.install_specs:
        raise InputError(
            "install specs are for instances of a data set", where="--install-specs", hint="--instance ID --dataset SOURCE"
        )
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
    proposal = None if settings.image else propose(repository)
    return _with_proposal(
        Inputs(_with_environment(instance, repository, settings), repository, _lasting(settings.repo)), proposal, settings
    )


def _from_dataset(settings: SolveSettings) -> Inputs:
    if not (settings.instance and settings.dataset):
        raise InputError("--instance and --dataset go together", where="--dataset", hint="--instance ID --dataset FILE")
    return inputs_of(find(settings.dataset, settings.instance, split=settings.split), settings)


def inputs_of(instance: Instance, settings: SolveSettings) -> Inputs:
    """An instance of a data set with its repository: that of the settings, else its own. Raises as `open_inputs`."""
    source = settings.repo or f"https://github.com/{instance.repo}"
    repository = Repository.open(source, instance.base_commit)
    if settings.install_specs:
        return _with_specs(Inputs(instance, repository, _lasting(source)), settings)
    instance = _with_environment(instance, repository, settings)
    return Inputs(instance, repository, _lasting(source), test=_given(settings.test_command))


def _lasting(source: str) -> str:
    """A path that holds from another working directory too; a URL as it is."""
    place = Path(source).expanduser()
    return str(place.resolve()) if place.exists() else source


def _with_environment(instance: Instance, repository: Repository, settings: SolveSettings) -> Instance:
    """The instance with the environment that the flags ask for; without any, its own."""
    if instance.environment and not (settings.setup != AUTO or settings.image or settings.python):
        return instance
    return replace(instance, environment=_spec(instance, repository, settings))


def _spec(instance: Instance, repository: Repository, settings: SolveSettings) -> EnvironmentSpec:
    place = repository.path.resolve()
    return EnvironmentSpec(
        instance.base_commit, place, image=settings.image, setup=_given(settings.setup).value, python=settings.python
    )


def _with_proposal(inputs: Inputs, proposal: Proposal | None, settings: SolveSettings) -> Inputs:
    """What was found in place of what was not given."""
    if proposal is None:
        return replace(inputs, test=_given(settings.test_command))
    setups = proposal.setups if settings.setup == AUTO else ()
    test = (proposal.test or NOTHING) if settings.test_command == AUTO else _given(settings.test_command)
    told = (SUBMODULES,) if inputs.repository.entry(".gitmodules") else ()
    return replace(inputs, proposal=proposal, setups=setups, test=test, told=told)


def _with_specs(inputs: Inputs, settings: SolveSettings) -> Inputs:
    """What the install specs say in place of what was not given."""
    found = specified(settings.install_specs, inputs.instance, inputs.repository)
    spec = replace(_spec(inputs.instance, inputs.repository, settings), variables=found.variables, limits=found.limits)
    setup = Found(found.setup, found.evidence)
    test = Found(found.test, found.evidence) if settings.test_command == AUTO else _given(settings.test_command)
    return replace(
        inputs,
        instance=replace(inputs.instance, environment=spec),
        setups=(setup,) if settings.setup == AUTO else (),
        test=test if test.value else NOTHING,
        wanted_python="" if settings.python or settings.image else found.python,
        told=found.told,
    )


def _given(command: str) -> Found:
    """A command that the user gave; `none` and the empty text say that there is none, and so does `auto` here."""
    return NOTHING if command in (AUTO, NONE, "") else Found(command, "")
