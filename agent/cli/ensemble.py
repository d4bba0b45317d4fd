"""`runoff ensemble`: the best of what several systems, or several runs, propose."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agent.cli import interrupts
from agent.cli.ensemble_session import Asked, Done, EnsembleSession
from agent.cli.json_events import JsonEvents, emit, emit_error
from agent.cli.progress import Progress
from agent.cli.settings import BatchSettings, options_of, resolve
from agent.endings import Cause
from agent.instances import Instances
from sandbox.errors import BudgetReached, RunoffError
from selection.chain import PRESETS
from selection.ensemble import Member
from selection.patches.trees import Trees
from selection.regression import RegressionSettings
from selection.reports.statistics import wilson

EXAMPLE = (
    "Example: runoff ensemble --instances SWE-bench/SWE-bench_Verified --predictions a.jsonl b.json runs/mine"
    " --selector consensus --output chosen.jsonl"
)
SETTINGS = (
    *("model", "price", "budget", "budget_tokens", "budget_calls", "max_tokens", "in_flight", "timeout", "retries"),
    *("finalists", "selection_turns", "runs"),
    *("install_specs", "image", "setup", "python", "test_command", "sandbox", "workers", "instances_at_once"),
    *("script_seconds", "memory_mb", "processes", "disk_mb", "inodes", "output_chars"),
)
"""Settings of `runoff batch` that steps which ask or run something have too."""


@options_of(BatchSettings, but=[name for name in BatchSettings.model_fields if name not in SETTINGS])
def command(
    *,
    instances: Annotated[str, typer.Option("--instances", help="A Hub id, or a .jsonl, .json or .parquet file.")],
    predictions: Annotated[list[Path], typer.Option("--predictions", help="Files of predictions, or folders of runs.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="More predictions.")] = None,
    output: Annotated[Path, typer.Option("--output", help="Write the chosen predictions to this file.")],
    selector: Annotated[
        str,
        typer.Option(
            "--selector", help=f"consensus, {', '.join(PRESETS)}, or a chain such as 'consensus | regression | top:3'."
        ),
    ] = "consensus",
    split: Annotated[str | None, typer.Option("--split", help="Of a Hub data set.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the selector `random`, and of models that take one.")] = 0,
    stop_at: Annotated[
        float | None,
        typer.Option("--stop-at", min=0.0, max=1.0, help="End a chain early where more than this share came to one change."),
    ] = None,
    repos: Annotated[
        Path | None,
        typer.Option("--repos", help="Folder of clones (owner__name, owner/name, name): look whether patches apply."),
    ] = None,
    scripts: Annotated[
        Path | None,
        typer.Option("--scripts", help="Folder with INSTANCE/*.py or *.sh: scripts that vote beside those of runs."),
    ] = None,
    test_seconds: Annotated[
        float, typer.Option("--test-seconds", min=1, help="Seconds that the tests of the step `regression` may take.")
    ] = RegressionSettings().seconds,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: what happens, then the result.")] = False,
    **flags: Any,
) -> None:
    """Choose one prediction for each instance among those of several systems, without labels."""
    errors = Console(stderr=True)

    async def work(interrupt: interrupts.Interrupt) -> int:
        interrupt.hint = "the same command"
        begun = time.monotonic()
        settings = resolve({**flags, "seed": seed}, os.environ, Path.cwd(), BatchSettings).settings
        trees = Trees(repos.expanduser()) if repos else None
        tests = RegressionSettings(seconds=test_seconds)
        members = [*predictions, *(more or ())]
        asked = Asked(instances, split, members, output, selector, stop_at, trees, scripts, tests)
        with Progress(errors) as progress:
            done = await EnsembleSession(asked, settings, JsonEvents() if as_json else progress, interrupt).work()
        report = _report(done, time.monotonic() - begun)
        emit("result", **report) if as_json else _print(report)
        return _exit_code(done, errors)

    sys.exit(interrupts.run(work, errors, on_error=emit_error if as_json else lambda error: None))


def _exit_code(done: Done, errors: Console) -> int:
    """0: chosen; 1: nothing to choose; 3 and 4: something is left to do, which is said."""
    if done.store.parked or done.stopped:
        why = done.stopped or next(iter(done.store.parked.values()))
        hints = why.hint and f"; {why.hint}"
        left = len(done.known.by_id) - len(done.store.made)
        errors.print(
            f"{left} instances have no choice yet ({why.cause}: {why.reason}{hints}); the same command tries them again",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        return BudgetReached.exit_code if why.cause is Cause.BUDGET else RunoffError.exit_code
    return 0 if any(made.chosen for made in done.store.made.values()) else 1


def _report(done: Done, seconds: float) -> dict[str, Any]:
    store, known = done.store, done.known
    chosen = [made for made in store.made.values() if made.chosen]
    wins = Counter(name for made in chosen for name in made.members)
    return {
        "selector": done.chain,
        "instances": len(known.by_id),
        "broken_instances": len(known.broken),
        "chosen": len(chosen),
        "unresolved": len(store.made) - len(chosen),
        "parked": {name: f"{ending.cause}: {ending.reason}" for name, ending in store.parked.items()},
        "resumed": store.resumed,
        "members": [_member(member, known, wins) for member in done.members],
        "told": [line for member in done.members for line in member.told(known.by_id)],
        "steps": {step: dict(figures) for step, figures in store.figures().items() if figures},
        "seconds": round(seconds, 2),
        "output": str(store.output),
        "record": str(store.record),
    }


def _member(member: Member, known: Instances, chosen: Mapping[str, int]) -> dict[str, Any]:
    held = member.predictions
    return {
        "name": member.name,
        "source": held.source,
        "patches": sum(patch is not None and instance in known.by_id for instance, patch in held.patches.items()),
        "empty": len(held.empty),
        "missing": len(held.missing(known.by_id)),
        "unknown": len(held.unknown(known.by_id)),
        "repeated": len(held.repeated),
        "contradicted": len(held.contradicted),
        "unreadable": len(held.unreadable),
        "chosen": chosen[member.name],
    }


def _print(report: Mapping[str, Any]) -> None:
    width = max(len(member["name"]) for member in report["members"])
    columns = ("patches", "empty", "missing", "unknown", "unreadable", "chosen")
    typer.echo("  ".join([f"{'member':<{width}}", *columns]))
    for member in report["members"]:
        typer.echo("  ".join([f"{member['name']:<{width}}", *(f"{member[column]:>{len(column)}}" for column in columns)]))
    for line in report["told"]:
        typer.echo(line)
    if report["broken_instances"]:
        typer.echo(f"{report['broken_instances']} rows of the data set cannot be read")
    for step, figures in report["steps"].items():
        typer.echo(_of_step(step, figures))
    again = f", {report['resumed']} choices from the record" if report["resumed"] else ""
    typer.echo(
        f"selector: {report['selector']}\n"
        f"chosen: {report['chosen']} of {report['instances']}{again}, in {report['seconds']:.1f} s\n"
        f"predictions: {report['output']}\nwhy: {report['record']}"
    )


def _of_step(step: str, figures: Mapping[str, float]) -> str:
    """Such as `votes: 40 scripts, 31 voters, 212 seconds; ...`."""
    shown = {name: value for name, value in figures.items() if name not in ("judged", "false_alarms")}
    counted = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in shown.items())
    if not figures.get("judged"):
        return f"{step}: {counted}"
    alarms, judged = figures["false_alarms"], int(figures["judged"])
    low, high = wilson(alarms, judged)
    rate = f"{100 * alarms / judged:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
    return f"{step}: {counted}; false alarms of {judged} scripts, by what the others say: {rate}"
