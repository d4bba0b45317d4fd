"""The models of a run: which ones the settings and the environment name, at which prices, within which budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.cli.components import llm_settings
from agent.cli.settings import BatchSettings, SolveSettings
from agent.llm.budget import Budget, BudgetLimits, unknown_price
from agent.llm.client import CallKey, Client
from agent.llm.ledger import Ledger
from agent.llm.model import Model, Ranked
from agent.llm.open import open_model
from agent.llm.prices import PriceTable, load_prices, parse_price
from agent.llm.retry import Repeat
from agent.llm.specs import ModelSpec, check, default_spec, parse_spec
from agent.pipeline import Models
from agent.progress import Watch, note
from agent.replay import ReplayClient
from sandbox.errors import InputError


@dataclass(frozen=True, slots=True)
class Specs:
    """Which models answer."""

    main: ModelSpec
    cheap: ModelSpec


def specs_of(settings: SolveSettings, env: Mapping[str, str], watch: Watch) -> Specs:
    """The models that the settings name, else those that the environment's keys allow, which is said aloud."""
    main = parse_spec(settings.model, env) if settings.model else default_spec(env)
    if settings.cheap_model:
        cheap = parse_spec(settings.cheap_model, env)
    else:
        cheap = main if settings.model else default_spec(env, cheap=True)
    if not settings.model:
        watch(note(f"no --model given; the environment's key allows {main}, and {cheap} for relevance"))
    return Specs(main, cheap)


def limits_of(settings: SolveSettings) -> BudgetLimits:
    """The limits that the settings put on a run."""
    per_issue = settings.budget_per_issue if isinstance(settings, BatchSettings) else None
    return BudgetLimits(settings.budget, settings.budget_tokens, settings.budget_calls, per_issue)


def prices_of(specs: Specs, settings: SolveSettings) -> PriceTable:
    """The table, with the prices that were given by hand in front.

    Raises InputError where dollars are limited and a price is unknown.
    """
    table = load_prices()
    for spec, given in ((specs.cheap, settings.cheap_price), (specs.main, settings.price)):
        if given:
            table = table.over(str(spec), parse_price(given))
    limits = limits_of(settings)
    if limits.dollars is not None or limits.dollars_per_issue is not None:
        for spec, flag in ((specs.main, "--price"), (specs.cheap, "--cheap-price")):
            if table.price(str(spec)) is None:
                raise unknown_price(str(spec), flag)
    return table


def rates_of(specs: Specs, prices: PriceTable) -> dict[str, Any]:
    """What the models cost, for the manifest; None: unknown."""
    known = {str(spec): prices.price(str(spec)) for spec in (specs.main, specs.cheap)}
    return {spec: asdict(price) if price else None for spec, price in known.items()}


@dataclass(frozen=True, slots=True)
class OpenModels:
    """The models of a run, which all its instances share."""

    main: Model
    cheap: Model
    specs: Specs

    def of_instance(self, rank: int) -> Models:
        """The models as one instance sees them; the calls of lower ranks go first."""
        return Models(Ranked(self.main, rank), Ranked(self.cheap, rank), str(self.specs.main))


async def open_models(
    specs: Specs,
    prices: PriceTable,
    settings: SolveSettings,
    *,
    ledger: Ledger,
    env: Mapping[str, str],
    watch: Watch,
    stack: AsyncExitStack,
) -> OpenModels:
    """Both models, checked: a wrong key, an unknown model and a server that is down are found out here."""
    budget = Budget(ledger, limits_of(settings))
    opened: dict[str, Model] = {}
    for spec in (specs.main, specs.cheap):
        if str(spec) not in opened:
            model = open_model(
                spec,
                settings=llm_settings(settings),
                ledger=ledger,
                budget=budget,
                env=env,
                prices=prices,
                replay=_replayer(settings, watch),
                on_repeat=_teller(watch),
                seed=settings.seed,
            )
            stack.push_async_callback(model.close)
            await check(model.client)
            opened[str(spec)] = model
    return OpenModels(opened[str(specs.main)], opened[str(specs.cheap)], specs)


def system_name(spec: ModelSpec) -> str:
    """What predictions are signed with: no path or address of this machine, and a plain folder name for the harness."""
    model = spec.target if spec.vendor in ("anthropic", "openai") else spec.vendor
    return "runoff-" + re.sub(r"[^\w.-]+", "-", model)


def same_model(recorded: str, wanted: str, key: str) -> None:
    """Raises InputError if `wanted` is another model than `recorded`, not merely the same one elsewhere."""
    before, now = parse_spec(recorded), parse_spec(wanted)
    if (before.vendor, before.target) != (now.vendor, now.target):
        raise InputError(
            f"the run was started with {recorded}; resuming may change the endpoint, not the model",
            where=f"--{key.replace('_', '-')}",
            hint="start a new run for another model",
        )


def _replayer(settings: SolveSettings, watch: Watch) -> Callable[[ModelSpec], Client]:
    def replay(spec: ModelSpec) -> Client:
        found = Path(settings.runs) / spec.target
        run = found if found.is_dir() else Path(spec.target)
        return ReplayClient(run, warn=lambda text: watch(note(text)), strict=settings.strict)

    return replay


def _teller(watch: Watch) -> Callable[[CallKey, Repeat], None]:
    def tell(key: CallKey, repeat: Repeat) -> None:
        watch(note(f"{key}: {repeat.fault}; attempt {repeat.attempt + 1} follows in {repeat.wait:.0f} s"))

    return tell
