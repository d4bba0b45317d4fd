"""`runoff solve --dry-run`: which files would be read, which prompts sent, and what that would cost. Spends nothing.

Tokens are estimated from bytes. How many files a model finds relevant and how many turns a trajectory takes is not
known beforehand: the estimate says what it assumes, and gives the most that the settings allow beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.cli.components import JUDGEMENT_TOKENS, context_settings, trajectory_settings
from agent.cli.inputs import open_inputs
from agent.cli.settings import SolveSettings
from agent.context.forecast import forecast
from agent.context.stage import files_to_read
from agent.instances import Instance
from agent.llm.messages import Usage
from agent.llm.prices import Price, load_prices, parse_price
from agent.llm.tokens import estimate, estimate_bytes
from agent.prompts.render import render
from agent.repository import SourceFile
from agent.trajectory.opening import opening

RELEVANT_SHARE = 0.05
"""Assumed share of the files that a model finds relevant."""
TURNS = 3
"""Assumed turns of a trajectory that approves its work."""
REPLY_TOKENS = 1500
"""Assumed tokens of a trajectory's reply; the feedback on it is taken to be as long."""


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """Calls and tokens of one stage, as assumed and at most."""

    stage: str
    calls: int
    input: int
    """Prompt tokens, those that a cache would serve included."""
    cached: int
    """Of these, how many a prompt cache can serve."""
    output: int
    dollars: float | None
    most_dollars: float | None
    """With every turn taken, every reply as long as allowed and nothing cached."""


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


def estimate_stages(settings: SolveSettings, instance: Instance, files: Sequence[SourceFile]) -> list[StageEstimate]:
    """What each stage would take."""
    main = _price(settings.model, settings.price)
    cheap = _price(settings.cheap_model, settings.cheap_price) if settings.cheap_model else main
    issue = estimate(instance.statement)
    relevance = context_settings(settings).relevance
    reading = forecast(files, issue=instance.statement, repository=instance.repo, settings=relevance)
    context = min(settings.context_tokens, int(reading.file_tokens * RELEVANT_SHARE) + 1)
    found = max(1, int(len(files) * RELEVANT_SHARE))
    notes = found * 80 + issue
    judged = _Load(reading.calls, reading.input_tokens, reading.output_tokens // max(1, reading.calls))
    ranked = _Load(settings.rankings, settings.rankings * notes, output=20 * found)
    stages = [
        _estimate("relevance", cheap, judged, replace(judged, output=JUDGEMENT_TOKENS)),
        _estimate("ranking", main, ranked, replace(ranked, output=JUDGEMENT_TOKENS)),
    ]
    seen = context if settings.testing_context == "files" else 0
    for stage, prefix, samples, turns in (
        ("testing", issue + seen + 700, settings.samples, settings.turns),
        ("editing", issue + context + 700, settings.samples, settings.turns),
        ("selection", issue + 2 * REPLY_TOKENS + context // 4, 1, settings.selection_turns),
    ):
        longest = prefix if stage == "testing" and not seen else issue + settings.context_tokens + 700
        assumed = _trajectories(prefix, samples, min(TURNS, turns), REPLY_TOKENS)
        most = replace(_trajectories(longest, samples, turns, settings.max_tokens), cached=0)
        stages.append(_estimate(stage, main, assumed, most))
    return stages


@dataclass(frozen=True, slots=True)
class _Load:
    """What a stage asks of a model."""

    calls: int
    input: int
    """Prompt tokens of all calls, cached ones included."""
    output: int
    """Tokens of one reply."""
    cached: int = 0
    """Prompt tokens of all calls that a cache can serve."""

    def dollars(self, price: Price) -> float | None:
        """The calls' cost, taking each to be the mean call: some prices depend on a prompt's length."""
        if not self.calls:
            return 0.0
        read = self.cached // self.calls
        one = price.dollars(Usage(input=self.input // self.calls - read, cache_read=read, cache_write=0, output=self.output))
        return None if one is None else one * self.calls


def _price(model: str, given: str) -> Price | None:
    if given:
        return parse_price(given)
    return load_prices().price(model) if model else None


def _trajectories(prefix: int, samples: int, turns: int, reply: int) -> _Load:
    """Each turn sends the prefix and all that was said since; a cache serves what an earlier call has sent."""
    grown = sum(2 * reply * turn for turn in range(turns))
    cached = prefix * (samples * turns - 1) + samples * max(0, grown - 2 * reply * (turns - 1))
    return _Load(samples * turns, samples * (prefix * turns + grown), reply, cached)


def _estimate(stage: str, price: Price | None, assumed: _Load, most: _Load) -> StageEstimate:
    dollars, most_dollars = (assumed.dollars(price), most.dollars(price)) if price else (None, None)
    return StageEstimate(
        stage, assumed.calls, assumed.input, assumed.cached, assumed.calls * assumed.output, dollars, most_dollars
    )


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
    step = render("testing_draft", language=trajectory_settings(settings).language, title=instance.title, files=False)
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
    known = [stage for stage in stages if stage.dollars is not None and stage.most_dollars is not None]
    if len(known) == len(stages):
        total, most = sum(stage.dollars or 0 for stage in known), sum(stage.most_dollars or 0 for stage in known)
        table.add_row("all", "", "", "", "", _money(total), _money(most))
    console.print(table)
    console.print(
        f"assumed: {RELEVANT_SHARE:.0%} of the files relevant, {TURNS} turns a trajectory, {REPLY_TOKENS:,} tokens a reply;"
        " at most: every turn, the longest replies, nothing cached",
        highlight=False,
    )
    if len(known) < len(stages):
        console.print("a price is unknown: name the model with --model, or its price with --price", style="yellow")


def _money(dollars: float | None) -> str:
    return "unknown" if dollars is None else f"{dollars:,.2f}"
