"""A batch that is killed again and again on a hostile server loses nothing: `scripts/soak_batch.py`, smaller."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "soak_batch.py"
INSTANCES, SAMPLES, IN_FLIGHT, KILLS = 12, 3, 24, 3
PLAN = {
    "--instances": INSTANCES,
    "--samples": SAMPLES,
    "--in-flight": IN_FLIGHT,
    "--kills": KILLS,
    "--latency": 0.05,
    "--moods": 0.08,
    "--timeout": 5,
}


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_kills_and_moods(tmp_path):
    flags = [str(text) for pair in PLAN.items() for text in pair]
    command = [sys.executable, SCRIPT, *flags, "--keep", tmp_path / "soak", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["processes"] > KILLS
    assert found["predictions"] == INSTANCES
    assert found["unresolved"] == {}
    assert found["unfinished"] == 0
    assert 0 < found["calm_seconds"] <= found["wall_seconds"] <= found["whole_seconds"]
    assert found["paid_again"] == 0
    assert found["journaled"] == found["calls"]
    assert found["answered_twice"] <= KILLS * IN_FLIGHT
    assert len(found["endings"]) > 3  # it was hostile
