"""`runoff evaluate --local` and `runoff report` as processes of their own, on an issue that the test makes."""

import json
import shutil
import signal
import venv

import pytest

from tests.selection import shop

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("swebench"), pytest.mark.timeout(240)]


@pytest.fixture
def bench(runoff, tmp_path, git):
    """A data set of two instances, a folder with their clone, and what every call here says."""
    clones = tmp_path / "clones"
    (clones / "shop__till").mkdir(parents=True)
    commit = shop.make(clones / "shop__till")
    rows = [shop.row(commit), shop.row(commit, instance_id="shop__till-2", difficulty="1-4 hours")]
    shop.write(runoff.folder / "rows.jsonl", *rows)
    specs = [{"instance_id": row["instance_id"], "test_command": f"{shop.COMMAND} tests/test_till.py"} for row in rows]
    (runoff.folder / "specs.json").write_text(json.dumps(specs))
    return [
        "--local", "--dataset", "rows.jsonl", "--install-specs", "specs.json", "--repos", clones, "--sandbox", "local",
        "--timeout", 20,
    ]  # fmt: skip


def predict(runoff, name, **patches):
    """A predictions file: the name of a patch by the number of its instance."""
    rows = [
        {
            "instance_id": f"shop__till-{number[1:]}",
            "model_name_or_path": name,
            "model_patch": shop.PATCHES.get(patch, patch),
        }
        for number, patch in patches.items()
    ]
    path = runoff.folder / f"{name}.jsonl"
    shop.write(path, *rows)
    return path.name


def summary(runoff, folder):
    return json.loads((runoff.folder / folder / "evaluation.json").read_text())


