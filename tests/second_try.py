"""In CI, a test of what the machine does beside it (engines, servers, clocks, processes) gets a second try.

The first try is not hidden: it is reported with its traceback, counted as `second try` in the closing line, and more
than a few of them fail the run. A test of logic alone has one try everywhere, and on a desk every test has.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

MOST = 3
"""How many tests of one run may need it."""
CATEGORY = "second try"


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}


def has_one(item: pytest.Item) -> bool:
    outside = any(item.get_closest_marker(name) for name in ("docker", "server", "slow"))
    return in_ci() and (outside or "tests/e2e/" in item.nodeid)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """As pytest's own, but that what failed runs once more, with its fixtures made anew."""
    if not has_one(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports: list[Any] = runtestprotocol(item, log=False, nextitem=nextitem)
    failed = [report for report in reports if report.failed]
    if failed:
        for report in failed:
            report.outcome = CATEGORY
            item.ihook.pytest_runtest_logreport(report=report)
        item._initrequest()  # type: ignore[attr-defined]  # as every plugin that repeats a test does
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_report_teststatus(report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    return (CATEGORY, "R", ("SECOND TRY", {"yellow": True})) if report.outcome == CATEGORY else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in terminalreporter.stats.get(CATEGORY, []):
        terminalreporter.section(f"first try of {report.nodeid} ({report.when})", sep="_")
        terminalreporter.write_line(report.longreprtext)


def pytest_sessionfinish(session: pytest.Session) -> None:
    terminal: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    again = {report.nodeid for report in terminal.stats.get(CATEGORY, [])} if terminal else set()
    if len(again) > MOST and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        terminal.write_line(f"\n{len(again)} tests needed a second try, more than {MOST}: that is no accident", red=True)
