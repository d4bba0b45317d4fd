"""Anthropic's Messages API through its SDK; also any server that speaks it, such as llama.cpp, by base URL."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import anthropic
import httpx2
from anthropic.types import Message as Answer
from anthropic.types import TextBlockParam

from agent.llm.client import CallKey
from agent.llm.endpoint import CONNECTIONS, IDLE, STREAM_ABOVE, Endpoint
from agent.llm.faults import ContextFilled, complaint_of, fault_of_status, garbled
from agent.llm.messages import Message, Part, Reply, Request, StopReason, Usage
from agent.llm.parameters import Parameters
from agent.llm.reasoning import without_reasoning
from agent.llm.tokens import counted

BREAKPOINTS = 4
"""Cache breakpoints that a request may have: https://platform.claude.com/docs/en/build-with-claude/prompt-caching."""


class AnthropicClient:
    """A model behind Anthropic's protocol. Retries nothing; an attempt that may be repeated raises `Transient`."""

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
    ) -> None:
        """Seconds: `timeout` bounds an attempt, `connect` the opening of a connection, `idle` pauses in a streamed text.

        Replies that may have more tokens than `stream_above` are streamed.
        """
        self.spec = spec
        self._model = model
        self._stream_above = stream_above
        self._parameters = Parameters(spec)
        self._at = Endpoint(
            spec, base_url, timeout, idle, anthropic.APIConnectionError, anthropic.APIResponseValidationError
        )
        limits = anthropic.Timeout(timeout, connect=connect)
        self._sdk = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url or "https://api.anthropic.com",
            timeout=limits,
            max_retries=0,
            http_client=anthropic.DefaultAioHttpClient(timeout=limits, limits=CONNECTIONS),
        )

    async def complete(self, request: Request, key: CallKey) -> Reply:  # noqa: ARG002  the protocol's; this vendor needs no key
        """One completion; see `Client`. Raises Transient for what may be repeated."""
        while True:
            arguments = self._arguments(request)
            sent = frozenset([*arguments, *arguments.get("extra_body", {})])
            try:
                return await self._send(arguments)
            except anthropic.APIStatusError as error:
                if error.status_code in (400, 422) and self._parameters.learn(
                    complaint_of(error.body), sent - {"max_tokens"}
                ):
                    continue
                raise fault_of_status(error.status_code, error.body, error.response.headers, self._at.where) from error

    async def check(self) -> None:
        """Find a wrong key, an unknown model or a server that is down, before anything is spent."""
        try:
            async with self._at.attempt():
                await self._sdk.models.retrieve(self._model, timeout=30.0)
        except anthropic.APIStatusError as error:
            fault = fault_of_status(error.status_code, error.body, error.response.headers, self._at.where)
            if self._at.base_url and error.status_code in (404, 405) and self._model not in fault.message:
                return  # it is up and has no list of models: the first call will tell
            raise fault from error

    async def count(self, request: Request) -> int | None:
        """Prompt tokens as the server counts them; None where it cannot."""
        system, messages = _conversation(request)
        try:
            counted = await self._sdk.messages.count_tokens(model=self._model, system=system, messages=messages)
            return int(counted.input_tokens)
        except (anthropic.AnthropicError, httpx2.HTTPError, AttributeError, TypeError, ValueError):
            return None

    async def close(self) -> None:
        """Close connections."""
        await self._sdk.close()

    async def _send(self, arguments: Mapping[str, Any]) -> Reply:
        """One attempt. Raises APIStatusError where the server refuses it; else a fault of ours."""
        async with self._at.attempt():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # which model to use is the user's decision
                if arguments["max_tokens"] > self._stream_above:
                    return self._whole(await self._stream(arguments))
                return self._whole(await self._sdk.messages.create(**arguments))

    async def _stream(self, arguments: Mapping[str, Any]) -> Answer:
        async with self._sdk.messages.stream(**arguments) as stream:
            if "json" in stream.response.headers.get("content-type", ""):  # a server that does not stream
                return Answer.construct(**json.loads(await stream.response.aread()))
            with self._at.reading():
                async for _ in self._at.flowing(aiter(stream), lambda event: event.type == "text"):
                    pass
                return await stream.get_final_message()

    def _whole(self, answer: Answer) -> Reply:
        if not isinstance(answer, Answer):
            raise garbled("not a message", self._at.where)
        if told := (answer.model_extra or {}).get("error"):  # gateways answer 200 all the same
            raise fault_of_status(200, {"error": told}, {}, self._at.where)
        with self._at.reading():
            return _reply(answer, self._at.where)

    def _arguments(self, request: Request) -> dict[str, Any]:
        system, messages = _conversation(request)
        arguments: dict[str, Any] = {"model": self._model, "max_tokens": request.max_tokens, "messages": messages}
        if system:
            arguments["system"] = system
        if request.temperature is not None and self._parameters.takes("temperature"):
            arguments["extra_body"] = {"temperature": request.temperature}  # the SDK has no keyword for it any more
        if request.json_schema and self._parameters.takes("output_config"):
            arguments["output_config"] = {"format": {"type": "json_schema", "schema": json.loads(request.json_schema)}}
        return arguments


