"""`runoff report`: what runs and evaluations came to, side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.cli import interrupts
from sandbox.errors import InputError, RunoffError
from selection.evaluation.record import NAME
from selection.report import Report, report_on
from selection.reports.tables import Section, notes, sections

EXAMPLE = "Example: runoff report mine runs/evaluate-predictions --html report.html --figures figures"
WIDE = 160
"""Columns of a table in a pipe, where nothing says how wide the reader's window is."""


def command(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names or folders of runs and evaluations.")],
    *,
    runs: Annotated[Path, typer.Option("--runs", envvar="RUNOFF_RUNS", help="Folder that runs land in.")] = Path("runs"),
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write all of it to one HTML file that needs no network.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Write the figures to this folder, as SVG and PDF.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, an object for each.")] = False,
) -> None:
    """Show what runs came to: resolved, coverage and selection, cost and time, failures by cause."""
    errors = Console(stderr=True)
    try:
        reports = [report for name in names for report in report_on(_folder(name, runs))]
        if figures:
            _write_figures(reports, figures)
        if html:
            _write_page(reports, html, errors)
        if as_json:
            typer.echo(json.dumps([report.to_json() for report in reports], indent=1, ensure_ascii=False))
        elif not (html or figures):
            _print(reports)
    except RunoffError as error:
        interrupts.show(error, errors)
        sys.exit(error.exit_code)


def _write_figures(reports: Sequence[Report], folder: Path) -> None:
    from selection.reports.figures import write_figures

    written = write_figures(reports, folder)
    typer.echo("\n".join(map(str, written)) or "nothing to draw: no run is evaluated or has a cost", err=True)


def _write_page(reports: Sequence[Report], place: Path, errors: Console) -> None:
    """Without matplotlib it has no figures, which is said."""
    from selection.reports.figures import svg_figures
    from selection.reports.page import write_page

    try:
        drawn = svg_figures(reports)
    except InputError as error:
        errors.print(f"no figures are in it: {error.message}; {error.hint}", markup=False, highlight=False, soft_wrap=True)
        drawn = {}
    write_page(place, reports, drawn)
    typer.echo(str(place), err=True)


def _print(reports: Sequence[Report]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    for section in sections(reports):
        console.print(_table(section))
    for note in notes(reports):
        console.print(escape(note), highlight=False, soft_wrap=True)


def _folder(name: str, runs: Path) -> Path:
    for folder in (runs / name, Path(name)):
        if (folder / "manifest.json").is_file() or (folder / NAME).is_file():
            return folder
    known = sorted({path.parent.name for pattern in ("manifest.json", NAME) for path in runs.glob(f"*/{pattern}")})
    hint = f"here: {', '.join(known)}" if known else "runoff solve, or runoff evaluate PREDICTIONS"
    raise InputError(f"there is neither a run nor an evaluation '{name}'", where=str(runs), hint=hint)


def _table(section: Section) -> Table:
    table = Table(
        *map(escape, section.columns), title=escape(section.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for row in section.rows:
        table.add_row(*map(escape, row))
    return table
