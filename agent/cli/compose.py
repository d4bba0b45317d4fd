"""The composition root: from settings to a pipeline with everything that it needs, opened and checked.

Order matters: whatever can be wrong with the input, the models, the sandbox and the environment is found out before
anything is spent, and before the run's folder is written.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from agent.cli.components import context_settings, llm_settings, selection_settings, trajectory_settings
from agent.cli.inputs import Inputs, open_inputs, reopen_inputs
from agent.cli.interrupts import Interrupt
from agent.cli.progress import Progress
from agent.cli.settings import SolveSettings, validated
from agent.executor import Executor
from agent.instances import Instance
from agent.llm.client import CallKey, Client
from agent.llm.ledger import Ledger
from agent.llm.model import Model
from agent.llm.open import open_model
from agent.llm.prices import PriceTable, load_prices, parse_price
from agent.llm.retry import Repeat
from agent.llm.specs import ModelSpec, check, default_spec, parse_spec
from agent.pipeline import Models, Pipeline, PipelineSettings, Result
from agent.progress import Event
from agent.replay import ReplayClient
from agent.repository import Repository
from agent.store import InstanceStore, Run
from sandbox.api import Environment, Limits, Sandbox
from sandbox.errors import InputError
from sandbox.health import check_baseline
from sandbox.probe import choose
from selection.runoff import RunOff


@dataclass(frozen=True, slots=True)
class Specs:
    """Which models answer."""

    main: ModelSpec
    cheap: ModelSpec


class Session:
    """One command's run: opens what it needs, checks it, carries the instance through, and closes everything."""

    def __init__(self, errors: Console, interrupt: Interrupt, *, fork: bool = False, needs_work_tree: bool = False) -> None:
        """`fork`: where a journal holds another request than is asked for now, go on from there instead of stopping.

        `needs_work_tree`: the patch is to be applied at the end, so a repository without a work tree is refused first.
        """
        self._errors = errors
        self._interrupt = interrupt
        self._fork = fork
        self._needs_work_tree = needs_work_tree
        self._stack = AsyncExitStack()
        self._ledger: Ledger | None = None
        self.settings: SolveSettings
        self.run: Run
        self.instance: Instance
        self.repository: Repository

    async def __aenter__(self) -> Self:
        self._progress = Progress(self._errors, self.spending)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def folder(self) -> Path:
        """The instance's folder in the run."""
        return self.store.path

    @property
    def store(self) -> InstanceStore:
        """The instance's part of the run."""
        return self.run.instance(self.instance.id)

    def spending(self) -> str:
        """What the calls so far cost, in a line."""
        if self._ledger is None:
            return ""
        totals = self._ledger.totals()
        return f"{totals.calls} calls, {totals.tokens}, {totals.money}"

    async def solve(self, settings: SolveSettings) -> Result:
        """Start a run, or go on with the one of that name if its settings are the same."""
        inputs = await open_inputs(settings)
        name = settings.run or _free_name(Path(settings.runs), inputs.instance.id)
        if "/" in name or name.startswith("."):
            raise InputError(f"'{name}' cannot be the name of a run", where="--run", hint="use a plain folder name")
        return await self._work(Run(Path(settings.runs) / name), settings, inputs, anew=True)

    async def resume(self, name: str, runs: Path, changes: Mapping[str, Any]) -> Result:
        """Go on with a run; `changes` may only hold settings that do not change what a model sees, or be None."""
        run = Run.find(name, runs)
        recorded = run.manifest()["settings"]
        wanted = {key: value for key, value in changes.items() if value is not None}
        if "model" in wanted and recorded["cheap_model"] == recorded["model"]:
            wanted.setdefault("cheap_model", wanted["model"])
        for key in ("model", "cheap_model"):
            if key in wanted:
                _same_model(recorded[key], wanted[key], key)
        settings = validated({**recorded, **wanted, "runs": str(run.path.parent), "run": run.name})
        known = run.instances()
        if len(known) != 1:
            raise InputError(
                f"the run has {len(known)} instances, not one to go on with",
                where=str(run.path),
                hint="start it anew: runoff solve",
            )
        inputs = await reopen_inputs(run.instance(known[0]).read("instance.json", "source", "environment"))
        finished = Result.read(run.instance(known[0]))
        if finished is None:
            return await self._work(run, settings, inputs, anew=False)
        self.run, self.settings, self.instance = run, settings, inputs.instance
        self.repository, self._ledger = self._stack.enter_context(inputs.repository), Ledger(run.ledger)
        run.finish(_system_name(parse_spec(recorded["model"])))
        self._progress.note("the run is finished; this is its result")
        return finished

    async def _work(self, run: Run, settings: SolveSettings, inputs: Inputs, *, anew: bool) -> Result:
        self.run, self.settings = run, settings
        self.instance, self.repository = inputs.instance, self._stack.enter_context(inputs.repository)
        if self._needs_work_tree and not self.repository.has_work_tree:
            raise InputError(
                "the repository has no work tree to apply a patch to", where="--apply", hint="leave --apply out"
            )
        if dirty := self.repository.dirty:
            self._progress.note(
                f"the work tree is dirty ({dirty}): what is committed at {self.instance.base_commit[:12]} is used"
            )
        context, trajectory = context_settings(settings), trajectory_settings(settings)
        selection = selection_settings(settings)
        specs = self._specs()
        manifest = self._manifest(specs)
        existed = run.path.exists()
        self._stack.enter_context(run.lock())
        if not existed:
            self._stack.callback(_remove_if_unused, run.path)
        if anew:
            run.check(manifest, {self.instance.id: inputs.to_json()})
        models = await self._models(specs)
        executor = await self._executor()
        run.begin(manifest, {self.instance.id: inputs.to_json()})
        self._interrupt.hint = f"runoff resume {run.name}"
        self._stack.enter_context(self._progress)
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
            self._progress,
            fork=self._fork,
        )
        result = await pipeline.run()
        run.write_predictions(_system_name(specs.main))
        return result

    def _specs(self) -> Specs:
        env, settings = os.environ, self.settings
        main = parse_spec(settings.model, env) if settings.model else default_spec(env)
        if settings.cheap_model:
            cheap = parse_spec(settings.cheap_model, env)
        else:
            cheap = main if settings.model else default_spec(env, cheap=True)
        if not settings.model:
            self._progress.note(f"no --model given; the environment's key allows {main}, and {cheap} for relevance")
        return Specs(main, cheap)

    async def _models(self, specs: Specs) -> Models:
        """Both models, checked: a wrong key, an unknown model and a server that is down are found out here."""
        self._ledger = self._stack.enter_context(Ledger(self.run.ledger))
        opened: dict[str, Model] = {}
        for spec in (specs.main, specs.cheap):
            if str(spec) not in opened:
                model = self._open(spec, self._ledger, _prices(specs, self.settings))
                self._stack.push_async_callback(model.close)
                await check(model.client)
                opened[str(spec)] = model
        return Models(opened[str(specs.main)], opened[str(specs.cheap)], str(specs.main))

    def _open(self, spec: ModelSpec, ledger: Ledger, prices: PriceTable) -> Model:
        return open_model(
            spec,
            settings=llm_settings(self.settings),
            ledger=ledger,
            env=os.environ,
            prices=prices,
            replay=self._replay,
            on_repeat=self._tell_repeat,
            seed=self.settings.seed,
        )

    def _replay(self, spec: ModelSpec) -> Client:
        found = Path(self.settings.runs) / spec.target
        run = found if found.is_dir() else Path(spec.target)
        return ReplayClient(run, warn=self._progress.note, strict=self.settings.strict)

    def _tell_repeat(self, key: CallKey, repeat: Repeat) -> None:
        self._progress.note(f"{key}: {repeat.fault}; attempt {repeat.attempt + 1} follows in {repeat.wait:.0f} s")

    async def _executor(self) -> Executor | None:
        """The sandbox with a healthy environment; None if no stage executes anything."""
        if self.settings.stages == "context":
            return None
        settings = self.settings
        sandbox = await choose(settings.sandbox, settings.workers, self._tell)
        self._stack.push_async_callback(sandbox.close)
        self._interrupt.kill = sandbox.interrupt
        environment = await self._environment(sandbox)
        limits = Limits(seconds=settings.script_seconds, memory_mb=settings.memory_mb)
        baseline = await check_baseline(
            sandbox, environment, base_commit=self.instance.base_commit, test_command=settings.test_command, limits=limits
        )
        self._tell(f"baseline is healthy: python {baseline.python}" + (f", {baseline.warning}" if baseline.warning else ""))
        executor = Executor(sandbox, environment, limits, self.store.executions)
        self._stack.callback(executor.close)
        return executor

    async def _environment(self, sandbox: Sandbox) -> Environment:
        if self.instance.environment is None:
            raise InputError(
                "the instance names no environment", where=self.instance.id, hint="name one with --image or --setup"
            )
        return await sandbox.build(self.instance.environment, self._tell)

    def _tell(self, text: str) -> None:
        self._progress(Event(self.instance.id, "environment", text))

    def _manifest(self, specs: Specs) -> dict[str, Any]:
        """Settings that decide what models see, and what they are."""
        ours = self.settings.model_dump()
        settings = {**ours, "model": str(specs.main), "cheap_model": str(specs.cheap)}
        kept = {name: value for name, value in settings.items() if name not in ("runs", "run")}
        prices = _prices(specs, self.settings)
        rates = {
            str(spec): asdict(price) if (price := prices.price(str(spec))) else None for spec in (specs.main, specs.cheap)
        }
        packages = {name: version(name) for name in ("runoff", "anthropic", "openai", "docker")}
        return {
            "settings": kept,
            "models": {"main": str(specs.main), "cheap": str(specs.cheap)},
            "prices": rates,
            "seed": self.settings.seed,
            "versions": {**packages, "python": platform.python_version(), "platform": sys.platform},
        }


