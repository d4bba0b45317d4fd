"""OpenAI's chat completions through its SDK; by base URL also vLLM, llama.cpp and whatever else speaks them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from difflib import get_close_matches
from typing import Any

import httpx2
import openai

from agent.llm.client import CallKey
from agent.llm.endpoint import CONNECTIONS, IDLE, STREAM_ABOVE, Endpoint
from agent.llm.errors import UnknownModel
from agent.llm.faults import complaint_of, fault_of_status, garbled
from agent.llm.messages import Reply, Request
from agent.llm.openai_replies import is_text, read_stream, read_whole
from agent.llm.openai_wire import Fields, Post, read_events, read_object
from agent.llm.parameters import Parameters
from sandbox.api import digest_of

PATH = "/chat/completions"
STRICT_OWNERS = frozenset({"vllm"})
"""Servers whose list of models is complete; llama.cpp accepts any name, routers list aliases as they please."""


class OpenAIClient:
    """A model behind OpenAI's protocol. Retries nothing; an attempt that may be repeated raises `Transient`."""

    def __init__(
        self,
        spec: str,
        model: str,
        *,
        api_key: str,
        base_url: str = "",
        timeout: float = 900.0,
        connect: float = 10.0,
        idle: float = IDLE,
        stream_above: int = STREAM_ABOVE,
        seed: int | None = None,
    ) -> None:
        """Seconds: `timeout` bounds an attempt, `connect` the opening of a connection, `idle` pauses in a streamed text.

        Replies that may have more tokens than `stream_above` are streamed.
        """
        self.spec = spec
        self._model = model
        self._seed = seed
        self._stream_above = stream_above
        self._parameters = Parameters(spec)
        self._at = Endpoint(spec, base_url, timeout, idle, openai.APIConnectionError, openai.APIResponseValidationError)
        limits = openai.Timeout(timeout, connect=connect)
        http = openai.DefaultAioHttpClient(timeout=limits, limits=CONNECTIONS)
        self._sdk = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=base_url or "https://api.openai.com/v1",
            timeout=limits,
            max_retries=0,
            http_client=http,
        )
        self._post = Post(self._sdk, http, PATH)

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """One completion; see `Client`. Raises Transient for what may be repeated."""
        renamed = False
        while True:
            arguments = self._arguments(request, key)
            sent = frozenset(arguments) - ({"max_tokens", "max_completion_tokens"} if renamed else set())
            try:
                return await self._send(arguments)
            except openai.APIStatusError as error:
                before = self._parameters.max_tokens
                if error.status_code in (400, 422) and self._parameters.learn(complaint_of(error.body), sent):
                    renamed = renamed or self._parameters.max_tokens != before
                    continue
                raise fault_of_status(error.status_code, error.body, error.response.headers, self._at.where) from error

    async def check(self) -> None:
        """Find a wrong key, an unknown model or a server that is down, before anything is spent."""
        try:
            async with self._at.attempt():
                if not self._at.base_url:
                    await self._sdk.models.retrieve(self._model, timeout=30.0)
                    return
                listed = (await self._sdk.models.list(timeout=30.0)).data
                names = [each.id for each in listed]
                strict = bool(listed) and all(each.owned_by in STRICT_OWNERS for each in listed)
        except openai.APIStatusError as error:
            raise fault_of_status(error.status_code, error.body, error.response.headers, self._at.where) from error
        except (AttributeError, TypeError) as error:
            raise garbled(error, self._at.where) from error
        if strict and self._model not in names:
            near = (get_close_matches(self._model, names, n=1, cutoff=0.0) or names)[0]
            hint = f"the server has {', '.join(names[:5])}: try openai:{near}@URL"
            raise UnknownModel(f"the server has no model '{self._model}'", where=self._at.where, hint=hint)

    async def count(self, request: Request) -> int | None:
        """Prompt tokens (without the chat template) by the /tokenize of llama.cpp or vLLM; None elsewhere."""
        text = "\n".join(message.text for message in request.messages)
        url = str(self._sdk.base_url).rstrip("/").removesuffix("/v1") + "/tokenize"
        body = {"content": text, "prompt": text, "model": self._model}  # the first for llama.cpp, the others for vLLM
        try:
            answer = await self._sdk.post(url, cast_to=httpx2.Response, body=body)
            fields = answer.json()
            return int(fields["count"]) if "count" in fields else len(fields["tokens"])
        except (openai.OpenAIError, httpx2.HTTPError, KeyError, TypeError, ValueError):
            return None

    async def close(self) -> None:
        """Close connections."""
        await self._sdk.close()

    async def _send(self, arguments: Mapping[str, Any]) -> Reply:
        """One attempt. Raises APIStatusError where the server refuses it; else a fault of ours."""
        async with self._at.attempt(), self._post.answer(arguments) as response:
            whole = not arguments.get("stream") or "json" in response.headers.get("content-type", "")
            if whole:  # a server may not stream though it was asked to
                return self._whole(await response.aread())
            with self._at.reading():
                return (await read_stream(self._at.flowing(self._sound(read_events(response)), is_text))).reply()

    async def _sound(self, arrivals: AsyncIterator[list[Any]]) -> AsyncIterator[list[Any]]:
        """The events of a stream. Raises the fault that one of them tells."""
        async for events in arrivals:
            for event in events:
                if event.error:
                    raise fault_of_status(200, {"error": event.error}, {}, self._at.where)
            yield events

    def _whole(self, content: bytes) -> Reply:
        answer = read_object(content)
        if not isinstance(answer, Fields):
            raise garbled("not a completion", self._at.where)
        if not answer.choices and answer.error:  # routers answer 200 all the same
            raise fault_of_status(200, {"error": answer.error}, {}, self._at.where)
        with self._at.reading():
            return read_whole(answer).reply()

    def _arguments(self, request: Request, key: CallKey) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self._model,
            "messages": _conversation(request),
            self._parameters.max_tokens: request.max_tokens,
        }
        if request.max_tokens > self._stream_above and self._parameters.takes("stream"):
            arguments["stream"] = True
            if self._parameters.takes("stream_options"):
                arguments["stream_options"] = {"include_usage": True}
        if request.temperature is not None and self._parameters.takes("temperature"):
            arguments["temperature"] = request.temperature
        if self._seed is not None and self._parameters.takes("seed"):
            arguments["seed"] = int(digest_of(str(self._seed), str(key))[:7], 16)  # each sample its own, or all are alike
        if request.json_schema and self._parameters.takes("response_format"):
            schema = {"name": "reply", "schema": json.loads(request.json_schema), "strict": True}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        return arguments


def _conversation(request: Request) -> list[dict[str, str]]:
    """The messages as plain strings; adjacent system messages become one, which some chat templates insist on."""
    joined: list[dict[str, str]] = []
    for message in request.messages:
        if message.role == "system" and joined and joined[-1]["role"] == "system":
            joined[-1]["content"] += "\n\n" + message.text
        else:
            joined.append({"role": message.role, "content": message.text or "(empty)"})  # some servers refuse empty ones
    return joined
