"""What a run, or a set of predictions, came to: resolved with its uncertainty, what sampling and selecting bring, cost.

Everything is read from the files of an evaluation (`selection.evaluation.record`) and of a run. What was not judged
(infrastructure, environments that do not show the labels' behaviour) is counted apart and never as unresolved.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.store import InstanceStore, Run, read_json
from sandbox.errors import InputError
from selection.evaluation.record import read_summary
from selection.evaluation.verdicts import Outcome
from selection.record import Selection
from selection.reports.costs import Cost, cost_of
from selection.reports.statistics import coverage, gap_closed, share_interval, wilson

STEPS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Numbers of samples that coverage is given for."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, and how sure that is."""

    count: int
    total: int

    @property
    def value(self) -> float | None:
        """Between 0 and 1; None of nothing."""
        return self.count / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, of 95 %."""
        return wilson(self.count, self.total)

    def to_json(self) -> dict[str, Any]:
        """With the derived figures."""
        return {**asdict(self), "value": self.value, "interval": self.interval}


NOTHING = Share(0, 0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over instances with its interval of 95 %."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Sampling:
    """What the samples are worth, and how much of that is selected. Over instances whose samples were all judged."""

    instances: int
    samples: int
    """The fewest that an instance has."""
    coverage: Mapping[int, Estimate]
    """By k: that at least one of k samples resolves. That of 1 is pass@1, what choosing at random comes to."""
    oracle: Share
    """Resolved by any sample."""
    votes: Share
    """Resolved by the candidate that the votes put first."""
    selected: Share
    """Resolved by the patch that was chosen."""

    @property
    def gap_closed(self) -> float | None:
        """The share of the way from a random sample to the oracle that selection goes; None if there is no way."""
        return gap_closed(self.selected.value or 0.0, self.coverage[1].value, self.oracle.value or 0.0)


@dataclass(frozen=True, slots=True)
class Report:
    """One run, or one submission of an evaluation."""

    name: str
    source: str
    note: str
    """How it was evaluated; that it was not, if so."""
    finished: bool
    outcomes: Mapping[str, int] = field(default_factory=dict)
    resolved: Share = NOTHING
    """Of the instances that were judged."""
    dataset_instances: int | None = None
    by_repository: Mapping[str, Share] = field(default_factory=dict)
    by_difficulty: Mapping[str, Share] = field(default_factory=dict)
    sampling: Sampling | None = None
    cost: Cost | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    """Instances without a patch, by cause."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, with derived figures."""
        shares = {"by_repository": self.by_repository, "by_difficulty": self.by_difficulty}
        plain = {name: getattr(self, name) for name in ("name", "source", "note", "finished", "dataset_instances")}
        return {
            **plain,
            "outcomes": dict(self.outcomes),
            "resolved": self.resolved.to_json(),
            **{name: {key: share.to_json() for key, share in held.items()} for name, held in shares.items()},
            "sampling": _sampling_json(self.sampling) if self.sampling else None,
            "cost": self.cost.to_json() if self.cost else None,
            "failures": dict(self.failures),
        }


def report_on(folder: Path) -> list[Report]:
    """The reports of a run's folder, or of an evaluation's: one for each submission.

    Raises InputError if it is neither, StoreError where files are damaged.
    """
    run = Run(folder) if (folder / "manifest.json").is_file() else None
    summary = read_summary(folder)
    if run is None and summary is None:
        raise InputError("neither a run nor an evaluation", where=str(folder), hint="runoff evaluate RUN|PREDICTIONS")
    cost = cost_of(run) if run else None
    failures = _failures(run) if run else {}
    if summary is None:
        note = "not evaluated: runoff evaluate " + folder.name
        return [Report(folder.name, str(folder), note, finished=False, cost=cost, failures=failures)]
    found = [_report(name, held, summary) for name, held in summary["submissions"].items()]
    if run is None or len(found) != 1:
        return found
    held = summary["submissions"][found[0].name]
    return [replace(found[0], sampling=_sampling(held, run), cost=cost, failures=failures)]


