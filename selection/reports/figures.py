"""The figures of a report, as files: resolved, coverage and selection, cost by stage, time an issue. Runs side by side.

They are drawn with matplotlib (the extra `plots`), on no screen. SVG for pages, PDF for papers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.errors import InputError, StoreError
from selection.report import Report
from selection.scaling import fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "pdf")
SIZE = (6.4, 4.0)
"""Inches."""
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "runoff",  # the same figure gives the same file
    "legend.frameon": False,
    "text.parse_math": False,  # a run may be called $x$
}
WITHOUT_DATE = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}


def figures(reports: Sequence[Report]) -> dict[str, Callable[[Axes], None]]:
    """What there is to draw of these reports, by name."""
    found: dict[str, Callable[[Axes], None]] = {}
    if any(report.resolved.total for report in reports):
        found["resolved"] = lambda axes: _resolved(axes, reports)
    if any(report.sampling and len(report.sampling.coverage) > 1 for report in reports):
        found["coverage"] = lambda axes: _coverage(axes, reports)
    if any(report.cost and report.cost.totals.dollars for report in reports):
        found["cost"] = lambda axes: _cost(axes, reports)
    if any(report.cost and report.cost.times and report.cost.times.issues > 1 for report in reports):
        found["time"] = lambda axes: _time(axes, reports)
    return found


def write_figures(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Write each figure in each of `FORMATS`; the files. Raises InputError without matplotlib, StoreError."""
    return write_drawings(figures(reports), folder)


def write_drawings(drawings: Mapping[str, Callable[[Axes], None]], folder: Path) -> list[Path]:
    """The same of any drawings by name."""
    written: list[Path] = []
    for name, draw in drawings.items():
        with _drawn(draw) as figure:
            for kind in FORMATS:
                place = folder / f"{name}.{kind}"
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    figure.savefig(place, metadata=WITHOUT_DATE[kind])
                except OSError as error:
                    raise StoreError(
                        f"cannot write: {error.strerror}", where=str(place), hint="name another --figures"
                    ) from error
                written.append(place)
    return written


def svg_figures(reports: Sequence[Report]) -> dict[str, str]:
    """Each figure as an `<svg>` element, by name. Raises InputError without matplotlib."""
    found: dict[str, str] = {}
    for name, draw in figures(reports).items():
        text = StringIO()
        with _drawn(draw) as figure:
            figure.savefig(text, format="svg", metadata=WITHOUT_DATE["svg"])
        found[name] = text.getvalue().partition("<svg")[2].join(("<svg", ""))
    return found


@contextmanager
def _drawn(draw: Callable[[Axes], None]) -> Iterator[Figure]:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "figures need matplotlib, which is not installed", where="--figures", hint="pip install 'runoff[plots]'"
        ) from error
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")  # not of pyplot: no state, no screen
        draw(figure.subplots())
        yield figure


def _resolved(axes: Axes, reports: Sequence[Report]) -> None:
    judged = [report for report in reports if report.resolved.total]
    shares = [report.resolved for report in judged]
    values = [share.value or 0.0 for share in shares]
    errors = [
        [value - share.interval[0] for value, share in zip(values, shares, strict=True)],
        [share.interval[1] - value for value, share in zip(values, shares, strict=True)],
    ]
    axes.bar(range(len(judged)), values, yerr=errors, capsize=4, width=0.6)
    names = [f"{report.name}\n{report.resolved.count} of {report.resolved.total}" for report in judged]
    axes.set_xticks(range(len(judged)), names)
    _percent(axes, "resolved (95 % interval)")


def _coverage(axes: Axes, reports: Sequence[Report]) -> None:
    for number, report in enumerate(reports):
        if (sampling := report.sampling) is None:
            continue
        steps = sorted(sampling.coverage)
        points = [sampling.coverage[k] for k in steps]
        color = f"C{number}"
        axes.plot(steps, [point.value for point in points], marker="o", color=color, label=f"{report.name}: any sample")
        low, high = zip(*(point.interval for point in points), strict=True)
        axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
        if len(steps) > 2:  # noqa: PLR2004  fewer say nothing of a curve
            law = fit({k: sampling.coverage[k].value for k in steps})
            ahead = [steps[-1] * 10 ** (number / 20) for number in range(21)]
            label = f"{report.name}: by the law of those"
            axes.plot(ahead, [law(k) for k in ahead], color=color, linestyle=(0, (1, 3)), label=label)
        for share, style, words in ((sampling.selected, "--", "selected"), (sampling.votes, ":", "first by votes")):
            axes.axhline(share.value or 0.0, color=color, linestyle=style, label=f"{report.name}: {words}")
    axes.set_xscale("log")
    measured = sorted({k for each in reports if each.sampling for k in each.sampling.coverage})
    ticks = [*measured, 10 * measured[-1]]
    axes.set_xticks(ticks, [str(k) for k in ticks])
    axes.minorticks_off()
    axes.set_xlabel("samples an instance")
    _percent(axes, "resolved")
    axes.legend(fontsize="small")


def _cost(axes: Axes, reports: Sequence[Report]) -> None:
    priced = [(report.name, cost) for report in reports if (cost := report.cost) and cost.totals.dollars]
    below = [0.0] * len(priced)
    for stage in dict.fromkeys(stage for _, cost in priced for stage in cost.by_stage):
        held = [cost.by_stage.get(stage) for _, cost in priced]
        heights = [
            (one.totals.dollars if one else 0.0) / max(1, cost.issues) for one, (_, cost) in zip(held, priced, strict=True)
        ]
        axes.bar(range(len(priced)), heights, bottom=below, width=0.6, label=stage)
        below = [lower + height for lower, height in zip(below, heights, strict=True)]
    axes.set_xticks(range(len(priced)), [name for name, _ in priced])
    axes.set_ylabel("dollars an issue")
    axes.legend(reverse=True, fontsize="small")


def _time(axes: Axes, reports: Sequence[Report]) -> None:
    for report in reports:
        if report.cost and (times := report.cost.times) and times.issues > 1:
            axes.ecdf(times.seconds, label=report.name)
    axes.set_xlabel("seconds that an issue was under way")
    _percent(axes, "issues that took no longer")
    axes.legend(fontsize="small")


def _percent(axes: Axes, label: str) -> None:
    from matplotlib.ticker import PercentFormatter

    formatter: Any = PercentFormatter(xmax=1)
    axes.yaxis.set_major_formatter(formatter)
    axes.set_ylim(0, 1)
    axes.set_ylabel(label)
