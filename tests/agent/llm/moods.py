"""The moods that a server may be in, what runoff does about each, and what that costs: one table for tests and page.

usage: python -m tests.agent.llm.moods      writes docs/reference/servers.md, after the tests have shown the table true
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.agent.llm.proxy import (
    Mood,
    busy_until,
    changed,
    half_a_body,
    half_and_silence,
    not_streamed,
    page,
    refuses,
    reset_at_once,
    reset_in_the_body,
    silence,
    slow_drip,
    stream_that,
    unknown_and_repeated_fields,
    wrong_content_type,
)

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "servers.md"
ATTEMPTS = 4
VENDORS = ("openai", "anthropic")


@dataclass(frozen=True)
class Row:
    """A mood, and what is to come of it."""

    mood: str
    plays: tuple[Mood, ...] = ()
    """For the first requests; afterwards the server is itself."""
    ends: str = "reply"
    """`reply`, or the name of the error that runoff ends with."""
    attempts: int = 1
    """0: as many as it takes, until the server is back."""
    billed: int = 0
    """Attempts that may be on the bill beside the reply."""
    counted: bool = True
    """Whether the server told the reply's tokens."""
    settled: bool | None = None
    """Whether the call is settled on the ledger; None: if it ended with a reply."""
    requests: int | None = None
    """What the server saw; None: one for each attempt."""
    stop: str = ""
    """The reply's stop reason, where it matters."""
    says: str = ""
    """Part of what the user, or the ledger's `repeat` line, is told."""
    waits: float = 0.0
    """Seconds between the first two requests at least."""
    streamed: bool = False
    timeout: float = 60.0
    """Seconds that an attempt may take."""
    asks: str = "Say hello."
    temperature: float | None = None
    vendors: tuple[str, ...] = VENDORS

    @property
    def done(self) -> str:
        """What runoff did, in words."""
        how = {0: "asked until it was back", 1: "asked once"}.get(self.attempts, f"asked {self.attempts} times")
        if (self.requests or self.attempts) > self.attempts:
            how = "asked again without it"
        ended = "has the reply" if self.ends == "reply" else f"ended with `{self.ends}`"
        waited = f", {self.waits:g} s or more apart" if self.waits and self.attempts > 1 else ""
        return f"{how}{waited}; {ended}" + (f" (`{self.stop}`)" if self.stop else "")

    @property
    def cost(self) -> str:
        """What it cost, in words."""
        reply = "the reply" if self.counted else "the reply, its tokens unknown"
        settled = [reply] if (self.ends == "reply" if self.settled is None else self.settled) else []
        lost = [f"{self.billed} attempt{'s' if self.billed > 1 else ''} that may be billed"] if self.billed else []
        return "; ".join(settled + lost) or "nothing"


def again(mood: Mood, times: int = ATTEMPTS) -> tuple[Mood, ...]:
    return (mood,) * times


def empty(openai: str, anthropic: str) -> Mood:
    """A reply of which no text is left; the arguments are why it ended."""

    def chat(fields: dict[str, Any]) -> None:
        fields["choices"][0] |= {"finish_reason": openai, "message": {"role": "assistant", "content": None}}

    def message(fields: dict[str, Any]) -> None:
        fields |= {"stop_reason": anthropic, "content": []}

    return changed(openai=chat, anthropic=message)


def wrong_types(fields: dict[str, Any]) -> None:
    fields["choices"], fields["content"] = {"0": "text"}, 7


def without_usage(fields: dict[str, Any]) -> None:
    del fields["usage"]


def told(message: str) -> Mood:
    return page(200, json.dumps({"error": {"message": message, "code": 429}}), "application/json")


