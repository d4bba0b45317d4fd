"""The samples of a run whose right answers, votes and costs are known, read back from its files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.store import Run, journal_path
from sandbox.api import Patch, Verdict
from sandbox.errors import InputError
from selection.evaluation.record import Results, Submission, Summary
from selection.evaluation.verdicts import Judgement, Outcome
from selection.gold import Gold, GoldLabels
from selection.record import Entrant, Method, Selection
from selection.reports.grid import GridPoint, Setting, frontier, grid
from selection.reports.samples import (
    by_class_size,
    by_consensus,
    by_votes,
    by_votes_and_consensus,
    counts,
    rates,
    sampled,
    scaled,
)
from selection.scaling import selected_at
from selection.verifiers import Rates
from selection.votes import Standing, Status
from tests.selection.diffs import diff

REPORT = Path(__file__).parents[2] / "scripts" / "scaling_report.py"

BEFORE = "def total(prices):\n    return sum(prices) + 1\n"
RIGHT, WRONG, ODD = (
    diff(BEFORE, BEFORE.replace("sum(prices) + 1", after)) for after in ("sum(prices)", "sum(prices) + 2", "len(prices)")
)
SAMPLES = {"a-1": [RIGHT, WRONG, WRONG, None], "a-2": [WRONG, WRONG, ODD, RIGHT]}
"""What four samples ended with."""
SEES, BLIND = "5e", "b1"
"""Scripts: one passes the right patch alone, the other all."""
STANDINGS = (
    Standing(SEES, ("editing/3",), Status.VOTES, ""),
    Standing(BLIND, ("editing/0",), Status.VOTES, ""),
    Standing("f1", ("editing/1",), Status.FLAKY, ""),
)


def entrant(change, samples):
    origins = tuple(f"editing/{number}" for number, patch in enumerate(samples) if patch == change)
    verdicts = {SEES: Verdict.PASS if change == RIGHT else Verdict.ISSUE, BLIND: Verdict.PASS}
    return Entrant(Patch(change).digest[:10], origins, change, len(origins), 2, 1, verdicts, finalist=True, reason="")


def ask(step, seconds, dollars=None):
    usage = {"input": 10, "cache_read": 100, "cache_write": None, "output": 5, "reasoning": None}
    return "ask", step, {"reply": {"text": "", "usage": usage, "dollars": dollars, "seconds": seconds}}


def ran(step):
    return "run", step, {"execution": {}}


def write(store, stage, sample, *steps):
    place = journal_path(store.path, stage, sample)
    place.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"kind": "start", "format": 1}, {"kind": "note"}]
    lines += [
        {"kind": kind, "branch": "", "sequence": number, "step": step, "parts": {}, "result": result}
        for number, (kind, step, result) in enumerate(steps)
    ]
    place.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "mine")
    run.begin({"settings": {"context_tokens": 3000}}, {name: {} for name in SAMPLES})
    for name, samples in SAMPLES.items():
        store = run.instance(name)
        entrants = tuple(entrant(change, samples) for change in dict.fromkeys(filter(None, samples)))
        chosen = next(one for one in entrants if one.diff == WRONG)
        selection = Selection(chosen.id, Method.VOTES, "", True, (), entrants, STANDINGS)  # noqa: FBT003  its third field
        store.write("result.json", {"patch": WRONG, "reason": "", "selection": selection.to_json()})
        write(store, "relevance", 0, ask("judge", 1.0))
        write(store, "selection", 0, ask("choose", 2.0), ran("trial"))
        for number in range(4):
            write(store, "testing", number, ask("draft", 3.0), ran("baseline"), ask("revise", 4.0))
            edits = [ask("draft", 5.0), ran("patched"), ask("revise", 6.0), ran("patched"), ask("revise", 7.0)]
            write(store, "editing", number, *(edits if number == 3 else edits[:3]))
    return run


def evaluate(run, names=SAMPLES, *, candidates=True):
    labels = {name: GoldLabels(name, "one/a", "1", Patch(""), ("t",), (), None) for name in names}
    one = Submission(run.name, str(run.path), {name: Patch(WRONG) for name in names})
    if candidates:
        one.candidates = {
            name: {f"editing/{number}": Patch(held) if held else None for number, held in enumerate(SAMPLES[name])}
            for name in names
        }
        one.settled = {}
    with Results(run.path) as results:
        for name in names:
            for change, outcome in ((RIGHT, "RESOLVED"), (WRONG, "UNRESOLVED"), (ODD, "UNRESOLVED")):
                results.keep(name, Patch(change), "basis", Judgement(Outcome[outcome]))
        Summary(results, Gold("rows", labels, ()), [one], dict.fromkeys(names, "basis"), how="local", tools={}).write(
            finished=True
        )


def test_samples_of_a_run(run):
    evaluate(run)
    first, second = sampled(run)
    assert (first.instance, second.instance) == ("a-1", "a-2")
    assert (first.resolved, second.resolved) == ((True, False, False, False), (False, False, False, True))
    assert (first.chosen, second.chosen) == (False, False)
    assert first.voters == (BLIND, "", "", SEES)
    assert [one.candidate == "" for one in first.samples] == [False, False, False, True]
    assert counts([first, second]) == [(4, 1), (4, 1)]


def test_turns_and_what_they_cost(run):
    evaluate(run)
    _, one = sampled(run)
    assert [len(sample.editing) for sample in one.samples] == [2, 2, 2, 3]
    assert [sample.settled for sample in one.samples] == [1, 1, 1, 2]
    assert one.samples[3].spent().seconds == 3 + 4 + 5 + 6 + 7
    assert one.samples[3].spent(1).seconds == 3 + 5
    assert one.cost(4).seconds == 1 + 2 + 3 * (3 + 4 + 5 + 6) + 25
    assert one.cost(2).seconds == pytest.approx(1 + 2 + (3 * 18 + 25) / 2)
    assert (one.cost(4).calls, one.cost(4).unpriced) == (2 + 3 * 4 + 5, 19)
    assert (one.cost(4).input, one.cost(4).cache_read, one.cost(4).output) == (190, 1900, 95)
    assert counts([one], 1) == [(4, 0)]
    assert counts([one], 2) == [(4, 1)]


def test_votes_on_subsets(run):
    evaluate(run)
    first, second = sampled(run)
    pick = by_votes(first)
    assert pick((0, 1, 2, 3)) == 0  # the script of sample 3 tells right from wrong
    assert pick((0, 1, 2)) in (1, 2)  # without it the bigger class wins
    assert pick((3,)) is None  # it ended without a patch
    assert by_votes(second)((0, 1, 2, 3)) == 3
    assert by_votes(second)((0, 1, 2)) in (0, 1)
    assert selected_at(first.resolved, pick, 4) == 1
    assert selected_at(first.resolved, pick, 1) == 0.25


def test_consensus_on_subsets(run):
    evaluate(run)
    _, second = sampled(run)
    assert by_consensus(second)((0, 1, 2, 3)) in (0, 1)
    assert by_class_size(second)((0, 2, 1)) in (0, 1)
    assert by_class_size(second)((2, 3)) == (2 if second.samples[2].candidate < second.samples[3].candidate else 3)
    assert by_votes_and_consensus(second)((0, 1, 2, 3)) == 3
    assert by_votes_and_consensus(second)((0, 1, 2)) in (0, 1)


def test_rates_of_voters(run):
    evaluate(run)
    assert rates(sampled(run)) == Rates(right=4, right_for=4, wrong=6, wrong_for=3)


def test_grid_and_its_frontier(run):
    evaluate(run)
    points = grid(run, sampled(run))
    settings = {point.setting for point in points}
    assert settings == {Setting(k, turns, 3000) for k in (1, 2, 3, 4) for turns in (1, 2, 3)}
    by_setting = {point.setting: point for point in points}
    assert by_setting[Setting(4, 3, 3000)].coverage == 1.0
    assert by_setting[Setting(4, 1, 3000)].coverage == 0.5  # a-2's patch came with the second turn
    best = frontier(points)
    assert best[-1].coverage == 1.0
    assert best[-1].setting == Setting(4, 2, 3000)  # the third turn buys nothing
    prices = [point.price for point in best]
    assert prices == sorted(prices)


def test_price_is_dollars_where_they_are_known(run):
    evaluate(run)
    (point, *_) = grid(run, sampled(run))
    assert point.price == point.cost.seconds > 0
    known = scaled(point.cost, 0.0)
    assert GridPoint(point.setting, 0.5, known).price == 0.0


@pytest.mark.parametrize("judged", [False, True])
def test_run_without_judged_samples(run, judged):
    if judged:
        evaluate(run, candidates=False)
    with pytest.raises(InputError, match="were not judged") as error:
        sampled(run)
    assert "--candidates" in error.value.hint


def test_instances_that_were_not_judged_are_left_out(run):
    evaluate(run, {"a-2": SAMPLES["a-2"]})
    assert [one.instance for one in sampled(run)] == ["a-2"]
    with pytest.raises(ValueError, match="no instance"):
        grid(run, ())


def told(tmp_path, *words):
    """What the report prints, and the figures that it writes."""
    command = [sys.executable, REPORT, *words, "--resamples", "20", "--ahead", "8", "--json", tmp_path / "figures.json"]
    command += ["--figures", tmp_path / "drawn"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return done.stdout, json.loads((tmp_path / "figures.json").read_text())


def test_report_on_a_run(run, tmp_path):
    evaluate(run)
    text, figures = told(tmp_path, run.path)
    ways = {row["name"]: row["score"] for row in figures["ways"]}
    assert ways["a random sample"] == 0.25
    assert (ways["votes"], ways["votes, then consensus"], ways["oracle"]) == (1.0, 1.0, 1.0)
    assert ways["selected by the run"] == 0.0
    assert [row["coverage"] for row in figures["by_samples"]] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert figures["by_samples"][-1]["cost"]["seconds"] == 1 + 2 + 3 * 18 + 25
    assert figures["evidence"]["voters_a_sample"] == 0.5
    assert [point["k"] for point in figures["scaling"]["points"]] == [1, 2, 3, 4, 8]
    assert "| selected by the run | 0.0 |" in text
    assert {path.name for path in (tmp_path / "drawn").glob("*.svg")} == {"law.svg", "selection.svg", "frontier.svg"}
    assert "votes for right changes: 4 of 4; for wrong ones: 3 of 6" in text


def test_report_on_submissions(tmp_path):
    resolved = {"one": ["a"], "two": ["a", "b"], "three": []}
    (tmp_path / "resolved.json").write_text(json.dumps(resolved))
    for name in resolved:
        change = RIGHT if name != "three" else WRONG
        rows = [{"instance_id": instance, "model_patch": change} for instance in "abc"]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text, figures = told(tmp_path, "--submissions", tmp_path)
    assert (figures["scaling"]["instances"], figures["scaling"]["samples"]) == (3, 3)
    assert [point["measured"] for point in figures["scaling"]["points"]] == pytest.approx([1 / 3, 5 / 9, 2 / 3, None])
    assert "| 8 | - |" in text
    assert [row["name"] for row in figures["ways"]] == ["a random sample", "the commonest change", "consensus", "oracle"]
    by_k = [row["consensus"] for row in figures["by_samples"]]  # one and two agree: right on a, as far as two is on b
    assert by_k[0] == pytest.approx(1 / 3)
    assert by_k[-1] in (1 / 3, 2 / 3)
