"""Where voting scripts come from: the runs among the members, and a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.jsonl import DamagedFile
from sandbox.api import Execution, Script
from sandbox.errors import InputError
from sandbox.matrix import Matrix
from selection.ensemble import read_members
from selection.scripts import Scripts, runs_among
from tests.selection.diffs import diff

ONE, TWO = Script("raise SystemExit(2)\n"), Script("exit 2\n", "bash")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder, as far as an ensemble reads it."""
    folder = tmp_path / "runs" / "mine"
    (folder / "i").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "predictions.jsonl").write_text(json.dumps({"instance_id": "i", "model_patch": diff("a\n", "b\n")}) + "\n")
    issue = (Execution(2, "", 0.1),)
    matrix = Matrix((ONE, TWO), (), {ONE.digest: issue, TWO.digest: issue})
    (folder / "i" / "04_matrix.json").write_text(matrix.to_json())
    return folder


def test_runs_are_told_from_other_members(run, tmp_path):
    (tmp_path / "other.jsonl").write_bytes((run / "predictions.jsonl").read_bytes())
    assert runs_among(read_members([tmp_path / "other.jsonl", run])) == (("mine", run),)


def test_scripts_of_runs_and_of_a_folder(run, tmp_path):
    (tmp_path / "more" / "i").mkdir(parents=True)
    for name in ("b.sh", "a.py", "notes.md"):
        (tmp_path / "more" / "i" / name).write_text(name)
    scripts = Scripts((("mine", run),), tmp_path / "more")
    assert scripts.of("i") == (
        ("mine/0", ONE),
        ("mine/1", TWO),
        ("a.py", Script("a.py")),
        ("b.sh", Script("b.sh", "bash")),
    )
    assert scripts.of("another") == ()


def test_matrix_that_cannot_be_read(run):
    (run / "i" / "04_matrix.json").write_text('{"format": 1}')
    with pytest.raises(DamagedFile, match=r"04_matrix\.json"):
        Scripts((("mine", run),)).of("i")


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Scripts(folder=tmp_path / "none")
