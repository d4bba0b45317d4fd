"""`runoff`: wires the commands. Commands that are not built yet are not here."""

from __future__ import annotations

import sys

import typer

from agent.cli import batch, doctor, ensemble, evaluate, images, report, resume, show, solve, streams

app = typer.Typer(
    name="runoff",
    help="Resolves GitHub issues: many trajectories draft a test and an edit, then a run-off picks the patch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("solve", epilog=solve.EXAMPLE)(solve.command)
app.command("batch", epilog=batch.EXAMPLE)(batch.command)
app.command("ensemble", epilog=ensemble.EXAMPLE)(ensemble.command)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.command)
app.command("report", epilog=report.EXAMPLE)(report.command)
app.command("resume", epilog=resume.EXAMPLE)(resume.command)
app.command("show", epilog=show.EXAMPLE)(show.command)
app.add_typer(images.app, name="images")
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.command)


def main() -> None:
    """Entry point of the `runoff` command."""
    streams.mask()
    sys.exit(app())
