"""What CI tries twice, and that it says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = """
import pytest

tries = []

@pytest.fixture
def made_anew():
    return []

@pytest.mark.slow
@pytest.mark.parametrize("number", range({unlucky}))
def test_of_the_machine(number, made_anew):
    made_anew.append(number)
    tries.append(number)
    assert made_anew == [number]
    assert tries.count(number) == 2, "the first try's reason"

def test_of_logic():
    tries.append("logic")
    assert tries.count("logic") == {logic}
"""


@pytest.mark.parametrize(
    ("ci", "unlucky", "logic", "code", "closing"),
    [
        ("true", 2, 1, 0, "3 passed, 2 second try"),
        ("true", 4, 1, 1, "5 passed, 4 second try"),
        ("true", 1, 2, 1, "1 failed, 1 passed, 1 second try"),
        ("", 1, 1, 1, "1 failed, 1 passed"),
    ],
    ids=["passes", "too many", "logic", "desk"],
)
@pytest.mark.parametrize("workers", ["0", "2"])
def test_second_tries(tmp_path: Path, ci: str, unlucky: int, logic: int, code: int, closing: str, workers: str) -> None:
    (tmp_path / "test_it.py").write_text(TESTS.format(unlucky=unlucky, logic=logic))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.second_try", "-n", workers, "--dist", "loadscope", str(tmp_path)]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (result.returncode, closing in result.stdout) == (code, True), result.stdout
    assert result.stdout.count("the first try's reason") >= (unlucky if ci else 1)
