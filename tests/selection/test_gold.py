"""The labels are read from every form of a data set, and from nowhere else."""

import ast
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from agent import rows
from agent.instances import load
from sandbox.errors import InputError
from selection.gold import GOLD, harness_rows, load_gold

ROOT = Path(__file__).parents[2]
ROW = {
    "instance_id": "shop__till-1",
    "repo": "shop/till",
    "base_commit": "a" * 40,
    "problem_statement": "the till is closed",
    "version": "1.0",
    "patch": "diff --git a/till.py b/till.py\n",
    "test_patch": "diff --git a/test_till.py b/test_till.py\n",
    "FAIL_TO_PASS": ["test_till.py::test_opens"],
    "PASS_TO_PASS": ["test_till.py::test_closes", "test_till.py::test_rings"],
    "difficulty": "<15 min fix",
}
FIVE = {
    "image": "shop/till:1",
    "eval_script": "#!/bin/bash\n",
    "log_parser": "parse_log_pytest",
    "eval_type": "pass_and_fail",
}


def as_text(row):
    return {**row, **{name: json.dumps(row[name]) for name in ("FAIL_TO_PASS", "PASS_TO_PASS")}}


def jsonl(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(params=["jsonl", "json", "by id", "parquet"])
def written(request, tmp_path):
    """Writes rows in one of the forms."""

    def write(*rows):
        path = tmp_path / f"rows.{request.param if request.param != 'by id' else 'json'}"
        match request.param:
            case "jsonl":
                return jsonl(tmp_path, *rows)
            case "json":
                path.write_text(json.dumps(rows))
            case "by id":
                path.write_text(json.dumps({row["instance_id"]: row for row in rows}))
            case "parquet":
                parquet.write_table(pa.Table.from_pylist(list(rows)), path)
        return path

    return write


@pytest.mark.parametrize("row", [ROW, as_text(ROW)], ids=["lists", "JSON text"])
def test_labels_of_a_row(written, row):
    labels = load_gold(str(written(row))).of("shop__till-1")
    assert labels.fail_to_pass == ("test_till.py::test_opens",)
    assert labels.pass_to_pass == ("test_till.py::test_closes", "test_till.py::test_rings")
    assert labels.patch.diff == ROW["patch"]
    assert labels.test_patch.paths == ("test_till.py",)
    assert (labels.repo, labels.version, labels.difficulty) == ("shop/till", "1.0", "<15 min fix")
    assert labels.eval_script == ""


def test_labels_of_a_row_for_swebench_5(written):
    labels = load_gold(str(written({**ROW, **FIVE}))).of("shop__till-1")
    assert (labels.eval_script, labels.log_parser, labels.eval_type) == (
        "#!/bin/bash\n",
        "parse_log_pytest",
        "pass_and_fail",
    )


def test_lists_and_texts_are_the_same_labels(tmp_path):
    lists, texts = (load_gold(str(jsonl(tmp_path, row))).of("shop__till-1") for row in (ROW, as_text(ROW)))
    assert lists == texts
    assert lists.digest == texts.digest


@pytest.mark.parametrize("name", ["patch", "test_patch", "FAIL_TO_PASS", "PASS_TO_PASS"])
def test_digest_changes_with_each_label(tmp_path, name):
    changed = {**ROW, name: [*ROW[name], "another"] if isinstance(ROW[name], list) else ROW[name] + "+"}
    assert load_gold(str(jsonl(tmp_path, ROW))).of("shop__till-1").digest != (
        load_gold(str(jsonl(tmp_path, changed))).of("shop__till-1").digest
    )


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"test_patch": ""}, "it has no test_patch"),
        ({"FAIL_TO_PASS": "[not json"}, "its FAIL_TO_PASS is not JSON"),
        ({"PASS_TO_PASS": {"a": 1}}, "its PASS_TO_PASS is not a list of test ids"),
        ({"FAIL_TO_PASS": []}, "its FAIL_TO_PASS is empty, so nothing can be resolved"),
    ],
)
def test_row_without_labels(tmp_path, columns, reason):
    gold = load_gold(str(jsonl(tmp_path, ROW, {**ROW, "instance_id": "shop__till-2", **columns})))
    assert list(gold.by_id) == ["shop__till-1"]
    assert [(row.id, row.reason) for row in gold.broken] == [("shop__till-2", reason)]
    with pytest.raises(InputError, match="no labels: " + reason.replace("[", r"\[")):
        gold.of("shop__till-2")


def test_second_row_of_an_id(tmp_path):
    gold = load_gold(str(jsonl(tmp_path, ROW, {**ROW, "difficulty": "hard"})))
    assert gold.of("shop__till-1").difficulty == "<15 min fix"
    assert gold.broken[0].reason == "the id is taken by an earlier row"


def test_source_without_labels(tmp_path):
    with pytest.raises(InputError, match="has no labels: it has no test_patch"):
        load_gold(
            str(jsonl(tmp_path, {name: ROW[name] for name in ("instance_id", "repo", "base_commit", "problem_statement")}))
        )


def test_rows_for_the_harness_are_whole(written):
    path = str(written({**ROW, **FIVE}, {**ROW, "instance_id": "shop__till-2"}))
    assert [row["instance_id"] for row in harness_rows(path, ["shop__till-2"])] == ["shop__till-2"]
    (row,) = harness_rows(path, ["shop__till-1"])
    assert json.loads(row["FAIL_TO_PASS"]) == ROW["FAIL_TO_PASS"]
    assert {name: row[name] for name in FIVE} == FIVE
    assert row["problem_statement"] == ROW["problem_statement"]


def test_instances_have_no_labels(written):
    path = str(written({**ROW, **FIVE}))
    assert not set(GOLD) & set(rows.ALLOWED)
    (row,) = rows.read_rows(path)
    assert set(row.columns) == {"instance_id", "repo", "base_commit", "problem_statement", "version", "image"}
    assert ROW["patch"] not in repr(load(path))


def sources():
    return [path for package in ("agent", "sandbox", "selection") for path in (ROOT / package).rglob("*.py")]


def test_only_evaluation_imports_the_labels():
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "selection.gold"
    }
    allowed = ("selection/evaluation/", "agent/cli/evaluate")
    assert importers
    assert [path for path in importers if not path.startswith(allowed)] == []


def test_names_of_gold_columns_stay_where_labels_are_read():
    """`patch` alone is any patch; the other columns' names stand in no file that could read them."""
    names = {"test_patch", "FAIL_TO_PASS", "PASS_TO_PASS"}
    holders = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert holders == {"selection/gold.py", "selection/evaluation/local.py", "selection/evaluation/official.py"}
