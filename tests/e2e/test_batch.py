"""`runoff batch`: a split of small instances from rows to predictions."""

import json
import re
from collections import Counter

import pytest

from agent import batch_async, resume_batch_async
from sandbox.patching import touched
from tests.e2e.splits import PRICE, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_split_to_the_end(batch):
    """Broken rows are named, an issue that the model cannot solve has a cause, no call is made twice."""
    batch.player.lost.add(3)
    broken = ['{"instance_id": "acme__texttools-99", "repo": "acme/te', {"instance_id": "acme__texttools-98", "repo": "x"}]
    code, out, err = batch.start(rows=[*batch.rows, *broken])
    assert code == 0, err
    lost = batch.ids()[3]
    assert set(batch.predictions()) == {*batch.ids()} - {lost}
    assert batch.causes() == {lost: "model", "acme__texttools-98": "data", "acme__texttools-99": "data"}
    assert "row 8 (acme__texttools-98): it has no base_commit" in err
    assert "5 of 6 instances have a patch" in out
    told = re.findall(r"^[\d:]+ (started|ended) ", err, re.MULTILINE)
    assert told.count("started") == told.count("ended") + 1 == 7
    assert max(Counter(batch.player.asked).values()) == 1
    code, out, err = batch.resume()
    assert (code, "nothing is left to do" in err) == (0, True), err
    code, out, err = batch.start("--samples", 3, rows=batch.rows)
    assert (code, "another samples" in err) == (2, True), err
    code, out, err = batch.start(rows=[{**row, "problem_statement": row["problem_statement"] + "!"} for row in batch.rows])
    assert (code, "another" in err) == (2, True), err


def test_model_failures_are_tried_again_when_asked(batch):
    batch.player.lost |= {0, 4}
    code, _, err = batch.start()
    assert (code, set(batch.causes().values())) == (0, {"model"}), err
    batch.player.lost.clear()
    asked = len(batch.player.order)
    code, _, err = batch.resume("--retry", "model")
    assert (code, batch.unresolved()) == (0, {}), err
    assert {number for number, _ in batch.player.order[asked:]} == {0, 4}
    assert {stage for _, stage in batch.player.order[asked:]} == {"testing", "editing", "selection"}, "the context stays"
    assert (batch.run / batch.ids()[0] / "earlier" / "1" / "result.json").exists()
    assert max(Counter(batch.player.asked).values()) == 1, "to try again is to draw again: no seed is sent twice"


def test_nothing_that_has_a_patch(batch):
    batch.player.lost |= set(range(6))
    code, out, err = batch.start("--instances", "0:2")
    assert (code, "0 of 2 instances have a patch" in out) == (1, True), err
    assert batch.predictions() == {}


def test_a_budget_for_each_issue_and_one_for_the_run(batch):
    cheap = ("--max-tokens", 300)
    code, _, err = batch.start(*cheap, "--run", "free")
    assert code == 0, err
    batch.run, first = batch.run.with_name("free"), batch.run
    free = batch.spent()
    batch.run = first
    limit = max(free.values()) / 2
    code, _, err = batch.start(*cheap, "--budget-per-issue", limit)
    assert (code, set(batch.causes().values())) == (3, {"budget"}), err
    assert batch.most() <= limit + 1e-9
    asked = len(batch.player.asked)
    code, _, err = batch.resume()
    assert len(batch.player.asked) == asked, "the limit is what it was"
    total = sum(free.values()) * 0.8
    code, _, err = batch.resume("--budget-per-issue", 100, "--budget", total, die_at=("manifest.json: after", 0))
    assert (code, len(batch.player.asked)) == (-9, asked), err
    code, _, err = batch.resume()
    assert (code, "--budget MORE" in err) == (3, True), "what was raised stays raised, though that process was killed"
    assert total * 0.4 < sum(batch.spent().values()) <= total + 1e-9
    code, _, err = batch.resume("--budget", 100)
    assert (code, set(batch.predictions())) == (0, set(batch.ids())), err
    assert max(Counter(batch.player.asked).values()) == 2, "once in each run"


def test_those_that_began_first_end_first(batch):
    """With a narrow way to the model, the first instance is done before the last has its tests."""
    batch.player.seconds = 0.02
    code, _, err = batch.start("--in-flight", 2, "--instances-at-once", 6)
    assert code == 0, err
    ended = [line.split(" ended ")[1].split()[1] for line in err.splitlines() if " ended " in line]
    assert [batch.ids().index(name) for name in ended[:2]] in ([0, 1], [1, 0])
    last_of_the_first = max(at for at, (number, _) in enumerate(batch.player.order) if number == 0)
    assert last_of_the_first < len(batch.player.order) * 0.6


def test_choosing_instances(batch):
    context = ["--stages", "context", "--prefilter", "bm25:1"]
    choices = [("1:3", [1, 2]), ("acme__*", [0, 2, 4]), (",".join(batch.ids()[4:2:-1]), [3, 4])]
    for number, (wanted, numbers) in enumerate(choices):
        code, _, err = batch.start(*context, "--instances", wanted, "--run", f"part-{number}")
        assert code == 0, err
        batch.run = batch.run.with_name(f"part-{number}")
        assert json.loads((batch.run / "manifest.json").read_text())["order"] == [batch.ids()[at] for at in numbers]
        assert set(batch.causes().values()) == {"not asked for"}
    code, _, err = batch.start(*context, "--shuffle", "--seed", 5, "--instances", "0:4", "--run", "shuffled")
    assert code == 0, err
    order = json.loads((batch.run.with_name("shuffled") / "manifest.json").read_text())["order"]
    assert len(order) == 4
    assert order != [name for name in batch.ids() if name in order]
    code, _, err = batch.start("--instances", "acme__texttools-7", "--run", "none")
    assert (code, "near it" in err) == (2, True), err