def judgements(runoff, folder):
    lines = map(json.loads, (runoff.folder / folder / "evaluation/results.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "judgement"]


def test_predictions_from_start_to_report(runoff, bench):
    source = predict(runoff, "ours", _1="right", _2="wrong", _9="right")
    code, out, err = runoff("evaluate", source, *bench, timeout=200)
    assert code == 0, err
    assert "local, not official" in out
    assert "ours: 1 of 2 resolved (50.0%" in out
    assert "ours: 1 instances are not in the data set (shop__till-9)" in err
    held = summary(runoff, "runs/evaluate-ours")
    assert held["finished"]
    assert held["how"] == "local"
    assert {name: entry["outcome"] for name, entry in held["submissions"]["ours"]["outcomes"].items()} == {
        "shop__till-1": "resolved",
        "shop__till-2": "unresolved",
    }
    log = held["submissions"]["ours"]["outcomes"]["shop__till-2"]["log"]
    assert "FAIL: test_total" in (runoff.folder / "runs/evaluate-ours" / log).read_text()

    code, out, err = runoff("report", "evaluate-ours")
    assert code == 0, err
    assert "1 of 2" in out
    assert "1-4 hours" in out
    assert "local, not official" in out
    code, out, err = runoff("report", "evaluate-ours", "--json")
    (report,) = json.loads(out)
    assert report["resolved"]["value"] == 0.5
    assert report["by_difficulty"]["<15 min fix"]["count"] == 1
    assert report["outcomes"] == {"resolved": 1, "unresolved": 1}


def test_patches_are_judged_once(runoff, bench):
    """By patch and instance: a second system, a second call and a changed patch pay for what is new only."""
    both = ["--output", "both"]
    ours, theirs = predict(runoff, "ours", _1="right", _2=None), predict(runoff, "theirs", _1="right")
    code, out, err = runoff("evaluate", ours, theirs, *bench, *both, timeout=200)
    assert code == 0, err
    assert "ours: 1 of 2 resolved" in out
    assert "no patch 1" in out
    assert "theirs: 1 of 1 resolved" in out
    assert len(judgements(runoff, "both")) == 1

    code, out, err = runoff("evaluate", ours, theirs, *bench, *both, "--json")
    assert code == 0, err
    assert "judged before" in out
    result = json.loads(out.splitlines()[-1])
    assert result["event"] == "result"
    assert result["submissions"]["ours"]["outcomes"] == {"resolved": 1, "no patch": 1}
    assert (result["submissions"]["theirs"]["resolved"], result["submissions"]["theirs"]["judged"]) == (1, 1)
    assert len(judgements(runoff, "both")) == 1

    theirs = predict(runoff, "theirs", _1="wrong")
    code, out, err = runoff("evaluate", ours, theirs, *bench, *both, timeout=200)
    assert code == 0, err
    assert "theirs: 0 of 1 resolved" in out
    assert len(judgements(runoff, "both")) == 2


def test_kill_and_repeat(runoff, bench, wait_until):
    source = predict(runoff, "ours", _1="right", _2="hangs")
    process = runoff.start("evaluate", source, *bench, "--workers", 1)
    results = runoff.folder / "runs/evaluate-ours/evaluation/results.jsonl"
    wait_until(lambda: results.exists() and len(results.read_text().splitlines()) == 2, seconds=120)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with results.open("a") as file:
        file.write('{"kind": "judgement", "inst')  # what a full disk leaves
    code, out, err = runoff("evaluate", source, *bench, timeout=200)
    assert code == 0, err
    assert "1 of 2 resolved" in out
    assert "time-out 1" in out
    assert [line["instance"] for line in judgements(runoff, "runs/evaluate-ours")] == ["shop__till-1", "shop__till-2"]


def test_environment_that_cannot_be_built(runoff, bench):
    specs = json.loads((runoff.folder / "specs.json").read_text())
    specs[1]["install_commands"] = ["echo no such package; exit 3"]
    (runoff.folder / "specs.json").write_text(json.dumps(specs))
    source = predict(runoff, "ours", _1="right", _2="right")
    code, out, err = runoff("evaluate", source, *bench, timeout=200)
    assert code == 0, err
    assert "ours: 1 of 1 resolved" in out
    assert "environment 1" in out
    entry = summary(runoff, "runs/evaluate-ours")["submissions"]["ours"]["outcomes"]["shop__till-2"]
    assert "the set-up command failed with exit code 3" in entry["reason"]


def test_run_with_its_candidates(runoff, repository, solve_arguments, git):
    """A real run of three samples, two of which are right in different words: judged, and reported with its cost.

    The health check that the run was made with is no test command for the specs that the evaluation names.
    """
    code, _, err = runoff(*solve_arguments, "--test-command", "python -c pass")
    assert code == 0, err
    (name,) = runoff.instances()
    before = (repository / "tests/test_slug.py").read_text()
    after = before + '\n\ndef test_blanks():\n    assert slug("A  B") == "a-b"\n'
    row = {
        "instance_id": name,
        "repo": "texttools",
        "base_commit": git(repository, "rev-parse", "HEAD").strip(),
        "problem_statement": "slug doubles dashes",
        "version": "1",
        "test_patch": shop.diff_of("tests/test_slug.py", before, after),
        "FAIL_TO_PASS": ["test_blanks"],
        "PASS_TO_PASS": ["test_slug"],
        "log_parser": "parse_log_django",
    }
    shop.write(runoff.folder / "rows.jsonl", row)
    runner = (
        "python -c 'import tests.test_slug as t; import sys; bad = 0"
        '\nfor n in sorted(vars(t)):\n  if n.startswith("test_"):\n    try: getattr(t, n)(); print(n, "... ok")'
        '\n    except AssertionError: bad = 1; print(n, "... FAIL")\nsys.exit(bad)\' # tests/test_slug.py'
    )
    (runoff.folder / "specs.json").write_text(json.dumps([{"instance_id": name, "test_command": runner}]))
    code, out, err = runoff(
        "evaluate", "first", "--candidates", "--local", "--dataset", "rows.jsonl", "--install-specs", "specs.json",
        "--repos", repository.parent, timeout=200,
    )  # fmt: skip
    assert code == 0, err
    assert "first: 1 of 1 resolved" in out
    code, out, err = runoff("report", "first", "--json")
    (report,) = json.loads(out)
    sampling = report["sampling"]
    assert (sampling["samples"], sampling["oracle"]["count"], sampling["selected"]["count"]) == (3, 1, 1)
    assert sampling["pass_at_1"]["value"] == pytest.approx(2 / 3)
    assert sampling["coverage"]["3"]["value"] == 1.0
    assert report["cost"]["calls"] > 0
    assert {"testing", "editing"} <= set(report["cost"]["by_stage"])
    code, out, err = runoff("report", "first")
    assert code == 0, err
    assert "pass@1, a random sample" in out
    assert "66.7%" in out
    said = {line.split("  ")[0].strip(): line.split()[-1] for line in out.splitlines() if line.strip()}
    assert (said["dollars an issue"], said["tokens"]) == ("unknown", "unknown"), "a person tells neither; that is not zero"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "preds.jsonl"], "no data set is named"),
        (["evaluate", "nothing", "--dataset", "rows.jsonl"], "there is no run 'nothing'"),
        (
            ["evaluate", "preds.jsonl", "--dataset", "rows.jsonl", "--instances", "shop__till-2"],
            "no prediction is for the chosen",
        ),
        (["evaluate", "preds.jsonl", "preds.jsonl", "--dataset", "rows.jsonl"], "two sources are called 'preds'"),
        (["evaluate", "preds.jsonl", "--dataset", "bare.jsonl"], "the data set has no labels"),
        (["evaluate", "preds.jsonl", "--dataset", "rows.jsonl"], "swebench 5.0.2 needs rows with image"),
        (["evaluate", "preds.jsonl", "--dataset", "rows.jsonl", "--run-id", "../x"], "a run id is letters"),
        (["report", "nothing"], "there is neither a run nor an evaluation 'nothing'"),
    ],
)
def test_bad_input(runoff, bench, arguments, message):
    rows = json.loads((runoff.folder / "rows.jsonl").read_text().splitlines()[0])
    bare = {name: rows[name] for name in ("instance_id", "repo", "base_commit", "problem_statement")}
    shop.write(runoff.folder / "bare.jsonl", bare)
    shutil.move(runoff.folder / predict(runoff, "x", _1="right"), runoff.folder / "preds.jsonl")
    (runoff.folder / "preds.jsonl").write_text((runoff.folder / "preds.jsonl").read_text().replace('"x"', '"preds"'))
    code, out, err = runoff(*arguments)
    assert code == 2, err
    assert message in err
    assert "next:" in err
    assert out == ""


def test_python_without_swebench(runoff, bench, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    source = predict(runoff, "ours", _1="right")
    code, _, err = runoff("evaluate", source, "--dataset", "rows.jsonl", "--harness-python", tmp_path / "bare/bin/python")
    assert code == 2
    assert "swebench is not installed" in err
    assert "runoff[evaluate]" in err
