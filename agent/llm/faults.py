"""Reads what model servers answer when they do not answer: one place that knows their dialects.

Vendors, vLLM and llama.cpp say the same things in different words and statuses. Here each becomes one of runoff's
errors; `Transient` marks what another attempt may cure. Works on status, headers and body, so both SDKs share it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from agent.llm.errors import ContextExceeded, Declined, RequestRefused, ServerUnavailable, UnknownModel, WrongKey
from agent.llm.messages import Usage
from sandbox.errors import RunoffError

RESUME = "check the server and the network, then: runoff resume RUN"


class Transient(ServerUnavailable):
    """A fault that another attempt may cure. A client without a retry layer shows it as what it is."""

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        hint: str = RESUME,
        retry_after: float | None = None,
        may_be_billed: bool = False,
        overload: bool = False,
        silent: bool = False,
    ) -> None:
        """`retry_after` in seconds, where the server asked for a pause; `may_be_billed`: it may have worked on it.

        `overload`: there were too many calls, this one is not to blame. `silent`: the attempt ran into a time limit.
        """
        super().__init__(message, where=where, hint=hint)
        self.overload = overload
        self.silent = silent
        self.retry_after = retry_after
        self.may_be_billed = may_be_billed


class ContextFilled(ContextExceeded):
    """The reply ran into the end of the model's context. Unlike a prompt that is refused, this call was billed."""

    def __init__(self, message: str, *, usage: Usage, where: str = "") -> None:
        super().__init__(message, where=where)
        self.usage = usage


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error body, whatever its nesting: Anthropic and llama.cpp wrap it in `error`, vLLM does so in newer versions."""

    message: str
    kind: str
    """`type` of the body, such as `invalid_request_error`."""
    code: str
    param: str
    fields: Mapping[str, Any]


def complaint_of(body: object) -> Complaint:
    """`body` as the SDK hands it over: parsed JSON, text, or None."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return Complaint(str(body).strip(), "", "", "", {})
    fields = body if isinstance(body, dict) else {}
    inner = fields.get("error") or fields
    if not isinstance(inner, dict):
        return Complaint(str(inner), "", "", "", {})
    words = {name: str(inner.get(name) or "") for name in ("message", "type", "code", "param")}
    words["message"] = words["message"] or str(inner.get("detail") or "")  # FastAPI's, where a parameter is refused
    return Complaint(words["message"], words["type"], words["code"], words["param"], inner)


# The same fact in four dialects: llama.cpp, OpenAI (and vLLM of old), vLLM, Anthropic.
_OVERFLOW = re.compile(
    r"exceeds the available context size|maximum context length|longer than the maximum model length|"
    r"prompt is too long|exceed context limit|exceeds? (?:the )?model'?s (?:maximum )?context",
    re.IGNORECASE,
)
_LIMITS = (
    re.compile(r"context length (?:is|of) (?:only )?(\d+)"),
    re.compile(r"context size \((\d+)"),
    re.compile(r"model length of (\d+)"),
    re.compile(r"> (\d+)"),
    re.compile(r"maximum context length \((\d+)"),
)
_PROMPTS = (
    re.compile(r"\((\d+) in the messages"),
    re.compile(r"(?:messages|prompt) (?:resulted in|contains?) (?:at least )?(\d+)"),
    re.compile(r"prompt \(length (\d+)"),
    re.compile(r"(?:request has|too long:|request \() ?(\d+)"),
    re.compile(r"(?:Input length \(|limit: )(\d+)"),
    re.compile(r"requested (?:about )?(\d+)"),
)
_MALFORMED = re.compile(
    r"json\.exception|parse error|failed to parse|unsupported content|must be (?:a|an|of)\b", re.IGNORECASE
)
_POLICY = re.compile(r"content[ _-]?(filter|polic|management)|invalid_prompt|usage polic", re.IGNORECASE)
_NO_CREDIT = re.compile(
    r"insufficient_quota|billing_error|credit balance|spend limit|exceeded your current quota", re.IGNORECASE
)
_BY_KIND = {
    "invalid_request_error": 400,
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
}
_LATER = frozenset({408, 409, 425, 429, 499})
_OVERLOAD = frozenset({429, 503, 529})
_UNREACHED = frozenset(
    {"ClientConnectorError", "ClientConnectorDNSError", "ConnectionRefusedError", "ConnectionTimeoutError"}
)
"""What aiohttp and the system call a server that never had the request."""


def overflow_of(complaint: Complaint, where: str = "") -> ContextExceeded | None:
    """The one error for a prompt that does not fit, with the counts where the server tells them."""
    known = complaint.kind == "exceed_context_size_error" or complaint.code == "context_length_exceeded"
    if not known and not _OVERFLOW.search(complaint.message):
        return None
    prompt = complaint.fields.get("n_prompt_tokens")
    limit = complaint.fields.get("n_ctx")
    return ContextExceeded(
        f"the prompt does not fit the model: {_short(complaint.message)}",
        prompt_tokens=prompt if isinstance(prompt, int) else _first(_PROMPTS, complaint.message),
        limit=limit if isinstance(limit, int) else _first(_LIMITS, complaint.message),
        where=where,
    )


