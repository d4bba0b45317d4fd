"""A run of many calls keeps its descriptors and its memory: `scripts/soak_calls.py`, smaller, with replies that would show.

Each reply is 60 kB long, so that a run which kept them would grow by as much a call.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "soak_calls.py"
CALLS = 300


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_and_descriptors_are_flat():
    command = [sys.executable, SCRIPT, str(CALLS), "--words", "10000", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["calls"] == CALLS
    assert found["descriptors_late"] <= found["descriptors_early"] + 2
    assert found["bytes_per_call"] < 20_000
    assert found["resume_seconds"] < found["seconds"] * 2
