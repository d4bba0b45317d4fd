"""A real HTTP server that plays vendors' dialects and faults; what the tests of the clients write its answers with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from agent.llm.anthropic_client import AnthropicClient
from agent.llm.client import CallKey
from agent.llm.messages import Message, Part, Request
from agent.llm.openai_client import OpenAIClient

Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass
class Played:
    """A server on 127.0.0.1 whose answers the test writes: each request takes the next one, the last one stays."""

    url: str = ""
    script: list[Handler] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else {}
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(request.path)
        handler = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await handler(request, body)

    def plays(self, *handlers: Handler) -> None:
        self.script = list(handlers)


def says(status: int, body: Any, headers: dict[str, str] | None = None, *, seconds: float = 0.0) -> Handler:
    """Answer with a status and JSON (or text), after a while."""

    async def handler(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    return handler


async def hang_up(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
    """Close the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def break_off(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
    """Promise more than comes."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"id": "x", "cho')
    assert request.transport is not None
    request.transport.close()
    return response


def chat(text: str | None = "Hello.", finish: str = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    """A chat completion as OpenAI writes it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "played-1",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}],
        "usage": usage or {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
    }


def message(text: str = "Hello.", stop: str | None = "end_turn", content: Any = None, **usage: Any) -> dict[str, Any]:
    """A message as Anthropic writes it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "played-1",
        "content": content or [{"type": "text", "text": text}],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5, **usage},
    }


def ask(text: str = "Say hello.", system: str = "", **fields: Any) -> Request:
    """A request of one question."""
    messages = [Message("system", (Part("system", system),))] if system else []
    return Request((*messages, Message("user", (Part("issue", text),))), **fields)


def key(sample: int = 0, sequence: int = 0, stage: str = "testing") -> CallKey:
    return CallKey("demo__one-1", stage, sample, "", sequence)


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