def fault_of_status(status: int, body: object, headers: Mapping[str, str], where: str) -> RunoffError:
    """The error for an HTTP status and body. `where` names model and server."""
    complaint = complaint_of(body)
    began = status < HTTPStatus.BAD_REQUEST  # an error inside a stream or a body that began well
    if began:
        status = _BY_KIND.get(complaint.kind) or _status_in(complaint.code)
    said = _short(complaint.message) or f"HTTP status {status}"
    if status == HTTPStatus.PAYMENT_REQUIRED or _NO_CREDIT.search(f"{complaint.code} {complaint.kind} {complaint.message}"):
        hint = "add credit, or choose another --model, then: runoff resume RUN"
        return ServerUnavailable(f"the account may not spend any more: {said}", where=where, hint=hint)
    malformed = status == HTTPStatus.INTERNAL_SERVER_ERROR and _MALFORMED.search(complaint.message)  # older llama.cpp
    if (status >= HTTPStatus.INTERNAL_SERVER_ERROR and not malformed) or status in _LATER:
        fault = _overload(status, said, retry_after_of(headers), where)
        fault.may_be_billed |= began
        return fault
    return overflow_of(complaint, where) or _refusal(status, complaint, said, where)


def _status_in(code: str) -> int:
    """The status that routers put into the `code` of an error which they send as a success."""
    meant = int(code) if re.fullmatch(r"[45]\d\d", code, re.ASCII) else 0
    return meant or HTTPStatus.INTERNAL_SERVER_ERROR


def _overload(status: int, said: str, pause: float | None, where: str) -> Transient:
    if status == HTTPStatus.SERVICE_UNAVAILABLE and "loading" in said.lower():
        hint = "wait until it is ready and try again"
        return Transient("the server is still loading its model", where=where, hint=hint, retry_after=pause)
    worked = status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.GATEWAY_TIMEOUT)
    return Transient(
        f"the server answered {status}: {said}",
        where=where,
        retry_after=pause,
        may_be_billed=worked,
        overload=status in _OVERLOAD,
    )


def _refusal(status: int, complaint: Complaint, said: str, where: str) -> RunoffError:
    """What no other attempt would cure."""
    named = complaint.code == "model_not_found" or re.search(r"\bmodels?\b", complaint.message, re.IGNORECASE)
    match status:
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return ContextExceeded(f"the request is too large: {said}", where=where)
        case HTTPStatus.NOT_FOUND | HTTPStatus.FORBIDDEN if named:
            hint = "choose another with --model SPEC"
            return UnknownModel(f"the server has no such model: {said}", where=where, hint=hint)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            hint = "set ANTHROPIC_API_KEY or OPENAI_API_KEY to a valid key"
            return WrongKey(f"the server does not accept the key: {said}", where=where, hint=hint)
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            hint = "the base URL of an OpenAI-compatible server mostly ends in /v1"
            return RequestRefused(f"the server has no such address: {said}", where=where, hint=hint)
        case _ if _POLICY.search(f"{complaint.code} {complaint.kind} {complaint.message}"):
            return Declined(f"the server's policy declines the request: {said}", where=where)
        case _:
            bound = re.search(r"max_(?:completion_|output_)?tokens", complaint.message)
            hint = "use a smaller --max-tokens" if bound else "see --show-settings; another --model may take it"
            return RequestRefused(f"the server refuses the request ({status}): {said}", where=where, hint=hint)


def garbled(error: Exception | str, where: str) -> Transient:
    """A success whose content cannot be used; the server has worked on it, so it may be on the bill."""
    kind = error if isinstance(error, str) else f"{type(error).__name__}: {_short(str(error))}"
    return Transient(f"the server's reply cannot be read: {kind}", where=where, may_be_billed=True)


def stalled(seconds: float, where: str) -> Transient:
    """A reply that began and stopped coming, without its end."""
    said = f"the reply stopped in its middle: nothing came for {seconds:g} s"
    return Transient(said, where=where, may_be_billed=True, silent=True)


def cut_off(error: BaseException, where: str) -> Transient:
    """A connection that could not be made, or broke, or took too long.

    What counts is the deepest cause: the SDKs' transport calls a server that hangs up a time-out of the connection.
    """
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None and below not in chain:
        chain.append(below)
    causes = [each for each in chain if not isinstance(each, asyncio.CancelledError)]
    billed = not _UNREACHED.intersection(type(each).__name__ for each in causes)
    if any(isinstance(each, TimeoutError) for each in causes):
        return Transient("the server did not answer in time", where=where, may_be_billed=billed, silent=billed)
    said = _short(str(causes[-1])) or type(causes[-1]).__name__
    broke = "the connection to the server broke" if billed else "no connection to the server"
    return Transient(f"{broke}: {said}", where=where, may_be_billed=billed)


def retry_after_of(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait: a number or an HTTP date (RFC 9110, 10.2.3); None where it says neither."""
    value = next((text for name, text in headers.items() if name.lower() == "retry-after"), "").strip()
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", value, re.ASCII):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> int | None:
    for pattern in patterns:
        if found := pattern.search(text):
            return int(found[1])
    return None


def _short(text: str, limit: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
