"""`runoff report`: what runs and evaluations came to, side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.cli import interrupts
from agent.llm.totals import Totals
from sandbox.errors import InputError, RunoffError
from selection.evaluation.record import NAME
from selection.report import Cost, Report, Sampling, Share, report_on

EXAMPLE = "Example: runoff report mine runs/evaluate-predictions"
WIDE = 160
"""Columns of a table in a pipe, where nothing says how wide the reader's window is."""


def command(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names or folders of runs and evaluations.")],
    *,
    runs: Annotated[Path, typer.Option("--runs", envvar="RUNOFF_RUNS", help="Folder that runs land in.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, an object for each.")] = False,
) -> None:
    """Show what runs came to: resolved, coverage and selection, cost, failures by cause."""
    try:
        reports = [report for name in names for report in report_on(_folder(name, runs))]
        if as_json:
            typer.echo(json.dumps([report.to_json() for report in reports], indent=1, ensure_ascii=False))
            return
        console = Console()
        if not console.is_terminal:
            console = Console(width=WIDE)
        for table in _tables(reports):
            if table.row_count:
                console.print(table)
        for note in dict.fromkeys(
            f"{report.name}: {report.note}" + ("" if report.finished else "; not finished") for report in reports
        ):
            console.print(escape(note), highlight=False, soft_wrap=True)
    except RunoffError as error:
        interrupts.show(error, Console(stderr=True))
        sys.exit(error.exit_code)


def _folder(name: str, runs: Path) -> Path:
    for folder in (runs / name, Path(name)):
        if (folder / "manifest.json").is_file() or (folder / NAME).is_file():
            return folder
    known = sorted({path.parent.name for pattern in ("manifest.json", NAME) for path in runs.glob(f"*/{pattern}")})
    hint = f"here: {', '.join(known)}" if known else "runoff solve, or runoff evaluate PREDICTIONS"
    raise InputError(f"there is neither a run nor an evaluation '{name}'", where=str(runs), hint=hint)


def _tables(reports: Sequence[Report]) -> Iterator[Table]:
    names = [escape(report.name) for report in reports]
    yield _table("Resolved", ["", *names], _resolved(reports))
    yield _table("By repository", ["", *names], _grouped([report.by_repository for report in reports]))
    yield _table("By difficulty", ["", *names], _grouped([report.by_difficulty for report in reports]))
    if any(report.sampling for report in reports):
        yield _table("Samples and selection", ["", *names], _sampling([report.sampling for report in reports]))
    if any(report.cost for report in reports):
        yield _table("Cost", ["", *names], _cost([report.cost for report in reports]))
    yield _table("Without a patch, by cause", ["", *names], _counted([report.failures for report in reports]))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    return table


def _resolved(reports: Sequence[Report]) -> list[list[str]]:
    rows = [
        ["resolved of judged", *(_of(report.resolved) for report in reports)],
        ["share", *(_percent(report.resolved.value) for report in reports)],
        ["95 % interval", *(_interval(report.resolved) for report in reports)],
        ["instances of the data set", *(str(report.dataset_instances or "-") for report in reports)],
    ]
    return [
        *rows,
        *_counted([{key: count for key, count in report.outcomes.items() if key != "resolved"} for report in reports]),
    ]


def _grouped(columns: Sequence[Mapping[str, Share]]) -> list[list[str]]:
    keys = sorted({key for column in columns for key in column})
    return [[escape(key), *(_of(column[key]) if key in column else "-" for column in columns)] for key in keys]


def _counted(columns: Sequence[Mapping[str, int]]) -> list[list[str]]:
    keys = list(dict.fromkeys(key for column in columns for key in column))
    return [[escape(key), *(str(column.get(key, 0)) for column in columns)] for key in keys]


def _sampling(columns: Sequence[Sampling | None]) -> list[list[str]]:
    def row(name: str, say: Callable[[Sampling], str]) -> list[str]:
        return [name, *(say(column) if column else "-" for column in columns)]

    steps = sorted({k for column in columns if column for k in column.coverage})
    return [
        row("instances", lambda one: str(one.instances)),
        row("samples an instance", lambda one: str(one.samples)),
        *(row(_name(k), lambda one, k=k: _estimate(one, k)) for k in steps),  # type: ignore[misc]  # k is bound now
        row("oracle", lambda one: _with_interval(one.oracle)),
        row("first by votes", lambda one: _with_interval(one.votes)),
        row("selected", lambda one: _with_interval(one.selected)),
        row("gap closed", lambda one: _percent(one.gap_closed)),
    ]


def _name(k: int) -> str:
    return "pass@1, a random sample" if k == 1 else f"coverage@{k}"


def _estimate(sampling: Sampling, k: int) -> str:
    estimate = sampling.coverage.get(k)
    return f"{estimate.value:.1%} ({estimate.interval[0]:.1%}-{estimate.interval[1]:.1%})" if estimate else "-"


def _cost(columns: Sequence[Cost | None]) -> list[list[str]]:
    def row(name: str, say: Callable[[Cost], str]) -> list[str]:
        return [name, *(say(column) if column else "-" for column in columns)]

    stages = list(dict.fromkeys(stage for column in columns if column for stage in column.by_stage))
    return [
        row("issues begun", lambda one: str(one.issues)),
        row("dollars", lambda one: one.totals.money),
        row("dollars an issue", _each),
        row("calls", lambda one: f"{one.totals.calls:,}"),
        row("tokens", lambda one: _tokens(one.totals)),
        row("model seconds an issue", lambda one: f"{one.totals.seconds / max(1, one.issues):,.1f}"),
        *(row(f"  {stage}", lambda one, stage=stage: _of_stage(one, stage)) for stage in stages),  # type: ignore[misc]  # bound now
    ]


def _each(cost: Cost) -> str:
    if (dollars := cost.totals.known_dollars) is None:
        return "unknown"
    return f"{'at least ' if cost.totals.unpriced else ''}${dollars / max(1, cost.issues):.4f}"


def _of_stage(cost: Cost, stage: str) -> str:
    totals, whole = cost.by_stage.get(stage), cost.totals
    if totals is None:
        return "-"
    if whole.dollars:
        return f"${totals.dollars:.4f} ({totals.dollars / whole.dollars:.1%})"
    share = f" ({totals.tokens_used / whole.tokens_used:.1%})" if whole.tokens_used else ""
    return f"{_tokens(totals)} tokens{share}"


def _tokens(totals: Totals) -> str:
    """What the servers told; unknown where they told nothing, which is not zero."""
    return "unknown" if totals.uncounted and not totals.tokens_used else f"{totals.tokens_used:,}"


def _of(share: Share) -> str:
    return f"{share.count} of {share.total}"


def _with_interval(share: Share) -> str:
    return f"{_percent(share.value)} ({_interval(share)})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{low:.1%}-{high:.1%}" if share.total else "-"
