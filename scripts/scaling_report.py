"""What more samples bring, from evaluated runs or from submissions: coverage@k with its law, selection against k, cost.

usage: scripts/scaling_report.py RUN... [--ahead K,...] [--json FILE] [--figures FOLDER]
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
from typing import TYPE_CHECKING, Any

from agent.llm.totals import Totals
from agent.store import Run
from sandbox.api import Patch
from sandbox.errors import RunoffError
from selection.predictions import read_predictions
from selection.reports.figures import write_drawings
from selection.reports.grid import frontier, grid
from selection.reports.plots import draw_frontier, draw_law, draw_selection
from selection.reports.samples import (
    NOTHING,
    Sample,
    Sampled,
    by_class_size,
    by_consensus,
    by_votes,
    by_votes_and_consensus,
    counts,
    rates,
    sampled,
    scaled,
)
from selection.reports.statistics import gap_closed, share_interval
from selection.scaling import Foresight, Pick, Scaling, foresight, mean_coverage, scaling_of, selected_at, steps
from selection.verifiers import curve, stops_paying

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pickers = Mapping[str, Callable[[Sampled], Pick]]
PICKERS: Pickers = {
    "the commonest change": by_class_size,
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
        runs = [(run, sampled(run)) for run in map(Run, options.runs)]
        members = of_submissions(options.submissions) if options.submissions else []
        found = [*members, *(one for _, held in runs for one in held)]
        report = analysis(found, ahead, options.resamples, options.draws, options.seed)
        if runs:
            report["frontier"] = {run.name: frontier(grid(run, held)) for run, held in runs}
    except (RunoffError, ValueError) as error:
        sys.exit(f"error: {error}")
    print("\n".join(markdown(report)))
    if options.figures:
        write_drawings(drawings(report), options.figures)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, default=asdict) + "\n")
    return 0


def drawings(report: Mapping[str, Any]) -> dict[str, Callable[[Axes], None]]:
    """What there is to draw, by name."""
    rows = report["by_samples"]
    scores = {name: {row["k"]: row[name] for row in rows} for name in rows[0] if name not in ("k", "cost")}
    found: dict[str, Callable[[Axes], None]] = {
        "law": lambda axes: draw_law(axes, {"coverage": report["scaling"]}),
        "selection": lambda axes: draw_selection(axes, scores),
    }
    if "frontier" in report:
        found["frontier"] = lambda axes: draw_frontier(axes, report["frontier"])
    return found


def of_submissions(folder: Path) -> list[Sampled]:
    """The instances that any submission has a prediction for, with submissions for samples; what they cost is not known."""
    resolved = {name: set(held) for name, held in json.loads((folder / "resolved.json").read_text("utf-8")).items()}
    patches = {name: read_predictions(folder / f"{name}.jsonl").patches for name in sorted(resolved)}
    instances = sorted({instance for held in patches.values() for instance in held})
    return [
        Sampled(
            instance,
            tuple(_member(name, held.get(instance), right=instance in resolved[name]) for name, held in patches.items()),
            ("",) * len(patches),
            {},
            chosen=None,
        )
        for instance in instances
    ]


def _member(name: str, patch: Patch | None, *, right: bool) -> Sample:
    return Sample(name, right, patch.digest if patch else "", patch.diff if patch else "")


def analysis(found: Sequence[Sampled], ahead: Sequence[int], resamples: int, draws: int, seed: int) -> dict[str, Any]:
    """All figures but those of single runs."""
    told = counts(found)
    scaling = scaling_of(told, ahead, resamples=resamples, seed=seed)
    whole = scaling.samples
    pickers = {name: picker for name, picker in PICKERS.items() if "votes" not in name or any(any(o.voters) for o in found)}
    return {
        "scaling": scaling,
        "foresight": foresight(told, resamples=min(resamples, 200), seed=seed) if whole >= LEAST else None,
        "ways": list(ways(found, pickers, seed)),
        "by_samples": [by_samples(found, k, pickers, draws, seed) for k in steps(whole)],
        "evidence": evidence(found, whole),
    }


def ways(found: Sequence[Sampled], pickers: Pickers, seed: int) -> Iterator[Row]:
    """Each way of choosing among all samples, between a random one and the oracle."""
    chance = [fmean(one.resolved) for one in found]
    best = [float(any(one.resolved)) for one in found]
    chosen = {
        name: [selected_at(one.resolved, picker(one), len(one.samples)) for one in found] for name, picker in pickers.items()
    }
    own = [float(one.chosen) for one in found if one.chosen is not None]
    told = {"a random sample": chance, **chosen, **({"selected by the run": own} if own else {}), "oracle": best}
    for name, scores in told.items():
        gap = gap_closed(fmean(scores), fmean(chance), fmean(best))
        yield Row(name, fmean(scores), share_interval(scores, seed=seed), gap)


def by_samples(found: Sequence[Sampled], k: int, pickers: Pickers, draws: int, seed: int) -> dict[str, Any]:
    """Coverage, what is selected and what it costs with k samples; means over instances."""
    spent = sum((one.cost(k) for one in found), NOTHING)
    picked = {
        name: fmean(selected_at(one.resolved, picker(one), k, draws=draws, seed=(seed, one.instance)) for one in found)
        for name, picker in pickers.items()
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
    yield from _law(report["scaling"], report["foresight"])
    yield from ["", "| chosen by | resolved, % | 95 % interval | of the gap, % |", "|---|---|---|---|"]
    for row in report["ways"]:
        gap = "-" if row.gap is None else f"{100 * row.gap:.0f}"
        yield f"| {row.name} | {_percent(row.score)} | {_range(row.interval)} | {gap} |"
    shares = [name for name in report["by_samples"][0] if name not in ("k", "cost")]
    costs = COST if "frontier" in report else ()
    yield from _table(
        ["k", *shares, *costs],
        [
            [str(row["k"]), *(_percent(row[name]) for name in shares), *_cost(row["cost"])[: len(costs)]]
            for row in report["by_samples"]
        ],
    )
    if "frontier" in report:
        yield from _runs(report)


def _runs(report: Mapping[str, Any]) -> Iterator[str]:
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
    yield (
        f"{scaling.instances} instances, {scaling.samples} samples: c(k) = exp({law.a:.3f} k^{law.b:.3f}), off by "
        f"{100 * scaling.error:.1f} points (root mean square)"
    )
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
    made.add_argument("--draws", type=int, default=200, help="subsets of k samples, of each instance (200)")
    made.add_argument("--seed", type=int, default=0, help="of resamples and draws (0)")
    made.add_argument("--figures", type=Path, help="draw into this folder too; needs matplotlib")
    made.add_argument("--json", type=Path, help="write all figures to this file too")
    return made


if __name__ == "__main__":
    sys.exit(main())
