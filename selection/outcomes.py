"""Executions in words, for people and for models. Seconds stay out: what a model sees must not depend on the clock."""

from __future__ import annotations

from sandbox.api import Execution, Verdict


def outcome(execution: Execution) -> str:
    """How the execution ended, as the rest of a sentence about the script: `exits 2`, `times out`."""
    match execution:
        case Execution(apply_error=error) if error:
            ending = f"never starts, the patch does not apply ({line_of(error)})"
        case Execution(limit=limit, allowed=float() | int()) if limit != "output":
            ending = f"reaches its limit of {execution.limit_words}"
        case Execution(timed_out=True):
            ending = "times out"
        case Execution(oom=True):
            ending = "runs out of memory"
        case Execution(limit=limit) if limit not in (None, "output"):
            ending = f"reaches the limit on {limit}"
        case Execution(exit_code=int() as code):
            ending = f"exits {code}" if code >= 0 else f"dies of signal {-code}"
        case _:
            ending = "never starts"
    return ending


def meaning(verdict: Verdict) -> str:
    """What a script says by its exit code, in a few words; whether it is right about that is another matter."""
    match verdict:
        case Verdict.PASS:
            return "it finds nothing wrong"
        case Verdict.ISSUE:
            return "it finds the issue"
        case Verdict.BROKEN:
            return "no verdict"


def counted(number: int, noun: str) -> str:
    """`1 script`, `2 scripts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def line_of(text: str, chars: int = 200) -> str:
    """`text` on one line, cut after `chars` characters."""
    line = " ".join(text.split())
    return line if len(line) <= chars else f"{line[:chars]} ..."


def bounded(text: str, chars: int) -> str:
    """`text` with the middle cut out where it has more than `chars` characters; the cut says how much is gone."""
    if len(text) <= chars:
        return text
    head = chars // 2
    tail = chars - head
    return f"{text[:head]}\n[... {len(text) - chars} characters cut ...]\n{text[len(text) - tail :]}"
