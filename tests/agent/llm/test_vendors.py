"""Both clients, over the wire, against a server that plays the vendors."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from agent.llm.anthropic_client import AnthropicClient
from agent.llm.errors import ContextExceeded, RequestRefused, ServerUnavailable, UnknownModel, WrongKey
from agent.llm.faults import ContextFilled, Transient
from agent.llm.messages import Message, Part, Request, StopReason, Usage
from agent.llm.openai_client import OpenAIClient
from tests.agent.llm.dialects import Handler, Played, ask, break_off, chat, hang_up, key, message, says

VENDORS = ("openai", "anthropic")
Client = OpenAIClient | AnthropicClient


def client_of(vendor: str, url: str, model: str = "played-1", timeout: float = 5.0) -> Client:
    if vendor == "openai":
        return OpenAIClient(f"openai:{model}@{url}/v1", model, api_key="k", base_url=f"{url}/v1", timeout=timeout)
    return AnthropicClient(f"anthropic:{model}@{url}", model, api_key="k", base_url=url, timeout=timeout)


class Clients(dict[str, Client]):
    """Clients by vendor, made when they are asked for."""

    url = ""

    def __missing__(self, vendor: str) -> Client:
        self[vendor] = client_of(vendor, self.url)
        return self[vendor]


@pytest.fixture
async def clients(played: Played) -> AsyncIterator[Clients]:
    made = Clients()
    made.url = played.url
    yield made
    for client in made.values():
        await client.close()


class TestOpenAI:
    async def test_reply(self, played: Played, clients: Clients) -> None:
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

    async def test_unreported_cache_is_unknown(self, played: Played, clients: Clients) -> None:
        played.plays(says(200, chat()))
        assert (await clients["openai"].complete(ask(), key())).usage == Usage(100, None, None, 7)

    async def test_adjacent_system_messages_are_joined(self, played: Played, clients: Clients) -> None:
        played.plays(says(200, chat()))
        system = (Message("system", (Part("a", "One."),)), Message("system", (Part("b", "Two."),)))
        await clients["openai"].complete(Request((*system, *ask().messages)), key())
        assert [each["content"] for each in played.bodies[0]["messages"]] == ["One.\n\nTwo.", "Say hello."]

    async def test_json_schema(self, played: Played, clients: Clients) -> None:
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
    async def test_ends(self, played: Played, clients: Clients, answer: Any, reason: StopReason, text: str) -> None:
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
        self, played: Played, clients: Clients, refusal: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        played.plays(says(400, {"error": refusal}), says(200, chat()))
        with caplog.at_level(logging.WARNING):
            await clients["openai"].complete(ask(temperature=0.5), key())
            await clients["openai"].complete(ask(temperature=0.5), key())
        assert ["temperature" in body for body in played.bodies] == [True, False, False]
        assert caplog.text.count("does not take temperature") == 1

    async def test_refused_name_of_the_bound_is_changed(self, played: Played, clients: Clients) -> None:
        said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        played.plays(
            says(400, {"error": {"message": said, "param": "max_tokens", "code": "unsupported_parameter"}}),
            says(200, chat()),
        )
        await clients["openai"].complete(ask(max_tokens=50), key())
        assert "max_tokens" in played.bodies[0]
        assert played.bodies[1]["max_completion_tokens"] == 50

    async def test_server_that_takes_neither_name(self, played: Played, clients: Clients) -> None:
        async def refuse(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
            name = next(name for name in asked if name.startswith("max_"))
            return web.json_response({"error": {"message": f"Unsupported parameter: '{name}'", "param": name}}, status=400)

        played.plays(refuse)
        with pytest.raises(RequestRefused):
            await clients["openai"].complete(ask(), key())
        assert len(played.bodies) == 2


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

    async def test_models_that_refuse_sampling_parameters_get_none(self, played: Played) -> None:
        played.plays(says(200, message()))
        client = client_of("anthropic", played.url, "claude-opus-5")
        await client.complete(ask(temperature=0.5), key())
        await client.close()
        assert "temperature" not in played.bodies[0]

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
        with pytest.raises(Transient):
            await clients["anthropic"].complete(ask(max_tokens=32_000), key())


VLLM = "This model's maximum context length is 4096 tokens. However, you requested 5100 tokens (5000 in the messages, 100 in the completion)."
OVERFLOWS = [
    (
        {
            "error": {
                "code": 400,
                "message": "request (3031 tokens) exceeds the available context size (1024 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 3031,
                "n_ctx": 1024,
            }
        },
        3031,
        1024,
    ),
    ({"object": "error", "message": VLLM, "type": "BadRequestError", "param": None, "code": 400}, 5000, 4096),
    (
        {
            "error": {
                "message": "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
                "type": "BadRequestError",
                "code": 400,
            }
        },
        5000,
        4096,
    ),
    (
        {
            "error": {
                "message": "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001 tokens.",
                "type": "invalid_request_error",
                "code": "context_length_exceeded",
            }
        },
        130001,
        128000,
    ),
    (
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"},
        },
        210000,
        200000,
    ),
    (
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length",
            },
        },
        190000,
        200000,
    ),
]
REFUSALS: list[tuple[int, Any, type[Exception]]] = [
    (401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}, WrongKey),
    (401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}, WrongKey),
    (403, {"error": {"message": "Forbidden"}}, WrongKey),
    (404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, UnknownModel),
    (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}, UnknownModel),
    (404, "<html>nothing here</html>", RequestRefused),
    (400, {"error": {"message": "messages: must not be empty"}}, RequestRefused),
    (422, {"detail": [{"msg": "field required"}]}, RequestRefused),
    (
        500,
        {"error": {"code": 500, "message": "[json.exception.type_error.302] type must be number, but is string"}},
        RequestRefused,
    ),
    (413, {"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}, ContextExceeded),
]
PASSING: list[tuple[int, Any]] = [
    (
        429,
        {"error": {"message": "Rate limit reached, see https://example.org/account/billing", "code": "rate_limit_exceeded"}},
    ),
    (500, "Internal Server Error"),
    (502, "<html>bad gateway</html>"),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    (200, "<html>a proxy's own page</html>"),
    (200, {"hello": "there"}),
]


@pytest.mark.parametrize("vendor", VENDORS)
class TestFaults:
    @pytest.mark.parametrize(("body", "prompt", "limit"), OVERFLOWS)
    async def test_overflow(self, played: Played, clients: Clients, vendor: str, body: Any, prompt: int, limit: int) -> None:
        played.plays(says(400, body))
        with pytest.raises(ContextExceeded) as raised:
            await clients[vendor].complete(ask(), key())
        assert (raised.value.prompt_tokens, raised.value.limit) == (prompt, limit)

    @pytest.mark.parametrize(("status", "body", "kind"), REFUSALS)
    async def test_refusals_are_final(
        self, played: Played, clients: Clients, vendor: str, status: int, body: Any, kind: type[Exception]
    ) -> None:
        played.plays(says(status, body))
        with pytest.raises(kind) as raised:
            await clients[vendor].complete(ask(), key())
        assert getattr(raised.value, "hint", "")
        assert played.url in getattr(raised.value, "where", "")
        assert len(played.bodies) == 1

    @pytest.mark.parametrize(("status", "body"), PASSING)
    async def test_passing_faults(self, played: Played, clients: Clients, vendor: str, status: int, body: Any) -> None:
        played.plays(says(status, body, {"Retry-After": "7"}))
        with pytest.raises(Transient) as raised:
            await clients[vendor].complete(ask(), key())
        assert raised.value.retry_after == (7.0 if status != 200 else None)
        assert len(played.bodies) == 1

    @pytest.mark.parametrize("handler", [hang_up, break_off])
    async def test_broken_connections(self, played: Played, clients: Clients, vendor: str, handler: Handler) -> None:
        played.plays(handler)
        with pytest.raises(Transient) as raised:
            await clients[vendor].complete(ask(), key())
        assert raised.value.may_be_billed

    async def test_silence(self, played: Played, vendor: str) -> None:
        client = client_of(vendor, played.url, timeout=0.3)
        played.plays(says(200, chat(), seconds=3))
        with pytest.raises(Transient, match="in time") as raised:
            await client.complete(ask(), key())
        await client.close()
        assert raised.value.may_be_billed

    async def test_no_server(self, vendor: str, unused_tcp_port: int) -> None:
        client = client_of(vendor, f"http://127.0.0.1:{unused_tcp_port}")
        with pytest.raises(Transient, match="no connection") as raised:
            await client.complete(ask(), key())
        await client.close()
        assert not raised.value.may_be_billed

    async def test_empty_account_is_not_retried(self, played: Played, clients: Clients, vendor: str) -> None:
        played.plays(says(429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}))
        with pytest.raises(ServerUnavailable, match="spend") as raised:
            await clients[vendor].complete(ask(), key())
        assert not isinstance(raised.value, Transient)


class TestCheck:
    @pytest.mark.parametrize("vendor", VENDORS)
    async def test_wrong_key(self, played: Played, clients: Clients, vendor: str) -> None:
        played.plays(says(401, {"error": {"message": "no"}}))
        with pytest.raises(WrongKey):
            await clients[vendor].check()

    @pytest.mark.parametrize("vendor", VENDORS)
    async def test_server_that_loads(self, played: Played, clients: Clients, vendor: str) -> None:
        played.plays(says(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}))
        with pytest.raises(ServerUnavailable, match="still loading"):
            await clients[vendor].check()

    async def test_unknown_model(self, played: Played, clients: Clients) -> None:
        listed = {"object": "list", "data": [{"id": "played-2", "object": "model", "created": 1, "owned_by": "vllm"}]}
        played.plays(says(200, listed))
        with pytest.raises(UnknownModel) as raised:
            await clients["openai"].check()
        assert "played-2" in raised.value.hint
        played.plays(says(404, {"type": "error", "error": {"type": "not_found_error", "message": "model: played-1"}}))
        with pytest.raises(UnknownModel):
            await clients["anthropic"].check()

    async def test_servers_that_take_any_name(self, played: Played, clients: Clients) -> None:
        played.plays(
            says(
                200, {"object": "list", "data": [{"id": "a.gguf", "object": "model", "created": 1, "owned_by": "llamacpp"}]}
            )
        )
        await clients["openai"].check()
        played.plays(says(404, {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}))
        await clients["anthropic"].check()
