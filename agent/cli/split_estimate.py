"""What a batch would take, before anything is spent: from a dry run of a sample of its instances, and from earlier runs.

A dry run knows the files that would be read and assumes the rest; an earlier run with the same models knows what was
spent, and how long it took. Both are shown, each with where it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.cli.components import context_settings
from agent.cli.estimate import StageEstimate, estimate_stages, total
from agent.cli.inputs import inputs_of
from agent.cli.live import clock
from agent.cli.settings import BatchSettings
from agent.cli.split import clone_of
from agent.context.stage import files_to_read
from agent.effort import Effort
from agent.instances import Instance
from agent.llm.ledger import Ledger
from agent.llm.totals import Totals
from agent.store import Run, read_json, write_json
from sandbox.errors import RunoffError

COSTS = "costs.json"
"""In a run's folder: what its finished instances cost by stage."""
BY_SAMPLES = ("testing", "editing")
"""Stages whose cost grows with the number of samples."""
LEDGER_BYTES = 20_000_000
"""A longer ledger is not added up for an estimate."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long one instance took, in seconds, with as many samples as are planned now."""

    under_way: float
    """From its begin to its end, with all its waiting for the calls and executions of others."""
    model: float
    """Of its calls, added up."""
    sandbox: float
    """Of its executions, added up."""

    def seconds(self, instances: int, settings: BatchSettings) -> tuple[float, str]:
        """(about how long so many would take, what it is bound by), with the settings' concurrency."""
        loads = {
            f"{settings.at_once} instances at once": instances * self.under_way / settings.at_once,
            f"{settings.in_flight} calls in flight": instances * self.model / settings.in_flight,
            f"{settings.workers} executions at once": instances * self.sandbox / settings.workers,
            "one instance": self.under_way,
        }
        bound = max(loads, key=lambda name: loads[name])
        return loads[bound], bound


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a run with the same models came to."""

    run: str
    instances: int
    dollars: Mapping[str, float]
    """For one instance, by stage, with as many samples as are planned now; empty where they are not known."""
    pace: Pace | None = None
    """None where its instances did not note how long they took."""


@dataclass(frozen=True, slots=True)
class SplitEstimate:
    """For all instances of a split."""

    instances: int
    sampled: Sequence[str]
    """Instances whose files were looked at; empty if none could be opened."""
    stages: Sequence[StageEstimate]
    """Extrapolated to all instances; empty if none could be opened."""
    earlier: Earlier | None
    seconds: float | None = None
    """About how long all of it would take, by the earlier run; None where that is not known."""
    bound: str = ""
    """What the seconds are bound by."""

    def in_a_line(self, budget: float | None) -> str:
        """As a run says it when it begins."""
        if not self.stages:
            line = "estimate: no instance could be looked at beforehand"
        else:
            calls, tokens = (
                sum(stage.calls for stage in self.stages),
                sum(stage.input + stage.output for stage in self.stages),
            )
            line = f"estimate: about {calls:,} calls and {tokens:,} tokens"
            if dollars := total(self.stages):
                line += f", ${dollars[0]:,.2f} (at most ${dollars[1]:,.2f})"
            line += f", by a dry run of {len(self.sampled)} of {self.instances} instances"
        if (before := self.earlier) and before.dollars:
            each = sum(before.dollars.values())
            told = f"${each:,.4f} an issue over {before.instances}"
            line += f"; ${each * self.instances:,.2f} by what run {before.run} cost ({told})"
        line += f"; {self._time()}"
        return line + (f"; the budget is ${budget:,.2f}" if budget is not None else "")

    def _time(self) -> str:
        if self.seconds is None or self.earlier is None:
            return "how long is not known: no earlier run with these models has noted it"
        return f"about {clock(self.seconds)} by how long run {self.earlier.run} took, bound by {self.bound}"


def estimate_split(settings: BatchSettings, instances: Sequence[Instance], sample: int) -> SplitEstimate:
    """Look at so many of the instances, spread over the split, and at the runs in the settings' folder. Blocks."""
    step = max(1, len(instances) // sample)
    looked = [(each, stages) for each in instances[::step][:sample] if (stages := _looked_at(each, settings))]
    factor = len(instances) / max(1, len(looked))
    by_stage = zip(*(stages for _, stages in looked), strict=True)
    stages = [_sum(list(of_one), factor) for of_one in by_stage]
    before = earlier(settings)
    seconds, bound = before.pace.seconds(len(instances), settings) if before and before.pace else (None, "")
    return SplitEstimate(len(instances), [each.id for each, _ in looked], stages, before, seconds, bound)


def _looked_at(instance: Instance, settings: BatchSettings) -> list[StageEstimate] | None:
    """Of one instance; None if it cannot be opened: the run will say why."""
    try:
        source = clone_of({"id": instance.id, "repo": instance.repo}, settings.repos)
        inputs = inputs_of(instance, settings.model_copy(update={"repo": source}))
        with inputs.repository as repository:
            files, _, _ = files_to_read(repository, instance.statement, context_settings(settings))
    except RunoffError:
        return None
    return estimate_stages(settings, instance, files)


def _sum(stages: Sequence[StageEstimate], factor: float) -> StageEstimate:
    def dollars(each: Sequence[float | None]) -> float | None:
        known = [one for one in each if one is not None]
        return sum(known) * factor if len(known) == len(each) else None

    return StageEstimate(
        stages[0].stage,
        round(sum(stage.calls for stage in stages) * factor),
        round(sum(stage.input for stage in stages) * factor),
        round(sum(stage.cached for stage in stages) * factor),
        round(sum(stage.output for stage in stages) * factor),
        dollars([stage.dollars for stage in stages]),
        dollars([stage.most_dollars for stage in stages]),
    )


def note_costs(run: Run, by_stage: Mapping[str, Totals], instances: int) -> None:
    """Write down what a run cost, and how many of its instances have ended, for whoever asks later. Raises StoreError.

    Hundreds of thousands of calls take a while to add up again.
    """
    stages = {stage: asdict(totals) for stage, totals in by_stage.items()}
    write_json(run.path / COSTS, {"instances": instances, "ledger_bytes": _bytes(run.ledger), "stages": stages})


def noted_costs(run: Run) -> Totals:
    """What the run cost: as it was noted down, if the ledger is as it was then, else added up."""
    held = _noted(run)
    if held is None or held["ledger_bytes"] != _bytes(run.ledger):
        return Ledger(run.ledger).totals()
    return sum((Totals(**stage) for stage in held["stages"].values()), Totals())


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def earlier(settings: BatchSettings) -> Earlier | None:
    """The run with the same models that finished the most instances; None if there is none."""
    found: list[Earlier] = []
    for place in sorted(Path(settings.runs).glob("*/manifest.json")):
        try:
            costs = _costs(Run(place.parent), settings)
        except RunoffError:  # another format, or damaged: no business of this run
            continue
        if costs:
            found.append(costs)
    return max(found, key=lambda each: each.instances, default=None)


def _costs(run: Run, settings: BatchSettings) -> Earlier | None:
    manifest = run.manifest()
    held_models = manifest.get("models", {})
    wanted = {"main": settings.model, "cheap": settings.cheap_model or settings.model}
    if any(_model(held_models.get(name, "")) != _model(spec) for name, spec in wanted.items()):
        return None
    held = _noted(run)
    if held is None or not held["instances"] or not all(stage["calls"] for stage in held["stages"].values()):
        return None
    scale = settings.samples / manifest["settings"]["samples"]
    scales = {name: scale if name in BY_SAMPLES else 1.0 for name in held["stages"]}
    each = {name: scales[name] / held["instances"] for name in held["stages"]}
    dollars = {name: stage["dollars"] * each[name] for name, stage in held["stages"].items()}
    model = sum(stage["seconds"] * each[name] for name, stage in held["stages"].items())
    return Earlier(run.name, held["instances"], dollars if sum(dollars.values()) else {}, _pace(run, model, scale))


def _pace(run: Run, model: float, scale: float) -> Pace | None:
    """Of the instances that came to a result; None if none noted its time."""
    stores = [store for store in map(run.instance, run.instances()) if (store.path / "result.json").exists()]
    efforts = [effort for store in stores if (effort := Effort.read(store))]
    if not efforts:
        return None
    sandbox = sum(effort.sandbox_seconds for effort in efforts) / len(efforts)
    return Pace(sum(effort.seconds for effort in efforts) / len(efforts), model, sandbox * scale)


def _model(spec: str) -> str:
    """The model without its endpoint."""
    return spec.partition("@")[0]


def _noted(run: Run) -> dict[str, Any] | None:
    """What `note_costs` wrote; for a run that noted nothing, the same from its ledger if that is short."""
    if (run.path / COSTS).exists():
        return read_json(run.path / COSTS, "instances", "ledger_bytes", "stages")
    if not run.ledger.exists() or run.ledger.stat().st_size > LEDGER_BYTES:
        return None
    finished = sum((run.path / name / "result.json").exists() for name in run.instances())
    stages = {stage: asdict(totals) for stage, totals in Ledger(run.ledger).by_stage().items()}
    return {"instances": finished, "ledger_bytes": _bytes(run.ledger), "stages": stages}
