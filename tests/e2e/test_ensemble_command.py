"""`runoff ensemble`, driven as users do: every form of predictions in, one prediction an instance out, and why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.selection.diffs import diff

BEFORE = "def total(items):\n    return 0\n"
FIX = diff(BEFORE, "def total(items):\n    return sum(items)\n")
SAME = diff(BEFORE, "def total(items):\n    # all of them\n    return sum(items)\n")
OTHER = diff(BEFORE, "def total(items):\n    raise NotImplementedError\n")
TESTS = diff("", "assert True\n", "tests/test_total.py")


def runoff(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from agent.cli.app import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def prediction(instance: str, patch: str | None, **more: Any) -> dict[str, Any]:
    return {"instance_id": instance, "model_name_or_path": "m", "model_patch": patch, **more}


@pytest.fixture
def split(tmp_path: Path) -> Path:
    known = {"repo": "shop/till", "base_commit": "0" * 40, "problem_statement": "It fails."}
    path = tmp_path / "split.jsonl"
    path.write_text("".join(json.dumps({"instance_id": f"shop__till-{n}", **known}) + "\n" for n in range(4)))
    return path


@pytest.fixture
def members(tmp_path: Path) -> list[Path]:
    """JSONL with a duplicate, a null and a stranger; a list; an object by id; the other benchmark's columns; a run."""
    paths = [
        tmp_path / name for name in ("lines.jsonl", "list.json", "object.json", "pro.json", "runs/mine/predictions.jsonl")
    ]
    rows = [prediction("shop__till-0", OTHER), prediction("shop__till-1", None), prediction("stranger-1", FIX)]
    paths[0].write_text("".join(json.dumps(row) + "\n" for row in [*rows, prediction("shop__till-0", FIX)]) + "no json\n")
    paths[1].write_text(json.dumps([prediction("shop__till-0", SAME), prediction("shop__till-1", FIX)]))
    paths[2].write_text(json.dumps({"shop__till-0": {"model_patch": OTHER}, "shop__till-1": {"model_patch": OTHER}}))
    paths[3].write_text(json.dumps([{"instance_id": "shop__till-1", "patch": SAME, "prefix": "p"}]))
    paths[4].parent.mkdir(parents=True)
    paths[4].write_text(json.dumps(prediction("shop__till-2", TESTS)) + "\n")
    return [*paths[:4], paths[4].parent]


def test_ensemble_of_all_forms(split: Path, members: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out" / "chosen.jsonl"
    done = runoff("ensemble", "--instances", split, "--predictions", *members, "--output", output, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["instances"], result["chosen"], result["unresolved"]) == (4, 2, 2)
    odd = {one["name"]: {name: count for name, count in one.items() if count} for one in result["members"]}
    assert odd["lines"].items() >= {"empty": 1, "missing": 2, "unknown": 1, "contradicted": 1, "unreadable": 1}.items()
    assert odd["mine"]["missing"] == 3
    assert any("lines: 1 instances are not in the data set (stranger-1)" in line for line in result["told"])
    rows = {row["instance_id"]: row for row in map(json.loads, output.read_text().splitlines())}
    assert {name: row["model_patch"] for name, row in rows.items()} == {"shop__till-0": FIX, "shop__till-1": FIX}
    causes = json.loads((tmp_path / "out" / "chosen.unresolved.json").read_text())
    assert causes["shop__till-2"] == "clean left nobody: it changes nothing else than tests: tests/test_total.py"
    assert causes["shop__till-3"] == "no member has a patch"


def test_second_call_takes_up_the_record(split: Path, members: list[Path], tmp_path: Path) -> None:
    words = ["ensemble", "--instances", split, "--predictions", *members, "--output", tmp_path / "chosen.jsonl"]
    first, second = runoff(*words), runoff(*words)
    assert "chosen: 2 of 4, in" in first.stdout
    assert "chosen: 2 of 4, 4 choices from the record, in" in second.stdout


def test_table_names_each_member(split: Path, members: list[Path], tmp_path: Path) -> None:
    done = runoff("ensemble", "--instances", split, "--predictions", *members, "--output", tmp_path / "c.jsonl")
    assert all(name in done.stdout for name in ("lines", "list", "object", "pro", "mine"))
    assert "selector: clean | equivalence | consensus" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--selector", "oracle"], "no step 'oracle'"),
        (["--selector", "consensus | top:none"], "a whole number from 1"),
    ],
)
def test_selector_that_there_is_not(split: Path, members: list[Path], tmp_path: Path, words: list[str], says: str) -> None:
    done = runoff("ensemble", "--instances", split, "--predictions", *members, "--output", tmp_path / "c.jsonl", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "next: steps: clean" in done.stderr
    assert not (tmp_path / "c.jsonl").exists()


def test_one_member_is_no_ensemble(split: Path, members: list[Path], tmp_path: Path) -> None:
    done = runoff("ensemble", "--instances", split, "--predictions", members[0], "--output", tmp_path / "c.jsonl")
    assert done.returncode == 2
    assert "at least two members" in done.stderr


def test_nothing_to_choose_is_no_success(split: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path in paths:
        path.write_text(json.dumps(prediction("shop__till-0", None)) + "\n")
    done = runoff("ensemble", "--instances", split, "--predictions", *paths, "--output", tmp_path / "c.jsonl")
    assert done.returncode == 1
    assert (tmp_path / "c.jsonl").read_text() == ""
