"""What a vendor's model takes and what it does not: one table, and what is learned while running.

Vendors rename and withdraw parameters from model to model. The table says what is known beforehand; where it is
silent or wrong, the server's refusal names the parameter, which is then left out (or renamed) for this client from
there on. A parameter that is left out is said aloud once: it changes how the model samples.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from agent.llm.faults import Complaint

logger = logging.getLogger(__name__)

MaxTokensName = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True, slots=True)
class Takes:
    """What a model takes."""

    temperature: bool = True
    max_tokens: MaxTokensName = "max_tokens"
    seed: bool = False


# First match wins; the text that is matched is the SPEC. Sources: the vendors' model and migration pages, 2026-11.
_TABLE: tuple[tuple[str, Takes], ...] = (
    ("anthropic:*claude-3*", Takes()),
    ("anthropic:*claude-*-4-[0-6]*", Takes()),
    ("anthropic:*claude-*-4-20*", Takes()),
    ("anthropic:*claude-*", Takes(temperature=False)),  # from Opus 4.7 on, sampling parameters are refused
    ("anthropic:*", Takes()),  # another model behind Anthropic's protocol
    ("openai:*@*", Takes(seed=True)),  # compatible servers know the older name
    ("openai:gpt-5-chat*", Takes(max_tokens="max_completion_tokens")),
    ("openai:gpt-[5-9]*", Takes(temperature=False, max_tokens="max_completion_tokens")),
    ("openai:o[1-9]*", Takes(temperature=False, max_tokens="max_completion_tokens")),
    ("openai:*", Takes(max_tokens="max_completion_tokens")),
)


def takes_of(spec: str) -> Takes:
    """What is known of the model named `spec`."""
    return next((takes for pattern, takes in _TABLE if fnmatchcase(spec, pattern)), Takes())


# How a server says that it does not take a parameter; the name is in `param`, or quoted, or in front of a colon.
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|does(?: not|n't) support|deprecated|not permitted|"
    r"unrecognized|unknown (?:field|parameter)|unexpected",
    re.IGNORECASE,
)
_ADJUSTABLE = (
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "response_format",
    "output_config",
    "seed",
    "stream_options",
    "stream",
)
_NAMED = re.compile(rf"\b({'|'.join(_ADJUSTABLE[:-1])})\b|['\"`](stream)['\"`]")  # a stream is also what breaks


class Parameters:
    """The parameters of one client's calls, corrected by what the server refuses."""

    def __init__(self, spec: str) -> None:
        takes = takes_of(spec)
        self._spec = spec
        known = {"temperature": takes.temperature, "seed": takes.seed}
        self._without = {name for name, taken in known.items() if not taken}
        self._unsaid = {"temperature", "response_format", "output_config"}  # the rest changes no reply that is expected
        self.max_tokens: MaxTokensName = takes.max_tokens
        """The name under which the bound on the reply is sent."""

    def takes(self, name: str) -> bool:
        """Whether `name`, which the request sets, is to be sent; that it is not is said once."""
        if name in self._without and name in self._unsaid:
            self._unsaid.remove(name)
            logger.warning("%s does not take %s: it is left out", self._spec, name)
        return name not in self._without

    def learn(self, complaint: Complaint, sent: frozenset[str]) -> bool:
        """Whether the complaint is about an adjustable parameter among `sent`: then the call can be repeated without."""
        name = refused_parameter(complaint)
        if name not in sent:
            return False
        if name in ("max_tokens", "max_completion_tokens"):
            self.max_tokens = "max_completion_tokens" if name == "max_tokens" else "max_tokens"
            return True
        self._without.add(name)
        return True


def refused_parameter(complaint: Complaint) -> str:
    """The parameter that a refusal names, if it is one that can be left out or renamed; else the empty string."""
    if not _UNSUPPORTED.search(f"{complaint.code} {complaint.message}"):
        return ""
    named = complaint.param.split(".")[0].split("[")[0]
    if named in _ADJUSTABLE:
        return named
    found = _NAMED.search(complaint.message)
    return (found[1] or found[2]) if found else ""
