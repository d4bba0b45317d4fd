"""`runoff resume`: go on with a run that was interrupted. What reached a journal is not paid again."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agent.cli import interrupts
from agent.cli.batch import deliver_batch, watched_batch
from agent.cli.batching import RETRIES
from agent.cli.json_events import emit_error
from agent.cli.solve import deliver, watched
from agent.store import Run
from sandbox.errors import InputError

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
    budget: Annotated[float | None, typer.Option("--budget", min=0, help="Dollars for the whole run, from now on.")] = None,
    budget_tokens: Annotated[int | None, typer.Option("--budget-tokens", min=0, help="The same in tokens.")] = None,
    budget_calls: Annotated[int | None, typer.Option("--budget-calls", min=0, help="The same in calls.")] = None,
    settle: Annotated[
        list[str] | None,
        typer.Option(
            "--settle",
            metavar="CALL=USD",
            help="What the bill says of a call that was cut off (`runoff show` lists them); `all` for each of them.",
        ),
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option("--retry", metavar="CAUSE", help=f"Take up what failed in a batch too: {', '.join(RETRIES)}."),
    ] = None,
    budget_per_issue: Annotated[
        float | None, typer.Option("--budget-per-issue", min=0, help="Dollars for each instance of a batch, from now on.")
    ] = None,
    instances_at_once: Annotated[
        int | None, typer.Option("--instances-at-once", min=0, help="Instances of a batch under way at once.")
    ] = None,
    fork: Annotated[bool, typer.Option("--fork", help="Where a prompt has changed since, go on from there.")] = False,
    output: Annotated[Path | None, typer.Option("--output", help="Write the patch to this file too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: what happens, then the result.")] = False,
) -> None:
    """Go on with whatever is unfinished in a run, with the settings it was started with."""
    errors = Console(stderr=True)

    async def work(interrupt: interrupts.Interrupt) -> int:
        changes = {"in_flight": in_flight, "workers": workers, "model": model, "cheap_model": cheap_model}
        limits = {"budget": budget, "budget_tokens": budget_tokens, "budget_calls": budget_calls}
        of_batch = {"budget_per_issue": budget_per_issue, "instances_at_once": instances_at_once}
        by_hand = settlements(settle or [])
        if Run.find(name, runs).is_batch:
            async with watched_batch(errors, interrupt, as_json=as_json, fork=fork) as many:
                wanted = {**changes, **limits, **of_batch}
                outcome = await many.resume_batch(name, runs, wanted, settle=by_hand, retry=retry or "")
                return deliver_batch(many, outcome, errors, as_json=as_json)
        if given := [flag for flag, value in {**of_batch, "retry": retry}.items() if value is not None]:
            raise InputError("the run is no batch", where=f"--{given[0].replace('_', '-')}", hint=f"runoff resume {name}")
        async with watched(errors, interrupt, as_json=as_json, fork=fork) as session:
            result = await session.resume(name, runs, {**changes, **limits}, settle=by_hand)
            return deliver(session, result, output=output, apply=False, as_json=as_json)

    sys.exit(interrupts.run(work, errors, on_error=emit_error if as_json else lambda error: None))


def settlements(given: list[str]) -> dict[str, float]:
    """Dollars by call's number (or `all`). Raises InputError for what is no `CALL=USD`."""
    parsed = {}
    for text in given:
        found = re.fullmatch(r"(all|\d+)=\$?(\d+(?:\.\d+)?)", text.strip())
        if found is None:
            raise InputError(
                "this settles no call", where=f"--settle {text}", hint="write --settle 17=0.04, or --settle all=0"
            )
        parsed[found[1]] = float(found[2])
    return parsed