OVERLOADED = refuses(529, "Overloaded", "overloaded_error")
LOADING = refuses(503, "Loading model", "unavailable_error")
NO_TEMPERATURE = refuses(400, "Unsupported parameter: 'temperature' is not supported with this model.")
NO_OPTIONS = refuses(400, "Unrecognized request argument supplied: stream_options")
NO_STREAM = refuses(400, "Your organization must be verified: unsupported value 'stream'")
MALFORMED = refuses(500, "[json.exception.type_error.302] type must be number, but is string")
GARBAGE = "ServerUnavailable"

WHOLE = (
    Row("none: in good health"),
    Row("429, Retry-After in seconds", (refuses(429, "slow down", Retry_After="1"),), attempts=2, waits=1.0),
    Row("429, Retry-After as a date", (busy_until,), attempts=2, waits=0.9),
    Row("429 without Retry-After, twice", again(refuses(429, "slow down"), 2), attempts=3, says="answered 429"),
    Row("429 for good", again(refuses(429, "slow down")), "ServerUnavailable", ATTEMPTS, says="gave up after 4 attempts"),
    Row("429, Retry-After longer than a call may wait", (refuses(429, Retry_After="3600"),), "ServerUnavailable"),
    Row("429, the account is empty", (refuses(429, "quota", "insufficient_quota"),), "ServerUnavailable", says="not spend"),
    Row("529", (OVERLOADED,), attempts=2, says="Overloaded"),
    Row("503 while it loads its model, twice", again(LOADING, 2), attempts=3, says="still loading"),
    Row("503 otherwise", (refuses(503, "no healthy upstream"),), attempts=2, says="answered 503"),
    Row("500", (refuses(500, "oops"),), attempts=2, billed=1, says="answered 500"),
    Row("502, a gateway's page", (page(502),), attempts=2, says="answered 502"),
    Row("500 because the request is malformed (llama.cpp)", (MALFORMED,), "RequestRefused"),
    Row("400 for a parameter that the model does not take", (NO_TEMPERATURE,), requests=2, temperature=0.5),
    Row("400 otherwise", (refuses(400, "messages: no"),), "RequestRefused"),
    Row("401", (refuses(401, "bad key"),), "WrongKey"),
    Row("404, no such model", (refuses(404, "no such model"),), "UnknownModel"),
    Row("the prompt does not fit (the real server's answer)", ends="ContextExceeded", asks="word " * 2000, says="1024"),
    Row("connection refused", (), "ServerUnavailable", ATTEMPTS, requests=0, says="no connection"),
    Row("reset before the headers", (reset_at_once,), attempts=2, billed=1, says="connection to the server broke"),
    Row("reset in the body", (reset_in_the_body,), attempts=2, billed=1, says="connection to the server broke"),
    Row("accepts and says nothing, for good", again(silence), "ServerUnavailable", 2, 2, timeout=0.6, says="in time"),
    Row("half a body, then nothing, for good", again(half_and_silence), "ServerUnavailable", 2, 2, timeout=0.6),
    Row("JSON without its end", (half_a_body,), attempts=2, billed=1, says="cannot be read"),
    Row("an empty body", (page(200, "", "application/json"),), attempts=2, billed=1, says="cannot be read"),
    Row("200, a page in HTML", (page(200),), attempts=2, billed=1, says="cannot be read"),
    Row("200, a page in HTML, for good", again(page(200)), "ServerUnavailable", ATTEMPTS, ATTEMPTS),
    Row("other JSON", (page(200, '{"hello": "there"}', "application/json"),), attempts=2, billed=1, says="cannot be read"),
    Row("fields of wrong types", (changed(openai=wrong_types, anthropic=wrong_types),), attempts=2, billed=1),
    Row("200 with an error inside", (told("slow down"),), attempts=2, billed=1, says="answered 429"),
    Row("drips slowly", (slow_drip,)),
    Row("wrong Content-Type", (wrong_content_type,)),
    Row("unknown fields, fields twice", (unknown_and_repeated_fields,)),
    Row("no word of tokens", (changed(openai=without_usage, anthropic=without_usage),), counted=False),
    Row("declines the request", (empty("content_filter", "refusal"),), stop="refusal"),
    Row("an empty reply", (empty("stop", "end_turn"),), stop="end"),
    Row("no text, since reasoning took all tokens", (empty("length", "max_tokens"),), stop="length"),
)
STREAMED = (
    Row("none: in good health"),
    Row("429, Retry-After in seconds", (refuses(429, "slow down", Retry_After="1"),), attempts=2, waits=1.0),
    Row("reset after the first words", (stream_that("reset"),), attempts=2, billed=1, says="connection to the server broke"),
    Row("no more after the first words", (stream_that("silence"),), attempts=2, billed=1, says="stopped in its middle"),
    Row("ends without its end", (stream_that("nothing"),), attempts=2, billed=1, says="before its end"),
    Row("an error event after the first words", (stream_that("error"),), attempts=2, billed=1, says="Overloaded"),
    Row("accepts and says nothing, for good", again(silence), "ServerUnavailable", 2, 2, timeout=0.6, says="in time"),
    Row("answers in one piece", (not_streamed,)),
    Row("200, a page in HTML", (page(200),), attempts=2, billed=1, says="cannot be read"),
    Row("400 for `stream_options`", (NO_OPTIONS,), requests=2, counted=False, vendors=("openai",)),
    Row("400 for `stream`", (NO_STREAM,), requests=2, vendors=("openai",)),
)
RESTARTED = (
    Row("killed with SIGKILL in the middle of a reply, started again", attempts=0, billed=1, says="connection"),
    Row("the same, streamed", attempts=0, billed=1, says="connection", streamed=True),
)

