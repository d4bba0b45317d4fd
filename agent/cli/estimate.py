"""What a run would take, before anything is spent: by stage, as assumed and at most.

Tokens are estimated from bytes. How many files a model finds relevant and how many turns a trajectory takes is not
known beforehand: the estimate says what it assumes, and gives the most that the settings allow beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.cli.components import JUDGEMENT_TOKENS, context_settings, run_off
from agent.cli.settings import SolveSettings
from agent.context.forecast import forecast
from agent.instances import Instance
from agent.llm.messages import Usage
from agent.llm.prices import Price, load_prices, parse_price
from agent.llm.tokens import estimate
from agent.repository import SourceFile

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
    said = min(REPLY_TOKENS, settings.max_tokens)
    for stage, prefix, samples, turns in (
        ("testing", issue + seen + 700, settings.samples, settings.turns),
        ("editing", issue + context + 700, settings.samples, settings.turns),
        ("selection", issue + 2 * said + context // 4, 1, run_off(settings).most_calls),
    ):
        longest = prefix if stage == "testing" and not seen else issue + settings.context_tokens + 700
        assumed = _trajectories(prefix, samples, min(TURNS, turns), said)
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
    cached = prefix * max(0, samples * turns - 1) + samples * max(0, grown - 2 * reply * max(0, turns - 1))
    return _Load(samples * turns, samples * (prefix * turns + grown), reply, cached)


def _estimate(stage: str, price: Price | None, assumed: _Load, most: _Load) -> StageEstimate:
    dollars, most_dollars = (assumed.dollars(price), most.dollars(price)) if price else (None, None)
    return StageEstimate(
        stage, assumed.calls, assumed.input, assumed.cached, assumed.calls * assumed.output, dollars, most_dollars
    )


def total(stages: Sequence[StageEstimate]) -> tuple[float, float] | None:
    """(dollars as assumed, dollars at most) of all stages; None where a price is unknown."""
    priced = [(stage.dollars, stage.most_dollars) for stage in stages]
    if any(dollars is None or most is None for dollars, most in priced):
        return None
    return sum(dollars or 0.0 for dollars, _ in priced), sum(most or 0.0 for _, most in priced)


def in_a_line(settings: SolveSettings, instance: Instance, files: Sequence[SourceFile]) -> str:
    """The estimate as a run says it when it begins."""
    stages = estimate_stages(settings, instance, files)
    calls, tokens = sum(stage.calls for stage in stages), sum(stage.input + stage.output for stage in stages)
    line = f"estimate: about {calls:,} calls and {tokens:,} tokens"
    if dollars := total(stages):
        line += f", ${dollars[0]:,.2f} (at most ${dollars[1]:,.2f})"
    if settings.budget is not None:
        line += f"; the budget is ${settings.budget:,.2f}"
    return line
