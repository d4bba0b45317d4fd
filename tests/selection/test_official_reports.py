"""What the official harness's files say, for both versions, and which of its failures are none of the patch's."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from sandbox.api import Patch
from sandbox.errors import InputError
from selection.evaluation.harness import Harness
from selection.evaluation.official import (
    Batch,
    check_rows,
    command_line,
    finished_before,
    judgement_of,
    log_folder,
    write_inputs,
)
from selection.evaluation.verdicts import Outcome, Score

FOUR, FIVE = (Harness("python", Version(version)) for version in ("4.1.0", "5.0.2"))
ID = "shop__till-1"


def status(fail_to_pass, pass_to_pass=("a", "b")):
    lists = {"FAIL_TO_PASS": fail_to_pass, "PASS_TO_PASS": pass_to_pass}
    return {
        name: {"success": [test for test in tests if test.islower()], "failure": [test for test in tests if test.isupper()]}
        for name, tests in lists.items()
    }


@pytest.fixture
def logs(tmp_path):
    """The folder of an instance's logs, with the files that a test wants in it."""

    def make(**files):
        folder = tmp_path / "logs"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            path = folder / {"report": "report.json", "log": "run_instance.log", "output": "test_output.txt"}[name]
            path.write_text(content if isinstance(content, str) else json.dumps({ID: content}))
        return folder

    return make


def judge(folder, *, ended=True):
    return judgement_of(folder, ID, folder.parent, ended=ended)


def test_resolved(logs):
    report = {"resolved": True, "patch_successfully_applied": True, "tests_status": status("f", "ab")}
    judgement = judge(logs(report=report), ended=False)
    assert judgement.outcome is Outcome.RESOLVED
    assert (judgement.fail_to_pass, judgement.pass_to_pass, judgement.log) == (Score(1, 1), Score(2, 2), "logs")


def test_unresolved(logs):
    judgement = judge(logs(report={"resolved": False, "tests_status": status("fG", "aB")}))
    assert (judgement.outcome, judgement.reason) == (
        Outcome.UNRESOLVED,
        "1 of 2 FAIL_TO_PASS fail, 1 of 2 PASS_TO_PASS fail",
    )
    assert judgement.failed == ("G", "B")


@pytest.mark.parametrize(
    ("report", "output", "outcome"),
    [
        ({"resolved": False, "infra_failure": True, "infra_failure_reason": "out_of_memory"}, "", Outcome.INFRASTRUCTURE),
        ({"resolved": False}, "OSError: [Errno 28] No space left on device", Outcome.INFRASTRUCTURE),
        ({"resolved": False}, "Error response from daemon: no such container", Outcome.INFRASTRUCTURE),
        ({"resolved": False}, "ImportError: cannot import name 'till'", Outcome.UNRESOLVED),
        ({"resolved": False, "tests_status": status("F")}, "No space left on device", Outcome.UNRESOLVED),
    ],
    ids=["5 says so", "disk", "engine", "the patch broke the import", "tests ran"],
)
def test_reports_without_tests(logs, report, output, outcome):
    assert judge(logs(report=report, output=output)).outcome is outcome


@pytest.mark.parametrize(
    ("log", "outcome", "reason"),
    [
        (
            "Failed to apply patch\n>>>>> Patch Apply Failed:\nerror: corrupt patch at line 7\n",
            Outcome.NOT_APPLIED,
            "error: corrupt patch at line 7",
        ),
        ("EvaluationError: Test timed out after 600 seconds.\n", Outcome.TIME_OUT, "the tests did not end within 600 s"),
        (
            "Traceback\ndocker.errors.ImageNotFound: 404 Client Error: Not Found\n",
            Outcome.INFRASTRUCTURE,
            "docker.errors.ImageNotFound: 404 Client Error: Not Found",
        ),
        ("Creating container\n", Outcome.INFRASTRUCTURE, "the harness ended without a report on it"),
    ],
)
def test_instances_without_a_report(logs, log, outcome, reason):
    judgement = judge(logs(log=log))
    assert (judgement.outcome, judgement.reason) == (outcome, reason)


def test_instance_that_the_harness_did_not_come_to(logs):
    judgement = judge(logs())
    assert (judgement.outcome, judgement.log) == (Outcome.INFRASTRUCTURE, "")


@pytest.mark.parametrize("content", ["", '{"shop__ti', "{}", "[]"], ids=["empty", "half", "of nothing", "a list"])
def test_report_that_is_being_written(logs, content):
    folder = logs(log="Creating container\n")
    (folder / "report.json").write_text(content)
    assert judge(folder, ended=False) is None
    assert judge(folder).outcome is Outcome.INFRASTRUCTURE


def batch(**patches):
    return Batch({name: Patch(diff) for name, diff in patches.items()}, dict.fromkeys(patches, "basis"))


patches = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["x\n", "y\n", "z\n"]), min_size=1)


@given(patches, patches)
def test_run_id_stands_for_the_patches(one, other):
    """A changed patch gets another id, the same ones in any order the same."""
    reordered = dict(sorted(one.items(), reverse=True))
    assert batch(**one).run_id("r") == batch(**reordered).run_id("r")
    assert (batch(**one).run_id("r") == batch(**other).run_id("r")) == (one == other)


def test_run_id_changes_with_the_labels():
    changed = Batch({"a": Patch("x")}, {"a": "other labels"})
    assert changed.run_id("r") != Batch({"a": Patch("x")}, {"a": "labels"}).run_id("r")


def test_reports_of_a_call_whose_caller_was_killed(tmp_path):
    called = batch(a="x\n", b="y\n")
    run_id = called.run_id("runoff")
    place = tmp_path / "evaluation/official" / run_id
    write_inputs(place, called, "us/them")
    reported = log_folder(place, run_id, "us/them", "b")
    reported.mkdir(parents=True)
    (reported / "report.json").write_text(json.dumps({"b": {"resolved": True}}))
    ((name, patch, basis, judgement),) = finished_before(tmp_path)
    assert (name, patch.diff, basis, judgement.outcome) == ("b", "y\n", "basis", Outcome.RESOLVED)


@pytest.mark.parametrize(("harness", "has_namespace"), [(FOUR, True), (FIVE, False)])
def test_command_line(harness, has_namespace):
    command = command_line(
        harness,
        dataset=Path("d.jsonl"),
        predictions=Path("p.jsonl"),
        run_id="r-1",
        workers=3,
        timeout=60.0,
        namespace="none",
    )
    assert command[:4] == ["python", "-I", "-m", "swebench.harness.run_evaluation"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert (options["--run_id"], options["--timeout"], options["--max_workers"]) == ("r-1", "60", "3")
    assert ("--namespace" in options) is has_namespace


def test_rows_that_swebench_5_does_not_read():
    row = {"instance_id": ID, "image": "shop/till:1", "log_parser": "parse_log_pytest", "eval_type": "pass_and_fail"}
    check_rows(FOUR, [row], "rows.jsonl")
    check_rows(FIVE, [{**row, "eval_script": "#!/bin/bash"}], "rows.jsonl")
    with pytest.raises(InputError, match=f"'{ID}' has no eval_script"):
        check_rows(FIVE, [row], "rows.jsonl")
