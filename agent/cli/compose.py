"""The composition root: from settings to a pipeline with everything that it needs, opened and checked.

Order matters: whatever can be wrong with the input, the models, the sandbox and the environment is found out before
anything is spent, and before the run's folder is written.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.cli.components import context_settings, selection_settings, trajectory_settings
from agent.cli.inputs import Inputs, open_inputs, reopen_inputs
from agent.cli.interrupts import Interrupt
from agent.cli.models import Specs, open_models, prices_of, same_model, specs_of, system_name
from agent.cli.open_instance import OpenInstance
from agent.cli.open_run import OpenRun, manifest_of
from agent.cli.refusals import refuse_secrets, refuse_secrets_of_issue
from agent.cli.settings import S, SolveSettings, validated
from agent.instances import Instance
from agent.llm.ledger import Ledger
from agent.llm.limiter import Limiter
from agent.llm.prices import PriceTable
from agent.llm.specs import parse_spec
from agent.llm.totals import Totals
from agent.pipeline import Result
from agent.progress import Event, Watch, note
from agent.repository import Repository
from agent.store import InstanceStore, Run
from sandbox.errors import InputError

AHEAD = 2
"""Executions that wait at the sandbox itself, so that no worker is idle until the next one's turn has come."""


class Session:
    """One run: opens what it needs, checks it, carries the instance through, and closes everything.

    What a command line and the library (`agent.cli.library`) have in common. A run with many instances is a
    `agent.cli.batching.BatchSession`.
    """

    verb = "solve"
    """How the names of runs begin that the user did not name."""

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
        run = self._named(settings, inputs.instance.id)
        return await self._work(run, settings, inputs, anew=True)

    async def resume(
        self, name: str, runs: Path, changes: Mapping[str, Any], *, settle: Mapping[str, float] | None = None
    ) -> Result:
        """Go on with a run; `changes` may only hold settings that do not change what a model sees, or be None.

        `settle`: what somebody read off the bill for calls that were cut off, by number, or `all`, in dollars a call.
        """
        run = Run.find(name, runs)
        settings, wanted = self._changed(run, changes, SolveSettings)
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
        name = system_name(parse_spec(settings.model))
        if held:
            run.write_predictions(name)
        else:
            run.finish(name)
        self._watch(note("the run is finished; this is its result"))
        return finished

    def _named(self, settings: SolveSettings, what: str) -> Run:
        """The run of the settings' name; of one that says `what` if they have none. Raises InputError."""
        name = settings.run or _free_name(Path(settings.runs), self.verb, what)
        if "/" in name or name.startswith("."):
            raise InputError(f"'{name}' cannot be the name of a run", where="--run", hint="use a plain folder name")
        return Run(Path(settings.runs) / name)

    @staticmethod
    def _changed(run: Run, changes: Mapping[str, Any], kind: type[S]) -> tuple[S, dict[str, Any]]:
        """The settings to go on with, and what of them differs from before. Raises InputError."""
        recorded = run.settings()
        wanted = {key: value for key, value in changes.items() if value is not None}
        if "model" in wanted and recorded["cheap_model"] == recorded["model"]:
            wanted.setdefault("cheap_model", wanted["model"])
        for key in ("model", "cheap_model"):
            if key in wanted:
                same_model(recorded[key], wanted[key], key)
        settings = validated({**recorded, **wanted, "runs": str(run.path.parent), "run": run.name}, None, kind)
        refuse_secrets(settings)
        return settings, wanted

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
        if anew:
            inputs = inputs.taken_up(self.run.instance(inputs.instance.id).read("instance.json"))
        self.instance, self.repository = inputs.instance, self._stack.enter_context(inputs.repository)
        self._look_at_work_tree()
        components(settings)
        specs = specs_of(settings, os.environ, self._watch)
        prices = prices_of(specs, settings)
        manifest = manifest_of(settings, specs, prices)
        if anew:
            self._hold(run, manifest, {inputs.instance.id: inputs.to_json()})
        instance = OpenInstance(await self._open(specs, prices), inputs)
        await self._stack.enter_async_context(instance)
        inputs = await instance.prepare()
        self.instance = inputs.instance
        run.begin(manifest, {self.instance.id: inputs.to_json()})
        self._interrupt.hint = f"runoff resume {run.handle}"
        self._watch(Event(self.instance.id, "started", f"run {run.name}"))
        result = await instance.work()
        run.write_predictions(system_name(specs.main))
        return result

    def _look_at_work_tree(self) -> None:
        if self._needs_work_tree and not self.repository.has_work_tree:
            raise InputError(
                "the repository has no work tree to apply a patch to", where="--apply", hint="leave --apply out"
            )
        if dirty := self.repository.dirty:
            self._watch(
                note(f"the work tree is dirty ({dirty}): what is committed at {self.instance.base_commit[:12]} is used")
            )

    def _hold(
        self, run: Run, manifest: Mapping[str, Any], instances: Mapping[str, Mapping[str, Any]], names: Sequence[str] = ()
    ) -> None:
        """Hold a run that begins, or one of that name with the same settings and instances (`names`: see `Run.check`)."""
        existed = run.path.exists()
        self._stack.enter_context(run.lock())
        if not existed:
            self._stack.callback(_remove_if_unused, run.path)
        run.check(manifest, instances, names)
        self._ledger = self._stack.enter_context(Ledger(run.ledger))

    async def _open(self, specs: Specs, prices: PriceTable) -> OpenRun:
        """The models and the sandbox of a run that is held, checked."""
        settings, sandbox = self.settings, None
        assert self._ledger is not None  # noqa: S101  opened by `_hold` or `_take_up`
        models = await open_models(
            specs, prices, settings, ledger=self._ledger, env=os.environ, watch=self._watch, stack=self._stack
        )
        if settings.stages != "context":
            from sandbox.probe import choose  # the engine's client: a run that is finished needs none

            tell = lambda text: self._watch(Event(self._about, "environment", text))  # noqa: E731
            sandbox = await choose(settings.sandbox, settings.workers, tell)
            self._stack.push_async_callback(sandbox.close)
            self._interrupt.kill = sandbox.interrupt
        turns = Limiter(settings.workers + AHEAD)
        return OpenRun(self.run, settings, self._ledger, models, sandbox, self._watch, turns, self._fork)

    @property
    def _about(self) -> str:
        """The instance that events of the whole run are told of."""
        return self.instance.id


def components(settings: SolveSettings) -> None:
    """Raises InputError for a setting that a component cannot use, before anything is held."""
    context_settings(settings)
    trajectory_settings(settings)
    selection_settings(settings)


def _free_name(runs: Path, verb: str, what: str) -> str:
    """A name that no run has: clocks are set back, and two runs may start in one second."""
    name = f"{verb}-{what}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
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
