"""Scripts as voters: what they weigh, what they say of each other, and the step on a real tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.trajectory.flow import Flow, TrajectoryKey
from agent.trajectory.journal import Journal
from sandbox.api import Limits, Patch
from selection.candidates import gather
from selection.chain import Contest
from selection.steps.voting import Votes, false_alarms, weight

verdicts = st.lists(st.integers(0, 31), min_size=1, max_size=6).map(
    lambda rows: [[bool(row >> script & 1) for script in range(5)] for row in rows]
)


def of_rows(rows: list[list[bool]]) -> dict[str, dict[str, bool]]:
    """By script, by candidate; a row is a candidate."""
    return {f"s{s}": {f"c{c}": row[s] for c, row in enumerate(rows)} for s in range(len(rows[0]))}


@pytest.mark.parametrize(
    ("passed", "worth"),
    [([True, True], 0.0), ([False, False], 0.0), ([True, False], 1.0), ([True, False, False, False], 0.75), ([], 0.0)],
)
def test_vote_weighs_by_how_well_the_script_separates(passed, worth):
    assert weight({str(number): one for number, one in enumerate(passed)}) == pytest.approx(worth)


def test_script_that_fails_what_the_others_pass_raises_a_false_alarm():
    rows = [[True, True, True, False], [False, False, True, True], [False, False, False, False]]
    assert false_alarms(of_rows(rows)) == {"s0": 0.5, "s1": 0.5, "s2": 0, "s3": 1}
    assert false_alarms(of_rows([[True, True, True], [True, True, False]])) == {"s0": 0, "s1": 0, "s2": 0.5}


def test_nothing_is_said_of_scripts_without_others_that_agree():
    assert false_alarms(of_rows([[True, False], [False, True]])) == {}
    assert false_alarms(of_rows([[False, False, False]])) == {}


@given(verdicts, st.permutations(range(5)))
def test_false_alarms_do_not_depend_on_the_order(rows, order):
    found = of_rows(rows)
    mixed = {f"s{s}": dict(reversed(found[f"s{s}"].items())) for s in order}
    assert false_alarms(mixed) == false_alarms(found)


@given(verdicts)
def test_script_that_passes_all_candidates_raises_no_alarm(rows):
    found = {**of_rows(rows), "easy": {f"c{c}": True for c in range(len(rows))}}
    assert false_alarms(found).get("easy", 0) == 0


class Bench:
    """Flows over a tree whose scripts really run."""

    def __init__(self, tree, folder):
        self.tree, self.folder = tree, folder

    async def flow(self, instance, step, *, at_least: Limits | None = None):
        journal = Journal(self.folder / f"{step}.jsonl")
        return Flow(TrajectoryKey(instance.id, step, 0), journal, model=None, executor=self.tree)

    def files(self, instance, paths):
        raise AssertionError("votes need no files")


@pytest.fixture
def vote(tree, tmp_path, instance):
    async def ruled(scripts, offers):
        found, _ = gather(list(offers.items()))
        step = Votes(Bench(tree, tmp_path), lambda _: [(f"s{n}", script) for n, script in enumerate(scripts)])
        return await step(Contest(instance, found, len(offers)))

    return ruled


async def test_votes_put_first_who_passes_what_separates(vote, patches, expects):
    scripts = [
        expects("Hello World", "hello-world"),
        expects("A  B", "a-b"),
        expects("Hello World", "hello-world"),  # the first once more: one vote
        expects("x", "x"),  # passes on the unpatched tree: no vote
    ]
    ruling = await vote(scripts, patches)
    assert ruling.kept[0].candidate.origins == ("split",)
    assert ruling.kept[0].reason == "passes 2 of 2 scripts, 1.50 of 1.50 votes"
    assert ruling.kept[-1].candidate.origins == ("wrong",)
    assert ruling.note == "2 of 3 scripts show the issue on the unpatched tree and vote"
    assert ruling.figures.items() >= {"scripts": 3, "voters": 2, "judged": 0}.items()


async def test_candidate_that_does_not_apply_is_out(vote, patches, expects):
    torn = Patch(patches["lower"].diff.replace("title.replace", "title.remove"))
    ruling = await vote([expects("Hello World", "hello-world")], {**patches, "torn": torn})
    assert [placed.candidate.origins for placed in ruling.out] == [("torn",)]
    assert ruling.out[0].reason.startswith("it does not apply: ")


async def test_order_stays_where_no_script_votes(vote, patches, expects, tree):
    ruling = await vote([expects("x", "x")], patches)
    found, _ = gather(list(patches.items()))
    assert tuple(placed.candidate for placed in ruling.kept) == found
    assert all(patch == "" for _, patch in tree.ran)
    assert (await vote([], patches)).note == "there are no scripts for this instance"