def _report(name: str, held: Mapping[str, Any], summary: Mapping[str, Any]) -> Report:
    entries = {instance: Outcome(entry["outcome"]) for instance, entry in held["outcomes"].items() if entry["outcome"]}
    judged = {instance: outcome is Outcome.RESOLVED for instance, outcome in entries.items() if outcome.judged}
    about = summary["instances"]
    return Report(
        name,
        held["source"],
        summary["note"],
        summary["finished"],
        {outcome.value: count for outcome in Outcome if (count := list(entries.values()).count(outcome))},
        Share(sum(judged.values()), len(judged)),
        summary["dataset_instances"],
        _shares(judged, lambda instance: about[instance]["repo"]),
        _shares(judged, lambda instance: about[instance]["difficulty"]),
    )


def _shares(judged: Mapping[str, bool], group: Callable[[str], str]) -> dict[str, Share]:
    """By group, in the order of their names; nothing where no instance says which it belongs to."""
    groups: defaultdict[str, list[bool]] = defaultdict(list)
    for instance, resolved in judged.items():
        groups[group(instance) or "unknown"].append(resolved)
    if set(groups) == {"unknown"}:
        return {}
    return {name: Share(sum(members), len(members)) for name, members in sorted(groups.items())}


def _sampling(held: Mapping[str, Any], run: Run) -> Sampling | None:
    counted: list[tuple[int, int]] = []
    voted: list[bool] = []
    selected: list[bool] = []
    for instance, samples in held["candidates"].items():
        outcomes = {origin: Outcome(entry["outcome"]) if entry["outcome"] else None for origin, entry in samples.items()}
        own = held["outcomes"].get(instance, {}).get("outcome")
        if (
            not outcomes
            or own is None
            or not all(outcome and outcome.judged for outcome in (*outcomes.values(), Outcome(own)))
        ):
            continue
        counted.append((len(outcomes), sum(outcome is Outcome.RESOLVED for outcome in outcomes.values())))
        first = _first_by_votes(run.instance(instance))
        voted.append(outcomes.get(first) is Outcome.RESOLVED)
        selected.append(own == Outcome.RESOLVED)
    if not counted:
        return None
    fewest = min(samples for samples, _ in counted)
    return Sampling(
        len(counted),
        fewest,
        {k: _mean([coverage(samples, right, k) for samples, right in counted]) for k in STEPS if k <= fewest},
        Share(sum(right > 0 for _, right in counted), len(counted)),
        Share(sum(voted), len(voted)),
        Share(sum(selected), len(selected)),
    )


def _first_by_votes(store: InstanceStore) -> str:
    """A sample that ended with the candidate which the votes put first; empty if there is none."""
    result = store.read("result.json", "selection")
    if not result or not result["selection"]:
        return ""
    first = Selection.from_json(result["selection"], str(store.path / "result.json")).by_votes
    return first.origins[0] if first else ""


def _mean(values: Sequence[float]) -> Estimate:
    return Estimate(sum(values) / len(values), share_interval(values))


def _failures(run: Run) -> dict[str, int]:
    """Instances without a patch by cause; by reason in runs of an older runoff, which wrote no cause."""
    place = run.path / "unresolved.json"
    held = read_json(place) if place.exists() else {}
    causes = Counter(why["cause"] if isinstance(why, dict) else str(why) for why in held.values())
    return dict(causes.most_common())


def _sampling_json(sampling: Sampling) -> dict[str, Any]:
    return {
        "instances": sampling.instances,
        "samples": sampling.samples,
        "pass_at_1": asdict(sampling.coverage[1]),
        "coverage": {str(k): asdict(estimate) for k, estimate in sampling.coverage.items()},
        **{name: getattr(sampling, name).to_json() for name in ("oracle", "votes", "selected")},
        "gap_closed": sampling.gap_closed,
    }
