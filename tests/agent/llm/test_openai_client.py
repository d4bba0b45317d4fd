"""The client of OpenAI's protocol, over the wire, against a server that plays the vendor."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from aiohttp import web

from agent.llm.errors import RequestRefused
from agent.llm.messages import Message, Part, Request, StopReason, Usage
from tests.agent.llm.dialects import Clients, Played, ask, chat, key, says


async def test_reply(played: Played, clients: Clients) -> None:
    details = {"cached_tokens": 60, "cache_write_tokens": 10}
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107, "prompt_tokens_details": details}
    played.plays(says(200, chat("Hello.", usage=usage)))
    reply = await clients["openai"].complete(ask(system="Be brief.", temperature=0.5, max_tokens=77), key())
    assert (reply.text, reply.model, reply.stop_reason) == ("Hello.", "played-1", StopReason.END)
    assert reply.usage == Usage(input=30, cache_read=60, cache_write=10, output=7)
    body = played.bodies[0]
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]
    assert (body["temperature"], body["max_tokens"]) == (0.5, 77)
    assert "response_format" not in body


async def test_unreported_cache_is_unknown(played: Played, clients: Clients) -> None:
    played.plays(says(200, chat()))
    assert (await clients["openai"].complete(ask(), key())).usage == Usage(100, None, None, 7)


async def test_adjacent_system_messages_are_joined(played: Played, clients: Clients) -> None:
    played.plays(says(200, chat()))
    system = (Message("system", (Part("a", "One."),)), Message("system", (Part("b", "Two."),)))
    await clients["openai"].complete(Request((*system, *ask().messages)), key())
    assert [each["content"] for each in played.bodies[0]["messages"]] == ["One.\n\nTwo.", "Say hello."]


async def test_json_schema(played: Played, clients: Clients) -> None:
    played.plays(says(200, chat("{}")))
    await clients["openai"].complete(ask(json_schema='{"type": "object"}'), key())
    assert played.bodies[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (chat("cut", "length"), StopReason.LENGTH, "cut"),
        (chat(None, "content_filter"), StopReason.REFUSAL, ""),
        (chat(None, "stop", refusal="I will not."), StopReason.REFUSAL, "I will not."),
        (chat("", "stop"), StopReason.END, ""),
        (chat(None, "tool_calls"), StopReason.OTHER, ""),
    ],
)
async def test_ends(played: Played, clients: Clients, answer: Any, reason: StopReason, text: str) -> None:
    played.plays(says(200, answer))
    reply = await clients["openai"].complete(ask(), key())
    assert (reply.stop_reason, reply.text) == (reason, text)


@pytest.mark.parametrize(
    "refusal",
    [
        {
            "message": "Unsupported value: 'temperature' does not support 0.5 with this model.",
            "param": "temperature",
            "code": "unsupported_value",
        },
        {"message": "Unsupported parameter: 'temperature'"},
    ],
)
async def test_refused_temperature_is_left_out(
    played: Played, clients: Clients, refusal: Any, caplog: pytest.LogCaptureFixture
) -> None:
    played.plays(says(400, {"error": refusal}), says(200, chat()))
    with caplog.at_level(logging.WARNING):
        await clients["openai"].complete(ask(temperature=0.5), key())
        await clients["openai"].complete(ask(temperature=0.5), key())
    assert ["temperature" in body for body in played.bodies] == [True, False, False]
    assert caplog.text.count("does not take temperature") == 1


async def test_refused_name_of_the_bound_is_changed(played: Played, clients: Clients) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    played.plays(
        says(400, {"error": {"message": said, "param": "max_tokens", "code": "unsupported_parameter"}}),
        says(200, chat()),
    )
    await clients["openai"].complete(ask(max_tokens=50), key())
    assert "max_tokens" in played.bodies[0]
    assert played.bodies[1]["max_completion_tokens"] == 50


async def test_server_that_takes_neither_name(played: Played, clients: Clients) -> None:
    async def refuse(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        name = next(name for name in asked if name.startswith("max_"))
        return web.json_response({"error": {"message": f"Unsupported parameter: '{name}'", "param": name}}, status=400)

    played.plays(refuse)
    with pytest.raises(RequestRefused):
        await clients["openai"].complete(ask(), key())
    assert len(played.bodies) == 2
