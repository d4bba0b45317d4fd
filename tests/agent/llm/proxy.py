"""A proxy between the clients and a real model server that has the bad moods of the servers of this world."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
from aiohttp import web


@dataclass
class Proxy:
    """Each completion that is asked for meets the next mood; when there is none left, the server is itself."""

    upstream: str
    url: str = ""
    moods: list[Mood] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.asked.append(json.loads(raw))
        self.times.append(time.monotonic())
        mood = self.moods.pop(0) if self.moods else itself
        async with aiohttp.ClientSession(self.upstream) as session:
            return await mood(Exchange(request, raw, session))

    @classmethod
    @asynccontextmanager
    async def before(cls, upstream: str) -> AsyncIterator[Proxy]:
        proxy = cls(upstream)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/{tail:.*}", proxy.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        proxy.url = f"http://{host}:{port}"
        yield proxy
        await runner.cleanup()


@dataclass
class Exchange:
    """One request, and the real server's answer to it."""

    request: web.Request
    raw: bytes
    session: aiohttp.ClientSession

    @asynccontextmanager
    async def upstream(self) -> AsyncIterator[aiohttp.ClientResponse]:
        kept = {name: text for name, text in self.request.headers.items() if name.lower() not in {"host", "content-length"}}
        async with self.session.post(self.request.path, data=self.raw, headers=kept) as answer:
            yield answer

    async def whole(self) -> tuple[int, bytes]:
        async with self.upstream() as answer:
            return answer.status, await answer.read()

    async def begin(self, **headers: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
        await response.prepare(self.request)
        return response

    def cut(self) -> None:
        """Reset the connection."""
        assert self.request.transport is not None
        self.request.transport.abort()

    def dialect(self) -> str:
        return "anthropic" if self.request.path.endswith("/messages") else "openai"


Mood = Callable[[Exchange], Awaitable[web.StreamResponse]]


async def itself(exchange: Exchange) -> web.StreamResponse:
    async with exchange.upstream() as answer:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.headers["Content-Type"]})
        await response.prepare(exchange.request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


def refuses(status: int, message: str = "no", kind: str = "", **headers: str) -> Mood:
    """An error as both vendors write it."""

    async def mood(exchange: Exchange) -> web.StreamResponse:
        body = {"type": "error", "error": {"type": kind, "message": message, "code": kind or None, "param": None}}
        return web.json_response(
            body, status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    return mood


async def busy_until(exchange: Exchange) -> web.StreamResponse:
    """429, with the date from which on it will answer: two seconds ahead, in whole seconds."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    return await refuses(429, "slow down", Retry_After=date)(exchange)


def page(status: int, text: str = "<html><body>Welcome to our network</body></html>", kind: str = "text/html") -> Mood:
    async def mood(exchange: Exchange) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type=kind)

    return mood


async def reset_at_once(exchange: Exchange) -> web.StreamResponse:
    exchange.cut()
    return web.Response()


async def reset_in_the_body(exchange: Exchange) -> web.StreamResponse:
    _, body = await exchange.whole()
    response = await exchange.begin(**{"Content-Length": str(len(body))})
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(0.05)
    exchange.cut()
    return response


async def silence(exchange: Exchange) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def half_and_silence(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.begin(**{"Content-Length": "1000"})
    await response.write(b'{"id": "x", "cho')
    await asyncio.sleep(60)
    return response


async def half_a_body(exchange: Exchange) -> web.StreamResponse:
    """Valid HTTP around JSON that has no end."""
    _, body = await exchange.whole()
    return web.Response(body=body[: len(body) // 2], content_type="application/json")


async def slow_drip(exchange: Exchange) -> web.StreamResponse:
    _, body = await exchange.whole()
    response = await exchange.begin(**{"Content-Length": str(len(body))})
    for at in range(0, len(body), 40):
        await response.write(body[at : at + 40])
        await asyncio.sleep(0.02)
    return response


async def wrong_content_type(exchange: Exchange) -> web.StreamResponse:
    status, body = await exchange.whole()
    return web.Response(status=status, body=body, content_type="text/plain")


async def unknown_and_repeated_fields(exchange: Exchange) -> web.StreamResponse:
    status, body = await exchange.whole()
    more = b'{"weather": {"today": [1, 2]}, "model": 7, "usage": null, ' + body.strip()[1:]
    return web.Response(status=status, body=more, content_type="application/json")


def changed(**by_dialect: Callable[[dict[str, Any]], None]) -> Mood:
    """The real answer, with something in it changed, as each dialect writes it."""

    async def mood(exchange: Exchange) -> web.StreamResponse:
        status, body = await exchange.whole()
        fields = json.loads(body)
        by_dialect[exchange.dialect()](fields)
        return web.json_response(fields, status=status)

    return mood


async def not_streamed(exchange: Exchange) -> web.StreamResponse:
    """A gateway that collects the stream and sends it as one answer."""
    asked = {name: value for name, value in json.loads(exchange.raw).items() if name not in {"stream", "stream_options"}}
    exchange.raw = json.dumps(asked).encode()
    status, body = await exchange.whole()
    return web.Response(status=status, body=body, content_type="application/json")


def stream_that(end: str) -> Mood:
    """The real stream up to its first text, and then: `reset`, `silence`, `nothing` (it ends) or an `error` event."""

    async def mood(exchange: Exchange) -> web.StreamResponse:
        async with exchange.upstream() as answer:
            response = await exchange.begin(**{"Content-Type": "text/event-stream"})
            seen = b""
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
                seen += chunk
                first = max(seen.find(b'"text_delta"'), seen.find(b'"content":"'))
                if first >= 0 and b"\n\n" in seen[first:]:  # the whole event, however the stream was cut into chunks
                    break
        await asyncio.sleep(0.05)
        match end:
            case "reset":
                exchange.cut()
            case "silence":
                await asyncio.sleep(60)
            case "error":
                told = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
                await response.write(f"event: error\ndata: {told}\n\n".encode())
        return response

    return mood