def _system_name(spec: ModelSpec) -> str:
    """What predictions are signed with: no path or address of this machine, and a plain folder name for the harness."""
    model = spec.target if spec.vendor in ("anthropic", "openai") else spec.vendor
    return "runoff-" + re.sub(r"[^\w.-]+", "-", model)


def _free_name(runs: Path, instance: str) -> str:
    """A name that no run has: clocks are set back, and two runs may start in one second."""
    name = f"solve-{instance}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    return next(free for number in count(1) if not (runs / (free := f"{name}-{number}" if number > 1 else name)).exists())


def _same_model(recorded: str, wanted: str, key: str) -> None:
    before, now = parse_spec(recorded), parse_spec(wanted)
    if (before.vendor, before.target) != (now.vendor, now.target):
        raise InputError(
            f"the run was started with {recorded}; resuming may change the endpoint, not the model",
            where=f"--{key.replace('_', '-')}",
            hint="start a new run for another model",
        )


def _prices(specs: Specs, settings: SolveSettings) -> PriceTable:
    """The table, with the prices that were given by hand in front."""
    table = load_prices()
    for spec, given in ((specs.cheap, settings.cheap_price), (specs.main, settings.price)):
        if given:
            table = table.over(str(spec), parse_price(given))
    return table


def _remove_if_unused(folder: Path) -> None:
    """Take away the folder of a run that never began, so that its name is free again."""
    if not (folder / "manifest.json").exists():
        for path in folder.glob("*"):
            if path.is_file():
                path.unlink()
        (folder / ".lock").unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
