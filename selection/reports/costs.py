"""What a run has taken: dollars by stage and by kind of token, time and executions an issue, and what stopping early saved.

Everything is read from the run's files: the ledger, the manifest's prices, and what instances noted of themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, quantiles
from typing import Any

from agent.effort import Effort
from agent.llm.ledger import Ledger
from agent.llm.prices import MILLION, Rates
from agent.llm.totals import Totals
from agent.store import Run

KINDS = ("input", "output", "cache_read", "cache_write")
"""Kinds of tokens that have prices of their own, as in table 1 of the CodeMonkeys paper (arXiv 2501.14723)."""
BY_SAMPLES = ("testing", "editing")
"""Stages whose cost grows with the number of samples."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage spent."""

    totals: Totals
    dollars: Mapping[str, float]
    """Of `totals.dollars`, by kind of token; empty where the prices are not known."""


@dataclass(frozen=True, slots=True)
class Early:
    """What early stop of sampling brought."""

    drafted: int
    """Samples."""
    saved: int
    """Samples that were not drafted since the first ones agreed."""
    dollars: float
    """What they would have cost, if as much as those that were drafted."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long issues took; of those that noted it."""

    seconds: tuple[float, ...]
    """For which each was under way, ascending."""
    environment_seconds: float
    """Of all together, until environments were there."""
    executions: int
    sandbox_seconds: float
    """Of all executions, added up."""

    @property
    def issues(self) -> int:
        """How many noted it."""
        return len(self.seconds)

    @property
    def mean(self) -> float:
        """Seconds an issue."""
        return fmean(self.seconds)

    @property
    def median(self) -> float:
        """Seconds below which half of the issues lie."""
        return self._quantile(50)

    @property
    def ninetieth(self) -> float:
        """Seconds below which nine of ten issues lie."""
        return self._quantile(90)

    def _quantile(self, percent: int) -> float:
        return quantiles(self.seconds, n=100, method="inclusive")[percent - 1] if self.issues > 1 else self.seconds[0]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run has taken."""

    by_stage: Mapping[str, StageCost]
    issues: int
    """Instances that were begun."""
    early: Early | None = None
    """None where sampling was not to stop early."""
    times: Times | None = None
    """None where no instance noted any."""

    @property
    def totals(self) -> Totals:
        """Over all stages."""
        return sum((stage.totals for stage in self.by_stage.values()), Totals())

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, with derived figures."""
        totals, issues = self.totals, self.issues or 1
        return {
            "issues": self.issues,
            "dollars": totals.dollars,
            "most_dollars": totals.most_dollars,
            "unpriced_calls": totals.unpriced,
            "dollars_an_issue": totals.dollars / issues,
            "calls": totals.calls,
            "tokens": totals.tokens_used,
            "model_seconds": round(totals.seconds, 3),
            "model_seconds_an_issue": round(totals.seconds / issues, 3),
            "by_stage": {
                name: {**asdict(stage.totals), "dollars_by_kind": dict(stage.dollars)}
                for name, stage in self.by_stage.items()
            },
            "early_stop": asdict(self.early) if self.early else None,
            "times": _times_json(self.times) if self.times else None,
        }


def cost_of(run: Run) -> Cost:
    """What a run has taken so far. Raises StoreError where files are damaged."""
    manifest, names = run.manifest(), run.instances()
    by_stage = _by_stage(Ledger(run.ledger), manifest.get("prices", {}))
    early = _early(run, names, by_stage) if manifest["settings"].get("early_stop") else None
    return Cost(by_stage, len(names), early, _times(run, names))


def _by_stage(ledger: Ledger, prices: Mapping[str, Any]) -> dict[str, StageCost]:
    totals: defaultdict[str, Totals] = defaultdict(Totals)
    dollars: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (stage, model), spent in ledger.by_stage_and_model().items():
        totals[stage] += spent
        for kind, share in _by_kind(spent, prices.get(model)).items():
            dollars[stage][kind] = dollars[stage].get(kind, 0.0) + share
    return {stage: StageCost(held, dollars[stage]) for stage, held in totals.items()}


def _by_kind(spent: Totals, price: Mapping[str, Any] | None) -> dict[str, float]:
    """The dollars that were spent, split as the rates have it; long prompts at rates of their own change the whole only."""
    if price is None:
        return {}
    rates = Rates(**price["rates"])
    split = {kind: getattr(spent, kind) * getattr(rates, kind) / MILLION for kind in KINDS}
    whole = sum(split.values())
    return {kind: part * spent.dollars / whole for kind, part in split.items()} if whole else split


def _early(run: Run, names: Sequence[str], by_stage: Mapping[str, StageCost]) -> Early:
    results = [result for name in names if (result := run.instance(name).read("result.json"))]
    drafted = sum(sum(result["outcomes"]["testing"].values()) for result in results)
    saved = sum(result.get("saved", 0) for result in results)
    spent = sum(by_stage[stage].totals.dollars for stage in BY_SAMPLES if stage in by_stage)
    return Early(drafted, saved, saved * spent / drafted if drafted else 0.0)


def _times(run: Run, names: Sequence[str]) -> Times | None:
    efforts = [effort for name in names if (effort := Effort.read(run.instance(name)))]
    if not efforts:
        return None
    return Times(
        tuple(sorted(effort.seconds for effort in efforts)),
        sum(effort.environment_seconds for effort in efforts),
        sum(effort.executions for effort in efforts),
        sum(effort.sandbox_seconds for effort in efforts),
    )


def _times_json(times: Times) -> dict[str, Any]:
    named = {"mean": times.mean, "median": times.median, "ninetieth": times.ninetieth}
    return {
        "issues": times.issues,
        "seconds_an_issue": {name: round(value, 3) for name, value in named.items()},
        "environment_seconds_an_issue": round(times.environment_seconds / times.issues, 3),
        "executions_an_issue": times.executions / times.issues,
        "sandbox_seconds_an_issue": round(times.sandbox_seconds / times.issues, 3),
    }
