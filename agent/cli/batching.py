"""A run with many instances: which ones, carried through at once, each to a patch or a cause.

What is the run's and what an instance's is opened by the same code as for `runoff solve`, and lands in the same places.
"""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.cli.board import Board
from agent.cli.compose import Session, components
from agent.cli.inputs import Inputs, on_a_thread, reopen_inputs, row_inputs, row_json
from agent.cli.models import prices_of, specs_of, system_name
from agent.cli.open_instance import OpenInstance
from agent.cli.open_run import OpenRun, manifest_of, named
from agent.cli.process import allow_files, collect_rarely
from agent.cli.refusals import refuse_secrets, refuse_secrets_of_issue
from agent.cli.settings import BatchSettings
from agent.cli.split import Split, clone_of, split_of
from agent.cli.split_estimate import estimate_split, note_costs, noted_costs
from agent.cli.standing import Numbers
from agent.cli.tidying import Tidying, When
from agent.endings import RECORD, Cause, Ending, failed
from agent.llm.totals import Totals
from agent.pipeline import Result
from agent.progress import Event, note
from agent.redaction import of_process
from agent.scheduler import Breaker, Carry, Job, LocalScheduler
from agent.store import InstanceStore, Run, read_json
from sandbox.errors import BudgetReached, InputError, RunoffError, StoreError

ROW = ("id", "repo", "base_commit", "statement")
"""What of instance.json is the data set's, and has to be the same when a run is started again."""
ASIDE = ("02_testing", "03_editing", "04_matrix.json", "05_selection.jsonl", "result.json", "patch.diff")
"""What is put aside to try again where the model came to no patch; the context and the executions stay."""
LOOKED_AT = 3
"""Instances whose files are looked at for the estimate when a run begins."""
RETRIES = ("all", *Cause)
MOST_IN_A_ROW = 10
"""Endings by the same fault that stop a run, however many instances are under way; 3 with few."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch came to."""

    total: int
    patches: int
    causes: Mapping[str, int]
    """Instances without a patch, by cause (`agent.endings.Cause`, or `unfinished`)."""
    left_out: int
    """Rows that are no instances."""
    stopped: Ending | None = None
    """What stopped the run early."""
    parked: int = 0
    """Instances that wait for the infrastructure: to go on with the run takes them up."""
    asked_for_patches: bool = True

    @property
    def ended(self) -> int:
        """Instances with a patch, or without one by the model's doing."""
        return self.patches + sum(self.causes.get(cause, 0) for cause in (Cause.MODEL, Cause.CONTEXT, "not asked for"))

    @property
    def exit_code(self) -> int:
        """0 done, 1 finished and nothing has a patch, 3 the budget is reached, 4 the infrastructure failed."""
        if self.stopped is not None:
            return BudgetReached.exit_code if self.stopped.cause is Cause.BUDGET else RunoffError.exit_code
        if self.parked:
            return RunoffError.exit_code
        if self.patches or not self.asked_for_patches:
            return 0
        return BudgetReached.exit_code if self.causes.get(Cause.BUDGET) else 1


