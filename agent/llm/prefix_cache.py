"""From what length on a server caches a prompt's prefix, and for how long: what decides whether priming pays.

Vendors cache nothing below a minimum, silently: https://platform.claude.com/docs/en/build-with-claude/prompt-caching and
https://developers.openai.com/api/docs/guides/prompt-caching, collected in November 2026 from stored copies. Where copies
disagree, or a model is not listed, the smaller minimum is taken: to prime in vain costs a wait, not to prime costs money.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase

from agent.llm.specs import ModelSpec

VENDOR_LIFETIME = 300.0
"""Seconds after its last use for which Anthropic keeps a prefix; OpenAI keeps one for at least as long."""


@dataclass(frozen=True, slots=True)
class PrefixCache:
    """What is known of a server's prompt cache."""

    min_tokens: int = 0
    """Shorter prefixes are never cached."""
    lifetime: float = math.inf
    """Seconds after its last use for which a prefix is kept."""


OWN_SERVER = PrefixCache()
"""llama.cpp and vLLM cache prefixes of any length, until others push them out, which they tell nobody."""

_MINIMA = (
    ("anthropic:claude-opus-4-[567]*", 4096),
    ("anthropic:claude-haiku-4-5*", 4096),
    ("anthropic:claude-3-*haiku*", 2048),
    ("anthropic:claude-*-4-*", 1024),
    ("anthropic:claude-3-*", 1024),
    ("anthropic:*", 512),
    ("openai:*", 1024),
)


def prefix_cache(spec: ModelSpec) -> PrefixCache:
    """What is known of the cache behind `spec`; a server other than the vendor's own counts as one of the user's."""
    if spec.url:
        return OWN_SERVER
    minimum = next((tokens for pattern, tokens in _MINIMA if fnmatchcase(str(spec), pattern)), 0)
    return PrefixCache(minimum, VENDOR_LIFETIME)
