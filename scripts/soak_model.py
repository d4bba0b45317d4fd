"""The model server of `scripts/soak_batch.py`: realistic latencies, and at random every way in which servers fail.

It speaks OpenAI's protocol, whole or streamed, and writes a line for each request: when it came, how long it was held,
which call it was, and what became of it. A request that the client gave up is `cut`.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web
from soak_split import issue_of, reply, stage_of

SPREAD = 0.5
"""Standard deviation of the logarithm of a latency."""
LONGEST = 4.0
"""Latencies end here, as a multiple of their mean."""
MOODS = ("429 with a pause", "429", "500", "529", "dropped", "truncated", "garbled", "stall")
ABOUT = {"id": "1", "created": 0, "model": "m"}


@dataclass(frozen=True, slots=True)
class Temper:
    """How the server behaves."""

    latency: float
    """Seconds of a reply, on average."""
    moods: float
    """Share of the requests that fail, each kind of failure as often as the others."""
    seed: int
    pieces: int
    """Into how many pieces a streamed reply is cut."""


@dataclass(slots=True)
class Seen:
    """A request, as the log has it."""

    at: float
    """Seconds of the system's monotonic clock."""
    issue: int
    stage: str
    seed: int
    """What the client sent: each call has its own."""
    size: int
    """Bytes of the request's body."""
    ending: str = "cut"
    """`good`, a mood, or `cut`."""
    held: float = 0.0


class Server:
    """Answers, fails, and writes it down."""

    def __init__(self, temper: Temper, log: TextIO) -> None:
        self._temper = temper
        self._log = log
        self._times: Counter[tuple[int, int]] = Counter()

    async def models(self, _: web.Request) -> web.Response:
        """The list of models."""
        return web.json_response(
            {"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "soak"}]}
        )

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """A completion, or what goes wrong with it."""
        at = time.monotonic()
        content = await request.read()
        body = json.loads(content)
        messages = [message["content"] for message in body["messages"]]
        seen = Seen(at, issue_of(messages), stage_of(messages), body["seed"], len(content))
        call = (seen.issue, seen.seed)
        self._times[call] += 1
        chance = random.Random(f"{self._temper.seed} {call} {self._times[call]}")
        try:
            return await self._answer(request, body, messages, seen, chance)
        finally:
            seen.held = time.monotonic() - at
            self._log.write(json.dumps(asdict(seen)) + "\n")

    async def _answer(
        self, request: web.Request, body: dict[str, Any], messages: list[str], seen: Seen, chance: random.Random
    ) -> web.StreamResponse:
        mean = self._temper.latency
        latency = min(LONGEST * mean, chance.lognormvariate(math.log(mean) - SPREAD**2 / 2, SPREAD))
        turn = 1 + sum(message["role"] == "assistant" for message in body["messages"])
        if chance.random() < self._temper.moods:
            mood = chance.choice(MOODS)
            answer = await self._fail(request, mood, latency, chance)
            seen.ending = mood
            return answer
        text = reply(seen.stage, messages, turn, seen.seed)
        usage = {"prompt_tokens": seen.size // 4, "completion_tokens": len(text) // 4, "total_tokens": seen.size // 4}
        usage["prompt_tokens_details"] = {"cached_tokens": seen.size // 8}  # type: ignore[assignment]
        if body.get("stream"):
            answer = await self._stream(request, text, usage, latency)
        else:
            await asyncio.sleep(latency)
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            answer = web.json_response({**ABOUT, "object": "chat.completion", "choices": [choice], "usage": usage})
        seen.ending = "good"
        return answer

    async def _fail(self, request: web.Request, mood: str, latency: float, chance: random.Random) -> web.StreamResponse:
        if mood.startswith(("429", "529")):
            pause = {"Retry-After": str(chance.randint(1, 3))} if "pause" in mood else {}
            return web.json_response({"error": {"message": "too many requests"}}, status=int(mood[:3]), headers=pause)
        await asyncio.sleep(latency / 2)
        match mood:
            case "500":
                return web.json_response({"error": {"message": "internal error"}}, status=500)
            case "garbled":
                return web.Response(text='{"choices": [{"message": {"content": "wo', content_type="application/json")
            case "truncated":
                answer = web.StreamResponse(headers={"Content-Length": "4000", "Content-Type": "application/json"})
                await answer.prepare(request)
                await answer.write(b'{"choices": [{"mess')
            case "stall":
                await asyncio.sleep(3600)
        if request.transport is not None:
            request.transport.close()
        return web.Response()

    async def _stream(self, request: web.Request, text: str, usage: dict[str, Any], latency: float) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await asyncio.sleep(latency / 5)  # the prompt is read
        await answer.prepare(request)
        pieces = self._temper.pieces
        width = math.ceil(len(text) / pieces)
        started = time.monotonic()
        for number in range(pieces):
            await asyncio.sleep(started + latency * 0.8 * (number + 1) / pieces - time.monotonic())
            await answer.write(_event([{"index": 0, "delta": {"content": text[number * width : (number + 1) * width]}}]))
        await answer.write(_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        await answer.write(_event([], usage=usage) + b"data: [DONE]\n\n")
        await answer.write_eof()
        return answer


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    return (
        b"data: " + json.dumps({**ABOUT, "object": "chat.completion.chunk", "choices": choices, **more}).encode() + b"\n\n"
    )


def serve(port: Connection, temper: Temper, log: Path) -> None:
    """The server's process: tells its port, and serves until it is terminated."""

    async def run() -> None:
        with log.open("w", buffering=1) as file:
            server = Server(temper, file)
            application = web.Application(client_max_size=64 * 1024**2)
            application.router.add_get("/v1/models", server.models)
            application.router.add_post("/v1/chat/completions", server.complete)
            runner = web.AppRunner(application, handler_cancellation=True, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
            await site.start()
            port.send(runner.addresses[0][1])
            await asyncio.Event().wait()

    asyncio.run(run())
