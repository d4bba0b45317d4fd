"""Predictions in every form in which they go around, with what is odd about them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.api import Patch
from sandbox.errors import InputError
from selection.predictions import Predictions, read_predictions

DIFF = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b\n"


def row(instance, diff=DIFF, name="ours"):
    return {"instance_id": instance, "model_name_or_path": name, "model_patch": diff}


def lines(folder, *rows):
    path = folder / "preds.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl", json.dumps(row("a-1")) + "\n\n" + json.dumps(row("a-2")) + "\n"),
        ("p.json", json.dumps([row("a-1"), row("a-2")])),
        ("p.json", json.dumps({"a-1": row("a-1"), "a-2": row("a-2")})),
        ("p.json", json.dumps({name: {"model_name_or_path": "ours", "model_patch": DIFF} for name in ("a-1", "a-2")})),
        ("p.json", json.dumps([{"instance_id": name, "patch": DIFF, "prefix": "ours"} for name in ("a-1", "a-2")])),
    ],
    ids=["JSONL", "list", "object", "object without ids", "patch and prefix"],
)
def test_forms(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    held = read_predictions(path)
    assert held.patches == {"a-1": Patch(DIFF), "a-2": Patch(DIFF)}
    assert held.name == "ours"
    assert held.told({"a-1", "a-2"}) == []


def test_line_separators_within_a_patch(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row("a-1", DIFF + "+\u2028\x0c\n"), ensure_ascii=False) + "\n")
    assert read_predictions(path).patches["a-1"].diff.endswith("+\u2028\x0c\n")


def test_oddities_are_counted(tmp_path):
    path = lines(
        tmp_path,
        row("a-1"), row("a-1"), row("a-2"), row("a-2", DIFF.replace("+b", "+c")), row("a-3", None), row("a-4", "  \n"),
        {"instance_id": "a-5"}, {"model_patch": DIFF}, row("b-1"), 7,
    )  # fmt: skip
    held = read_predictions(path)
    assert (held.repeated, held.contradicted, held.empty) == (("a-1",), ("a-2",), ("a-3", "a-4"))
    assert held.patches["a-2"].diff.endswith("+c\n")
    assert [(one.row, one.reason) for one in held.unreadable] == [
        (7, "it has neither model_patch nor patch"),
        (8, "it has no instance_id"),
        (10, "it is not an object"),
    ]
    known = {"a-1", "a-2", "a-3", "a-4", "a-6"}
    assert held.unknown(known) == ("b-1",)
    assert held.missing(known) == ("a-6",)
    assert [line.partition("(")[0].strip() for line in held.told(known)] == [
        "ours: 3 rows cannot be read",
        "ours: 1 instances have several rows that are the same",
        "ours: 1 instances have several rows that differ: the last one counts",
        "ours: 2 instances have no patch",
        "ours: 1 instances are not in the data set",
    ]


def test_row_that_a_crash_tore(tmp_path):
    path = lines(tmp_path, row("a-1"))
    path.write_text(path.read_text() + '{"instance_id": "a-2", "model_pat')
    held = read_predictions(path)
    assert list(held.patches) == ["a-1"]
    assert held.unreadable[0].row == 2
    assert held.unreadable[0].reason.startswith("it is not JSON")


def test_name_is_the_files_where_rows_have_none(tmp_path):
    assert read_predictions(lines(tmp_path, {"instance_id": "a-1", "model_patch": DIFF})).name == "preds"


def test_rows_of_several_systems_are_told(tmp_path):
    held = read_predictions(lines(tmp_path, row("a-1"), row("a-2"), row("a-3", name="theirs")))
    assert held.name == "ours"
    assert held.told({"a-1", "a-2", "a-3"}) == ["ours: rows of 2 systems in one file (ours, theirs)"]


@pytest.mark.parametrize("content", ["[]", "7", "{", '[{"no": 1}]'])
def test_file_without_predictions(tmp_path, content):
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(InputError):
        read_predictions(path)


@settings(deadline=None)  # it writes files
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([None, "", "x", "y"]))))
def test_last_row_of_an_instance_counts(rows):
    """As where predictions are put into a dictionary, which is what the official harness does."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = lines(Path(folder), row("z"), *(row(name, diff) for name, diff in rows))
        held = read_predictions(path)
    last = {"z": DIFF, **dict(rows)}
    assert isinstance(held, Predictions)
    assert {name: patch.diff if patch else None for name, patch in held.patches.items()} == {
        name: diff or None for name, diff in last.items()
    }
    several = {name for name, _ in rows if sum(name == other for other, _ in rows) > 1}
    assert {*held.repeated, *held.contradicted} == several


def test_row_of_a_data_set_is_no_prediction(tmp_path):
    path = tmp_path / "split.jsonl"
    path.write_text(
        json.dumps({"instance_id": "a-1", "problem_statement": "it fails", "patch": "diff --git a/x b/x\n"}) + "\n"
    )
    with pytest.raises(InputError, match="whose patch is the label"):
        read_predictions(path)
