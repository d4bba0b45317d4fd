"""Rows that `scripts/sampling_experiment.py` makes of a repository's own history, with real git and the local sandbox."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selection.gold import load_gold
from tests.selection import shop

SCRIPT = Path(__file__).parents[2] / "scripts" / "sampling_experiment.py"
BUG = """
[[bug]]
repo = "shop/till"
fix = "{fix}"
install = "pip install -q pytest"
fails = {fails}
statement = '''
total() is one too much
'''
"""


@pytest.fixture
def clone(tmp_path):
    """A clone with a bug and its fix; `fix` is the commit."""
    place = tmp_path / "clones" / "shop__till"
    place.mkdir(parents=True)
    shop.make(place)
    (place / "till.py").write_text(shop.FIXED)
    (place / "tests" / "test_till.py").write_text(shop.BEFORE["tests/test_till.py"] + shop.TOTAL)
    (place / "NEWS").write_text("total() is right\n")
    shop.git(place, "add", "--all")
    shop.git(place, "commit", "--quiet", "--message", "Fix total()")
    return place


def make(tmp_path, entries):
    bugs = tmp_path / "bugs.toml"
    bugs.write_text("".join(BUG.format(**entry) for entry in entries))
    output = tmp_path / "made"
    words = ["--repos", tmp_path / "clones", "--output", output, "--bugs", bugs]
    done = subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, check=False)
    return done, output


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_row_of_a_fix(tmp_path, clone):
    fix = shop.git(clone, "rev-parse", "HEAD")
    done, output = make(tmp_path, [{"fix": fix, "fails": 1}, {"fix": fix, "fails": 2}, {"fix": "0" * 40, "fails": 1}])
    assert done.returncode == 1  # two of the three entries are wrong, and are told
    assert "1 tests fail before the fix and pass after it, the list has 2" in done.stderr
    assert "no commit 000000000000 with a parent" in done.stderr
    (row,) = map(json.loads, (output / "rows.jsonl").read_text().splitlines())
    assert row["base_commit"] == shop.git(clone, "rev-parse", "HEAD^")
    assert row["FAIL_TO_PASS"] == ["tests/test_till.py::TillTests::test_total"]
    assert row["PASS_TO_PASS"] == ["tests/test_till.py::TillTests::test_count"]
    labels = load_gold(str(output / "rows.jsonl")).of(f"shop__till-{fix[:7]}")
    assert labels.patch.paths == ("till.py",)
    assert labels.test_patch.paths == ("tests/test_till.py",)
    specs = json.loads((output / "specs.json").read_text())
    assert specs[0]["install_commands"] == ["pip install -q pytest"]
    assert "runoff batch --dataset" in done.stdout


def test_list_that_is_no_list(tmp_path):
    (tmp_path / "bugs.toml").write_text("[[bug]]\nrepo = 'a/b'\n")
    words = ["--repos", tmp_path, "--output", tmp_path / "made", "--bugs", tmp_path / "bugs.toml"]
    done = subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no list of bugs" in done.stderr
