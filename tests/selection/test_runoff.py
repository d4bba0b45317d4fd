"""The run-off as the pipeline calls it: real matrix, votes, short-list, trajectory, record."""

from __future__ import annotations

import pytest

from sandbox.api import Patch, Script
from selection.record import Method
from selection.runoff import RunOff
from selection.trajectory import SelectionSettings


@pytest.fixture
def hold(flow_of, instance, before, tree):
    """Holds a run-off over (origin, patch) and (origin, script) with a model."""

    async def run(model, patches, scripts, **settings):
        distinct = list({patch.digest: patch for _, patch in patches if patch}.values())
        matrix = await tree.matrix([script for _, script in scripts], distinct)
        run_off = RunOff(SelectionSettings(**settings))
        return await run_off(flow_of(model), instance, matrix=matrix, patches=patches, scripts=scripts, files_before=before)

    return run


@pytest.fixture
def scripts(expects):
    """Two that show the issue, and one that passes on the original."""
    return [
        ("testing/0", expects("Hello World", "hello-world")),
        ("testing/1", expects("A b", "a-b")),
        ("testing/2", expects("a b", "a-b")),
    ]


def origins_of(selection, ids):
    by_id = {entrant.id: entrant.origins for entrant in selection.candidates}
    return [by_id[one] for one in ids]


async def test_the_trajectory_chooses_among_the_finalists(hold, scripted, patches, scripts):
    named = [("editing/0", patches["lower"]), ("editing/1", patches["wrong"]), ("editing/2", patches["split"])]
    model = scripted("<choose>2</choose>")
    selection = await hold(model, named, scripts, finalists=2)
    second = sorted((patches["lower"], patches["split"]), key=lambda patch: patch.digest)[1]
    assert selection.patch == second
    assert (selection.method, selection.vote_took_place, selection.calls) == (Method.TRAJECTORY, True, 1)
    place = selection.shortlist.index(selection.chosen) + 1
    assert selection.reason == (
        f"The selection trajectory chose it after 1 model call and 0 scripts; in rank it was number {place}."
    )
    assert {entrant.origins[0]: entrant.votes for entrant in selection.candidates} == {
        "editing/0": 2,
        "editing/1": 0,
        "editing/2": 2,
    }
    reasons = {entrant.origins[0]: entrant.reason for entrant in selection.candidates}
    assert reasons["editing/1"] == "not on the short-list: fewer votes than the last on it (0 against 2)"
    assert f"preferred {selection.chosen}" in "".join(reasons.values())


async def test_the_example_divides_the_finalists(hold, scripted, patches, expects):
    alike, dividing = expects("Hello World", "hello-world"), expects("A  b", "a-b")
    model = scripted("<choose>1</choose>")
    named = [("editing/0", patches["lower"]), ("editing/1", patches["split"])]
    await hold(model, named, [("testing/0", alike), ("testing/1", dividing)])
    assert dividing.text in model.told(0)
    assert alike.text not in model.told(0)


async def test_without_a_choice_the_votes_decide(hold, scripted, patches, scripts):
    named = [("editing/0", patches["wrong"]), ("editing/1", patches["wrong"]), ("editing/2", patches["lower"])]
    selection = await hold(scripted("hm", "hm"), named, scripts, turns=2)
    assert selection.patch == patches["lower"]
    assert selection.method is Method.VOTES
    assert selection.reason == (
        "It is first in rank: more votes than the second (2 against 0)."
        " The selection trajectory did not decide: no choice within 2 model calls."
    )
    assert selection.candidates[1].reason == "a finalist: fewer votes than the winner (0 against 2)"


async def test_without_a_vote_the_class_size_decides_and_the_record_says_so(hold, scripted, patches, scripts):
    named = [("editing/0", patches["wrong"]), ("editing/1", patches["wrong"]), ("editing/2", patches["lower"])]
    selection = await hold(scripted(), named, scripts[2:], turns=0)
    assert selection.patch == patches["wrong"]
    assert (selection.method, selection.vote_took_place, selection.calls) == (Method.CLASS_SIZE, False, 0)
    assert "No vote took place" in selection.reason
    assert [entrant.votes for entrant in selection.candidates] == [0, 0]


async def test_one_candidate_needs_no_model(hold, scripted, patches, scripts):
    named = [("editing/0", patches["lower"]), ("editing/1", None), ("editing/2", patches["lower"])]
    selection = await hold(scripted(), named, scripts)
    assert (selection.patch, selection.method) == (patches["lower"], Method.ONLY)
    assert selection.candidates[0].class_size == 2
    assert selection.reason == "It is the only candidate that applies: 2 samples came to it."
    assert [one.origin for one in selection.dropped] == ["editing/1"]


async def test_a_short_list_of_one_needs_no_model(hold, scripted, patches, scripts):
    named = [("editing/0", patches["wrong"]), ("editing/1", patches["lower"])]
    selection = await hold(scripted(), named, scripts, finalists=1)
    assert (selection.patch, selection.method, selection.calls) == (patches["lower"], Method.VOTES, 0)


async def test_a_candidate_that_does_not_apply_is_out_with_the_reason(hold, scripted, patches, scripts):
    stuck = Patch(patches["lower"].diff.replace("replace(' ', '-')\n+", "replace('?', '-')\n+"))
    named = [("editing/0", stuck), ("editing/1", patches["wrong"])]
    selection = await hold(scripted(), named, scripts)
    assert (selection.patch, selection.method) == (patches["wrong"], Method.ONLY)
    (loser,) = [entrant for entrant in selection.candidates if entrant.id != selection.chosen]
    assert loser.reason.startswith("does not apply: error: patch failed: slugs.py:1")
    assert not loser.finalist


async def test_a_candidate_that_does_not_apply_is_out_without_any_script(hold, scripted, patches):
    stuck = Patch(patches["lower"].diff.replace("replace(' ', '-')\n+", "replace('?', '-')\n+"))
    selection = await hold(scripted(), [("editing/0", stuck), ("editing/1", stuck), ("editing/2", patches["wrong"])], [])
    assert (selection.patch, selection.method, selection.vote_took_place) == (patches["wrong"], Method.ONLY, False)
    assert "does not apply" in selection.candidates[1].reason


async def test_nobody_wins_where_nobody_stands(hold, scripted, scripts):
    selection = await hold(scripted(), [("editing/0", None)], scripts)
    assert (selection.chosen, selection.patch, selection.method) == (None, None, Method.NONE)
    assert selection.reason == "There is no candidate that applies (1 sample: the trajectory ended without an edit)."


async def test_why_nobody_stands(hold, scripted, patches):
    stuck = Patch(patches["lower"].diff.replace("replace(' ', '-')\n+", "replace('?', '-')\n+"))
    selection = await hold(scripted(), [("editing/0", stuck), ("editing/1", stuck), ("editing/2", None)], [])
    ends = "2 samples: does not apply; 1 sample: the trajectory ended without an edit"
    assert selection.reason == f"There is no candidate that applies ({ends})."


async def test_one_vote_for_a_script_that_two_samples_wrote(hold, scripted, patches, scripts):
    twice = [scripts[0], ("testing/9", Script(scripts[0][1].text))]
    selection = await hold(scripted(), [("editing/0", patches["lower"])], twice)
    assert [standing.origins for standing in selection.standings] == [("testing/0", "testing/9")]
    assert selection.candidates[0].votes == 1
