"""`scripts/demo` as a user runs it: a real issue of Flask, in both sandboxes, with the same patch at the end."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRANSCRIPT = ROOT / "runs" / "demo"


def demo(*arguments):
    """(lines of standard output, standard error)."""
    done = subprocess.run(["scripts/demo", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sandbox", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_demo_ends_with_the_patch(sandbox):
    lines, told = demo("--sandbox", sandbox)
    label, _, place = lines[-1].partition(": ")
    assert label == "patch"
    assert "differs from the recorded run" not in told
    verdicts = [line.split()[0] for line in lines if line.startswith("  ")]
    assert verdicts == ["ok", "ok", "ok"]
    patch = (ROOT / place).read_text()
    assert patch.startswith("diff --git a/src/flask/blueprints.py b/src/flask/blueprints.py")
    assert "+            raise ValueError(" in patch


def test_transcript_holds_replies_and_no_request_text_or_path_of_a_machine():
    journals = [path.read_text() for path in TRANSCRIPT.rglob("*.jsonl")]
    assert len(journals) == 1 + 3 + 3 + 1
    for text in journals:
        assert '"model": "manual"' in text
        for trace in ("/home/", "/root/", "/tmp/", "class Blueprint(Scaffold):"):
            assert trace not in text, trace
