"""A short soak on every backend: the same script that runs 2,000 executions, with blows that come quickly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("private_engine")]
SCRIPT = Path(__file__).parents[2] / "scripts/soak_sandbox.py"


def soak(*options: str) -> dict[str, Any]:
    """The figures. A soak that fails says what was wrong, lost or left."""
    done = subprocess.run([sys.executable, str(SCRIPT), *options, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


@pytest.mark.docker
def test_fast_path_under_kills_and_restarts_of_the_engine(
    require_docker: None, require_service: Callable[[object, str], None]
) -> None:
    require_service(os.geteuid() == 0 and shutil.which("dockerd"), "a private engine needs root: sudo scripts/docker-engine")
    figures = soak("--executions", "70", "--every", "9", "--restart-every", "30", "--seed", "4")
    assert (figures["executions"], figures["wrong"], figures["lost"], figures["left"]) == (70, 0, 0, {})
    assert (figures["engine_restarts"], figures["blows"] >= 4) == (2, True)


@pytest.mark.docker
def test_portable_path_under_kills(require_docker: None) -> None:
    figures = soak("--executions", "30", "--every", "5", "--backend", "portable", "--engine", "current")
    assert (figures["executions"], figures["wrong"], figures["lost"], figures["left"]) == (30, 0, 0, {})
    assert figures["blows"] >= 2


def test_local_backend_under_kills(require_local: None) -> None:
    figures = soak("--executions", "50", "--every", "6", "--backend", "local")
    assert (figures["executions"], figures["wrong"], figures["lost"], figures["left"]) == (50, 0, 0, {})
    assert figures["blows"] >= 4
