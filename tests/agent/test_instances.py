import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from agent.instances import Instance, find, from_issue, load
from agent.rows import ALLOWED, read_rows
from sandbox.errors import InputError

ROW = {
    "instance_id": "pallets__flask-5014",
    "repo": "pallets/flask",
    "base_commit": "7ee9ceb71e868944a46e1ff00b506772a53a4f1d",
    "problem_statement": "An empty name is accepted.",
    "version": "2.3",
    "patch": "GOLD-PATCH",
    "test_patch": "GOLD-TESTS",
    "hints_text": "GOLD-HINT",
    "FAIL_TO_PASS": ["GOLD-F2P"],
    "PASS_TO_PASS": '["GOLD-P2P"]',
}
OTHER = {**ROW, "instance_id": "pallets__flask-4045"}


def write(path: Path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.name == "by_id.json":
        path.write_text(json.dumps({row["instance_id"]: row for row in rows}))
    else:
        path.write_text(json.dumps(rows))
    return str(path)


@pytest.fixture(params=["rows.jsonl", "rows.json", "by_id.json", "rows.parquet", "test.parquet in a folder"])
def source(request, tmp_path):
    if request.param.endswith("folder"):  # goes through the `datasets` library, as the Hub's ids do
        folder = tmp_path / "data"
        folder.mkdir()
        write(folder / "test.parquet", [ROW, OTHER])
        return str(folder)
    return write(tmp_path / request.param, [ROW, OTHER])


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_instances_of_every_kind_of_source(source):
    instances = load(source)
    assert list(instances.by_id) == ["pallets__flask-5014", "pallets__flask-4045"]
    instance = find(source, "pallets__flask-5014")
    assert (instance.repo, instance.version, instance.statement) == ("pallets/flask", "2.3", "An empty name is accepted.")
    assert instance.environment.image == "docker.io/swebench/sweb.eval.x86_64.pallets_1776_flask-5014:latest"
    assert instances.broken == ()


def test_gold_columns_are_not_kept(source):
    for row in read_rows(source):
        assert set(row.columns) <= set(ALLOWED)
    assert "GOLD" not in repr(load(source))


@pytest.mark.parametrize(
    "columns", [{"image": "reg/a:1", "image_name": "b"}, {"image_name": "reg/a:1"}, {"docker_image": "reg/a:1"}]
)
def test_a_row_may_name_its_image(tmp_path, columns):
    source = write(tmp_path / "rows.jsonl", [{**ROW, **columns}])
    assert find(source, ROW["instance_id"]).environment.image == "reg/a:1"


def test_an_unknown_instance_gets_the_nearest(source):
    with pytest.raises(InputError, match="no instance 'pallets__flask-5041'") as caught:
        find(source, "pallets__flask-5041")
    assert "pallets__flask-5014" in caught.value.hint


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ROW, "problem_statement": " "}, "no problem_statement"),
        ({**ROW, "base_commit": None}, "no base_commit"),
        ({**ROW, "base_commit": "--help"}, "not a commit id"),
        ({**ROW, "instance_id": "../../etc"}, "cannot name a folder"),
        ({**ROW, "instance_id": "a..b"}, "cannot name a folder"),
        ({**ROW, "instance_id": OTHER["instance_id"]}, "taken"),
        ([1], "not an object"),
    ],
)
def test_broken_rows_are_named_and_left_out(tmp_path, row, reason):
    source = write(tmp_path / "rows.jsonl", [OTHER, row])
    instances = load(source)
    assert list(instances.by_id) == [OTHER["instance_id"]]
    assert [(broken.line, reason in broken.reason) for broken in instances.broken] == [(2, True)]


def test_a_half_written_file_says_so(tmp_path):
    path = Path(write(tmp_path / "rows.jsonl", [OTHER, ROW]))
    path.write_text(path.read_text()[:-200])
    instances = load(str(path))
    assert list(instances.by_id) == [OTHER["instance_id"]]
    with pytest.raises(InputError, match="half-written"):
        instances.find(ROW["instance_id"])
    with pytest.raises(InputError, match="rows that cannot be read: 1"):
        instances.find("other__thing-1")


@pytest.mark.parametrize("name", ["rows.json", "rows.parquet"])
def test_a_file_that_cannot_be_read_at_all(tmp_path, name):
    path = Path(write(tmp_path / name, [ROW]))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="half-written"):
        load(str(path))


