"""Guesses how many tokens a text has, before anything is sent and without a network.

Tokenizers differ by vendor and their files are downloaded; a budget or a dry run needs a number now. The estimate
is bytes over a ratio: deterministic, and on source code rather too high than too low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from agent.llm.messages import Message, Request

BYTES_PER_TOKEN = 3.2
"""Python source measured between 3.0 and 4.2 with the common tokenizers; prose lies above."""
PER_MESSAGE = 4
"""Tokens of a chat template around each message."""
WRAPPING = 64
"""Tokens that a server may at most put around each message, and four times around all."""


def estimate(text: str, bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """An estimate of the tokens in `text`; never 0 for a text that is not empty."""
    return estimate_bytes(len(text.encode("utf-8", "surrogatepass")), bytes_per_token)


def estimate_bytes(count: int, bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """An estimate of the tokens in a text of so many bytes."""
    return math.ceil(count / bytes_per_token)


def estimate_prompt(request: Request, bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """An estimate of a request's prompt tokens, the chat template included."""
    return estimate_messages(request.messages, bytes_per_token)


def estimate_messages(messages: Sequence[Message], bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """An estimate of these messages' tokens, the chat template included."""
    return sum(estimate(message.text, bytes_per_token) + PER_MESSAGE for message in messages)


def bound_prompt(request: Request) -> int:
    """More tokens than a request's prompt can have: a token of the common tokenizers holds at least one byte.

    What a server wraps around messages is its own affair; room for that is added generously.
    """
    size = sum(len(message.text.encode("utf-8", "surrogatepass")) for message in request.messages)
    return size + len(request.json_schema) + WRAPPING * (len(request.messages) + 4)


def bound_counted(counted: int, request: Request) -> int:
    """The same from a server's own count, which vendors call an estimate and some make without their template."""
    return math.ceil(counted * 1.02) + WRAPPING * (len(request.messages) + 4)


def counted(said: object) -> int | None:
    """A number of tokens as a server told it; None, which is unknown, for anything that is no such number."""
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else None
