"""What is said to a model and what comes back: frozen values, the same for every vendor.

A message is a list of named parts. The name (issue, files, step, feedback, reply, ...) is what a journal compares on
resume and what an error message can point at; the text is stored once per digest, however many requests share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from sandbox.api import digest_of

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Part:
    """A named piece of a message."""

    name: str
    text: str
    cache: bool = False
    """A prompt-cache breakpoint lies behind this part: everything up to here is shared with other requests."""

    _digest: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """Identity of the text alone: two parts with the same text are stored once."""
        if not self._digest:  # asked for several times a call, of prompts that are long and live for many calls
            self._digest.append(digest_of(self.text))
        return self._digest[0]


@dataclass(frozen=True, slots=True)
class Message:
    """One message; its text is that of its parts, one after the other with nothing in between."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to ask for."""

    messages: tuple[Message, ...]
    temperature: float | None = None
    """None: the model's own default."""
    max_tokens: int = 4096
    """Tokens that the reply may have, reasoning included."""
    json_schema: str = ""
    """A JSON schema (as text) that the reply should follow, where the server can enforce one; empty for free text."""

    @property
    def parts(self) -> dict[str, str]:
        """Digest by part name; parts of one name count together, in order."""
        grouped: dict[str, list[str]] = {}
        for message in self.messages:
            for part in message.parts:
                grouped.setdefault(part.name, []).append(part.digest)
        return {name: digests[0] if len(digests) == 1 else digest_of(*digests) for name, digests in grouped.items()}

    @property
    def digest(self) -> str:
        """Identity of the whole request: roles, texts and sampling settings."""
        said = [f"{message.role}:{part.digest}" for message in self.messages for part in message.parts]
        return digest_of(*said, f"{self.temperature}", f"{self.max_tokens}", self.json_schema)

    @property
    def shared(self) -> tuple[Message, ...]:
        """The messages up to the first cache breakpoint, the last of them cut behind it; none if there is no breakpoint."""
        for at, message in enumerate(self.messages):
            for index, part in enumerate(message.parts):
                if part.cache:
                    return (*self.messages[:at], Message(message.role, message.parts[: index + 1]))
        return ()

    @property
    def shared_prefix(self) -> str:
        """Digest of everything up to the first cache breakpoint; empty if there is none."""
        said = [f"{message.role}:{part.digest}" for message in self.shared for part in message.parts]
        return digest_of(*said) if said else ""


class StopReason(StrEnum):
    """Why a reply ended."""

    END = "end"
    LENGTH = "length"  # cut at max_tokens
    REFUSAL = "refusal"  # the model or a filter declined
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, each counted once: the prompt has input + cache_read + cache_write tokens.

    None is unknown, which is not zero: a server that says nothing of its cache has `cache_read` None and all prompt
    tokens in `input`.
    """

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    """Reasoning tokens included."""
    reasoning: int | None = None
    """Those of the output that went into reasoning, where the server tells."""

    @property
    def told(self) -> int:
        """All tokens that the server told."""
        return (self.input or 0) + (self.cache_read or 0) + (self.cache_write or 0) + (self.output or 0)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered."""

    text: str
    usage: Usage = field(default_factory=Usage)
    dollars: float | None = None
    """None: the price is unknown."""
    model: str = ""
    """The model that answered, as the server names it."""
    stop_reason: StopReason = StopReason.END
    seconds: float = 0.0
