"""Reads a reply of a judge: free thoughts, then exactly one choice, or in the selection trajectory a script.

Small models put code fences inside the tags or in place of them, say `candidate 2` for `2`, mention a tag in their
thoughts, or go on after a script and imagine its outputs and the choice that follows. Those are read as meant: the
script is run, what was imagined does not count. Anything ambiguous goes back to the model with what was wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from agent.llm.messages import Reply, StopReason
from sandbox.api import Language, Script

_THINKING = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_ONE_LINE = r"^[ \t]*<script>(?P<line>[^\n]+?)</script>[ \t]*$"
_BLOCK = r"^[ \t]*<script>[ \t]*\n(?P<block>.*?)^[ \t]*</script>[ \t]*$"
_SCRIPT = re.compile(f"{_ONE_LINE}|{_BLOCK}", re.DOTALL | re.MULTILINE)
_CHOICE = re.compile(r"<choose>(.*?)</choose>", re.DOTALL)
_ID = re.compile(r"(?:candidate)?\s*#?\s*([0-9]+)\.?", re.IGNORECASE)
_BARE = re.compile(r"^```(?:python|py|bash|sh)?[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_CODE_FENCE = re.compile(r"\A\s*```[^\n]*\n(.*?)^[ \t]*```\s*\Z", re.DOTALL | re.MULTILINE)


class Fault(StrEnum):
    """Why a reply cannot be acted on."""

    NOTHING = "nothing"  # neither a script nor a choice
    BOTH = "both"  # a choice, and then a script
    SEVERAL_SCRIPTS = "several scripts"
    SEVERAL_CHOICES = "several choices"
    EMPTY_SCRIPT = "empty script"
    UNCLOSED = "unclosed"
    UNKNOWN_ID = "unknown id"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class NewScript:
    """Run this on the original and on all finalists."""

    script: Script
    premature: bool = False
    """The reply went on to a choice, before its outputs could be seen; it does not count."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Candidate `number` is the winner; the first is 1."""

    number: int
    argument: str
    """The thoughts before the choice."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """The reply goes back with what was wrong."""

    fault: Fault
    said: str = ""
    """The id that is none, for UNKNOWN_ID."""


Action = NewScript | Choice | Malformed


def parse(reply: Reply, finalists: int, language: Language = "python") -> Action:
    """The action of a reply; candidates are numbered 1 to `finalists`.

    A reply that was cut at its length limit counts if its action is whole, and is TRUNCATED otherwise.
    """
    action = _parse(_said(reply), finalists, language)
    if isinstance(action, Malformed) and reply.stop_reason is StopReason.LENGTH:
        return Malformed(Fault.TRUNCATED)
    return action


def parse_choice(reply: Reply, candidates: int) -> Choice | Malformed:
    """The choice of a reply where nothing can be run; candidates are numbered 1 to `candidates`."""
    text = _said(reply)
    choices = _choices(text)
    if len(choices) == 1:
        return _choice(choices[0], _CHOICE.split(text)[0].strip(), candidates)
    if choices:
        return Malformed(Fault.SEVERAL_CHOICES)
    if reply.stop_reason is StopReason.LENGTH:
        return Malformed(Fault.TRUNCATED)
    return Malformed(Fault.UNCLOSED if "<choose>" in text else Fault.NOTHING)


def _said(reply: Reply) -> str:
    return _THINKING.sub("", reply.text).replace("\r\n", "\n")


def _choices(text: str) -> list[str]:
    return list(dict.fromkeys(said.strip() for said in _CHOICE.findall(text)))


def _parse(text: str, finalists: int, language: Language) -> Action:
    found = list(_SCRIPT.finditer(text))
    scripts = list(dict.fromkeys(_code(match["block"] or match["line"] or "") for match in found))
    rest = _SCRIPT.sub("", text)
    premature = bool(found) and not _CHOICE.search(text, 0, found[0].start())
    choices = _choices(rest)
    match len(scripts), len(choices):
        case 0, 0:
            return _untagged(text, language)
        case 1, chosen if premature or not chosen:
            return _script(scripts[0], language, premature=chosen > 0)
        case 0, 1:
            return _choice(choices[0], _CHOICE.split(rest)[0].strip(), finalists)
        case 0, _:
            return Malformed(Fault.SEVERAL_CHOICES)
        case 1, _:
            return Malformed(Fault.BOTH)
    return Malformed(Fault.SEVERAL_SCRIPTS)


def _untagged(text: str, language: Language) -> NewScript | Malformed:
    """A single code block with no tags around is the script."""
    if re.search(r"^[ \t]*<(script|choose)>", text, re.MULTILINE):
        return Malformed(Fault.UNCLOSED)
    blocks = _BARE.findall(text)
    return _script(blocks[0].strip("\n"), language) if len(blocks) == 1 else Malformed(Fault.NOTHING)


def _code(body: str) -> str:
    fenced = _CODE_FENCE.match(body)
    return (fenced[1] if fenced else body).strip("\n")


def _script(code: str, language: Language, *, premature: bool = False) -> NewScript | Malformed:
    if not code.strip():
        return Malformed(Fault.EMPTY_SCRIPT)
    return NewScript(Script(f"{code}\n", language), premature)


def _choice(said: str, argument: str, finalists: int) -> Choice | Malformed:
    match = _ID.fullmatch(said)
    if match and 1 <= int(match[1]) <= finalists:
        return Choice(int(match[1]), argument)
    return Malformed(Fault.UNKNOWN_ID, said)
