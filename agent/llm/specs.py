"""How the user names a model (SPEC), and the way from that name to a client."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

from agent.llm.client import Client
from agent.llm.errors import NoKey, ServerUnavailable
from agent.llm.faults import RESUME
from agent.llm.settings import LlmSettings
from agent.redaction import of_process
from sandbox.errors import InputError

Vendor = Literal["anthropic", "openai", "manual", "replay"]
FORMS = "anthropic:MODEL, openai:MODEL, openai:MODEL@http://HOST:PORT/v1, manual:DIR or replay:RUN"
KEYS: dict[str, str] = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
_BASES = {"anthropic": "ANTHROPIC_BASE_URL", "openai": "OPENAI_BASE_URL"}
_NO_KEY_NEEDED = "none"
"""Sent to servers of one's own, whose SDKs insist on some key."""

_DEFAULTS = {
    "anthropic": ("claude-sonnet-5-5", "claude-haiku-5-5"),
    "openai": ("gpt-6-sol", "gpt-6-luna"),
}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A parsed SPEC; `str` gives its text again."""

    vendor: Vendor
    target: str
    """The model's name; the folder of `manual:`; the run of `replay:`."""
    url: str = ""
    """Base URL of a server other than the vendor's own."""

    def __str__(self) -> str:
        return f"{self.vendor}:{self.target}{'@' if self.url else ''}{self.url}"


def parse_spec(text: str, env: Mapping[str, str] | None = None) -> ModelSpec:
    """The model that `text` names. Raises InputError with the accepted forms.

    Where `env` sets a vendor's base URL (as the SDKs read it), it becomes part of the SPEC, so that no manifest, price
    or error message mistakes a gateway for the vendor.
    """
    vendor, colon, rest = text.strip().partition(":")
    if not colon or vendor not in ("anthropic", "openai", "manual", "replay"):
        near = get_close_matches(vendor, ["anthropic", "openai", "manual", "replay"], n=1)
        guess = f"did you mean {near[0]}:{rest or 'MODEL'}? " if near else ""
        raise InputError("this does not name a model", where=text, hint=f"{guess}use {FORMS}")
    if not rest:
        raise InputError(f"nothing follows '{vendor}:'", where=text, hint=f"use {FORMS}")
    if vendor == "manual":
        return ModelSpec("manual", rest)
    if vendor == "replay":
        return ModelSpec("replay", rest)
    name, url = _split(rest, text)
    url = url or (env or {}).get(_BASES[vendor], "")
    return ModelSpec("anthropic" if vendor == "anthropic" else "openai", name, _base(vendor, url, text) if url else "")


def default_spec(env: Mapping[str, str], *, cheap: bool = False) -> ModelSpec:
    """The model to use where the user names none: what the keys in `env` allow; `cheap`: the one for relevance.

    Raises NoKey with the ways on. The caller says aloud which model it is.
    """
    for vendor, key in KEYS.items():
        if env.get(key, "").strip():
            return parse_spec(f"{vendor}:{_DEFAULTS[vendor][int(cheap)]}", env)
    raise NoKey(
        "no model is named, and the environment has no key",
        where="--model",
        hint="set ANTHROPIC_API_KEY or OPENAI_API_KEY, or name a server of yours with --model openai:MODEL@http://HOST:PORT/v1,"
        " or answer the requests by hand with --model manual:DIR",
    )


def open_client(
    spec: ModelSpec,
    settings: LlmSettings,
    env: Mapping[str, str],
    *,
    replay: Callable[[ModelSpec], Client] | None = None,
    seed: int | None = None,
) -> Client:
    """A client for `spec`; nothing is sent yet. `replay` makes the client of `replay:` specs; for `seed` see `open_model`.

    Raises NoKey where the vendor wants a key and `env` has none, InputError for `replay:` without `replay`.
    """
    timeout, connect = settings.timeout_seconds, settings.connect_seconds
    match spec.vendor:
        case "anthropic":
            from agent.llm.anthropic_client import AnthropicClient

            return AnthropicClient(
                str(spec), spec.target, api_key=_key(spec, env), base_url=spec.url, timeout=timeout, connect=connect
            )
        case "openai":
            from agent.llm.openai_client import OpenAIClient

            return OpenAIClient(
                str(spec),
                spec.target,
                api_key=_key(spec, env),
                base_url=spec.url,
                timeout=timeout,
                connect=connect,
                seed=seed,
            )
        case "manual":
            from agent.llm.manual_client import ManualClient

            return ManualClient(str(spec), Path(spec.target).expanduser(), poll_seconds=settings.manual_poll_seconds)
        case "replay":
            if replay is None:
                raise InputError("no transcript can be replayed here", where=str(spec), hint=f"use {FORMS}")
            return replay(spec)


@runtime_checkable
class Checkable(Protocol):
    """A client that can tell beforehand whether it will work."""

    async def check(self) -> None:
        """Raises WrongKey, UnknownModel, InputError or ServerUnavailable; spends nothing."""


async def check(client: Client) -> None:
    """Find out, before anything is spent, whether the client will work; see `Checkable`."""
    if not isinstance(client, Checkable):
        return
    try:
        await client.check()
    except ServerUnavailable as error:
        if error.hint == RESUME:  # there is no run to resume yet
            error.hint = "start the server or mend the network and try again, or name another model with --model SPEC"
        raise


def _split(rest: str, text: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?P<name>.+?)@(?P<url>https?://.*)", rest)
    if found is None:
        if re.search(r"@(?:localhost|[\w.-]+:\d+|\w+://)", rest) or rest.startswith(("http://", "https://")):
            raise InputError("this is no model with a server", where=text, hint="write openai:MODEL@http://HOST:PORT/v1")
        return rest, ""
    return found["name"], found["url"]


def _base(vendor: str, url: str, text: str) -> str:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"'{url}' is no base URL", where=text, hint="write http://HOST:PORT/v1")
    if parts.username or parts.password or of_process().kinds_in(url):
        hint = f"take the password out of the URL and set {KEYS[vendor]}"
        raise InputError("a SPEC is written to files and must not hold a password", where=vendor, hint=hint)
    url = url.rstrip("/")
    return url.removesuffix("/v1") if vendor == "anthropic" else url  # that SDK adds it by itself


def _key(spec: ModelSpec, env: Mapping[str, str]) -> str:
    key = env.get(KEYS[spec.vendor], "").strip()
    if key or spec.url:
        return key or _NO_KEY_NEEDED
    raise NoKey(
        f"the environment has no {KEYS[spec.vendor]}",
        where=str(spec),
        hint=f"export {KEYS[spec.vendor]}=..., or name another model: {FORMS}",
    )
