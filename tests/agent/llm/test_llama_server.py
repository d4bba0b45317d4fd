"""Both clients against the real llama.cpp with a real, small model: what unit tests play must hold there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.llm.errors import ContextExceeded, ServerUnavailable
from agent.llm.ledger import Ledger
from agent.llm.messages import Message, Part, Request, StopReason
from agent.llm.model import Model
from agent.llm.open import open_model
from agent.llm.settings import LlmSettings
from agent.llm.specs import check, parse_spec
from tests.agent.llm.dialects import ask, key

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]  # the first run downloads 130 MB
RULES = "You review changes to a program. " + "Every change must be small, tested and explained. " * 30


@pytest.fixture(params=["openai", "anthropic"])
async def model(request: pytest.FixtureRequest, llama: str, tmp_path: Path) -> AsyncIterator[Model]:
    spec = parse_spec(f"{request.param}:smollm2@{llama}{'/v1' if request.param == 'openai' else ''}")
    settings = LlmSettings(attempts=2, timeout_seconds=60)
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        opened = open_model(spec, settings=settings, ledger=ledger, env={}, seed=7)
        yield opened
        await opened.close()


async def test_completion(model: Model, tmp_path: Path) -> None:
    await check(model.client)
    reply = await model.complete(ask("Say hello.", system="Be brief.", max_tokens=12, temperature=0.0), key())
    assert reply.text.strip()
    assert reply.usage.output
    assert 0 < reply.usage.output <= 12
    assert reply.usage.input is not None
    assert reply.dollars is None
    assert reply.seconds > 0
    totals = Ledger(tmp_path / "ledger.jsonl").totals()
    assert (totals.calls, totals.unpriced, totals.unsettled, totals.output) == (1, 1, 0, reply.usage.output)


async def test_bound_on_the_reply(model: Model) -> None:
    reply = await model.complete(ask("Count from one to one hundred.", max_tokens=5, temperature=0.0), key())
    assert (reply.stop_reason, reply.usage.output) == (StopReason.LENGTH, 5)


async def test_repeated_prefix_is_read_from_the_cache(model: Model) -> None:
    def request(question: str) -> Request:
        system = Message("system", (Part("rules", RULES, cache=True),))
        return Request((system, Message("user", (Part("issue", question),))), max_tokens=4)

    await model.complete(request("Is this change good?"), key(0))
    reply = await model.complete(request("What would you change?"), key(1))
    assert reply.usage.cache_read
    assert reply.usage.cache_read > 250
    assert reply.usage.input is not None
    assert reply.usage.input < 100


async def test_prompt_that_does_not_fit(model: Model) -> None:
    with pytest.raises(ContextExceeded) as raised:
        await model.complete(ask("word " * 3000), key())
    assert raised.value.limit == 1024
    assert raised.value.prompt_tokens is not None
    assert raised.value.prompt_tokens > 3000


async def test_long_replies_are_streamed(model: Model) -> None:
    reply = await model.complete(ask("Answer with one word: yes or no?", max_tokens=9000, temperature=0.0), key())
    assert reply.text.strip()
    assert reply.usage.output is not None
    assert reply.usage.output > 0


async def test_schema_binds_the_reply(llama: str, tmp_path: Path) -> None:
    schema = '{"type": "object", "properties": {"relevant": {"type": "boolean"}}, "required": ["relevant"]}'
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        spec = parse_spec(f"openai:smollm2@{llama}/v1")
        opened = open_model(spec, settings=LlmSettings(attempts=1), ledger=ledger, env={})
        reply = await opened.complete(ask("Is it relevant?", json_schema=schema, max_tokens=40), key())
        await opened.close()
    assert reply.text.replace(" ", "").replace("\n", "") in ('{"relevant":true}', '{"relevant":false}')


async def test_seed_repeats_a_sample_and_tells_samples_apart(llama: str, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        spec = parse_spec(f"openai:smollm2@{llama}/v1")
        opened = open_model(spec, settings=LlmSettings(attempts=1), ledger=ledger, env={}, seed=1)
        request = ask("Tell me a story.", max_tokens=12, temperature=1.0)
        texts = [(await opened.complete(request, key(sample))).text for sample in (0, 0, 1, 2)]
        await opened.close()
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


async def test_count_of_tokens(model: Model) -> None:
    counted = await model.client.count(ask("Say hello to the world."))  # type: ignore[attr-defined]  beside the protocol
    assert counted is not None
    assert 4 <= counted <= 60


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_server_that_is_down(vendor: str, unused_tcp_port: int, tmp_path: Path) -> None:
    spec = parse_spec(f"{vendor}:smollm2@http://127.0.0.1:{unused_tcp_port}")
    started = time.monotonic()
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        opened = open_model(spec, settings=LlmSettings(attempts=3, retry_seconds=20), ledger=ledger, env={})
        with pytest.raises(ServerUnavailable) as early:
            await check(opened.client)
        assert "resume" not in early.value.hint  # there is no run yet
        with pytest.raises(ServerUnavailable, match="3 attempts") as raised:
            await opened.complete(ask(), key())
        await opened.close()
        assert (ledger.totals().failed, ledger.totals().maybe_billed) == (1, 0)
    assert "runoff resume" in raised.value.hint
    assert time.monotonic() - started < 15
