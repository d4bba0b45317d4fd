"""The figures of a report, on a run and an evaluation whose right answers are known."""

import json

import pytest

from agent.llm.client import CallKey
from agent.llm.ledger import Ledger
from agent.llm.messages import Usage
from agent.llm.totals import Worst
from agent.store import Run
from sandbox.api import Patch
from sandbox.errors import InputError
from selection.candidates import Dropped
from selection.evaluation.record import Results, Submission, Summary, read_summary
from selection.evaluation.verdicts import Judgement, Outcome
from selection.gold import Gold, GoldLabels
from selection.record import Entrant, Method, Selection
from selection.report import report_on

RIGHT, WRONG = (f"diff --git a/{name} b/{name}\n+{name}\n" for name in ("right", "wrong"))
INSTANCES = {
    "a-1": ("one/a", "easy", [RIGHT, RIGHT, WRONG, None], "right"),
    "a-2": ("one/a", "hard", [RIGHT, WRONG, WRONG, WRONG], "wrong"),
    "b-1": ("two/b", "hard", [WRONG, WRONG, WRONG, None], "wrong"),
    "b-2": ("two/b", "", [RIGHT, RIGHT, RIGHT, RIGHT], "right"),
}
"""Repository, difficulty, what four samples ended with, and what was chosen. The votes put the first sample first."""


def entrant(diff, samples, *, finalist):
    origins = tuple(f"editing/{number}" for number, patch in enumerate(samples) if patch == diff)
    return Entrant(Patch(diff).digest[:10], origins, diff, len(origins), 1, 1, {}, finalist, "")


def selection(samples, chosen):
    first = samples[0]
    distinct = list(dict.fromkeys(diff for diff in (first, *samples) if diff))
    entrants = tuple(entrant(diff, samples, finalist=diff == first) for diff in distinct)
    winner = next(one.id for one in entrants if (one.diff == RIGHT) == (chosen == "right"))
    dropped = tuple(Dropped(f"editing/{number}", "no edit") for number, diff in enumerate(samples) if diff is None)
    return Selection(winner, Method.VOTES, "", True, (entrants[0].id,), entrants, (), dropped)  # noqa: FBT003  its third field


@pytest.fixture
def run(tmp_path):
    """A finished run of four instances with two that are not, and a ledger."""
    run = Run(tmp_path / "mine")
    run.begin({"settings": {}}, {name: {"repo": repo} for name, (repo, *_) in INSTANCES.items()})
    for name, (_, _, samples, chosen) in INSTANCES.items():
        store = run.instance(name)
        store.write("result.json", {"patch": "x", "reason": "", "selection": selection(samples, chosen).to_json()})
    (run.path / "unresolved.json").write_text(
        json.dumps(
            {"c-1": {"cause": "sandbox", "reason": "x"}, "c-2": {"cause": "sandbox", "reason": "y"}, "c-3": "no edit"}
        )
    )
    with Ledger(run.ledger) as ledger:
        for number, (stage, dollars, seconds) in enumerate([("testing", 1.0, 2.0), ("editing", 3.0, 4.0)]):
            call = ledger.reserve(
                CallKey("a-1", stage, number, "0", 0), "m", prompt_tokens=1, max_tokens=1, worst=Worst(2, 9.0)
            )
            ledger.settle(call, Usage(10, 0, 0, 5), dollars, seconds=seconds, stop_reason="end", attempts=1)
    return run


def evaluate(run, names=INSTANCES, outcomes=None):
    labels = {
        name: GoldLabels(name, repo, "1", Patch(""), ("t",), (), None, difficulty)
        for name, (repo, difficulty, *_) in INSTANCES.items()
    }
    one = Submission(
        run.name, str(run.path), {name: Patch(RIGHT if INSTANCES[name][3] == "right" else WRONG) for name in names}
    )
    one.candidates = {
        name: {f"editing/{number}": Patch(diff) if diff else None for number, diff in enumerate(INSTANCES[name][2])}
        for name in names
    }
    bases = dict.fromkeys(names, "basis")
    with Results(run.path) as results:
        for name in names:
            for diff, outcome in ((RIGHT, Outcome.RESOLVED), (WRONG, Outcome.UNRESOLVED)):
                results.keep(name, Patch(diff), "basis", Judgement((outcomes or {}).get(name, outcome)))
        Summary(results, Gold("rows", labels, ()), [one], bases, how="local", tools={}).write(finished=True)


