"""Faults in the vendors' dialects become the same errors through both clients, over the wire."""

from __future__ import annotations

from typing import Any

import pytest

from agent.llm.errors import ContextExceeded, RequestRefused, ServerUnavailable, UnknownModel, WrongKey
from agent.llm.faults import Transient
from tests.agent.llm.dialects import Clients, Handler, Played, ask, break_off, chat, client_of, hang_up, key, says

VENDORS = ("openai", "anthropic")


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
    (503, "no healthy upstream"),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    (200, "<html>a proxy's own page</html>"),
    (200, {"hello": "there"}),
]


@pytest.mark.parametrize("vendor", VENDORS)
class TestFaults:
    @pytest.mark.parametrize("case", OVERFLOWS)
    async def test_overflow(self, played: Played, clients: Clients, vendor: str, case: tuple[Any, int, int]) -> None:
        body, prompt, limit = case
        played.plays(says(400, body))
        with pytest.raises(ContextExceeded) as raised:
            await clients[vendor].complete(ask(), key())
        assert (raised.value.prompt_tokens, raised.value.limit) == (prompt, limit)

    @pytest.mark.parametrize("case", REFUSALS)
    async def test_refusals_are_final(
        self, played: Played, clients: Clients, vendor: str, case: tuple[int, Any, type[Exception]]
    ) -> None:
        status, body, kind = case
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
        assert raised.value.overload == (status in {429, 503, 529} and "Loading" not in str(body))
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