class BatchSession(Session):
    """A run with many instances. Give each session one run."""

    verb = "batch"
    settings: BatchSettings
    _opened: OpenRun | None = None
    _noted: Totals | None = None

    async def batch(self, settings: BatchSettings) -> Outcome:
        """Start a run, or go on with the one of that name if settings and instances are the same."""
        opened = await self._begin(settings)
        return await self._carry(opened, list(self._waiting(retry="")))

    async def _begin(self, settings: BatchSettings) -> OpenRun:
        """Write down what is to be done; the rows are not kept in memory afterwards."""
        refuse_secrets(settings)
        components(settings)
        split = await on_a_thread(lambda: split_of(settings))
        for instance in split.instances:
            refuse_secrets_of_issue(instance)
        self._tell_of(split)
        self.run, self.settings = self._named(settings, Path(settings.dataset).stem), settings
        specs = specs_of(settings, os.environ, self._watch)
        prices = prices_of(specs, settings)
        order = [instance.id for instance in split.instances]
        manifest = {**manifest_of(settings, specs, prices), "order": order, "left_out": split.left_out()}
        rows = {instance.id: row_json(instance) for instance in split.instances}
        self._hold(self.run, manifest, rows, ROW)
        if (self.run.path / "manifest.json").exists() and self.run.order() != order:
            raise InputError(
                "the run exists with other instances, or in another order",
                where=str(self.run.path),
                hint=f"runoff resume {self.run.handle}, or choose another --run",
            )
        named_models = named(settings, specs)
        told = await on_a_thread(lambda: estimate_split(named_models, split.instances, LOOKED_AT))
        self._watch(note(told.in_a_line(settings.budget)))
        opened = await self._open(specs, prices)
        self.run.begin(manifest, rows)
        return opened

    async def resume_batch(
        self, name: str, runs: Path, changes: Mapping[str, Any], *, settle: Mapping[str, float], retry: str = ""
    ) -> Outcome:
        """Go on with whatever is unfinished; `retry` takes up what failed for a cause, or `all`, as well."""
        if retry and retry not in RETRIES:
            raise InputError(f"'{retry}' is no cause", where="--retry", hint=f"one of {', '.join(RETRIES)}")
        run = Run.find(name, runs)
        settings, wanted = self._changed(run, changes, BatchSettings)
        self.run, self.settings = run, settings
        specs = specs_of(settings, os.environ, self._watch)
        signed = system_name(specs.main)
        if not wanted and not settle and next(self._waiting(retry), None) is None:
            run.finish(signed)
            self._noted = noted_costs(run)
            self._watch(note("nothing is left to do; this is what the run came to"))
            return self.outcome(read_json(run.path / "unresolved.json"))
        self._take_up(run, settings, wanted, settle)
        for identifier in self._to_put_aside(retry):
            _put_aside(run.instance(identifier))
        waiting = list(self._waiting(retry))
        if not waiting:
            return self.outcome(run.write_predictions(signed))
        return await self._carry(await self._open(specs, prices_of(specs, settings)), waiting)

    def outcome(self, missing: Mapping[str, Mapping[str, str]], stopped: Ending | None = None) -> Outcome:
        """What the run has come to so far. `missing`: what unresolved.json holds."""
        manifest = self.run.manifest()
        order: Sequence[str] = manifest["order"]
        why = {name: missing[name]["cause"] for name in order if name in missing}
        faults = [name for name, cause in why.items() if cause in (Cause.SANDBOX, Cause.INFRASTRUCTURE)]
        parked = sum(self.run.instance(name).read(RECORD, "waits")["waits"] for name in faults)
        asked = "selection" in self.settings.stages
        left_out = len(manifest["left_out"])
        return Outcome(len(order), len(order) - len(why), Counter(why.values()), left_out, stopped, parked, asked)

    def spent(self) -> Totals:
        """See `Session.spent`. Of a run that is finished, and has many calls, what it noted down at its end."""
        return super().spent() if self._noted is None else self._noted

    @property
    def _about(self) -> str:
        return ""

    def _tell_of(self, split: Split) -> None:
        for row in split.broken:
            self._watch(note(f"left out, row {row.line}{f' ({row.id})' if row.id else ''}: {row.reason}"))

    def _waiting(self, retry: str) -> Iterator[str]:
        """The instances to take up, in the run's order."""
        limit = self.settings.budget_per_issue
        return (name for name in self.run.order() if _waits(self.run.instance(name), retry, limit))

    def _to_put_aside(self, retry: str) -> list[str]:
        if retry not in ("all", Cause.MODEL, Cause.CONTEXT):
            return []
        return [name for name in self.run.order() if _is_wanted(self.run.instance(name), retry)]

    def numbers(self) -> Numbers:
        """How the run stands, for whoever shows it; what is not open yet counts as nothing."""
        if self._opened is None:
            return Numbers()
        models, settings = self._opened.models, self.settings
        limiters = [model.limiter for model in {id(model): model for model in (models.main, models.cheap)}.values()]
        return Numbers(
            self.spent(),
            self._opened.turns.given,
            sum(limiter.in_flight for limiter in limiters),
            sum(limiter.limit for limiter in limiters),
            settings.budget,
            settings.samples,
            settings.at_once,
        )

    async def _carry(self, opened: OpenRun, waiting: Sequence[str]) -> Outcome:
        self._opened = opened
        self._interrupt.hint = f"runoff resume {self.run.handle}"
        order = self.run.order()
        board = Board(self.run, system_name(opened.models.specs.main))
        tidying = Tidying(self.run, _when(self.settings, opened), self._watch)
        await tidying.begin()
        crew = _Crew(opened, board, tidying, total=len(order), done=len(order) - len(waiting))
        at_once = min(self.settings.at_once, len(waiting))
        if short := allow_files(at_once, self.settings.samples, self.settings.in_flight):
            self._watch(note(short))
        collect_rarely()
        self._watch(
            Event(
                "",
                "started",
                f"run {self.run.name}: {len(waiting)} of {len(order)} instances, {at_once} at once",
                done=len(order) - len(waiting),
                total=len(order),
            )
        )
        scheduler = LocalScheduler(at_once, Breaker(min(MOST_IN_A_ROW, max(3, at_once))))
        try:
            stopped = await scheduler.run(_jobs(order, waiting), crew.open, crew.ended)
        finally:
            with suppress(StoreError):  # the instances' folders hold all that is in these files
                board.write()
        outcome = self.outcome(self.run.write_predictions(system_name(opened.models.specs.main)), stopped)
        note_costs(self.run, opened.ledger.by_stage(), outcome.ended)
        return outcome


