"""Long replies of OpenAI's protocol come in pieces; and what servers send that is not quite the protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from agent.llm.errors import RequestRefused
from agent.llm.faults import Transient
from agent.llm.messages import Message, Part, Request, StopReason, Usage
from tests.agent.llm.dialects import Clients, Handler, Played, ask, chat, key, message, says

LONG = ask(max_tokens=32_000)


def streams(*chunks: Any, last: str = "data: [DONE]\n\n") -> Handler:
    async def handler(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n".encode())
        await response.write(last.encode())
        return response

    return handler


def piece(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "played-1", "choices": [choice]}


SPENT = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 60}}
USED = {**piece(), "choices": [], "usage": SPENT}


async def test_pieces_and_usage(played: Played, clients: Clients) -> None:
    thought = piece(reasoning_content="hm")
    played.plays(
        streams(piece(role="assistant", content=""), thought, piece(content="Hel"), piece("stop", content="lo."), USED)
    )
    reply = await clients["openai"].complete(LONG, key())
    assert (reply.text, reply.model, reply.stop_reason) == ("Hello.", "played-1", StopReason.END)
    assert reply.usage == Usage(input=40, cache_read=60, output=7)
    assert played.bodies[0]["stream_options"] == {"include_usage": True}


async def test_usage_in_every_piece(played: Played, clients: Clients) -> None:
    early = {**piece(content="Hel"), "usage": {"prompt_tokens": 100, "completion_tokens": 1}}
    played.plays(streams(early, {**piece("stop", content="lo."), "usage": SPENT}, last=""))
    assert (await clients["openai"].complete(LONG, key())).usage.output == 7


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"error": {"message": "stream_options is not supported", "param": "stream_options"}}, "stream_options"),
        ({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}, "stream_options"),
        ({"error": {"message": "You must be verified.", "param": "stream", "code": "unsupported_value"}}, "stream"),
    ],
)
async def test_refused_streams_are_remembered(played: Played, clients: Clients, body: Any, name: str) -> None:
    async def answer(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        if name in asked:
            return web.json_response(body, status=400)
        if asked.get("stream"):
            return await streams(piece("stop", content="Hello."))(request, asked)
        return web.json_response(chat())

    played.plays(answer)
    for _ in range(2):
        assert (await clients["openai"].complete(LONG, key())).text == "Hello."
    assert [name in body for body in played.bodies] == [True, False, False]


async def test_words_about_a_stream_do_not_switch_it_off(played: Played, clients: Clients) -> None:
    played.plays(says(400, {"error": {"message": "unexpected end of the stream"}}))
    with pytest.raises(RequestRefused):
        await clients["openai"].complete(LONG, key())
    assert len(played.bodies) == 1


@pytest.mark.parametrize(
    ("chunks", "says_so"),
    [
        ((), "no events"),
        ((piece(content="Hel"),), "before its end"),
        ((piece(content="Hel"), "{not json"), "cannot be read"),
        ((piece(content="Hel"), piece("error")), "broke off"),
        ((piece(content=7),), "cannot be read"),
        ((piece(content="Hel"), {"error": {"message": "Overloaded", "code": 529}}), "answered 529"),
        ((piece(content="Hel"), {"error": "it is all over"}), "all over"),
    ],
)
async def test_broken_streams_may_be_repeated(played: Played, clients: Clients, chunks: Any, says_so: str) -> None:
    played.plays(streams(*chunks))
    with pytest.raises(Transient, match=says_so) as raised:
        await clients["openai"].complete(LONG, key())
    assert raised.value.may_be_billed


async def test_text_in_parts(played: Played, clients: Clients) -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]
    answer = chat()
    answer["choices"][0]["message"]["content"] = parts
    played.plays(says(200, answer))
    assert (await clients["openai"].complete(ask(), key())).text == "Hello."


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("count", ["12", -1, 1.5, True, [], None])
async def test_numbers_that_are_none_are_unknown(played: Played, clients: Clients, vendor: str, count: Any) -> None:
    usage = dict.fromkeys(("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"), count)
    body = {**(chat() if vendor == "openai" else message()), "usage": usage, "model": 7}
    played.plays(says(200, body))
    reply = await clients[vendor].complete(ask(), key())
    assert (reply.usage, reply.model) == (Usage(), "")


async def test_empty_turns_are_shown_as_such(played: Played, clients: Clients) -> None:
    played.plays(says(200, chat()))
    empty = Message("assistant", (Part("reply", ""),))
    await clients["openai"].complete(Request((*ask().messages, empty, *ask().messages)), key())
    assert [each["content"] for each in played.bodies[0]["messages"]] == ["Say hello.", "(empty)", "Say hello."]


async def test_bound_on_the_reply_that_is_too_large(played: Played, clients: Clients) -> None:
    told = {"type": "invalid_request_error", "message": "max_tokens: 100000 > 64000, the maximum for this model"}
    played.plays(says(400, {"type": "error", "error": told}))
    with pytest.raises(RequestRefused) as raised:
        await clients["anthropic"].complete(LONG, key())
    assert "--max-tokens" in raised.value.hint