HEAD = f"""# Servers in bad moods

Made by `python -m tests.agent.llm.moods` from the rows of `tests/agent/llm/moods.py`. `tests/agent/llm/test_moods.py` plays
every row, with the SDKs of both vendors against a real llama.cpp server behind a proxy that has the mood, and compares what
runoff did, what the server saw and what the ledger holds. There a call has {ATTEMPTS} attempts; by default it has 8 (`--retries`).

An attempt *may be billed* when the server had the request and no usable reply came back. The ledger counts such attempts
apart from the dollars that are known.

- **Overload** (429, 529, 503 unless a model is being loaded) halves the bound on calls in flight, once for all calls that
  were under way together; as many good calls as the bound is wide raise it by one, up to `--in-flight`. With more than 20
  calls in flight that takes a twentieth of them: a refusal that is alone says nothing of the others, and holds none of them.
- **Retry-After**, in seconds or as a date, holds back all calls to that model, for two minutes at most; then each is told by
  the server itself. Where an overloaded server names no pause, the call's own wait does so for ten seconds at most.
- **Waiting** calls leave their place among those in flight to others. A call waits ten minutes in all; a Retry-After that
  is longer ends it at once, to be resumed later.
- **Silence**: an attempt ends after `--timeout`, and a streamed reply two minutes after its last words. Two attempts may end
  so, not more.
- **Streaming**: replies that may have more than 4,096 tokens are streamed, since gateways cut connections on which nothing
  moves.
- **Reasoning** is no part of a reply: thinking blocks, `reasoning_content`, and `<think>` tags that the server left in the
  text are dropped, their tokens are counted and paid. Where a server took a finished reply for reasoning and sent nothing
  else, that counts as the text. A reply without text is told to the model, with the reason, as any that cannot be used.
"""
COLUMNS = "| mood | what runoff did | what it cost |\n|---|---|---|\n"


def sections() -> Iterator[str]:
    """The page, piece by piece."""
    yield HEAD
    for title, rows in (
        ("Replies in one piece", WHOLE),
        ("Streamed replies", STREAMED),
        ("The server's process", RESTARTED),
    ):
        lines = [f"| {row.mood} | {row.done} | {row.cost} |\n" for row in rows]
        yield f"\n## {title}\n\n{COLUMNS}{''.join(lines)}"


if __name__ == "__main__":
    PAGE.write_text("".join(sections()))
