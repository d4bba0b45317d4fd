"""What the steps of `runoff ensemble` work with: by instance an environment, a cache of executions and journaled flows.

Nothing is opened before a step needs it: an environment is built at an instance's first execution, once, and by
everybody who needs it together. What was asked and run lies beside the output, so a second call pays for none of it again.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from agent.cli.environments import Built, Environments
from agent.cli.limits import bounded_by, limits_of
from agent.cli.settings import SolveSettings
from agent.environments.propose import propose
from agent.executor import Executor
from agent.instances import Instance
from agent.llm.client import CallKey
from agent.llm.messages import Reply, Request
from agent.progress import Event, Watch
from agent.repository import Repository
from agent.store import InstanceStore, Run
from agent.trajectory.flow import Asks, Flow, TrajectoryKey
from agent.trajectory.journal import Journal
from sandbox.api import Execution, Limits, Patch, Sandbox, Script
from sandbox.errors import InputError
from selection.patches.trees import Trees

NO_CLONE = "clone it there: the steps of this selector read the repository's files"


class NoModel:
    """Stands where a model would, if none was named."""

    async def complete(self, request: Request, key: CallKey) -> Reply:  # noqa: ARG002  nobody to ask it of
        """Raises InputError."""
        raise InputError(f"the step '{key.stage}' asks a model", where="--selector", hint="name one: --model SPEC")


@dataclass(slots=True)
class _Place:
    """What is open of an instance."""

    store: InstanceStore
    building: asyncio.Lock = field(default_factory=asyncio.Lock)
    built: Built | None = None
    executors: dict[str, Executor] = field(default_factory=dict)
    """By digest of their limits."""
    steps: Counter[str] = field(default_factory=Counter)
    """How many flows were opened for each step."""
    stack: ExitStack = field(default_factory=ExitStack)


class EnsembleBench:
    """Fulfils `selection.regression.WholeBench`. Sandbox and model are set before the first flow, where there are any."""

    def __init__(self, run: Run, settings: SolveSettings, trees: Trees | None, watch: Watch) -> None:
        """`run`: the folder where journals and executions lie."""
        self.sandbox: Sandbox | None = None
        self.model: Asks = NoModel()
        self._run, self._settings, self._trees, self._watch = run, settings, trees, watch
        self._environments: Environments | None = None
        self._places: dict[str, _Place] = {}

    async def flow(self, instance: Instance, step: str, *, at_least: Limits | None = None) -> Flow:
        """See `selection.bench.Bench`."""
        place = self._place(instance)
        place.steps[step] += 1
        again = f".{place.steps[step]}" if place.steps[step] > 1 else ""  # the chain has this step several times
        name = re.sub(r"[^\w.-]+", "-", step) + again
        journal = Journal(place.store.path / f"{name}.jsonl", {"instance": instance.id, "stage": step, "sample": 0})
        place.stack.callback(journal.close)
        return Flow(
            TrajectoryKey(instance.id, step, 0),
            journal,
            model=self.model,
            executor=_Runs(self, instance, at_least),
            parts=self._run.parts,
            fork=True,
        )

    def files(self, instance: Instance, paths: Collection[str]) -> Mapping[str, str]:
        """See `selection.bench.Bench`."""
        found = self._trees.files(instance, paths) if self._trees else None
        if found is None:
            raise self._no_clone(instance)
        return found

    def paths(self, instance: Instance) -> Sequence[str]:
        """See `selection.regression.WholeBench`."""
        found = self._trees.paths(instance) if self._trees else None
        if found is None:
            raise self._no_clone(instance)
        return found

    async def test_command(self, instance: Instance) -> str:
        """What settings or install specs say, else what the repository's own files do."""
        built = await self.built(instance)
        if built.test or self._trees is None:
            return built.test
        with Repository.open(self._trees.clone(instance), instance.base_commit) as repository:
            found = propose(repository).test
        return found.value if found else ""

    async def built(self, instance: Instance) -> Built:
        """The instance's environment. Raises as `Environments.build`."""
        if self.sandbox is None:
            raise InputError("this selector was opened without a sandbox", where=instance.id, hint="report it")
        if self._environments is None:
            self._environments = Environments(self.sandbox, self._settings, self._trees.folder if self._trees else None)
        place = self._place(instance)
        async with place.building:
            if place.built is None:
                tell = lambda text: self._watch(Event(instance.id, "environment", f"{instance.id}: {text}"))  # noqa: E731
                place.built = await self._environments.build(instance, tell)
        return place.built

    async def executor(self, instance: Instance, at_least: Limits | None) -> Executor:
        """The executor of an instance under these limits, or under those of its environment and the settings if wider."""
        built = await self.built(instance)
        own = limits_of(bounded_by(self._settings, built.spec))
        limits = _wider(own, at_least) if at_least else own
        place = self._place(instance)
        if limits.digest not in place.executors:
            assert self.sandbox is not None  # noqa: S101  `built` has used it
            cache = place.store.executions if limits == own else place.store.path / f"executions-{limits.digest[:8]}.jsonl"
            executor = place.executors[limits.digest] = Executor(self.sandbox, built.environment, limits, cache)
            place.stack.callback(executor.close)
        return place.executors[limits.digest]

    def release(self, instance: str) -> None:
        """Close the files of an instance whose choice is made, or put off."""
        if place := self._places.pop(instance, None):
            place.stack.close()

    def _place(self, instance: Instance) -> _Place:
        if instance.id not in self._places:
            self._places[instance.id] = _Place(self._run.instance(instance.id))
        return self._places[instance.id]

    def _no_clone(self, instance: Instance) -> InputError:
        where = str(self._trees.folder) if self._trees else "--repos"
        return InputError(f"there is no clone of {instance.repo} with the base commit", where=where, hint=NO_CLONE)


@dataclass(frozen=True, slots=True)
class _Runs:
    """Executions of an instance, whose environment is built at the first."""

    bench: EnsembleBench
    instance: Instance
    at_least: Limits | None

    async def run(self, script: Script, patch: Patch | None = None, repeat: int = 0) -> Execution:
        """As `agent.executor.Executor.run`."""
        executor = await self.bench.executor(self.instance, self.at_least)
        return await executor.run(script, patch, repeat)


def _wider(own: Limits, least: Limits) -> Limits:
    """Both at once: of each limit the higher."""
    return replace(
        own,
        seconds=max(own.seconds, least.seconds),
        memory_mb=max(own.memory_mb, least.memory_mb),
        processes=max(own.processes, least.processes),
        disk_mb=max(own.disk_mb, least.disk_mb),
        output_chars=max(own.output_chars, least.output_chars),
    )
