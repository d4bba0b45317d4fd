"""Writes down how each test ends, from inside the process that runs them. Goes into sandboxes; nothing of ours imports it.

As a plugin of pytest it gets a report of each phase of each test. As `sitecustomize` it is loaded by the first interpreter
that the test command starts, and listens in on unittest, on which Django's runner stands too. Reading what runners
print for people would miss tests whose names are docstrings, and those that print something themselves. Only the standard
library, Python 3.6 or later.
"""

import os
from collections.abc import Callable
from typing import Any

VARIABLE = "RUNOFF_OUTCOMES"
"""Names the file that is appended to; a line for each event, `passed ID`, `failed ID` or `skipped ID`."""
METHODS = {
    "addSuccess": "passed",
    "addExpectedFailure": "passed",
    "addFailure": "failed",
    "addError": "failed",
    "addUnexpectedSuccess": "failed",
    "addSkip": "skipped",
}


def write(outcome: str, name: str) -> None:
    """One event, in a single write, so that several processes may do so at once."""
    line = f"{outcome} {name.encode('unicode_escape').decode('ascii')}\n"
    handle = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode("ascii"))
    finally:
        os.close(handle)


def pytest_runtest_logreport(report: Any) -> None:
    """A hook of pytest: a test that passes says so once, in its call; whatever else ends it may do so in any phase."""
    if report.when == "call" or report.outcome != "passed":
        write(report.outcome, report.nodeid)


def pytest_collectreport(report: Any) -> None:
    """A hook of pytest: a file that cannot be collected has no tests that could fail."""
    if report.outcome == "failed":
        write("failed", report.nodeid)


def listen(result: Any) -> None:
    """Make a class of results, such as `unittest.TestResult`, write down what it is told."""
    for name, outcome in METHODS.items():
        setattr(result, name, _told(getattr(result, name), outcome))
    result.addSubTest = _told_of_part(result.addSubTest)


def _told(add: Callable[..., Any], outcome: str) -> Callable[..., Any]:
    def added(self: Any, test: Any, *more: Any) -> Any:
        write(outcome, test.id())
        return add(self, test, *more)

    return added


def _told_of_part(add: Callable[..., Any]) -> Callable[..., Any]:
    def added(self: Any, test: Any, part: Any, error: Any) -> Any:
        if error is not None:
            write("failed", test.id())
        return add(self, test, part, error)

    return added


if __name__ == "sitecustomize" and VARIABLE in os.environ and os.environ.get(VARIABLE + "_OWNER") is None:
    import unittest

    os.environ[VARIABLE + "_OWNER"] = str(os.getpid())  # what the tests start themselves is not asked
    listen(unittest.TestResult)
