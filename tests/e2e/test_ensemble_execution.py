"""`runoff ensemble` where steps run something: regression tests and scripts decide, what fails is parked, nothing runs twice."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.openai_server import MODELS, JsonHandler, completion, listening
from tests.selection import shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
TOTAL = "import sys\n\nfrom till import total\n\nsys.exit(0 if total([1, 2]) == 3 else 2)\n"
COUNT = "import sys\n\nfrom till import count\n\nsys.exit(0 if count([1, 2]) == 2 else 2)\n"


@pytest.fixture
def words(runoff, tmp_path):
    """Two instances; two members break a test, one mends the issue, one tries and fails. The words of a call."""
    (tmp_path / "clones" / "shop__till").mkdir(parents=True)
    commit = shop.make(tmp_path / "clones" / "shop__till")
    rows = [shop.row(commit), shop.row(commit, instance_id="shop__till-2")]
    shop.write(runoff.folder / "rows.jsonl", *rows)
    specify(runoff, "shop__till-1", "shop__till-2")
    members = {"a": "breaks another", "b": "breaks another", "c": "right", "d": "wrong"}
    for name, patch in members.items():
        lines = [{"instance_id": row["instance_id"], "model_patch": shop.PATCHES[patch]} for row in rows]
        shop.write(runoff.folder / f"{name}.jsonl", *lines)
    return [
        "ensemble", "--instances", "rows.jsonl", "--predictions", *(f"{name}.jsonl" for name in members),
        "--install-specs", "specs.json", "--repos", tmp_path / "clones", "--sandbox", "local", "--output", "chosen.jsonl",
    ]  # fmt: skip


def specify(runoff, *instances):
    """Install specs whose test command names a file, as those that were written down for one instance do."""
    specs = [{"instance_id": name, "test_command": f"{shop.COMMAND} tests/test_total.py"} for name in instances]
    (runoff.folder / "specs.json").write_text(json.dumps(specs))


def chosen(runoff):
    rows = map(json.loads, (runoff.folder / "chosen.jsonl").read_text().splitlines())
    return {row["instance_id"]: row["model_patch"] for row in rows}


def record(runoff, instance):
    lines = map(json.loads, (runoff.folder / "chosen.selection.jsonl").read_text().splitlines())
    return [line for line in lines if line.get("instance") == instance]


def executions(runoff):
    work = runoff.folder / "chosen.work"
    return sum(len(path.read_text().splitlines()) - 1 for path in work.glob("*/executions*.jsonl"))


@pytest.mark.parametrize("sandbox", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_candidates_that_break_tests_come_last(runoff, words, sandbox):
    code, out, err = runoff(*words, "--selector", "consensus")
    assert (code, set(chosen(runoff).values())) == (0, {shop.PATCHES["breaks another"]}), err

    words += ["--sandbox", sandbox]
    code, out, err = runoff(*words, "--selector", "consensus | regression", "--json", timeout=200)
    assert code == 0, err
    assert shop.PATCHES["breaks another"] not in chosen(runoff).values()
    (choice,) = record(runoff, "shop__till-1")
    step = choice["steps"][-1]
    assert step["note"] == "1 test of tests/test_till.py pass on the unpatched tree"
    reasons = {member: entry["reason"] for entry in step["kept"] for member in entry["members"]}
    assert reasons["c"] == "breaks none of 1 test"
    assert reasons["a"].startswith("breaks 1 of 1 test: ")
    result = json.loads(out.splitlines()[-1])
    assert result["steps"]["regression"].items() >= {"tests": 2, "files": 2}.items()
    assert result["steps"]["regression"]["seconds"] > 0

    before = executions(runoff)
    (runoff.folder / "chosen.selection.jsonl").unlink()
    code, out, err = runoff(*words, "--selector", "consensus | regression", timeout=200)
    assert (code, executions(runoff)) == (0, before), err
    assert record(runoff, "shop__till-1") == [choice]


def test_scripts_that_vote(runoff, words):
    folder = runoff.folder / "scripts" / "shop__till-1"
    folder.mkdir(parents=True)
    (folder / "total.py").write_text(TOTAL)
    (folder / "count.py").write_text(COUNT)
    (folder / "notes.txt").write_text("no script")
    code, out, err = runoff(*words, "--selector", "votes", "--scripts", "scripts", timeout=200)
    assert code == 0, err
    assert chosen(runoff)["shop__till-1"] == shop.PATCHES["right"]
    assert re.search("votes: 2 scripts, 1 voters, [0-9.]+ seconds$", out, re.MULTILINE)
    (choice,) = record(runoff, "shop__till-1")
    assert choice["steps"][-1]["note"] == "1 of 2 scripts show the issue on the unpatched tree and vote"
    assert choice["reason"].startswith("votes: passes 1 of 1 script,")
    (choice,) = record(runoff, "shop__till-2")
    assert choice["steps"][-1]["note"] == "there are no scripts for this instance"

    (folder / "total.py").write_text(TOTAL + "# another script\n")
    code, out, err = runoff(*words, "--selector", "votes", "--scripts", "scripts", timeout=200)
    assert "choices from the record" not in out


def test_instance_without_an_environment_is_parked_and_tried_again(runoff, words):
    specify(runoff, "shop__till-1")
    code, out, err = runoff(*words, "--selector", "consensus | regression", timeout=200)
    assert code == 4
    assert "chosen: 1 of 2" in out
    assert "shop__till-2: parked, data: no spec for shop/till 1" in err
    assert "1 instances have no choice yet" in err
    assert chosen(runoff).keys() == {"shop__till-1"}
    causes = json.loads((runoff.folder / "chosen.unresolved.json").read_text())
    assert causes["shop__till-2"].startswith("parked, data: no spec")
    assert [line["kind"] for line in record(runoff, "shop__till-2")] == ["parked"]

    code, out, err = runoff(*words, "--selector", "consensus | regression", timeout=200)
    assert (code, "1 choices from the record" in out) == (4, True)
    assert [line["kind"] for line in record(runoff, "shop__till-2")] == ["parked", "parked"]

    specify(runoff, "shop__till-1", "shop__till-2")
    code, out, err = runoff(*words, "--selector", "consensus | regression", timeout=200)
    assert code == 0, err
    assert chosen(runoff).keys() == {"shop__till-1", "shop__till-2"}


def test_install_specs_that_are_not_there(runoff, words):
    (runoff.folder / "specs.json").unlink()
    code, _, err = runoff(*words, "--selector", "regression")
    assert code == 2
    assert "--install-specs specs.json" in err


def test_sandbox_that_is_away(runoff, words):
    code, _, err = runoff(*words, "--selector", "votes", "--sandbox", "docker", DOCKER_HOST="tcp://127.0.0.1:9")
    assert code == 4
    assert "no sandbox works here" in err
    assert not (runoff.folder / "chosen.jsonl").exists()


@pytest.fixture
def judge():
    """A server whose model names the candidate that adds nothing to the sum; `asked` counts its replies."""
    asked = []

    class Handler(JsonHandler):
        def answer(self, content):
            if content is None:
                return 200, MODELS
            body = json.loads(content)
            if "messages" not in body:
                return 404, {"error": {"message": "not found"}}
            text = "".join(message["content"] for message in body["messages"])
            diffs = re.findall(r'<candidate number="(\d+)">\n(.*?)\n</candidate>', text, re.DOTALL)
            number = next(number for number, diff in diffs if diff.strip() == shop.PATCHES["right"].strip())
            asked.append(number)
            return 200, completion(f"It is right.\n\n<choose>{number}</choose>")

    with listening(Handler) as url:
        yield f"openai:m@{url}/v1", asked


def test_model_that_judges(runoff, words, judge):
    model, asked = judge
    words = [*words, "--selector", "model", "--model", model]
    code, out, err = runoff(*words)
    assert code == 0, err
    assert chosen(runoff) == dict.fromkeys(["shop__till-1", "shop__till-2"], shop.PATCHES["right"])
    assert len(asked) == 2
    (choice,) = record(runoff, "shop__till-1")
    assert choice["steps"][-1]["step"] == "single"
    assert "single: 2 calls" in out

    (runoff.folder / "chosen.selection.jsonl").unlink()
    code, out, err = runoff(*words)
    assert (code, len(asked)) == (0, 2), err
    assert record(runoff, "shop__till-1") == [choice]


def test_budget_that_is_reached(runoff, words, judge):
    model, asked = judge
    words = [*words, "--selector", "single", "--model", model, "--instances-at-once", 1]
    code, _, err = runoff(*words, "--budget-calls", 1)
    assert (code, len(asked), len(chosen(runoff))) == (3, 1, 1), err
    assert "1 instances have no choice yet (budget: " in err
    code, _, err = runoff(*words, "--budget-calls", 2)
    assert (code, len(asked), len(chosen(runoff))) == (0, 2, 2), err


def test_trajectory_that_asks_and_runs(runoff, words, judge):
    model, asked = judge
    code, _, err = runoff(*words, "--selector", "consensus | top:3 | trajectory", "--model", model, timeout=200)
    assert code == 0, err
    assert set(chosen(runoff).values()) == {shop.PATCHES["right"]}
    assert len(asked) == 2


def test_selector_that_asks_without_a_model(runoff, words):
    code, _, err = runoff(*words, "--selector", "runoff")
    assert code == 2
    assert "model" in err
    assert not (runoff.folder / "chosen.jsonl").exists()
