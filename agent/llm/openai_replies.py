"""Reads chat completions, whole or in pieces, from servers that take the protocol more or less at its word.

Nothing has checked their types (`agent.llm.openai_wire`): a field may be missing, which is None here, or be something
else than the protocol says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from agent.llm.messages import Reply, StopReason, Usage
from agent.llm.reasoning import without_reasoning
from agent.llm.tokens import counted

_REASONING = ("reasoning_content", "reasoning")
"""Where llama.cpp and vLLM put what the model thinks, by version."""


@dataclass(slots=True)
class Draft:
    """A reply as far as it has come."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    finish: str | None = None
    usage: Any = None
    model: str = ""

    def take(self, message: Any) -> None:
        """Add a message, or a piece of one. Raises TypeError where it is neither."""
        self.text.append(_text(message.content))
        self.refusal.append(_text(getattr(message, "refusal", None)))
        for name in _REASONING:
            if (thoughts := getattr(message, name, None)) and isinstance(thoughts, str):
                self.reasoning.append(thoughts)
                break

    def add(self, chunk: Any) -> None:
        """Add an event of a stream. Raises TypeError or AttributeError where it is none."""
        self.model = _name(chunk.model) or self.model
        self.usage = chunk.usage or self.usage
        for choice in (chunk.choices or [])[:1]:
            self.finish = choice.finish_reason or self.finish
            if choice.delta:
                self.take(choice.delta)

    def reply(self) -> Reply:
        """The finished reply. Raises ValueError where the server says that it is none."""
        text = without_reasoning("".join(self.text))
        match self.finish:
            case "error":
                raise ValueError("the server broke off")
            case "stop":
                # a parser that waits for an end tag which never comes takes a whole answer for reasoning
                text, reason = text or "".join(self.reasoning), StopReason.END
            case "length":
                reason = StopReason.LENGTH
            case "content_filter":
                reason = StopReason.REFUSAL
            case _:
                reason = StopReason.OTHER
        if refusal := "".join(self.refusal):
            text, reason = "".join(self.text) or refusal, StopReason.REFUSAL
        return Reply(text=text, usage=_usage(self.usage), model=self.model, stop_reason=reason)


def read_whole(answer: Any) -> Draft:
    """A completion that came in one piece. Raises AttributeError, IndexError or TypeError where it is none."""
    choice = answer.choices[0]
    draft = Draft(finish=choice.finish_reason, usage=answer.usage, model=_name(answer.model))
    draft.take(choice.message)
    return draft


async def read_stream(arrivals: AsyncIterator[list[Any]]) -> Draft:
    """A completion that comes in pieces, its usage last. Raises ValueError where the end is missing."""
    draft = Draft()
    async for chunks in arrivals:
        for chunk in chunks:
            draft.add(chunk)
    if draft.finish is None:
        raise ValueError("it broke off before its end" if draft.model or draft.text else "it has no events")
    return draft


def is_text(chunks: list[Any]) -> bool:
    """Whether the pieces have text of the answer, not only of reasoning."""
    return any(choice.delta and choice.delta.content for chunk in chunks for choice in chunk.choices or [])


def _text(content: object) -> str:
    """The text of a content: mostly a string; a list of typed parts on some servers; null where there is none."""
    match content:
        case None:
            return ""
        case str():
            return content
        case list():
            return "".join(_text(part.text) for part in content if (part.type or "text") == "text")
    raise TypeError(f"the content is of type {type(content).__name__}")


def _name(model: object) -> str:
    return model if isinstance(model, str) else ""


def _usage(usage: Any) -> Usage:
    """The prompt count there includes what the cache gave and took; here each token counts once."""
    details = getattr(usage, "prompt_tokens_details", None)
    read = counted(getattr(details, "cached_tokens", None))
    written = counted(getattr(details, "cache_write_tokens", None))
    prompt = counted(getattr(usage, "prompt_tokens", None))
    spent = getattr(usage, "completion_tokens_details", None)
    return Usage(
        input=None if prompt is None else max(0, prompt - (read or 0) - (written or 0)),
        cache_read=read,
        cache_write=written,
        output=counted(getattr(usage, "completion_tokens", None)),
        reasoning=counted(getattr(spent, "reasoning_tokens", None)),
    )
