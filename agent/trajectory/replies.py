"""From the text of a reply to the one action that it asks for.

A reply has free thoughts and exactly one of `<test>`, `<edit>` and `<done>`. What does not fit becomes `Malformed` with
feedback for the model. Lenient where the meaning is plain: a missing closing tag at the end, a code fence inside the
tag, a lone code block instead of `<test>`, bare search/replace blocks instead of `<edit>`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from agent.llm.messages import Reply, StopReason
from agent.prompts.render import render
from sandbox.api import Language, Script

Tag = Literal["test", "edit", "done"]


@dataclass(frozen=True, slots=True)
class Approve:
    """The work is finished."""


@dataclass(frozen=True, slots=True)
class NewScript:
    """A script that replaces the one before."""

    script: Script


@dataclass(frozen=True, slots=True)
class NewEdit:
    """An edit that replaces the one before, relative to the original tree; `text` is for `agent.edits`."""

    text: str
    closed: bool = True
    """Whether the closing tag was there: without it the last block may be torn."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Nothing that can be acted on; `feedback` tells the model why."""

    feedback: str


Action = Approve | NewScript | NewEdit | Malformed

_NO_ANSWER = {StopReason.REFUSAL: "refusal", StopReason.LENGTH: "all reasoning"}
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)
_OPENING = re.compile(r"<(test|edit)>[ \t]*\n?", re.IGNORECASE)
_OPENING_LINE = re.compile(r"^[ \t]*<(test|edit)>[ \t]*\n?", re.IGNORECASE | re.MULTILINE)
_MARKER = re.compile(r"^<{5,9} ?(SEARCH|NEW|DELETE|FILE)\b", re.MULTILINE)


def parse(reply: Reply, allowed: Collection[Tag], language: Language = "python") -> Action:
    """The action of a reply, out of the allowed tags. Never raises."""
    if reply.stop_reason is StopReason.REFUSAL or not reply.text.strip():
        return _malformed(_NO_ANSWER.get(reply.stop_reason, "blank"), allowed)
    found, rest, cut = _blocks(reply.text)
    done = re.search(r"<done\s*/?>", rest, re.IGNORECASE) is not None
    if reply.stop_reason is StopReason.LENGTH and (cut or not (found or done)):
        return _malformed("truncated", allowed)
    untagged = not found and not done
    if untagged:
        found = _untagged(reply.text, allowed)
    named = [*found, *(["done"] if done else [])]
    if not named:
        return _malformed("nothing", allowed)
    if len(named) > 1:
        return _malformed("several", allowed, named)
    if named[0] not in allowed:
        return _malformed("not now", allowed, named)
    action = _action(named[0], found.get(named[0], ""), allowed, language)
    return replace(action, closed=False) if isinstance(action, NewEdit) and (cut or untagged) else action


def _action(tag: str, body: str, allowed: Collection[Tag], language: Language) -> Action:
    match tag:
        case "done":
            return Approve()
        case "test":
            text = _unfenced(body)
            return NewScript(Script(text, language)) if text.strip() else _malformed("empty", allowed, [tag])
        case _:
            return NewEdit(body) if body.strip() else _malformed("empty", allowed, [tag])


def _malformed(kind: str, allowed: Collection[Tag], named: Collection[str] = ()) -> Malformed:
    return Malformed(render("malformed", kind=kind, allowed=sorted(allowed), named=sorted(named)))


def _blocks(text: str) -> tuple[dict[str, str], str, bool]:
    """(body by tag, the text around the bodies, whether the last body lacks its closing tag).

    A tag that begins a line counts before one in the midst of a sentence. Of several blocks of one tag the last counts.
    """
    opening = _OPENING_LINE if _OPENING_LINE.search(text) else _OPENING
    found: dict[str, str] = {}
    around: list[str] = []
    while match := opening.search(text):
        tag = match[1].lower()
        around.append(text[: match.start()])
        inner = text[match.end() :]
        closing = re.search(rf"^[ \t]*</{tag}>", inner, re.IGNORECASE | re.MULTILINE) or re.search(
            rf"</{tag}>", inner, re.IGNORECASE
        )
        found[tag] = inner[: closing.start()] if closing else inner
        if closing is None:
            return found, "\n".join(around), True
        text = inner[closing.end() :]
    return found, "\n".join([*around, text]), False


def _untagged(text: str, allowed: Collection[Tag]) -> dict[str, str]:
    if "edit" in allowed and _MARKER.search(text):
        return {"edit": text}
    blocks = _FENCE.findall(text)
    if "test" in allowed and "edit" not in allowed and len(blocks) == 1:
        return {"test": blocks[0][1]}
    return {}


def _unfenced(body: str) -> str:
    """The code inside a fence that wraps the body, or the body itself."""
    blocks = _FENCE.findall(body)
    if len(blocks) == 1 and body.strip().startswith(("```", "~~~")):
        body = blocks[0][1]
    return body.strip("\n") + "\n"
