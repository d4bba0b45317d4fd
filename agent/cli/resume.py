"""`runoff resume`: go on with a run that was interrupted. What reached a journal is not paid again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agent.cli import interrupts
from agent.cli.compose import Session
from agent.cli.solve import deliver

EXAMPLE = "Example: runoff resume solve-flask-20260101-120000"


def command(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of the run.")],
    *,
    in_flight: Annotated[int | None, typer.Option("--in-flight", min=1, help="Model calls in flight at once.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Executions at once.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="The same model at another endpoint.")] = None,
    cheap_model: Annotated[
        str | None, typer.Option("--cheap-model", help="The same cheap model at another endpoint.")
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", envvar="RUNOFF_RUNS", help="Folder that runs land in.")] = Path("runs"),
    fork: Annotated[bool, typer.Option("--fork", help="Where a prompt has changed since, go on from there.")] = False,
    output: Annotated[Path | None, typer.Option("--output", help="Write the patch to this file too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Go on with whatever is unfinished in a run, with the settings it was started with."""
    errors = Console(stderr=True)

    async def work(interrupt: interrupts.Interrupt) -> int:
        changes = {"in_flight": in_flight, "workers": workers, "model": model, "cheap_model": cheap_model}
        async with Session(errors, interrupt, fork=fork) as session:
            result = await session.resume(name, runs, changes)
            return deliver(session, result, output=output, apply=False, as_json=as_json)

    sys.exit(interrupts.run(work, errors))
