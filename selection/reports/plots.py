"""Draws what more samples bring: coverage with its law and band, selection against k, score against cost.

Each function draws on axes of matplotlib (the extra `plots`) and does nothing else; `write_drawings` of
`selection.reports.figures` makes files of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from selection.reports.grid import GridPoint
from selection.scaling import Scaling

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_law(axes: Axes, scalings: Mapping[str, Scaling]) -> None:
    """Measured coverage as points, the law through them and beyond, its band; by name."""
    for number, (name, scaling) in enumerate(scalings.items()):
        color = f"C{number}"
        ks = [point.k for point in scaling.points]
        measured = [(point.k, point.measured) for point in scaling.points if point.measured is not None]
        axes.plot(*zip(*measured, strict=True), "o", color=color, label=name)
        axes.plot(ks, [point.law for point in scaling.points], color=color)
        bands = [point.low for point in scaling.points], [point.high for point in scaling.points]
        axes.fill_between(ks, *bands, color=color, alpha=0.15, linewidth=0)
    _samples(axes)
    axes.legend(fontsize="small")


def draw_selection(axes: Axes, scores: Mapping[str, Mapping[int, float]]) -> None:
    """What each way of choosing comes to, by number of samples; by name, coverage among them."""
    for name, held in scores.items():
        axes.plot(list(held), list(held.values()), marker="o", label=name)
    _samples(axes)
    axes.legend(fontsize="small")


def draw_frontier(axes: Axes, frontiers: Mapping[str, Sequence[GridPoint]]) -> None:
    """Coverage against cost, each step with its samples and turns; by run."""
    for name, points in frontiers.items():
        axes.plot([point.price for point in points], [point.coverage for point in points], marker="o", label=name)
        for point in points:
            words = f"{point.setting.samples} x {point.setting.turns}"
            axes.annotate(words, (point.price, point.coverage), fontsize="x-small")
    unpriced = any(point.cost.unpriced for points in frontiers.values() for point in points)
    axes.set_xlabel("seconds of the model an issue" if unpriced else "dollars an issue")
    axes.set_ylabel("resolved by any sample")
    axes.legend(fontsize="small")


def _samples(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("samples an issue")
    axes.set_ylabel("resolved")
