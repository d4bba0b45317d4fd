"""What more samples bring, from evaluated runs or from submissions: coverage@k with its law, selection against k, cost.

usage: scripts/scaling_report.py RUN... [--ahead K,...] [--json FILE]
       scripts/scaling_report.py --submissions FOLDER [--ahead K,...] [--json FILE]

RUNs are folders of runs that were evaluated with --candidates; several are taken for parts of one experiment, and their
instances are counted together. FOLDER holds resolved.json (ids by submission) beside one file of predictions for each
submission, and its submissions count as samples. Tables are Markdown; what they mean is in docs/concepts/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from agent.llm.totals import Totals
from agent.store import Run
from sandbox.errors import RunoffError
from selection.grid import frontier, grid
from selection.samples import (
    NOTHING,
    Sampled,
    by_consensus,
    by_votes,
    by_votes_and_consensus,
    counts,
    rates,
    sampled,
    scaled,
)
from selection.scaling import Counts, Foresight, Pick, Scaling, foresight, mean_coverage, scaling_of, selected_at, steps
from selection.statistics import bootstrap, gap_closed
from selection.verifiers import curve, stops_paying

PICKERS: Mapping[str, Callable[[Sampled], Pick]] = {
    "consensus": by_consensus,
    "votes": by_votes,
    "votes, then consensus": by_votes_and_consensus,
}
COST = ("tokens read", "of these cached", "written", "model seconds", "dollars")
LEAST = 4
"""Samples from which on a half can be asked what the whole comes to."""


@dataclass(frozen=True, slots=True)
class Row:
    """A way of choosing: the mean over instances, its interval, and the share of the gap that it closes."""

    name: str
    score: float
    interval: tuple[float, float]
    gap: float | None


def main() -> int:
    """Run the command line."""
    options = parser().parse_args()
    ahead = [int(k) for k in options.ahead.split(",") if k]
    try:
        parts = [(run, sampled(run)) for run in map(Run, options.runs)]
        folder = options.submissions
        told = of_submissions(folder) if folder else counts([one for _, found in parts for one in found])
        report = analysis(told, parts, ahead, resamples=options.resamples, seed=options.seed)
    except (RunoffError, ValueError) as error:
        sys.exit(f"error: {error}")
    print("\n".join(markdown(report)))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, default=asdict) + "\n")
    return 0


def of_submissions(folder: Path) -> Counts:
    """(submissions, those that resolve) of each instance that any submission has a prediction for."""
    resolved = json.loads((folder / "resolved.json").read_text("utf-8"))
    instances = {json.loads(line)["instance_id"] for name in resolved for line in (folder / f"{name}.jsonl").open("rb")}
    right = {name: set(held) for name, held in resolved.items()}
    return [(len(right), sum(name in held for held in right.values())) for name in sorted(instances)]


def analysis(
    told: Counts, parts: Sequence[tuple[Run, Sequence[Sampled]]], ahead: Sequence[int], *, resamples: int, seed: int
) -> dict[str, Any]:
    """All figures."""
    found = [one for _, found in parts for one in found]
    report: dict[str, Any] = {"scaling": scaling_of(told, ahead, resamples=resamples, seed=seed)}
    whole = report["scaling"].samples
    if whole >= LEAST:
        report["foresight"] = foresight(told, resamples=min(resamples, 200), seed=seed)
    if found:
        report["ways"] = list(ways(found, seed))
        report["by_samples"] = [by_samples(found, k, seed) for k in steps(whole)]
        report["frontier"] = {run.name: frontier(grid(run, found)) for run, found in parts}
        report["evidence"] = evidence(found, whole)
    return report


def ways(found: Sequence[Sampled], seed: int) -> Iterator[Row]:
    """Each way of choosing among all samples, between a random one and the oracle."""
    chance = [fmean(one.resolved) for one in found]
    best = [float(any(one.resolved)) for one in found]
    chosen = {"selected by the run": [float(one.chosen) for one in found]}
    for name, picker in PICKERS.items():
        chosen[name] = [selected_at(one.resolved, picker(one), len(one.samples), seed=seed) for one in found]
    for name, scores in {"a random sample": chance, **chosen, "oracle": best}.items():
        gap = gap_closed(fmean(scores), fmean(chance), fmean(best))
        yield Row(name, fmean(scores), bootstrap(scores, seed=seed), gap)


def by_samples(found: Sequence[Sampled], k: int, seed: int) -> dict[str, Any]:
    """Coverage, what is selected and what it costs with k samples; means over instances."""
    spent = sum((one.cost(k) for one in found), NOTHING)
    picked = {
        name: fmean(selected_at(one.resolved, picker(one), k, seed=(seed, one.instance)) for one in found)
        for name, picker in PICKERS.items()
    }
    return {"k": k, "coverage": mean_coverage(counts(found), k), **picked, "cost": scaled(spent, 1 / len(found))}


def evidence(found: Sequence[Sampled], whole: int) -> dict[str, Any]:
    """How good the voters were, and what voters as good as they would select of more samples."""
    seen = rates(found)
    scripts = fmean(sum(map(bool, one.voters)) / len(one.voters) for one in found)
    held: dict[str, Any] = {"rates": seen, "voters_a_sample": scripts}
    if seen.voters:
        chances = [fmean(one.resolved) for one in found]
        scores = curve(chances, 10 * whole, seen.voters, scripts)
        held["expected"] = {k: scores[k - 1] for k in steps(10 * whole)}
        held["stops_at"] = stops_paying(scores, 0.001)
    return held


def markdown(report: Mapping[str, Any]) -> Iterator[str]:
    """The tables."""
    yield from _law(report["scaling"], report.get("foresight"))
    if "ways" not in report:
        return
    yield from ["", "| chosen by | resolved, % | 95 % interval | of the gap, % |", "|---|---|---|---|"]
    for row in report["ways"]:
        gap = "-" if row.gap is None else f"{100 * row.gap:.0f}"
        yield f"| {row.name} | {_percent(row.score)} | {_range(row.interval)} | {gap} |"
    yield from _table(
        ["k", "coverage", *PICKERS, *COST],
        [
            [str(row["k"]), *(_percent(row[name]) for name in ("coverage", *PICKERS)), *_cost(row["cost"])]
            for row in report["by_samples"]
        ],
    )
    points = [(name, point) for name, held in report["frontier"].items() for point in held]
    yield from _table(
        ["run", "samples", "turns", "context", "coverage", *COST],
        [[name, *map(str, astuple(point.setting)), _percent(point.coverage), *_cost(point.cost)] for name, point in points],
    )
    yield from _evidence(report["evidence"])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _law(scaling: Scaling, seen: Foresight | None) -> Iterator[str]:
    law = scaling.law
    yield f"{scaling.instances} instances, {scaling.samples} samples: c(k) = exp({law.a:.3f} k^{law.b:.3f}), "
    yield f"off by {100 * scaling.error:.1f} points (root mean square)"
    if seen:
        yield (
            f"laws of {seen.half} samples foretell {_percent(seen.foretold)} % for {seen.whole}, where "
            f"{_percent(seen.measured)} % is measured; off by {100 * seen.error:.1f} points on average, interval right in "
            f"{100 * seen.within:.0f} % of draws"
        )
    yield from ["", "| k | coverage, % | law, % | 95 % band |", "|---|---|---|---|"]
    for point in scaling.points:
        measured = "-" if point.measured is None else _percent(point.measured)
        yield f"| {point.k} | {measured} | {_percent(point.law)} | {_range((point.low, point.high))} |"


def _evidence(held: Mapping[str, Any]) -> Iterator[str]:
    seen = held["rates"]
    yield ""
    yield f"scripts that may vote: {held['voters_a_sample']:.2f} a sample"
    yield f"votes for right changes: {seen.right_for} of {seen.right}; for wrong ones: {seen.wrong_for} of {seen.wrong}"
    if "expected" in held:
        told = ", ".join(f"{k}: {_percent(score)} %" for k, score in held["expected"].items())
        yield f"independent voters as good as these would select, with k samples: {told}"
        yield f"at a thousandth of a resolved issue's worth a sample, that stops paying at k = {held['stops_at']}"


def _cost(spent: Totals) -> list[str]:
    read = spent.input + spent.cache_read + spent.cache_write
    dollars = "unknown" if spent.unpriced else f"{spent.dollars:.4f}"
    return [f"{read:,}", f"{spent.cache_read:,}", f"{spent.output:,}", f"{spent.seconds:.0f}", dollars]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _range(ends: tuple[float, float]) -> str:
    return f"{_percent(ends[0])} to {_percent(ends[1])}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folders of evaluated runs")
    made.add_argument("--submissions", type=Path, help="folder with resolved.json and predictions")
    made.add_argument("--ahead", default="", help="numbers of samples to foretell, with commas between")
    made.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (1000)")
    made.add_argument("--seed", type=int, default=0, help="of resamples and draws (0)")
    made.add_argument("--json", type=Path, help="write all figures to this file too")
    return made


if __name__ == "__main__":
    sys.exit(main())
