"""The tables of a report as rows of plain text, for a terminal and for a page (`selection.reports.page`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agent.llm.totals import Totals
from selection.report import Report, Sampling, Share
from selection.reports.costs import KINDS, Cost, Early, StageCost, Times

T = TypeVar("T")
NONE = "-"
"""Where a run has no such figure."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table."""

    title: str
    columns: tuple[str, ...]
    """The first one names the rows."""
    rows: tuple[tuple[str, ...], ...]


def sections(reports: Sequence[Report]) -> list[Section]:
    """All that have rows: runs side by side, then the stages of each run."""
    names = tuple(report.name for report in reports)
    costs = [report.cost for report in reports]
    found = [
        ("Resolved", _resolved(reports)),
        ("By repository", _grouped([report.by_repository for report in reports])),
        ("By difficulty", _grouped([report.by_difficulty for report in reports])),
        ("Samples and selection", _sampling([report.sampling for report in reports])),
        ("Cost", _cost(costs)),
        ("Time", _times([cost.times if cost else None for cost in costs])),
        ("Early stop of sampling", _early([cost.early if cost else None for cost in costs])),
        ("Without a patch, by cause", _counted([report.failures for report in reports])),
    ]
    side_by_side = [Section(title, ("", *names), tuple(map(tuple, rows))) for title, rows in found if rows]
    return [*side_by_side, *(_stages(report.name, cost) for report in reports if (cost := report.cost) and cost.by_stage)]


def notes(reports: Sequence[Report]) -> list[str]:
    """How each was evaluated, and what is not finished."""
    lines = (f"{report.name}: {report.note}" + ("" if report.finished else "; not finished") for report in reports)
    return list(dict.fromkeys(lines))


def _resolved(reports: Sequence[Report]) -> list[list[str]]:
    rows = [
        ["resolved of judged", *(_of(report.resolved) for report in reports)],
        ["share", *(_percent(report.resolved.value) for report in reports)],
        ["95 % interval", *(_interval(report.resolved) for report in reports)],
        ["instances of the data set", *(str(report.dataset_instances or NONE) for report in reports)],
    ]
    return [
        *rows,
        *_counted([{key: count for key, count in report.outcomes.items() if key != "resolved"} for report in reports]),
    ]


def _grouped(columns: Sequence[Mapping[str, Share]]) -> list[list[str]]:
    keys = sorted({key for column in columns for key in column})
    return [[key, *(_of(column[key]) if key in column else NONE for column in columns)] for key in keys]


def _counted(columns: Sequence[Mapping[str, int]]) -> list[list[str]]:
    keys = list(dict.fromkeys(key for column in columns for key in column))
    return [[key, *(str(column.get(key, 0)) for column in columns)] for key in keys]


def _sampling(columns: Sequence[Sampling | None]) -> list[list[str]]:
    steps = sorted({k for column in columns if column for k in column.coverage})
    return _rows(
        columns,
        ("instances", lambda one: str(one.instances)),
        ("samples an instance", lambda one: str(one.samples)),
        *((_name(k), lambda one, k=k: _estimate(one, k)) for k in steps),
        ("oracle", lambda one: _with_interval(one.oracle)),
        ("first by votes", lambda one: _with_interval(one.votes)),
        ("selected", lambda one: _with_interval(one.selected)),
        ("gap closed", lambda one: _percent(one.gap_closed)),
    )


def _cost(columns: Sequence[Cost | None]) -> list[list[str]]:
    stages = dict.fromkeys(stage for column in columns if column for stage in column.by_stage)
    return _rows(
        columns,
        ("issues begun", lambda one: str(one.issues)),
        ("dollars", lambda one: one.totals.money),
        ("dollars an issue", _each),
        ("calls", lambda one: f"{one.totals.calls:,}"),
        ("tokens", lambda one: _tokens(one.totals)),
        ("model seconds an issue", lambda one: f"{one.totals.seconds / max(1, one.issues):,.1f}"),
        *((f"  {stage}", lambda one, stage=stage: _of_stage(one, stage)) for stage in stages),
    )


