"""`runoff batch`: a benchmark split from its rows to predictions."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agent.cli import dry_run, interrupts
from agent.cli.batching import BatchSession, Outcome
from agent.cli.json_events import JsonEvents, emit, emit_error, spent_json
from agent.cli.progress import BatchProgress
from agent.cli.settings import BatchSettings, options_of, resolve
from agent.cli.solve import print_settings
from sandbox.errors import BudgetReached, RunoffError

EXAMPLE = (
    "Example: runoff batch --dataset SWE-bench/SWE-bench_Verified --instances 0:50 --model anthropic:claude-sonnet-4-5"
    " --budget 100 --budget-per-issue 5 --run first"
)
OTHERS = ("repo", "base", "issue", "instance")
"""Settings of `runoff solve` that name its one issue."""


@options_of(BatchSettings, but=OTHERS)
def command(
    *,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="List what is left out and estimate tokens and dollars; spend nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: what happens, then the result.")] = False,
    show_settings: Annotated[bool, typer.Option("--show-settings", help="Print the settings and their sources.")] = False,
    **flags: Any,
) -> None:
    """Resolve many issues: the instances of a data set, side by side, each to a prediction or a cause."""
    errors = Console(stderr=True)

    async def work(interrupt: interrupts.Interrupt) -> int:
        resolved = resolve(flags, os.environ, Path.cwd(), BatchSettings)
        if show_settings:
            return print_settings(resolved, [])
        if dry:
            return await dry_run.split_command(resolved.settings, as_json=as_json)
        async with watched_batch(errors, interrupt, as_json=as_json) as session:
            outcome = await session.batch(resolved.settings)
        return deliver_batch(session, outcome, errors, as_json=as_json)

    sys.exit(interrupts.run(work, errors, on_error=emit_error if as_json else lambda error: None))


@asynccontextmanager
async def watched_batch(
    errors: Console, interrupt: interrupts.Interrupt, *, as_json: bool, fork: bool = False
) -> AsyncIterator[BatchSession]:
    """A session that is shown on standard error, or told on standard output as JSON lines."""
    if as_json:
        events = JsonEvents()
        async with BatchSession(events, interrupt, fork=fork) as session:
            events.spent = session.spent
            yield session
        return
    with BatchProgress(errors) as progress:
        async with BatchSession(progress, interrupt, fork=fork) as session:
            progress.spending, progress.numbers = session.spending, session.numbers
            drawing = asyncio.create_task(progress.refreshing())
            try:
                yield session
            finally:
                drawing.cancel()


def deliver_batch(session: BatchSession, outcome: Outcome, errors: Console, *, as_json: bool) -> int:
    """Print what the run came to. The exit code."""
    run = session.run
    if as_json:
        emit(
            "result",
            run=str(run.path),
            predictions=str(run.path / "predictions.jsonl"),
            instances=outcome.total,
            patches=outcome.patches,
            causes=dict(outcome.causes),
            left_out=outcome.left_out,
            stopped=outcome.stopped.reason if outcome.stopped else "",
            exit_code=outcome.exit_code,
            spent=spent_json(session.spent()),
        )
        return outcome.exit_code
    typer.echo(f"{outcome.patches} of {outcome.total} instances have a patch: {run.path / 'predictions.jsonl'}")
    if outcome.causes:
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(outcome.causes.items()))
        typer.echo(f"without one: {causes}; each with its reason: {run.path / 'unresolved.json'}")
    if outcome.left_out:
        typer.echo(f"left out: {outcome.left_out} rows that are no instances")
    typer.echo(session.spending())
    if stopped := outcome.stopped:
        for label, text in (("stopped", f"{stopped.cause}: {stopped.reason}"), ("where", stopped.where)):
            errors.print(f"{label}: {text}", markup=False, highlight=False, soft_wrap=True)
    if outcome.exit_code in (BudgetReached.exit_code, RunoffError.exit_code):
        limit = " --budget MORE" if stopped else " --budget-per-issue MORE"
        more = limit if outcome.exit_code == BudgetReached.exit_code else ""
        errors.print(f"next: runoff resume {run.handle}{more}", markup=False, highlight=False, soft_wrap=True)
    return outcome.exit_code
