"""How many tokens a text has, near enough to pack a context and to estimate a bill without a tokenizer."""

from __future__ import annotations

from math import ceil

BYTES_PER_TOKEN = 3.5
"""Of source code, on the low side, so that the estimate is rather too high than too low."""


def estimate(text: str) -> int:
    """Tokens of a text."""
    return estimate_bytes(len(text.encode("utf-8", "surrogateescape")))


def estimate_bytes(count: int) -> int:
    """Tokens of a text of so many bytes."""
    return ceil(count / BYTES_PER_TOKEN)
