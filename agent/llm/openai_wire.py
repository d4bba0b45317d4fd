"""What OpenAI-compatible servers are sent and send, as objects with attributes, without the SDK's models.

For each call the SDK would copy its options twice, put address and headers together anew, and build a tree of pydantic
models of the answer, and one for every event of a stream: with hundreds of calls in flight, more work than everything
else about a call together. Its transport, headers, time limits and errors are used as they are.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai

DONE = b"[DONE]"
PAUSE = 0.05
"""Seconds that a stream is left alone after a look at it. Servers send an event a token, hundreds a reply and some of them
together: nobody reads along here, and to be woken for each costs more than to read it."""


class Post:
    """Sends JSON to one address of an SDK's server, over its connections and with its headers."""

    def __init__(self, sdk: openai.AsyncOpenAI, http: httpx2.AsyncClient, path: str) -> None:
        """`http`: the client that the SDK was given. `path` is relative to its base URL."""
        said = {**sdk.default_headers, **sdk.auth_headers}
        headers = {name: value for name, value in said.items() if isinstance(value, str)}  # others are left out
        self._http = http
        self._like = http.build_request("POST", f"{str(sdk.base_url).rstrip('/')}{path}", headers=headers)
        del self._like.headers["Content-Length"]

    @asynccontextmanager
    async def answer(self, fields: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        """The answer, its body yet to be read. Raises openai.APIStatusError where the server refuses the request."""
        content = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        like = self._like
        request = httpx2.Request("POST", like.url, headers=like.headers, content=content, extensions=like.extensions)
        response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                body = (await response.aread()).decode("utf-8", "replace")
                raise openai.APIStatusError(f"status {response.status_code}", response=response, body=body)
            yield response
        finally:
            await response.aclose()


class Fields(dict[str, Any]):
    """An object of a JSON text, whose values are its attributes too.

    One that it lacks is None: servers leave out what they do not know.
    """

    def __getattr__(self, name: str) -> Any:
        return self.get(name)


def read_object(text: bytes | str) -> Any:
    """A JSON text whose objects are `Fields`. Raises ValueError."""
    return _DECODER.decode(text if isinstance(text, str) else text.decode("utf-8", "surrogatepass"))


async def read_events(response: httpx2.Response) -> AsyncIterator[list[Any]]:
    """The events of a streamed reply, those that came together in one list. Raises ValueError where one is no JSON.

    What follows the last event is read too, so that the connection can be used again.
    """
    rest, ended = b"", False
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        found = list(filter(None, map(_data_of, lines)))
        ended = ended or DONE in found
        if not ended:
            yield [read_object(data) for data in found]
            await asyncio.sleep(PAUSE)
        elif DONE in found:
            yield [read_object(data) for data in found[: found.index(DONE)]]
    if (data := _data_of(rest)) and not ended and data != DONE:
        yield [read_object(data)]


def _data_of(line: bytes) -> bytes:
    """The data of a line of server-sent events; empty for a line of another kind."""
    return line[5:].strip() if line.startswith(b"data:") else b""


_DECODER = json.JSONDecoder(object_hook=Fields)  # `json.loads` makes one for each text that it gives a hook
