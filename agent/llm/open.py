"""Puts a model together from its SPEC: client, price, limits and retries, on a run's ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.llm.budget import Budget
from agent.llm.client import CallKey, Client
from agent.llm.guard import GuardedClient
from agent.llm.ledger import Ledger
from agent.llm.limiter import Limiter
from agent.llm.model import Model, log_repeat
from agent.llm.prefix_cache import prefix_cache
from agent.llm.prices import PriceTable, load_prices
from agent.llm.primer import Primer
from agent.llm.retry import Repeat
from agent.llm.settings import LlmSettings
from agent.llm.specs import ModelSpec, open_client


def open_model(
    spec: ModelSpec,
    *,
    settings: LlmSettings,
    ledger: Ledger,
    budget: Budget | None = None,
    env: Mapping[str, str],
    prices: PriceTable | None = None,
    replay: Callable[[ModelSpec], Client] | None = None,
    on_repeat: Callable[[CallKey, Repeat], None] = log_repeat,
    seed: int | None = None,
) -> Model:
    """The model that `spec` names; close it when done. Raises as `open_client` and `load_prices` do.

    `seed`: what servers that take one sample with, a different one drawn from it for each call's key.

    Secrets of this process are kept out of what is asked and answered (`GuardedClient`); a transcript is compared with
    what is asked as it is.

    A person and a transcript are not primed: nothing is cached there, and all requests should be open at once.
    """
    table = prices or load_prices(settings.prices)
    served = spec.vendor in ("anthropic", "openai")
    client = open_client(spec, settings, env, replay=replay, seed=seed)
    return Model(
        client if spec.vendor == "replay" else GuardedClient(client),
        ledger=ledger,
        budget=budget,
        price=table.price(str(spec)),
        limiter=Limiter(settings.in_flight if served else 10_000),
        primer=Primer(prefix_cache(spec), enabled=settings.prime and served),
        retry=settings.retry,
        bytes_per_token=settings.bytes_per_token,
        on_repeat=on_repeat,
    )
