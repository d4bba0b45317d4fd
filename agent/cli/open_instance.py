"""One instance of a run while it is worked on: its repository, a healthy environment, its executor and its stages.

`runoff solve` opens one, `runoff batch` one after the other, many at once. What all instances of a run share is opened
by `agent.cli.open_run`.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Self

from agent.cli.components import context_settings, run_off, trajectory_settings
from agent.cli.environment import health, prepare
from agent.cli.estimate import in_a_line
from agent.cli.inputs import Inputs
from agent.cli.limits import bounded_by, limits_of
from agent.cli.open_run import OpenRun
from agent.cli.settings import BatchSettings
from agent.effort import Effort
from agent.executor import Executor
from agent.pipeline import Pipeline, PipelineSettings, Result
from agent.progress import Event
from agent.store import InstanceStore
from sandbox.errors import StoreError


class OpenInstance:
    """An async context manager: `prepare`, then `work`. Nothing of it stays open afterwards."""

    def __init__(self, opened: OpenRun, inputs: Inputs, rank: int = 0) -> None:
        """`inputs.repository` is closed with this. `rank`: its place in the order of starts."""
        self.inputs = inputs
        self._run = opened
        self._rank = rank
        self._stack = AsyncExitStack()
        self._executor: Executor | None = None
        self._began = self._prepared = time.monotonic()

    async def __aenter__(self) -> Self:
        self._stack.enter_context(self.inputs.repository)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(StoreError):  # nothing that a run needs
            self._note_effort()
        await self._stack.aclose()

    @property
    def store(self) -> InstanceStore:
        """The instance's part of the run."""
        return self._run.run.instance(self.inputs.instance.id)

    async def prepare(self) -> Inputs:
        """Build the environment and check it, unless no stage executes anything; the inputs with what it is.

        Raises EnvironmentBuildError, and SandboxError.
        """
        sandbox, settings = self._run.sandbox, self._run.settings
        if sandbox is None:
            return self.inputs
        try:
            settled = await prepare(sandbox, self.inputs, settings, self._tell)
        finally:
            self._prepared = time.monotonic()
        self._tell(health(settled.baseline))
        limits = limits_of(bounded_by(settings, settled.inputs.instance.environment))
        turn = partial(self._run.turns.slot, self._rank)
        self._executor = Executor(sandbox, settled.environment, limits, self.store.executions, turn)
        self._stack.callback(self._executor.close)
        self.inputs = settled.inputs
        return self.inputs

    async def work(self) -> Result:
        """Carry the instance through its stages. Raises what `Pipeline.run` does."""
        run, settings = self._run, self._run.settings
        bounded = bounded_by(settings, self.inputs.instance.environment)
        pipeline = Pipeline(
            self.inputs.instance,
            self.inputs.repository,
            run.models.of_instance(self._rank),
            self._executor,
            self.store,
            run.run.parts,
            run_off(bounded),
            PipelineSettings(
                settings.samples,
                tuple(settings.stages.split(",")),
                settings.baseline_repeats,
                context_settings(settings),
                trajectory_settings(bounded),
                clean=isinstance(settings, BatchSettings) and settings.clean_predictions,
                early_stop=settings.early_stop if isinstance(settings, BatchSettings) else 0,
            ),
            run.watch,
            fork=run.fork,
            forecast=lambda files: in_a_line(run.with_models, self.inputs.instance, files),
        )
        return await pipeline.run()

    def _note_effort(self) -> None:
        """What it has taken so far; nothing of a run that never began."""
        if not (self.store.path / "instance.json").exists():
            return
        before = Effort.read(self.store) or Effort()
        executions, seconds = self._executor.executed if self._executor else (before.executions, before.sandbox_seconds)
        spent = time.monotonic() - self._began
        before.later(spent, self._prepared - self._began, executions, seconds).write(self.store)

    def _tell(self, text: str) -> None:
        self._run.watch(Event(self.inputs.instance.id, "environment", text))