def _times(columns: Sequence[Times | None]) -> list[list[str]]:
    return _rows(
        columns,
        ("issues with times", lambda one: str(one.issues)),
        ("seconds an issue: mean", lambda one: f"{one.mean:,.1f}"),
        ("  half of them below", lambda one: f"{one.median:,.1f}"),
        ("  nine of ten below", lambda one: f"{one.ninetieth:,.1f}"),
        ("  until the environment is there", lambda one: f"{one.environment_seconds / one.issues:,.1f}"),
        ("executions an issue", lambda one: f"{one.executions / one.issues:,.1f}"),
        ("sandbox seconds an issue", lambda one: f"{one.sandbox_seconds / one.issues:,.1f}"),
    )


def _early(columns: Sequence[Early | None]) -> list[list[str]]:
    return _rows(
        columns,
        ("samples drafted", lambda one: f"{one.drafted:,}"),
        ("samples saved", lambda one: f"{one.saved:,} ({_percent(one.saved / max(1, one.drafted + one.saved))})"),
        ("dollars saved, about", lambda one: f"${one.dollars:.4f}"),
    )


def _stages(name: str, cost: Cost) -> Section:
    """As table 1 of the CodeMonkeys paper: a stage a row, what each kind of token came to, and the stage's share."""
    whole = cost.totals.dollars
    heads = ("stage", "calls", *(kind.replace("_", " ") for kind in KINDS), "dollars", "share")
    rows = [
        (
            stage,
            f"{held.totals.calls:,}",
            *(_of_kind(held, kind) for kind in KINDS),
            held.totals.money,
            _percent(held.totals.dollars / whole if whole else None),
        )
        for stage, held in cost.by_stage.items()
    ]
    every = StageCost(
        cost.totals,
        {kind: sum(held.dollars.get(kind, 0.0) for held in cost.by_stage.values()) for kind in KINDS}
        if all(held.dollars for held in cost.by_stage.values())
        else {},
    )
    last = ("all", f"{every.totals.calls:,}", *(_of_kind(every, kind) for kind in KINDS), every.totals.money, "")
    return Section(f"{name}: tokens and dollars by stage", heads, (*rows, last))


def _of_kind(held: StageCost, kind: str) -> str:
    tokens = f"{getattr(held.totals, kind):,}"
    return f"{tokens} (${held.dollars[kind]:.4f})" if kind in held.dollars else tokens


def _of_stage(cost: Cost, stage: str) -> str:
    held, whole = cost.by_stage.get(stage), cost.totals
    if held is None:
        return NONE
    if whole.dollars:
        return f"${held.totals.dollars:.4f} ({held.totals.dollars / whole.dollars:.1%})"
    share = f" ({held.totals.tokens_used / whole.tokens_used:.1%})" if whole.tokens_used else ""
    return f"{_tokens(held.totals)} tokens{share}"


def _each(cost: Cost) -> str:
    if (dollars := cost.totals.known_dollars) is None:
        return "unknown"
    return f"{'at least ' if cost.totals.unpriced else ''}${dollars / max(1, cost.issues):.4f}"


def _tokens(totals: Totals) -> str:
    """What the servers told; unknown where they told nothing, which is not zero."""
    return "unknown" if totals.uncounted and not totals.tokens_used else f"{totals.tokens_used:,}"


def _rows(columns: Sequence[T | None], *rows: tuple[str, Callable[[T], str]]) -> list[list[str]]:
    """A row for each name, what it says of each column; nothing where no column has anything."""
    if not any(columns):
        return []
    return [[name, *(say(column) if column else NONE for column in columns)] for name, say in rows]


def _name(k: int) -> str:
    return "pass@1, a random sample" if k == 1 else f"coverage@{k}"


def _estimate(sampling: Sampling, k: int) -> str:
    estimate = sampling.coverage.get(k)
    return f"{estimate.value:.1%} ({estimate.interval[0]:.1%}-{estimate.interval[1]:.1%})" if estimate else NONE


def _of(share: Share) -> str:
    return f"{share.count} of {share.total}"


def _with_interval(share: Share) -> str:
    return f"{_percent(share.value)} ({_interval(share)})"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.1%}"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{low:.1%}-{high:.1%}" if share.total else NONE
