"""The client of Anthropic's protocol, over the wire, against a server that plays the vendor."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from agent.llm.faults import ContextFilled, Transient
from agent.llm.messages import Message, Part, Request, StopReason, Usage
from tests.agent.llm.dialects import Clients, Handler, Played, ask, client_of, key, message, says


class TestAnthropic:
    async def test_reply(self, played: Played, clients: Clients) -> None:
        blocks = [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Hel"},
            {"type": "text", "text": "lo."},
        ]
        played.plays(
            says(200, message(content=blocks, cache_read_input_tokens=60, cache_creation_input_tokens=0, output_tokens=50))
        )
        reply = await clients["anthropic"].complete(ask(system="Be brief.", temperature=0.5, max_tokens=77), key())
        assert (reply.text, reply.stop_reason) == ("Hello.", StopReason.END)
        assert reply.usage == Usage(input=10, cache_read=60, cache_write=0, output=50)
        body = played.bodies[0]
        assert body["system"] == [{"type": "text", "text": "Be brief."}]
        assert (body["temperature"], body["max_tokens"]) == (0.5, 77)

    async def test_models_that_refuse_sampling_parameters_get_none(
        self, played: Played, caplog: pytest.LogCaptureFixture
    ) -> None:
        played.plays(says(200, message()))
        client = client_of("anthropic", played.url, "claude-opus-5")
        await client.complete(ask(), key())
        assert caplog.text == ""
        for _ in range(2):
            await client.complete(ask(temperature=0.5), key())
        assert caplog.text.count("does not take temperature") == 1
        await client.close()
        assert all("temperature" not in body for body in played.bodies)

    async def test_refused_temperature_is_left_out(self, played: Played, clients: Clients) -> None:
        error = {"type": "invalid_request_error", "message": "`temperature` is deprecated for this model."}
        played.plays(says(400, {"type": "error", "error": error}), says(200, message()))
        await clients["anthropic"].complete(ask(temperature=0.5), key())
        assert ["temperature" in body for body in played.bodies] == [True, False]

    async def test_breakpoints(self, played: Played, clients: Clients) -> None:
        played.plays(says(200, message()))
        turns = tuple(
            Message(
                "user" if index % 2 == 0 else "assistant", (Part("step", f"text {index}", cache=True), Part("tail", "end"))
            )
            for index in range(7)
        )
        await clients["anthropic"].complete(
            Request((Message("system", (Part("rules", "Rules.", cache=True),)), *turns)), key()
        )
        body = played.bodies[0]
        marked = [block["text"] for each in body["messages"] for block in each["content"] if "cache_control" in block]
        assert "cache_control" in body["system"][0]
        assert marked == ["text 4", "text 5", "text 6"]
        assert [[block["text"] for block in each["content"]] for each in body["messages"]] == [
            [f"text {i}", "end"] for i in range(7)
        ]

    async def test_blank_texts_make_no_blocks(self, played: Played, clients: Clients) -> None:
        played.plays(says(200, message()))
        parts = (Part("a", "\n", cache=True), Part("b", "text"), Part("c", " ", cache=True), Part("d", "\n"))
        await clients["anthropic"].complete(
            Request((Message("user", parts), Message("assistant", (Part("reply", ""),)))), key()
        )
        contents = [each["content"] for each in played.bodies[0]["messages"]]
        assert [[block["text"] for block in content] for content in contents] == [["\ntext \n"], ["(empty)"]]

    @pytest.mark.parametrize(
        ("stop", "reason"),
        [
            ("max_tokens", StopReason.LENGTH),
            ("refusal", StopReason.REFUSAL),
            ("stop_sequence", StopReason.END),
            ("pause_turn", StopReason.OTHER),
        ],
    )
    async def test_ends(self, played: Played, clients: Clients, stop: str, reason: StopReason) -> None:
        played.plays(says(200, message(stop=stop)))
        assert (await clients["anthropic"].complete(ask(), key())).stop_reason == reason

    async def test_reply_that_fills_the_context(self, played: Played, clients: Clients) -> None:
        played.plays(says(200, message(stop="model_context_window_exceeded")))
        with pytest.raises(ContextFilled) as raised:
            await clients["anthropic"].complete(ask(), key())
        assert raised.value.usage == Usage(10, None, None, 5)

    async def test_json_schema(self, played: Played, clients: Clients) -> None:
        played.plays(says(200, message("{}")))
        await clients["anthropic"].complete(ask(json_schema='{"type": "object"}'), key())
        assert played.bodies[0]["output_config"]["format"]["schema"] == {"type": "object"}


def streams(*events: dict[str, Any]) -> Handler:
    """Server-sent events as Anthropic writes them."""

    async def handler(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        assert asked["stream"] is True
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        await response.write_eof()
        return response

    return handler


START = {"type": "message_start", "message": {**message(stop=None), "content": []}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "long"}}
ENDED = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 900},
}


class TestStreams:
    async def test_long_replies_are_streamed(self, played: Played, clients: Clients) -> None:
        played.plays(
            streams(START, BLOCK, DELTA, {"type": "content_block_stop", "index": 0}, ENDED, {"type": "message_stop"})
        )
        reply = await clients["anthropic"].complete(ask(max_tokens=32_000, temperature=0.5), key())
        assert (reply.text, reply.stop_reason, reply.usage.output) == ("long", StopReason.END, 900)
        assert played.bodies[0]["temperature"] == 0.5

    @pytest.mark.parametrize(
        "events",
        [
            (),
            (START, BLOCK, DELTA),
            (BLOCK,),
            (START, BLOCK, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        ],
        ids=["nothing", "cut", "disordered", "overloaded"],
    )
    async def test_broken_streams_may_be_repeated(self, played: Played, clients: Clients, events: Any) -> None:
        played.plays(streams(*events))
        with pytest.raises(Transient) as raised:
            await clients["anthropic"].complete(ask(max_tokens=32_000), key())
        assert raised.value.may_be_billed