def test_figures_of_a_run(run):
    evaluate(run)
    (report,) = report_on(run.path)
    assert (report.resolved.count, report.resolved.total) == (2, 4)
    assert {name: (share.count, share.total) for name, share in report.by_repository.items()} == {
        "one/a": (1, 2),
        "two/b": (1, 2),
    }
    assert {name: (share.count, share.total) for name, share in report.by_difficulty.items()} == {
        "easy": (1, 1),
        "hard": (0, 2),
        "unknown": (1, 1),
    }
    sampling = report.sampling
    assert (sampling.instances, sampling.samples) == (4, 4)
    assert sampling.coverage[1].value == pytest.approx((2 / 4 + 1 / 4 + 0 + 1) / 4)
    assert sampling.coverage[2].value == pytest.approx((5 / 6 + 3 / 6 + 0 + 1) / 4)
    assert list(sampling.coverage) == [1, 2, 3]
    assert (sampling.oracle.count, sampling.votes.count, sampling.selected.count) == (3, 3, 2)
    chance = (2 / 4 + 1 / 4 + 0 + 1) / 4
    assert sampling.gap_closed == pytest.approx((0.5 - chance) / (0.75 - chance))
    assert report.failures == {"sandbox": 2, "no edit": 1}
    assert report.cost.totals.dollars == 4.0
    assert report.cost.totals.seconds == 6.0
    assert report.cost.issues == 4
    assert list(report.cost.by_stage) == ["testing", "editing"]


def test_what_was_not_judged_counts_for_nothing(run):
    evaluate(run, outcomes={"a-2": Outcome.INFRASTRUCTURE, "b-1": Outcome.ENVIRONMENT})
    (report,) = report_on(run.path)
    assert (report.resolved.count, report.resolved.total) == (2, 2)
    assert report.outcomes == {"resolved": 2, "infrastructure": 1, "environment": 1}
    assert report.sampling.instances == 2


def test_json_of_a_report(run):
    evaluate(run)
    (report,) = report_on(run.path)
    plain = json.loads(json.dumps(report.to_json()))
    assert plain["resolved"]["value"] == 0.5
    assert plain["sampling"]["pass_at_1"]["value"] == pytest.approx(0.4375)
    assert plain["cost"]["dollars_an_issue"] == 1.0
    assert plain["cost"]["by_stage"]["editing"]["dollars"] == 3.0


def test_run_that_was_not_evaluated(run):
    (report,) = report_on(run.path)
    assert report.note.startswith("not evaluated")
    assert report.resolved.value is None
    assert report.cost.totals.dollars == 4.0


def test_several_submissions(run, tmp_path):
    evaluate(run)
    held = read_summary(run.path)
    held["submissions"]["other"] = {**held["submissions"]["mine"], "candidates": {}}
    folder = tmp_path / "both"
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(held))
    assert [(report.name, report.cost, report.sampling) for report in report_on(folder)] == [
        ("mine", None, None),
        ("other", None, None),
    ]


def test_neither_run_nor_evaluation(tmp_path):
    with pytest.raises(InputError, match="neither a run nor an evaluation"):
        report_on(tmp_path)
    (tmp_path / "evaluation.json").write_text(json.dumps({"format": 99, "submissions": {}, "instances": {}}))
    with pytest.raises(InputError, match="format 99"):
        report_on(tmp_path)


def test_results_of_another_basis_do_not_count(tmp_path):
    """Other labels, another environment or other limits: the patch is to be judged anew."""
    with Results(tmp_path) as results:
        results.keep("a-1", Patch(RIGHT), "basis", Judgement(Outcome.RESOLVED))
        results.keep("a-1", Patch(WRONG), "basis", Judgement(Outcome.INFRASTRUCTURE, "the engine is gone"))
    with Results(tmp_path) as results:
        assert results.find("a-1", Patch(RIGHT), "basis").outcome is Outcome.RESOLVED
        assert results.find("a-1", Patch(RIGHT), "other") is None
        assert results.find("a-1", Patch(WRONG), "basis") is None
        assert results.last("a-1", Patch(WRONG), "basis").reason == "the engine is gone"


def test_two_processes_on_one_folder(tmp_path):
    message = "another process evaluates this"
    with (
        Results(tmp_path) as one,
        Results(tmp_path) as other,
        one.lock(),
        pytest.raises(InputError, match=message),
        other.lock(),
    ):
        pass
