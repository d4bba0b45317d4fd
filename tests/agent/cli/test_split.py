"""Which instances a batch takes, where their clones are, and what its files say while it goes on."""

import json

import pytest

from agent.cli.board import Board
from agent.cli.settings import BatchSettings
from agent.cli.split import clone_of, split_of
from agent.files import write_text
from agent.store import Run
from sandbox.errors import InputError

IDS = [f"{owner}__app-{number}" for number in range(5) for owner in ("a", "b")]


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    columns = {"base_commit": "0123456", "problem_statement": "It breaks."}
    lines = [
        json.dumps({"instance_id": name, "repo": name.rpartition("-")[0].replace("__", "/"), **columns}) for name in IDS
    ]
    file.write_text(
        "\n".join([*lines, '{"instance_id": "a__app-77", "repo"', json.dumps({"instance_id": "a__app-78"})]) + "\n"
    )
    return file


def chosen(rows, wanted="", **more):
    split = split_of(BatchSettings(dataset=str(rows), instances=wanted, **more))
    return [each.id for each in split.instances], [row.id for row in split.broken]


def test_all_of_a_source_in_its_order(rows):
    assert chosen(rows) == (IDS, ["a__app-77", "a__app-78"])


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [("0:3", IDS[:3]), ("-2:", IDS[-2:]), (":1", IDS[:1]), ("b__*", IDS[1::2]), ("b__app-3, a__app-1", [IDS[2], IDS[7]])],
)
def test_a_part_of_it(rows, wanted, ids):
    assert chosen(rows, wanted)[0] == ids


def test_a_file_of_ids(rows, tmp_path):
    file = tmp_path / "ids.txt"
    file.write_text("b__app-4\na__app-0\n")
    assert chosen(rows, str(file))[0] == ["a__app-0", "b__app-4"]


def test_an_order_drawn_from_the_seed(rows):
    one, again, other = (chosen(rows, "0:5", shuffle=True, seed=seed)[0] for seed in (1, 1, 2))
    assert one == again != other
    assert len(set(one)) == 5


def test_broken_rows_are_left_out_when_they_are_asked_for(rows):
    assert chosen(rows, "a__app-77,a__app-0") == (["a__app-0"], ["a__app-77"])
    assert chosen(rows, "a__app-0") == (["a__app-0"], [])


@pytest.mark.parametrize("wanted", ["a__app-9", "c__*", "90:95", "a__app-77"])
def test_nothing_to_do(rows, wanted):
    with pytest.raises(InputError) as caught:
        chosen(rows, wanted)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["a__app-0", "a__app", "a/app", "app", "app.git"])
def test_clones(tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    assert clone_of({"id": "a__app-0", "repo": "a/app"}, str(tmp_path)) == str(tmp_path / name)


def test_no_clone(tmp_path):
    assert clone_of({"id": "a__app-0", "repo": "a/app"}, "") == "https://github.com/a/app"
    with pytest.raises(InputError, match="no clone of a/app"):
        clone_of({"id": "a__app-0", "repo": "a/app"}, str(tmp_path))


class Clock:
    now = 0.0

    def __call__(self):
        self.now += 0.1  # what a look at the clock takes, so that writing takes time
        return self.now


def test_the_board_pauses_in_proportion_to_its_writes(tmp_path):
    run = Run(tmp_path / "run")
    run.begin({"settings": {}, "order": IDS}, {name: {} for name in IDS})
    clock = Clock()
    board = Board(run, "runoff", clock=clock)
    written = []
    for name in IDS[:-1]:
        write_text(run.path / name / "patch.diff", f"diff --git a/{name} b/{name}\n")
        run.instance(name).write("result.json", {"reason": "won"})
        board.ended(name)
        rows = [json.loads(line)["instance_id"] for line in (run.path / "predictions.jsonl").read_text().splitlines()]
        assert rows == IDS[: len(rows)]
        written.append(len(rows))
    assert written[0] == 1
    assert written[1:] == [1] * 8, "a write of 0.1 s is followed by 2 s of peace"
    clock.now += 3
    run.instance(IDS[-1]).write("failure.json", {"cause": "data", "reason": "no clone", "where": "there"})
    board.ended(IDS[-1])
    assert len((run.path / "predictions.jsonl").read_text().splitlines()) == 9
    assert json.loads((run.path / "unresolved.json").read_text()) == {
        IDS[-1]: {"cause": "data", "reason": "no clone (there)"}
    }
    before = (run.path / "predictions.jsonl").read_bytes()
    run.write_predictions("runoff")
    assert sorted((run.path / "predictions.jsonl").read_bytes().splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json", '[{"instance_id": "b__app-4", "image": "x"}, {"instance_id": "a__app-0"}]'),
        ("predictions.jsonl", '{"instance_id": "b__app-4", "model_patch": ""}\n{"instance_id": "a__app-0"}\n'),
        ("unresolved.json", '{"b__app-4": {"cause": "model"}, "a__app-0": {"cause": "data"}}'),
    ],
)
def test_the_ids_of_other_rows(rows, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert chosen(rows, str(tmp_path / name))[0] == ["a__app-0", "b__app-4"]


def test_rows_without_ids(rows, tmp_path):
    (tmp_path / "rows.json").write_text('[{"instance_id": "b__app-4"}, {"name": "a__app-0"}]')
    with pytest.raises(InputError, match="row 2 has no instance_id"):
        chosen(rows, str(tmp_path / "rows.json"))
