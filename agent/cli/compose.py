"""The composition root: from settings to a pipeline with everything that it needs, opened and checked.

Order matters: whatever can be wrong with the input, the models, the sandbox and the environment is found out before
anything is spent, and before the run's folder is written.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.cli.components import context_settings, selection_settings, trajectory_settings
from agent.cli.environment import health, prepare
from agent.cli.estimate import in_a_line
from agent.cli.inputs import Inputs, open_inputs, reopen_inputs
from agent.cli.interrupts import Interrupt
from agent.cli.limits import bounded_by, limits_of
from agent.cli.models import Specs, open_models, prices_of, rates_of, same_model, specs_of, system_name
from agent.cli.refusals import refuse_secrets, refuse_secrets_of_issue
from agent.cli.settings import SolveSettings, validated
from agent.executor import Executor
from agent.instances import Instance
from agent.llm.ledger import Ledger
from agent.llm.prices import PriceTable
from agent.llm.specs import parse_spec
from agent.llm.totals import Totals
from agent.pipeline import Pipeline, PipelineSettings, Result
from agent.progress import Event, Watch, note
from agent.repository import Repository
from agent.store import InstanceStore, Run
from sandbox.errors import InputError
from sandbox.probe import choose
from selection.runoff import RunOff


class Session:
    """One run: opens what it needs, checks it, carries the instance through, and closes everything.

    What a command line and the library (`agent.cli.library`) have in common.
    """

    def __init__(
        self,
        watch: Watch = lambda event: None,
        interrupt: Interrupt | None = None,
        *,
        fork: bool = False,
        needs_work_tree: bool = False,
    ) -> None:
        """`fork`: where a journal holds another request than is asked for now, go on from there instead of stopping.

        `needs_work_tree`: the patch is to be applied at the end, so a repository without a work tree is refused first.
        """
        self._watch = watch
        self._interrupt = interrupt or Interrupt()
        self._fork = fork
        self._needs_work_tree = needs_work_tree
        self._stack = AsyncExitStack()
        self._ledger: Ledger | None = None
        self.settings: SolveSettings
        self.run: Run
        self.instance: Instance
        self.repository: Repository

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError) and not self._interrupt.happened:
            self._interrupt.kill()  # a command does so itself, before it cancels
        await self._stack.aclose()

    @property
    def folder(self) -> Path:
        """The instance's folder in the run."""
        return self.store.path

    @property
    def store(self) -> InstanceStore:
        """The instance's part of the run."""
        return self.run.instance(self.instance.id)

    def spent(self) -> Totals:
        """What the calls so far cost, those of earlier processes included."""
        return self._ledger.totals() if self._ledger else Totals()

    def spending(self) -> str:
        """The same in a line, with the limits that there are."""
        totals, settings = self.spent(), self.settings
        calls = f"{totals.calls:,} calls" + (f" of {settings.budget_calls:,}" if settings.budget_calls else "")
        tokens = totals.tokens + (f" of {settings.budget_tokens:,}" if settings.budget_tokens else "")
        return f"{calls}, {tokens}, {totals.money}" + (f" of ${settings.budget:.2f}" if settings.budget is not None else "")

    async def solve(self, settings: SolveSettings) -> Result:
        """Start a run, or go on with the one of that name if its settings are the same."""
        refuse_secrets(settings)
        inputs = await open_inputs(settings)
        refuse_secrets_of_issue(inputs.instance)
        name = settings.run or _free_name(Path(settings.runs), inputs.instance.id)
        if "/" in name or name.startswith("."):
            raise InputError(f"'{name}' cannot be the name of a run", where="--run", hint="use a plain folder name")
        return await self._work(Run(Path(settings.runs) / name), settings, inputs, anew=True)

    async def resume(
        self, name: str, runs: Path, changes: Mapping[str, Any], *, settle: Mapping[str, float] | None = None
    ) -> Result:
        """Go on with a run; `changes` may only hold settings that do not change what a model sees, or be None.

        `settle`: what somebody read off the bill for calls that were cut off, by number, or `all`, in dollars a call.
        """
        run = Run.find(name, runs)
        recorded = run.settings()
        wanted = {key: value for key, value in changes.items() if value is not None}
        if "model" in wanted and recorded["cheap_model"] == recorded["model"]:
            wanted.setdefault("cheap_model", wanted["model"])
        for key in ("model", "cheap_model"):
            if key in wanted:
                same_model(recorded[key], wanted[key], key)
        settings = validated({**recorded, **wanted, "runs": str(run.path.parent), "run": run.name})
        refuse_secrets(settings)
        known = run.instances()
        if len(known) != 1:
            raise InputError(
                f"the run has {len(known)} instances, not one to go on with",
                where=str(run.path),
                hint="start it anew: runoff solve",
            )
        inputs = await reopen_inputs(run.instance(known[0]).read("instance.json", "source", "environment"), settings)
        finished = Result.read(run.instance(known[0]))
        held = finished is None or bool(wanted) or bool(settle)
        if held:
            self._take_up(run, settings, wanted, settle or {})
        if finished is None:
            return await self._work(run, settings, inputs, anew=False)
        self.run, self.settings, self.instance = run, settings, inputs.instance
        self.repository = self._stack.enter_context(inputs.repository)
        self._ledger = self._ledger or Ledger(run.ledger)
        name = system_name(parse_spec(recorded["model"]))
        if held:
            run.write_predictions(name)
        else:
            run.finish(name)
        self._watch(note("the run is finished; this is its result"))
        return finished

    def _take_up(self, run: Run, settings: SolveSettings, changes: Mapping[str, Any], settle: Mapping[str, float]) -> None:
        """Hold the run, note what changes, and settle what is to be settled."""
        self.run, self.settings = run, settings
        self._stack.enter_context(run.lock())
        if changes:
            run.note_changes(changes)
        self._ledger = self._stack.enter_context(Ledger(run.ledger))
        for which, dollars in settle.items():
            for number in [call.number for call in self._ledger.unsure()] if which == "all" else [int(which)]:
                self._ledger.settle_by_hand(number, dollars)

    async def _work(self, run: Run, settings: SolveSettings, inputs: Inputs, *, anew: bool) -> Result:
        self.run, self.settings = run, settings
        self.instance, self.repository = inputs.instance, self._stack.enter_context(inputs.repository)
        if self._needs_work_tree and not self.repository.has_work_tree:
            raise InputError(
                "the repository has no work tree to apply a patch to", where="--apply", hint="leave --apply out"
            )
        if dirty := self.repository.dirty:
            self._watch(
                note(f"the work tree is dirty ({dirty}): what is committed at {self.instance.base_commit[:12]} is used")
            )
        if anew:
            inputs = inputs.taken_up(self.store.read("instance.json"))
            self.instance = inputs.instance
        bounded = bounded_by(settings, inputs.instance.environment)
        context, trajectory = context_settings(settings), trajectory_settings(bounded)
        selection = selection_settings(bounded)
        specs = specs_of(settings, os.environ, self._watch)
        prices = prices_of(specs, settings)
        manifest = self._manifest(specs, prices)
        if anew:
            self._hold(run, manifest, inputs)
        assert self._ledger is not None  # noqa: S101  opened by `_hold` or `_take_up`
        models = await open_models(
            specs, prices, settings, ledger=self._ledger, env=os.environ, watch=self._watch, stack=self._stack
        )
        executor, inputs = await self._executor(inputs)
        self.instance = inputs.instance
        run.begin(manifest, {self.instance.id: inputs.to_json()})
        self._interrupt.hint = f"runoff resume {run.name}"
        self._watch(Event(self.instance.id, "started", f"run {run.name}"))
        pipeline = Pipeline(
            self.instance,
            self.repository,
            models,
            executor,
            self.store,
            run.parts,
            RunOff(selection),
            PipelineSettings(
                settings.samples,
                tuple(settings.stages.split(",")),
                settings.baseline_repeats,
                context,
                trajectory,
            ),
            self._watch,
            fork=self._fork,
            forecast=lambda files: in_a_line(self._with_models(specs), self.instance, files),
        )
        result = await pipeline.run()
        run.write_predictions(system_name(specs.main))
        return result

    def _hold(self, run: Run, manifest: Mapping[str, Any], inputs: Inputs) -> None:
        """Hold a run that begins, or one of that name with the same settings."""
        existed = run.path.exists()
        self._stack.enter_context(run.lock())
        if not existed:
            self._stack.callback(_remove_if_unused, run.path)
        run.check(manifest, {self.instance.id: inputs.to_json()})
        self._ledger = self._stack.enter_context(Ledger(run.ledger))

    async def _executor(self, inputs: Inputs) -> tuple[Executor | None, Inputs]:
        """The sandbox with a healthy environment, None if no stage executes anything; and the inputs with what it is."""
        if self.settings.stages == "context":
            return None, inputs
        settings = self.settings
        sandbox = await choose(settings.sandbox, settings.workers, self._tell)
        self._stack.push_async_callback(sandbox.close)
        self._interrupt.kill = sandbox.interrupt
        settled = await prepare(sandbox, inputs, settings, self._tell)
        self._tell(health(settled.baseline))
        limits = limits_of(bounded_by(settings, settled.inputs.instance.environment))
        executor = Executor(sandbox, settled.environment, limits, self.store.executions)
        self._stack.callback(executor.close)
        return executor, settled.inputs

    def _tell(self, text: str) -> None:
        self._watch(Event(self.instance.id, "environment", text))

    def _with_models(self, specs: Specs) -> SolveSettings:
        """The settings, with the models that answer where none are named."""
        return self.settings.model_copy(update={"model": str(specs.main), "cheap_model": str(specs.cheap)})

    def _manifest(self, specs: Specs, prices: PriceTable) -> dict[str, Any]:
        """Settings that decide what models see, and what they are."""
        settings = self._with_models(specs).model_dump()
        packages = {name: version(name) for name in ("runoff", "anthropic", "openai", "docker")}
        return {
            "settings": {name: value for name, value in settings.items() if name not in ("runs", "run")},
            "models": {"main": str(specs.main), "cheap": str(specs.cheap)},
            "prices": rates_of(specs, prices),
            "seed": self.settings.seed,
            "versions": {**packages, "python": platform.python_version(), "platform": sys.platform},
        }


def _free_name(runs: Path, instance: str) -> str:
    """A name that no run has: clocks are set back, and two runs may start in one second."""
    name = f"solve-{instance}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    return next(free for number in count(1) if not (runs / (free := f"{name}-{number}" if number > 1 else name)).exists())


def _remove_if_unused(folder: Path) -> None:
    """Take away the folder of a run that never began, so that its name is free again."""
    if not (folder / "manifest.json").exists():
        for path in folder.glob("*"):
            if path.is_file():
                path.unlink()
        (folder / ".lock").unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
