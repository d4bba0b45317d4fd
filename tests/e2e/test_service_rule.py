"""A missing service skips a test on a desk and fails it in CI (tests/conftest.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SUITE = """
import pytest

def test_service(require_service):
    require_service(False, "no server: scripts/model-server")

@pytest.mark.gpu
def test_accelerator():
    pytest.skip("no accelerator")

@pytest.mark.docker
def test_engine():
    pass

@pytest.mark.xfail(strict=True)
def test_known_fault():
    assert False
"""
MODULE = "import pytest\npytest.skip('no such platform', allow_module_level=True)\n"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_bytes(CONFTEST.read_bytes())
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  docker:\n  gpu:\n")
    return tmp_path


def run(suite: Path, ci: str) -> tuple[int, str]:
    """With a PATH that holds no docker command."""
    environ = {**os.environ, "CI": ci, "PATH": str(suite)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", str(suite)]
    done = subprocess.run(command, env=environ, cwd=suite, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_desk_skips_with_the_command_that_helps(suite: Path) -> None:
    code, output = run(suite, ci="")
    assert code == 0
    assert "3 skipped, 1 xfailed" in output
    assert "no server: scripts/model-server" in output
    assert "scripts/docker-engine installs one" in output


def test_ci_fails_what_a_desk_skips(suite: Path) -> None:
    code, output = run(suite, ci="true")
    assert code == 1
    assert "1 failed, 1 skipped, 1 xfailed, 1 error" in output
    assert "in CI nothing may be skipped, but it was: Skipped: no server" in output


def test_ci_fails_a_module_that_skips_itself(suite: Path) -> None:
    (suite / "test_module.py").write_text(MODULE)
    code, output = run(suite, ci="true")
    assert code == 2
    assert "no such platform" in output