def test_no_such_source(tmp_path):
    for source in (str(tmp_path / "none.jsonl"), "nonsense", str(tmp_path / "a" / "b" / "c")):
        with pytest.raises(InputError, match="no such data set"):
            load(source)
    (tmp_path / "rows.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="cannot read a"):
        load(str(tmp_path / "rows.csv"))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match="no instance can be read"):
        load(str(tmp_path / "empty.jsonl"))


def test_an_unknown_split(tmp_path):
    write(tmp_path / "test.parquet", [ROW])
    with pytest.raises(InputError, match="no split 'train'") as caught:
        load(str(tmp_path), split="train")
    assert "test" in caught.value.hint


@pytest.fixture
def repository(make_repository):
    return make_repository({"a.py": "x\n"}, "my project!")


def test_an_issue_as_text_file_or_standard_input(repository, tmp_path):
    path = tmp_path / "issue.md"
    path.write_text("It fails.\n")
    by_text = from_issue(repository, "It fails.")
    assert by_text == from_issue(repository, str(path)) == from_issue(repository, "-", stdin=io.StringIO("\nIt fails."))
    assert by_text.base_commit == repository.commit
    assert by_text.id.startswith("my-project-")
    assert by_text.environment.repository == repository.path
    assert from_issue(repository, "Other.").id != by_text.id
    assert from_issue(repository, "Line one.\n\nLine two.").statement == "Line one.\n\nLine two.\n"


@pytest.mark.parametrize(
    ("issue", "message"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("-", "empty"),
        ("missing.md", "no such file"),
        ("./some/where", "no such file"),
        ("https://github.com/pallets/flask/issues/5010", "URL of an issue"),
    ],
)
def test_issues_that_cannot_be_used(repository, issue, message):
    with pytest.raises(InputError, match=message) as caught:
        from_issue(repository, issue, stdin=io.StringIO(""))
    assert caught.value.hint


def test_an_empty_or_binary_file(repository, tmp_path):
    (tmp_path / "issue.md").write_text("\n")
    with pytest.raises(InputError, match="the issue is empty"):
        from_issue(repository, str(tmp_path / "issue.md"))
    (tmp_path / "issue.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read the issue"):
        from_issue(repository, str(tmp_path / "issue.md"))


REAL = Path(__file__).parents[3] / "shared" / "data" / "swebench"


@pytest.mark.skipif(not REAL.is_dir() and os.environ.get("CI") != "true", reason="no SWE-bench data beside the project")
@pytest.mark.parametrize("name", ["verified_dev.jsonl", "verified_dev.parquet"])
def test_real_rows(name):
    instances = load(str(REAL / name))
    assert len(instances.by_id) == 243
    assert instances.broken == ()


@pytest.mark.parametrize(
    ("statement", "title"),
    [("# It crashes\n\nBadly.", "It crashes"), ("\n\n  one line ", "one line"), ("x" * 300, "x" * 200), ("#\n#", "")],
)
def test_title(statement, title):
    assert Instance("i", "r", "c" * 40, statement).title == title


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ("a__b-2", ["a__b-2"]),
        ("c__d-1, a__b-1", ["a__b-1", "c__d-1"]),
        ("a__*", ["a__b-1", "a__b-2"]),
        ("*-1,a__b-1", ["a__b-1", "c__d-1"]),
        ("*", ["a__b-1", "a__b-2", "c__d-1"]),
        (",", []),
    ],
)
def test_chosen_instances(tmp_path, wanted, ids):
    chosen = load(str(three_rows(tmp_path))).chosen(wanted)
    assert [instance.id for instance in chosen] == ids


def test_instances_chosen_by_a_file(tmp_path):
    (tmp_path / "ids.txt").write_text("c__d-1\n\na__b-2\n")
    chosen = load(str(three_rows(tmp_path))).chosen(str(tmp_path / "ids.txt"))
    assert [instance.id for instance in chosen] == ["a__b-2", "c__d-1"]


@pytest.mark.parametrize("wanted", ["a__b-3", "x*"])
def test_choice_that_fits_none(tmp_path, wanted):
    with pytest.raises(InputError) as caught:
        load(str(three_rows(tmp_path))).chosen(wanted)
    assert wanted in caught.value.message
    assert caught.value.hint


def three_rows(folder):
    rows = [
        {"instance_id": name, "repo": "a/b", "base_commit": "a" * 40, "problem_statement": "it is slow"}
        for name in ("a__b-1", "a__b-2", "c__d-1")
    ]
    path = folder / "three.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
