"""`runoff resume` of a finished run and `runoff report` are quick, by `scripts/bench_resume.py` on a smaller run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTANCES, SAMPLES = 40, 3
HEAVY = {"docker", "openai", "anthropic", "datasets", "aiohttp", "requests", "swebench"}
NAMING = """
import atexit, sys
from agent.cli.app import main
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
main()
"""


@pytest.fixture(scope="module")
def benched(tmp_path_factory):
    """(figures, folder of the runs): a finished run of so many instances, evaluated."""
    folder = tmp_path_factory.mktemp("bench")
    flags = ["--instances", INSTANCES, "--samples", SAMPLES, "--repeat", 1, "--keep", folder]
    command = [sys.executable, ROOT / "scripts" / "bench_resume.py", *map(str, flags), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


@pytest.mark.slow
def test_seconds(benched):
    found, folder = benched
    assert found["instances"] == INSTANCES
    assert found["calls"] > INSTANCES * SAMPLES * 3
    assert found["resume_cpu_seconds"] < 3
    assert found["report_cpu_seconds"] < 3
    assert len((folder / "runs" / "soak" / "predictions.jsonl").read_text().splitlines()) == INSTANCES


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["report", "soak"], ["resume", "soak"], ["show", "soak"]], ids=" ".join)
def test_what_is_not_imported(benched, words):
    """Nothing that talks to engines, models or hubs, for what talks to none."""
    _, folder = benched
    done = subprocess.run([sys.executable, "-c", NAMING, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert HEAVY & set(done.stderr.split()) == set()