def test_json_lines(batch):
    code, out, err = batch.start("--instances", "0:2", "--json")
    assert code == 0, err
    told = [json.loads(line) for line in out.splitlines()]
    assert [line["instance"] for line in told if line["event"] == "ended"] in (batch.ids()[:2], batch.ids()[1::-1])
    assert told[-1]["event"] == "result"
    assert (told[-1]["instances"], told[-1]["patches"], told[-1]["causes"]) == (2, 2, {})
    assert told[-1]["spent"]["calls"] == len(batch.player.asked)


def test_predictions_are_cleaned(batch):
    batch.player.messy = {0: ["reproduce.py", "tests/test_more.py"], 1: [None, "tests/test_more.py"]}
    code, out, err = batch.start("--instances", "0:3")
    assert (code, "2 of 3 instances have a patch" in out) == (0, True), err
    first, second, third = batch.ids()[:3]
    patches = {name: row["model_patch"] for name, row in batch.predictions().items()}
    assert [path for _, path in touched(patches[first])] == ["texttools/slug.py"]
    result = json.loads((batch.run / first / "result.json").read_text())
    assert result["removed"] == {"reproduce.py": "scratch file", "tests/test_more.py": "test"}
    assert "reproduce.py" in (batch.run / first / "patch.diff").read_text(), "the patch itself is left alone"
    assert batch.unresolved() == {second: {"cause": "model", "reason": "the patch holds nothing but 1 test"}}
    assert json.loads((batch.run / third / "result.json").read_text())["removed"] == {}
    code, _, err = batch.start("--instances", "0:3", "--no-clean-predictions", "--run", "as-it-is")
    assert code == 0, err
    batch.run = batch.run.with_name("as-it-is")
    assert set(batch.predictions()) == set(batch.ids()[:3])
    assert "reproduce.py" in batch.predictions()[first]["model_patch"]


def test_samples_that_agree_stop_the_sampling(batch):
    batch.player.agreed = True
    several = ("--instances", "0:2", "--samples", 3, "--early-stop", 2)
    code, _, err = batch.start(*several)
    assert code == 0, err
    results = [json.loads((batch.run / name / "result.json").read_text()) for name in batch.ids()[:2]]
    assert [result["saved"] for result in results] == [1, 1]
    assert [len(list((batch.run / name / "03_editing").iterdir())) for name in batch.ids()[:2]] == [2, 2]
    batch.player.agreed = False
    code, _, err = batch.start(*several, "--run", "differing")
    assert code == 0, err
    assert json.loads((batch.run.with_name("differing") / batch.ids()[0] / "result.json").read_text())["saved"] == 0
    code, _, err = batch.start("--early-stop", 1, "--run", "alone")
    assert (code, "agrees with itself" in err) == (2, True), err


def test_an_estimate_before_anything_is_spent(batch):
    code, out, err = batch.start("--dry-run")
    assert code == 0, err
    assert "6 instances, 0 rows left out" in out
    assert "by a dry run of 6 of 6 instances" in out
    assert not batch.player.asked
    assert not batch.run.exists()
    code, _, err = batch.start("--instances", "0:2", "--run", "estimated")
    assert code == 0, err
    assert "estimate: about" in err
    effort = json.loads((batch.run.with_name("estimated") / batch.ids()[0] / "effort.json").read_text())
    assert 0 < effort["environment_seconds"] < effort["seconds"]
    assert effort["executions"] > 4
    code, out, err = batch.start("--dry-run")
    assert re.search(r"; about \d:\d\d:\d\d by how long run \S+ took, bound by", out), out
    code, out, _ = batch.start("--dry-run", "--json", "--runs", "runs")
    told = json.loads(out)
    assert told["earlier"]["instances"] >= 2
    assert set(told["earlier"]["dollars"]) == {"relevance", "ranking", "testing", "editing", "selection"}
    code, out, err = batch.fork("show", "estimated")
    assert "2 of 2 instances have a patch" in out
    assert "%" in next(line for line in out.splitlines() if "editing" in line)


def test_a_copy_to_give_away(batch):
    batch.rows[1] = {**batch.rows[1], "repo": "nobody/nowhere"}
    code, _, err = batch.start("--instances", "0:2")
    assert code == 0, err
    code, _, err = batch.fork("show", batch.name, "--export", batch.folder / "given")
    assert code == 0, err
    given = "".join(path.read_text() for path in (batch.folder / "given").rglob("*") if path.is_file())
    assert "no clone of nobody/nowhere" in given
    assert str(batch.folder) not in given


async def test_the_library(batch, tmp_path):
    given = {"dataset": str(write_rows(tmp_path / "rows.jsonl", batch.rows)), "repos": str(batch.clones), "setup": "none"}
    heard = []
    done = await batch_async(
        **given, model=batch.spec, price=PRICE, samples=2, instances="0:1", sandbox="local", runs=str(tmp_path / "runs"),
        run="first", test_command="none", watch=heard.append,
    )  # fmt: skip
    assert (done.outcome.total, done.outcome.patches, done.outcome.exit_code) == (1, 1, 0)
    assert done.spent.calls == len(batch.player.asked)
    assert [event.instance for event in heard if event.stage == "ended"] == batch.ids()[:1]
    again = await resume_batch_async("first", runs=tmp_path / "runs", retry="all")
    assert again.outcome == done.outcome
    assert len((done.run / "predictions.jsonl").read_text().splitlines()) == 1
