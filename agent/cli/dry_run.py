"""`runoff solve --dry-run`: which files would be read, which prompts sent, and what that would cost. Spends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.cli.components import context_settings, trajectory_settings
from agent.cli.estimate import RELEVANT_SHARE, REPLY_TOKENS, TURNS, StageEstimate, estimate_stages, total
from agent.cli.inputs import on_a_thread, open_inputs
from agent.cli.settings import BatchSettings, SolveSettings
from agent.cli.split import split_of
from agent.cli.split_estimate import estimate_split
from agent.context.stage import files_to_read
from agent.instances import Instance
from agent.llm.tokens import estimate_bytes
from agent.repository import SourceFile
from agent.trajectory.opening import opening
from agent.trajectory.testing import draft_step

SAMPLED = 10
"""Instances of a split that are looked at."""


async def command(settings: SolveSettings, *, as_json: bool) -> int:
    """Print the dry run."""
    inputs = await open_inputs(settings)
    with inputs.repository as repository:
        files, left_out, prefiltered = files_to_read(repository, inputs.instance.statement, context_settings(settings))
    stages = estimate_stages(settings, inputs.instance, files)
    if as_json:
        report = {
            "instance": inputs.instance.id,
            "base_commit": inputs.instance.base_commit,
            "files": len(files),
            "left_out": dict(left_out),
            "prefiltered": prefiltered,
            "environment": {"setups": [asdict(each) for each in inputs.setups], "test": asdict(inputs.test)},
            "stages": [asdict(stage) for stage in stages],
        }
        typer.echo(json.dumps(report, indent=1))
        return 0
    console = Console()
    console.print(
        f"[bold]{escape(inputs.instance.id)}[/]  {escape(inputs.instance.repo)} at {inputs.instance.base_commit[:12]}",
        highlight=False,
    )
    for line in inputs.found():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    _files(console, files, left_out, prefiltered)
    _prompts(console, settings, inputs.instance)
    _stages(console, stages)
    return 0


async def split_command(settings: BatchSettings, *, as_json: bool) -> int:
    """Print the dry run of a batch."""
    split = await on_a_thread(lambda: split_of(settings))
    told = await on_a_thread(lambda: estimate_split(settings, split.instances, SAMPLED))
    if as_json:
        report = {
            "instances": [instance.id for instance in split.instances],
            "left_out": split.left_out(),
            "sampled": list(told.sampled),
            "stages": [asdict(stage) for stage in told.stages],
            "earlier": asdict(told.earlier) if told.earlier else None,
            "seconds": told.seconds,
        }
        typer.echo(json.dumps(report, indent=1))
        return 0
    console = Console()
    console.print(f"{len(split.instances)} instances, {len(split.broken)} rows left out", highlight=False)
    for row in split.broken:
        console.print(f"left out, row {row.line} ({row.id or 'no id'}): {row.reason}", markup=False, highlight=False)
    console.print(told.in_a_line(settings.budget), markup=False, highlight=False, soft_wrap=True)
    if told.stages:
        _stages(console, told.stages)
    if told.earlier and told.earlier.dollars:
        table = Table("stage", f"dollars by run {told.earlier.run}", "share", box=None)
        whole = sum(told.earlier.dollars.values())
        for stage, dollars in told.earlier.dollars.items():
            table.add_row(stage, f"{dollars * told.instances:,.2f}", f"{dollars / whole:.1%}")
        console.print(table)
    return 0


def _files(console: Console, files: Sequence[SourceFile], left_out: Mapping[str, int], prefiltered: int) -> None:
    tokens = sum(estimate_bytes(file.size) for file in files)
    reasons = {**left_out, **({"prefilter": prefiltered} if prefiltered else {})}
    console.print(f"{len(files):,} files to read, about {tokens:,} tokens; left out: {_counts(reasons)}", highlight=False)
    longest = sorted(files, key=lambda file: -file.size)[:5]
    console.print(
        "longest: " + ", ".join(f"{file.path} ({estimate_bytes(file.size):,})" for file in longest), highlight=False
    )


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "none"


def _prompts(console: Console, settings: SolveSettings, instance: Instance) -> None:
    system = opening(instance).text
    step = draft_step(instance, trajectory_settings(settings), files=False)
    console.print("\nFirst prompt of a testing trajectory:", style="bold")
    console.print(f"{system}\n{step}", markup=False, highlight=False, style="dim")


def _stages(console: Console, stages: Sequence[StageEstimate]) -> None:
    table = Table("stage", "calls", "tokens in", "of these cached", "tokens out", "dollars", "at most", box=None)
    for stage in stages:
        table.add_row(
            stage.stage,
            f"{stage.calls:,}",
            f"{stage.input:,}",
            f"{stage.cached:,}",
            f"{stage.output:,}",
            _money(stage.dollars),
            _money(stage.most_dollars),
        )
    dollars = total(stages)
    if dollars:
        table.add_row("all", "", "", "", "", _money(dollars[0]), _money(dollars[1]))
    console.print(table)
    console.print(
        f"assumed: {RELEVANT_SHARE:.0%} of the files relevant, {TURNS} turns a trajectory,"
        f" up to {REPLY_TOKENS:,} tokens a reply; at most: every turn, the longest replies, nothing cached",
        highlight=False,
    )
    if dollars is None:
        console.print("a price is unknown: name the model with --model, or its price with --price", style="yellow")


def _money(dollars: float | None) -> str:
    return "unknown" if dollars is None else f"{dollars:,.2f}"
