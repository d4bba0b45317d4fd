"""A model as trajectories see it, over real HTTP: retries, priming and the ledger together."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.llm.client import CallKey
from agent.llm.errors import ContextExceeded, RequestRefused, ServerUnavailable
from agent.llm.ledger import Ledger
from agent.llm.messages import Message, Part, Reply, Request, Usage
from agent.llm.model import Model, log_repeat
from agent.llm.open import open_model
from agent.llm.prices import PriceTable, load_prices, parse_price
from agent.llm.retry import Repeat
from agent.llm.settings import LlmSettings
from agent.llm.specs import parse_spec
from agent.llm.totals import Totals
from agent.trajectory.flow import Asks
from tests.agent.llm.dialects import Played, ask, chat, hang_up, key, message, says

BUSY = says(429, {"error": {"message": "slow down"}}, {"Retry-After": "0"})


class Bench:
    """A model on a server that a test plays, with what it reported."""

    def __init__(self, played: Played, ledger: Ledger) -> None:
        self.played = played
        self.ledger = ledger
        self.repeats: list[tuple[CallKey, Repeat]] = []
        self.models: list[Model] = []

    def model(self, vendor: str = "openai", prices: PriceTable | None = None, **settings: Any) -> Model:
        spec = parse_spec(f"{vendor}:m@{self.played.url}{'/v1' if vendor == 'openai' else ''}")
        self.models.append(
            open_model(
                spec,
                settings=LlmSettings(**{"attempts": 3, "timeout_seconds": 10, **settings}),
                ledger=self.ledger,
                env={},
                prices=prices,
                on_repeat=lambda key, repeat: self.repeats.append((key, repeat)),
            )
        )
        return self.models[-1]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ledger.path.read_text().splitlines()]


@pytest.fixture
async def bench(played: Played, tmp_path: Path) -> AsyncIterator[Bench]:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        made = Bench(played, ledger)
        yield made
        for model in made.models:
            await model.close()


async def test_unknown_price_stays_unknown(bench: Bench) -> None:
    bench.played.plays(says(200, chat()))
    model: Asks = bench.model()
    reply = await model.complete(ask(), key())
    assert reply.dollars is None
    assert bench.lines()[1]["worst_dollars"] is None
    totals = replace(bench.ledger.totals(), seconds=0.0)
    assert totals == Totals(calls=1, input=100, output=7, unpriced=1, cache_untold=1)


async def test_known_price(bench: Bench) -> None:
    bench.played.plays(says(200, chat()))
    prices = load_prices().over("openai:m@*", parse_price("10,1,10,100"))
    reply = await bench.model(prices=prices).complete(ask(max_tokens=50), key())
    assert reply.dollars == pytest.approx(0.0017)
    assert reply.seconds > 0
    _, reserve, settle = bench.lines()
    assert reserve["worst_dollars"] >= 0.005
    assert (settle["dollars"], settle["attempts"], settle["stop_reason"]) == (reply.dollars, 1, "end")
    assert bench.ledger.totals().unpriced == 0


async def test_repeats_are_on_the_ledger_and_reported(bench: Bench) -> None:
    bench.played.plays(BUSY, hang_up, says(200, chat()))
    await bench.model().complete(ask(), key(5))
    assert [line["kind"] for line in bench.lines()] == ["start", "reserve", "repeat", "repeat", "settle"]
    assert [line.get("may_be_billed") for line in bench.lines()[2:4]] == [False, True]
    assert bench.lines()[-1]["attempts"] == 3
    assert [(made.sample, repeat.attempt) for made, repeat in bench.repeats] == [(5, 1), (5, 2)]
    assert (bench.ledger.totals().maybe_billed, bench.ledger.totals().unsettled) == (1, 0)


async def test_giving_up_is_on_the_ledger(bench: Bench) -> None:
    bench.played.plays(BUSY)
    with pytest.raises(ServerUnavailable, match="3 attempts"):
        await bench.model().complete(ask(), key())
    assert (len(bench.played.bodies), bench.lines()[-1]["kind"]) == (3, "fail")
    assert bench.ledger.totals() == Totals(calls=1, failed=1)


async def test_refusal_is_on_the_ledger(bench: Bench) -> None:
    bench.played.plays(says(400, {"error": {"message": "messages: no"}}))
    with pytest.raises(RequestRefused):
        await bench.model().complete(ask(), key())
    assert bench.ledger.totals() == Totals(calls=1, failed=1)


async def test_reply_that_fills_the_context_is_billed(bench: Bench) -> None:
    bench.played.plays(says(200, message(stop="model_context_window_exceeded")))
    prices = load_prices().over("anthropic:m@*", parse_price("1,1"))
    with pytest.raises(ContextExceeded):
        await bench.model("anthropic", prices).complete(ask(), key())
    totals = bench.ledger.totals()
    assert (totals.input, totals.output, totals.failed, totals.unsettled) == (10, 5, 0, 0)
    assert totals.dollars == pytest.approx(15e-6)


async def test_cancelled_call_stays_unsettled(bench: Bench) -> None:
    bench.played.plays(says(200, chat(), seconds=5))
    prices = load_prices().over("openai:m@*", parse_price("1,1"))
    model = bench.model(prices=prices)
    task = asyncio.create_task(model.complete(ask(), key()))
    while not bench.played.bodies:  # noqa: ASYNC110  the server is another task's
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    totals = Ledger(bench.ledger.path).totals()
    assert (totals.calls, totals.unsettled) == (1, 1)
    assert totals.unsettled_dollars > 0
    assert model.limiter.in_flight == 0


async def test_first_of_a_prefix_goes_alone(bench: Bench) -> None:
    open_now, most = 0, []

    async def count(request: Any, asked: Any) -> Any:
        nonlocal open_now
        open_now += 1
        most.append(open_now)
        await asyncio.sleep(0.1)
        open_now -= 1
        return await says(200, chat())(request, asked)

    def request(sample: int) -> Request:
        return Request((Message("user", (Part("files", "shared", cache=True), Part("step", f"sample {sample}"))),))

    bench.played.plays(count)
    model = bench.model(in_flight=3)
    await asyncio.gather(*(model.complete(request(sample), key(sample)) for sample in range(7)))
    assert most[:2] == [1, 1]
    assert max(most) == 3
    most.clear()
    model = bench.model(prime=False)
    await asyncio.gather(*(model.complete(request(sample), key(sample)) for sample in range(4)))
    assert max(most) == 4


async def test_one_calls_pause_holds_back_the_others(bench: Bench) -> None:
    began: list[float] = []

    async def busy_at_first(request: Any, asked: Any) -> Any:
        began.append(time.monotonic())
        if len(began) <= 4:
            return await says(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})(request, asked)
        return await says(200, chat())(request, asked)

    bench.played.plays(busy_at_first)
    model = bench.model(in_flight=4)
    await asyncio.gather(*(model.complete(ask(), key(sample)) for sample in range(12)))
    assert len(began) == 16
    assert began[4] - began[0] >= 1.0
    assert bench.ledger.totals().failed == 0
    assert model.limiter.round == 1  # the four refusals were one
    assert model.limiter.in_flight == 0


async def test_unheard_repeats_are_logged(caplog: pytest.LogCaptureFixture, bench: Bench) -> None:
    bench.played.plays(BUSY, says(200, chat()))
    await bench.model().complete(ask(), key())
    with caplog.at_level(logging.WARNING):
        log_repeat(*bench.repeats[0])
    assert "slow down" in caplog.text
    assert str(key()) in caplog.text


async def test_unreported_usage_is_counted_as_such(bench: Bench) -> None:
    bench.played.plays(says(200, {**chat(), "usage": None}))
    reply = await bench.model(prices=load_prices().over("openai:m@*", parse_price("1,1"))).complete(ask(), key())
    assert (reply.usage, reply.dollars) == (Usage(), None)
    totals = bench.ledger.totals()
    assert (totals.uncounted, totals.unpriced, totals.dollars) == (1, 1, 0)
    assert totals.uncertain_dollars > 0


async def test_person_is_asked_everything_at_once(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        folder = tmp_path / "desk"
        spec = parse_spec(f"manual:{folder}")
        model = open_model(spec, settings=LlmSettings(in_flight=1, manual_poll_seconds=0.01), ledger=ledger, env={})
        request = Request((Message("user", (Part("files", "shared", cache=True),)),))
        tasks = [asyncio.create_task(model.complete(request, key(sample))) for sample in range(3)]
        async with asyncio.timeout(5):
            while len(list(folder.glob("*.request.md"))) < 3:  # noqa: ASYNC110  the other side is a file system
                await asyncio.sleep(0.01)
        for number in (1, 2, 3):
            (folder / f"{number:04d}.reply.md").write_text("done")
        assert [reply.text for reply in await asyncio.gather(*tasks)] == ["done"] * 3
        totals = ledger.totals()
        assert (totals.calls, totals.uncounted, totals.unpriced, totals.unsettled) == (3, 3, 3, 0)
        await model.close()


class Half:
    """A client that answers with half of a surrogate pair."""

    spec = "openai:half@http://127.0.0.1:1"

    async def complete(self, request: Request, key: CallKey) -> Reply:
        return Reply("a \ud83d b")

    async def close(self) -> None:
        """Nothing is open."""


async def test_half_of_a_surrogate_pair_does_not_reach_a_trajectory(tmp_path: Path) -> None:
    model = Model(Half(), ledger=Ledger(tmp_path / "ledger.jsonl"))
    reply = await model.complete(Request(()), CallKey("i", "testing", 0, "", 0))
    reply.text.encode("utf-8")
    assert reply.text.startswith("a ")
