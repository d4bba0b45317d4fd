"""What the last lines of a test suite's output say: how many tests failed, how far it came, whether it started at all.

Read for the user's eyes only; nothing is decided by it but whether a set-up is worth another try.
"""

from __future__ import annotations

import re

_PYTEST = re.compile(r"^(?:=+ )?(\d+ [a-z ]+(?:, \d+ [a-z ]+)*) in [\d.]+s", re.MULTILINE)
_UNITTEST = re.compile(r"^Ran (\d+) tests? in", re.MULTILINE)
_ENDED = re.compile(r"^(OK|FAILED)(?: \((.*)\))?$", re.MULTILINE)
_PROGRESS = re.compile(r"\[ *(\d+)%\]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MISSING = re.compile(
    r"^(?:ERROR |.*(?:No module named|not found|No such file|unrecognized arguments|Error: )).*$", re.MULTILINE
)
NOT_STARTED = frozenset({4, 5, 126, 127})
"""pytest: wrong usage, nothing collected; the shell: cannot be run, not found."""
COLLECTION_FAILED = 2
INTERNAL_FAULT = "INTERNALERROR"
"""How pytest begins each line of a fault of its own; its exit code for that, 3, may mean anything elsewhere."""


def uncoloured(output: str) -> str:
    """The output without the escapes that colour it."""
    return _COLOUR.sub("", output)


def counts(output: str) -> str:
    """Such as `3 failed, 120 passed` or `120 tests, failures=3`; empty if nothing is counted."""
    if found := _PYTEST.findall(output):
        return str(found[-1]).strip(", ")
    if found := _UNITTEST.findall(output):
        ended = _ENDED.findall(output)
        how = f", {ended[-1][1]}" if ended and ended[-1][1] else ""
        return f"{found[-1]} tests{how}"
    return ""


def reached(output: str) -> str:
    """How far pytest came, such as ` (it was at 40 %)`; empty if that cannot be read."""
    found = _PROGRESS.findall(output)
    return f" (it was at {found[-1]} %)" if found else ""


def starts(exit_code: int, output: str) -> bool:
    """Whether any test was run by a command that ended with this exit code."""
    if exit_code in NOT_STARTED or INTERNAL_FAULT in output:
        return False
    counted = counts(output)
    if exit_code == COLLECTION_FAILED and "passed" not in counted and "failed" not in counted:
        return "tests" in counted
    return bool(counted) or not re.search(r"^\S*python\S*: No module named", output, re.MULTILINE)


def reason(output: str) -> str:
    """The line that says why nothing ran, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = _MISSING.findall(output)
    return (found[-1].strip() if found else lines[-1] if lines else "it said nothing")[:300]
