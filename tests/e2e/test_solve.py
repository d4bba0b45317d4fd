"""`runoff solve` and `show` from outside: a real repository, real executions, a person for a model."""

import json
import re
import subprocess
from collections import Counter

import pytest


def fixed(repository):
    """What the repository's slug gives now."""
    code = "from texttools import slug; print(slug('A  B'))"
    return subprocess.run(["python3", "-c", code], cwd=repository, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("sandbox", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_an_issue_becomes_the_patch_that_won(runoff, person, repository, solve_arguments, sandbox):
    code, out, err = runoff(*solve_arguments, "--sandbox", sandbox, "--apply")
    assert code == 0, err
    assert out.splitlines()[-1] == "patch: runs/first/" + next(iter(runoff.instances())) + "/patch.diff"
    assert fixed(repository) == "a-b"
    result = runoff.result()
    assert result["selection"]["vote_took_place"] is True
    assert {entrant["votes"] for entrant in result["selection"]["candidates"]} == {1, 0}
    assert [standing["status"] for standing in result["selection"]["standings"]].count("votes") == 1
    assert Counter(key["stage"] for key in person.answered) == {
        "relevance": 3, "testing": 2 + 2 + 8, "editing": 6, "selection": 1,
    }  # fmt: skip


def test_selector_is_a_setting(runoff, person, solve_arguments):
    """The right patch and a longer one have as many votes: the comparison of the two decides, in both orders."""
    code, out, err = runoff(*solve_arguments, "--selector", "votes | top:2 | pairwise")
    assert code == 0, err
    selection = runoff.result()["selection"]
    assert (selection["method"], selection["calls"]) == ("comparison in pairs", 2)
    assert Counter(key["stage"] for key in person.answered)["selection"] == 2
    assert "won: The comparison in pairs chose it after 2 model calls" in out
    assert [step["step"] for step in selection["steps"]] == ["applies", "equivalence", "votes", "top:2", "pairwise"]


def test_selector_that_cannot_be_read_is_refused_before_anything_is_spent(runoff, person, solve_arguments):
    code, _, err = runoff(*solve_arguments, "--selector", "votes | best")
    assert code == 2
    assert "selector: no step 'best'" in err
    assert "flag --selector" in err
    assert person.answered == []


def test_show_says_why_this_patch_won(runoff, solve_arguments):
    runoff(*solve_arguments)
    code, out, _ = runoff("show", "first")
    assert code == 0
    for said in (
        "3 files judged",
        "1 relevant",
        "testing 0",
        "editing 2",
        "relevance",
        "no-issue",
        "calls of unknown price",
        "text.lower().split()",
    ):
        assert said in " ".join(out.split()), said
    code, out, _ = runoff("show", "first", "--json")
    assert json.loads(out) == runoff.result()


def test_the_run_folder_can_be_followed_by_listing_it(runoff, solve_arguments):
    runoff(*solve_arguments)
    folder = runoff.folder / "runs" / "first"
    assert sorted(path.name for path in (folder / next(iter(runoff.instances()))).iterdir()) == [
        "01_context", "02_testing", "03_editing", "04_matrix.json", "05_selection.jsonl",
        "effort.json", "executions.jsonl", "instance.json", "patch.diff", "result.json",
    ]  # fmt: skip
    row = json.loads((folder / "predictions.jsonl").read_text())
    assert row["model_name_or_path"] == "runoff-manual"
    assert row["model_patch"] == (folder / row["instance_id"] / "patch.diff").read_text()


def test_resume_of_a_finished_run_gives_its_result_and_needs_nothing(runoff, person, solve_arguments):
    first = runoff(*solve_arguments)[1]
    asked = len(person.answered)
    code, out, err = runoff("resume", "first", DOCKER_HOST="unix:///nowhere")
    assert (code, out.splitlines()[-1]) == (0, first.splitlines()[-1])
    assert "finished" in err
    assert len(person.answered) == asked


def test_json_and_output(runoff, solve_arguments):
    code, out, err = runoff(*solve_arguments, "--json", "--output", "won.diff")
    assert code == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert (events[-1]["event"], events[-1]["patch_file"]) == ("result", "won.diff")
    assert {event["event"] for event in events[:-1]} == {"progress", "started"}
    stages = list(dict.fromkeys(event["stage"] for event in events if event["event"] == "progress"))
    assert stages == ["environment", "relevance", "ranking", "testing", "editing", "matrix", "selection"]
    calls = [event["spent"]["calls"] for event in events if "spent" in event]
    assert calls == sorted(calls)
    assert events[-1]["spent"]["calls"] == calls[-1] > 10
    assert err == ""
    assert (runoff.folder / "won.diff").read_text().startswith("diff --git a/texttools/slug.py")


def test_json_of_a_failure(runoff, solve_arguments, http_server):
    with http_server(200, {"data": []}) as url:
        arguments = [*solve_arguments, "--model", f"openai:m@{url}/v1", "--budget", 1]
        code, out, err = runoff(*arguments, "--json")
    last = json.loads(out.splitlines()[-1])
    assert (code, last["event"], last["exit_code"], last["cause"]) == (2, "error", 2, "data")
    assert "--price" in last["next"]
    assert last["message"] in err


def test_apply_refuses_on_conflict_and_changes_nothing(runoff, repository, solve_arguments):
    (repository / "texttools" / "slug.py").write_text("def slug(text):\n    return text\n")
    code, _, err = runoff(*solve_arguments, "--apply")
    assert code == 2
    assert "conflicts with the work tree" in err
    assert (repository / "texttools" / "slug.py").read_text() == "def slug(text):\n    return text\n"
    assert "dirty" in err or "changed" in err


def test_a_replay_gives_the_same_patch_and_says_what_drifted(runoff, solve_arguments, person):
    runoff(*solve_arguments)
    asked = len(person.answered)
    replayed = [*solve_arguments, "--model", "replay:first", "--run", "second"]
    code, _, err = runoff(*replayed)
    assert code == 0, err
    assert "differs" not in err
    assert runoff.result("second")["patch"] == runoff.result("first")["patch"]
    assert len(person.answered) == asked


def test_a_replay_of_another_issue_stops(runoff, solve_arguments, repository):
    runoff(*solve_arguments)
    code, _, err = runoff(
        *solve_arguments, "--model", "replay:first", "--run", "second", "--issue", "Something else is wrong with slug."
    )
    assert code == 2
    assert "error:" in err


def test_stages_end_where_they_are_told(runoff, solve_arguments, person):
    code, out, _ = runoff(*solve_arguments, "--stages", "context")
    assert (code, out.splitlines()[0]) == (0, "no patch: ended after context, as asked")
    assert {key["stage"] for key in person.answered} == {"relevance"}


def test_dry_run_spends_nothing(runoff, solve_arguments, person):
    code, out, _ = runoff(*solve_arguments, "--model", "anthropic:claude-sonnet-4-5", "--dry-run", "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["files"], report["left_out"]["test"]) == (3, 1)
    assert all(stage["dollars"] > 0 and stage["most_dollars"] >= stage["dollars"] for stage in report["stages"])
    assert person.answered == []
    assert not (runoff.folder / "runs").exists()


def test_dry_run_of_a_model_without_a_price_says_unknown_and_not_zero(runoff, solve_arguments):
    code, out, _ = runoff(*solve_arguments, "--dry-run", "--json")
    assert code == 0
    assert {stage["dollars"] for stage in json.loads(out)["stages"]} == {None}


def test_settings_are_shown_with_their_sources(runoff, solve_arguments):
    (runoff.folder / "runoff.toml").write_text("turns = 5\n")
    code, out, _ = runoff(*solve_arguments, "--show-settings", RUNOFF_FINALISTS="4")
    lines = [re.split(r"\s{2,}", line) for line in out.splitlines()]
    assert code == 0
    assert ["turns", "5", "runoff.toml: turns"] in lines
    assert ["finalists", "4", "variable RUNOFF_FINALISTS"] in lines


def test_help_has_an_example_for_each_command(runoff):
    _, out, _ = runoff("--help")
    for command in ("solve", "batch", "ensemble", "evaluate", "report", "resume", "show", "doctor"):
        assert command in out
        assert f"Example: runoff {command}" in " ".join(runoff(command, "--help")[1].split())
    for later in ("view", "serve"):
        assert later not in out.split()