def _when(settings: BatchSettings, opened: OpenRun) -> When:
    """Only an engine has images."""
    return settings.remove_images if opened.sandbox is not None and opened.sandbox.name == "docker" else "never"


class _Crew:
    """Carries instances of an open run through, and notes down what becomes of them."""

    def __init__(self, opened: OpenRun, board: Board, tidying: Tidying, *, total: int, done: int) -> None:
        self._opened = opened
        self._board = board
        self._tidying = tidying
        self._total, self._done = total, done

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Carry]:
        """What instances share is open already, on this machine."""
        yield self.carry

    async def carry(self, job: Job) -> Ending:
        """One instance, from its row to its ending; see `agent.scheduler.Carry`."""
        started = time.monotonic()
        store = self._opened.run.instance(job.instance)
        try:
            ending = await self._carried(job, store)
        except Exception as error:
            ending = _noted(job.instance, error, store, self._opened)
        if not ending.waits:
            await self._tidying.ended()
        spent = self._opened.ledger.of_instance(job.instance)
        return replace(ending, seconds=time.monotonic() - started, dollars=spent.known_dollars)

    def ended(self, ending: Ending) -> None:
        """Tell, and bring the run's files up to date. Raises StoreError."""
        self._done += not ending.waits
        cost = "price unknown" if ending.dollars is None else f"${ending.dollars:.4f}"
        took = f"{ending.seconds:.0f} s, {cost}"
        words = f"{ending.cause or ('patch' if ending.patch else 'done')}: {ending.reason} ({took})"
        cause = str(ending.cause or "")
        self._opened.watch(Event(ending.instance, "ended", words, self._done, self._total, cause=cause))
        self._board.ended(ending.instance)

    async def _carried(self, job: Job, store: InstanceStore) -> Ending:
        (store.path / RECORD).unlink(missing_ok=True)
        self._opened.watch(Event(job.instance, "started", "begins", self._done, self._total))
        async with OpenInstance(self._opened, await self._inputs(store), job.rank) as instance:
            recorded = (await instance.prepare()).to_json()
            if store.read("instance.json") != recorded:
                store.write("instance.json", recorded)
            result = await instance.work()
        cause = Cause(result.cause) if result.cause else None
        return Ending(job.instance, cause, result.reason, patch=result.patch is not None and cause is None)

    async def _inputs(self, store: InstanceStore) -> Inputs:
        settings = self._opened.settings
        assert isinstance(settings, BatchSettings)  # noqa: S101  a BatchSession opened the run
        recorded = store.read("instance.json", "source", "environment")
        if not recorded.get("row"):
            return await reopen_inputs(recorded, settings)
        return await row_inputs(recorded, clone_of(recorded, settings.repos), settings)


def _jobs(order: Sequence[str], waiting: Collection[str]) -> list[Job]:
    wanted = set(waiting)
    return [Job(name, rank) for rank, name in enumerate(order) if name in wanted]


def _noted(instance: str, error: Exception, store: InstanceStore, opened: OpenRun) -> Ending:
    """The ending of an instance that failed, written into its folder if that can be written to."""
    if isinstance(error, RunoffError):
        of_process().cleanse(error)
    ending = failed(instance, error)
    hint = ending.hint.replace("runoff resume RUN", f"runoff resume {opened.run.handle}")
    ending = replace(ending, reason=of_process().error(ending.reason), hint=hint)
    record = ending.record()
    if ending.cause is Cause.BUDGET:
        record["budget_per_issue"] = getattr(opened.settings, "budget_per_issue", None)
    if not isinstance(error, RunoffError):
        record["error"] = of_process().error("".join(traceback.format_exception(error)))
    with suppress(StoreError):
        store.write(RECORD, record)
    return ending


def _waits(store: InstanceStore, retry: str, limit: float | None) -> bool:
    """Whether an instance is to be taken up. `limit`: dollars that each may cost now; with more than it had, it is."""
    result = Result.read(store)
    if result is not None:
        return bool(result.cause) and retry in ("all", result.cause)
    held = store.read(RECORD, "cause", "waits")
    if held is None or held["waits"] or retry in ("all", held["cause"]):
        return True
    before = held.get("budget_per_issue")
    return held["cause"] == Cause.BUDGET and before is not None and (limit is None or limit > before)


def _is_wanted(store: InstanceStore, retry: str) -> bool:
    """Whether an instance that has ended without a patch is to be tried again."""
    result = store.read("result.json")
    return bool(result and result.get("cause") and retry in ("all", result["cause"]))


def _put_aside(store: InstanceStore) -> None:
    """Keep what an instance came to for readers, and let it begin anew after its context."""
    place = store.earlier / str(store.attempt + 1)
    place.mkdir(parents=True)
    for name in ASIDE:
        if (store.path / name).exists():
            (store.path / name).rename(place / name)
