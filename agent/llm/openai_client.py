"""OpenAI's chat completions through its SDK; by base URL also vLLM, llama.cpp and whatever else speaks them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import Any

import httpx2
import openai
from openai.types.chat import ChatCompletion
from openai.types.completion_usage import CompletionUsage

from agent.llm.client import CallKey
from agent.llm.errors import UnknownModel
from agent.llm.faults import complaint_of, cut_off, fault_of_status, garbled
from agent.llm.messages import Reply, Request, StopReason, Usage
from agent.llm.parameters import Parameters
from sandbox.api import digest_of

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
        seed: int | None = None,
    ) -> None:
        """`timeout` bounds a whole attempt, `connect` the opening of a connection, both in seconds."""
        self._seed = seed
        self.spec = spec
        self._model = model
        self._own_server = bool(base_url)
        self._timeout = timeout
        self._where = f"{spec}, {base_url}" if base_url and base_url not in spec else spec
        self._parameters = Parameters(spec)
        limits = openai.Timeout(timeout, connect=connect)
        self._sdk = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=base_url or "https://api.openai.com/v1",
            timeout=limits,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(timeout=limits),
        )

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """One completion; see `Client`. Raises Transient for what may be repeated."""
        renamed = False
        while True:
            arguments = self._arguments(request, key)
            sent = frozenset(arguments) - ({"max_tokens", "max_completion_tokens"} if renamed else set())
            try:
                answer = await self._send(arguments)
            except openai.APIStatusError as error:
                before = self._parameters.max_tokens
                if error.status_code in (400, 422) and self._parameters.learn(complaint_of(error.body), sent):
                    renamed = renamed or self._parameters.max_tokens != before
                    continue
                raise fault_of_status(error.status_code, error.body, error.response.headers, self._where) from error
            try:
                return _reply(answer)
            except (AttributeError, IndexError, TypeError, ValueError) as error:
                raise garbled(error, self._where) from error

    async def check(self) -> None:
        """Find a wrong key, an unknown model or a server that is down, before anything is spent."""
        try:
            async with self._faults():
                if not self._own_server:
                    await self._sdk.models.retrieve(self._model, timeout=30.0)
                    return
                listed = (await self._sdk.models.list(timeout=30.0)).data
                names = [each.id for each in listed]
                strict = bool(listed) and all(each.owned_by in STRICT_OWNERS for each in listed)
        except openai.APIStatusError as error:
            raise fault_of_status(error.status_code, error.body, error.response.headers, self._where) from error
        except (AttributeError, TypeError) as error:
            raise garbled(error, self._where) from error
        if strict and self._model not in names:
            near = (get_close_matches(self._model, names, n=1, cutoff=0.0) or names)[0]
            hint = f"the server has {', '.join(names[:5])}: try openai:{near}@URL"
            raise UnknownModel(f"the server has no model '{self._model}'", where=self._where, hint=hint)

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

    async def _send(self, arguments: Mapping[str, Any]) -> ChatCompletion:
        async with self._faults():
            answer = await self._sdk.chat.completions.create(**arguments)
            if not isinstance(answer, ChatCompletion):
                raise garbled("not a completion", self._where)
            return answer

    @asynccontextmanager
    async def _faults(self) -> AsyncIterator[None]:
        """Bounds an attempt, and names what ends it unless it is a status."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (openai.APIConnectionError, httpx2.HTTPError, OSError) as error:
            raise cut_off(error, self._where) from error
        except (openai.APIResponseValidationError, ValueError) as error:
            raise garbled(error, self._where) from error

    def _arguments(self, request: Request, key: CallKey) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self._model,
            "messages": _conversation(request),
            self._parameters.max_tokens: request.max_tokens,
        }
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
            joined.append({"role": message.role, "content": message.text})
    return joined


def _usage(usage: CompletionUsage | None) -> Usage:
    """The prompt count there includes what the cache gave and took; here each token counts once."""
    if usage is None:
        return Usage()
    details = usage.prompt_tokens_details
    read = details.cached_tokens if details else None
    written = details.cache_write_tokens if details else None
    prompt: int | None = usage.prompt_tokens  # the SDK does not check that it came
    fresh = None if prompt is None else max(0, prompt - (read or 0) - (written or 0))
    return Usage(input=fresh, cache_read=read, cache_write=written, output=usage.completion_tokens)


def _reply(answer: ChatCompletion) -> Reply:
    choice = answer.choices[0]
    text, reason = choice.message.content or "", StopReason.OTHER
    match choice.finish_reason:
        case "stop":
            reason = StopReason.END
        case "length":
            reason = StopReason.LENGTH
        case "content_filter":
            reason = StopReason.REFUSAL
    if choice.message.refusal:
        text, reason = text or choice.message.refusal, StopReason.REFUSAL
    return Reply(text=text, usage=_usage(answer.usage), model=answer.model or "", stop_reason=reason)
