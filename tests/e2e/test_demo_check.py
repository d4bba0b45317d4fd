"""The demo's judge: a patch that does what the issue asks for passes, others fail, and none runs outside the sandbox."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SETUP = 'pip install -e . "werkzeug==2.3.7" "pytest<8"'
HEADER = "diff --git a/src/flask/blueprints.py b/src/flask/blueprints.py\n--- a/src/flask/blueprints.py\n+++ b/src/flask/blueprints.py\n"
DOT = '         if "." in name:\n'

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    command = [sys.executable, str(SCRIPTS / "demo_repository.py"), str(tmp_path_factory.mktemp("demo"))]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


@pytest.fixture
def judge(
    repository: Path, tmp_path: Path, require_service: Callable[[bool, str], None]
) -> Callable[[str], tuple[int, str]]:
    def run(diff: str) -> tuple[int, str]:
        patch = tmp_path / "patch.diff"
        patch.write_text(diff)
        command = [sys.executable, str(SCRIPTS / "demo_check.py"), "--repo", str(repository), "--setup", SETUP]
        command += ["--test-command", "python -m pytest -q tests/test_blueprints.py", "--patch", str(patch)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        require_service(done.returncode != 4, done.stderr)
        return done.returncode, done.stdout

    return run


def hunk(condition: str) -> str:
    added = f'+        if {condition}:\n+            raise ValueError("a blueprint needs another name")\n+\n'
    return f"{HEADER}@@ -267,2 +267,5 @@\n \n{added}{DOT}"


def test_right_patch(judge: Callable[[str], tuple[int, str]]) -> None:
    code, output = judge(hunk("not name"))
    assert code == 0, output
    assert output.count("  ok ") == 3
    assert "3 failed, 4 passed" in output
    assert "57 passed" in output


def test_patch_that_refuses_too_much(judge: Callable[[str], tuple[int, str]]) -> None:
    code, output = judge(hunk("len(name) < 7"))
    assert code == 1
    assert "ok  the issue's test fails before the patch" in output
    assert "NOT the issue's test passes after the patch" in output
    assert "NOT the project's own tests pass after it" in output


def test_patch_that_does_nothing(judge: Callable[[str], tuple[int, str]]) -> None:
    code, output = judge(hunk("name is None"))
    assert code == 1
    assert "NOT the issue's test passes after the patch" in output
    assert "ok  the project's own tests pass after it" in output