def _conversation(request: Request) -> tuple[list[TextBlockParam], list[Any]]:
    """The system blocks and the messages, with at most BREAKPOINTS marks.

    Kept are the first mark, up to which other trajectories share the prompt, and the last ones, up to which this
    trajectory's next turn does.
    """
    marks = [
        (at, index) for at, message in enumerate(request.messages) for index, part in enumerate(message.parts) if part.cache
    ]
    kept = {*marks[:1], *marks[1:][-(BREAKPOINTS - 1) :]}
    system: list[TextBlockParam] = []
    messages = []
    for at, message in enumerate(request.messages):
        blocks = _blocks(message, {index for where, index in kept if where == at})
        if message.role == "system":
            system += blocks
        else:
            messages.append({"role": message.role, "content": blocks or [{"type": "text", "text": "(empty)"}]})
    return system, messages


def _blocks(message: Message, kept: set[int]) -> list[TextBlockParam]:
    """A message's text, cut behind every part that has a mark, kept or not: so equal texts are always cut alike.

    The API refuses blocks that are empty or blank; blank text joins the block behind it, or else the one before.
    """
    blocks: list[TextBlockParam] = []
    pending = ""
    for index, part in enumerate(message.parts):
        pending += part.text
        if part.cache and pending.strip():
            blocks.append(_block(pending, part, marked=index in kept))
            pending = ""
    if pending.strip():
        blocks.append({"type": "text", "text": pending})
    elif pending and blocks:
        blocks[-1]["text"] += pending
    return blocks


def _block(text: str, part: Part, *, marked: bool) -> TextBlockParam:
    block: TextBlockParam = {"type": "text", "text": text}
    if marked and part.cache:
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _reply(answer: Answer, where: str) -> Reply:
    usage = _usage(answer.usage)
    match answer.stop_reason:
        case "model_context_window_exceeded":
            raise ContextFilled("the reply ran into the end of the model's context", usage=usage, where=where)
        case "end_turn" | "stop_sequence":
            reason = StopReason.END
        case "max_tokens":
            reason = StopReason.LENGTH
        case "refusal":
            reason = StopReason.REFUSAL
        case None:
            raise ValueError("it broke off before its end")
        case _:
            reason = StopReason.OTHER
    text = "".join(block.text for block in answer.content if block.type == "text")
    name = answer.model if isinstance(answer.model, str) else ""
    return Reply(text=without_reasoning(text), usage=usage, model=name, stop_reason=reason)


def _usage(usage: object) -> Usage:
    """What the server told, as far as it told; the SDK checks neither."""
    details = getattr(usage, "output_tokens_details", None)
    return Usage(
        input=counted(getattr(usage, "input_tokens", None)),
        cache_read=counted(getattr(usage, "cache_read_input_tokens", None)),
        cache_write=counted(getattr(usage, "cache_creation_input_tokens", None)),
        output=counted(getattr(usage, "output_tokens", None)),
        reasoning=counted(getattr(details, "thinking_tokens", None)),
    )
