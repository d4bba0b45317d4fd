"""What all tests share: no keys of the person who runs them, and one rule about services that a machine may lack.

On a developer's machine a test whose service is missing is skipped, with the command that brings the service.
In CI (`CI=true`) nothing may be left out unseen, so there every skip is a failure; only what needs an accelerator
is exempt, because no CI machine has one.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from tests import second_try
from tests.agent.llm.llama import end, start
from tests.second_try import in_ci


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(second_try)


@cache
def missing_docker() -> str | None:
    """The reason why there is no engine, or None; asked once a process."""
    if shutil.which("docker") is None:
        return "no docker command: scripts/docker-engine installs one"
    try:
        answer = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer: see `docker version`"
    return None if answer.returncode == 0 else "no Docker engine answers: scripts/docker-engine starts one"


@cache
def missing_accelerator() -> str | None:
    return None if shutil.which("nvidia-smi") else "no accelerator"


PROBES: dict[str, Callable[[], str | None]] = {"docker": missing_docker, "gpu": missing_accelerator}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, probe in PROBES.items():
        if item.get_closest_marker(marker) is not None and (reason := probe()) is not None:
            pytest.skip(reason)


@pytest.fixture(scope="session")
def require_service() -> Callable[[bool, str], None]:
    """For fixtures that start a service: `require_service(binary.exists(), "no llama-server: <command>")`."""

    def require(available: object, reason: str) -> None:
        if not available:
            pytest.skip(reason)

    return require


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory, require_service: Callable[[bool, str], None]) -> Iterator[str]:
    """Base URL (without /v1) of llama.cpp serving SmolLM2 with two slots of 1024 tokens; started once."""
    log = tmp_path_factory.mktemp("llama") / "log"
    process, url = start(log)
    try:
        require_service(url, f"no model server: {log.read_text()[-2000:]}")
        yield url
    finally:
        end(process)


@pytest.fixture(autouse=True)
def without_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test never spends money, and never depends on what is exported in somebody's shell."""
    for name in list(os.environ):
        if name.endswith("_API_KEY") or (name.startswith("RUNOFF_") and name != "RUNOFF_CACHE_DIR"):
            monkeypatch.delenv(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if item.get_closest_marker("gpu") is None:
        fail_skipped_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    report: Any = yield
    fail_skipped_in_ci(report)
    return report


def fail_skipped_in_ci(report: Any) -> None:
    """Turns a skip into a failure; an expected failure (xfail) is reported as skipped too and stays what it is."""
    if in_ci() and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: in CI nothing may be skipped, but it was: {reason}"
