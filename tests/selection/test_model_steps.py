"""Steps that ask a model, on real journals, with judges that decide by what they read."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations

import pytest

from agent.llm.budget import IssueBudgetReached
from agent.llm.errors import ContextExceeded, ServerUnavailable
from agent.llm.messages import Reply, StopReason
from agent.trajectory.journal import Journal
from sandbox.errors import InputError
from selection.chain import parse_chain
from selection.consensus import Split
from selection.steps.model import with_model
from selection.steps.plain import label_free
from selection.trajectory import SelectionSettings
from tests.selection.judges import Table, by_content, by_place, shown

SPLIT_FIRST = by_content("split()", "lower()", "casefold()")


@pytest.fixture
def settle(instance, before, tmp_path, tree):
    """Runs a chain over {member: patch} with a model; gives the choice and the bench."""

    async def run(chain, model, offers, *, texts=before, **settings):
        bench = Table(tmp_path, model, texts, tree)
        proposals = list(offers.items())
        steps = label_free(Split({instance.id: proposals}), list(offers))
        steps |= with_model(bench, SelectionSettings(**settings))
        return await parse_chain(chain, steps)(instance, proposals), bench

    return run


def members(choice):
    return choice.chosen.origins


@pytest.mark.parametrize("chain", ["single", "single:3", "pairwise", "trajectory"])
async def test_whom_the_model_prefers_wins(settle, patches, chain):
    choice, _ = await settle(chain, by_content("split()"), patches, finalists=4)
    assert members(choice) == ("split",)
    step = choice.steps[-1]
    assert (step.step, step.evidence["chosen"]) == (chain, choice.chosen.id)
    assert [one.score for one in step.kept] == sorted((one.score for one in step.kept), reverse=True)
    assert json.loads(json.dumps(choice.to_json()))["steps"][-1]["figures"]["calls"] > 0


@pytest.mark.parametrize("chain", ["single:2", "pairwise", "trajectory"])
async def test_order_of_members_decides_nothing(settle, patches, chain, tmp_path):
    """The first order fills the journal; that it serves all others shows that every prompt is the same."""
    model = by_content("lower()", "casefold()")
    first, _ = await settle(chain, model, patches, finalists=4)
    asked = len(model.requests)
    for order in permutations(patches):
        choice, _ = await settle(chain, model, {name: patches[name] for name in order}, finalists=4)
        assert choice.to_json() == first.to_json()
    assert len(model.requests) == asked


async def test_trajectory_keeps_its_trials_and_those_behind_its_finalists(settle, scripted, patches):
    script = (
        "<script>\nfrom slugs import slug\nprint(slug('A  b'))\nraise SystemExit(2 * (slug('A  b') != 'a-b'))\n</script>"
    )
    choice, _ = await settle("trajectory:2", scripted(script, "So it is.\n<choose>2</choose>"), patches)
    step = choice.steps[-1]
    (trial,) = step.evidence["trials"]
    assert set(trial["verdicts"]) == {one.id for one in step.kept[:2]}
    assert (step.evidence["argument"], step.figures["calls"]) == ("So it is.", 2)
    assert step.kept[0].reason == "chosen after 2 model calls and 1 script"
    assert step.kept[1].reason == f"it preferred {choice.chosen.id}"
    assert {one.reason for one in step.kept[2:]} == {"not compared: behind the first 2"}


async def test_trajectory_without_a_choice_leaves_the_order(settle, scripted, patches):
    plain, _ = await settle("clean | equivalence", scripted(), patches)
    choice, _ = await settle("trajectory", scripted("hm", "hm"), patches, turns=2)
    assert choice.chosen == plain.chosen
    step = choice.steps[-1]
    assert step.note == "2 model calls; no choice within 2 model calls; the order so far stands"
    assert step.evidence["chosen"] is None


async def test_majority_of_asks_decides_and_places_move(settle, patches):
    """Who always names the first is outvoted by nobody: every ask begins with another candidate, so nobody leads."""
    model = by_place(1)
    choice, _ = await settle("single:4", model, patches)
    firsts = [shown(request)[1] for request in model.requests]
    assert len(set(firsts)) == 4
    step = choice.steps[-1]
    assert [one.score for one in step.kept] == [1, 1, 1, 1]
    assert "level with the first" in step.note
    votes, _ = await settle("single:3", by_content("split()"), patches)
    assert votes.steps[-1].kept[0].reason == "named in 3 of 3 asks"


async def test_places_differ_between_issues(patches, before, tmp_path, instance):
    orders = set()
    for number in range(20):
        model = by_place(1)
        bench = Table(tmp_path, model, before)
        steps = {**label_free(Split({}), []), **with_model(bench, SelectionSettings())}
        await parse_chain("single", steps)(replace(instance, id=f"slugs-{number}"), list(patches.items()))
        orders.add(shown(model.requests[0])[1])
    assert len(orders) == len(patches)


async def test_pairs_are_compared_in_both_orders_and_disagreement_is_level(settle, patches):
    model = by_place(1)
    plain, _ = await settle("clean | equivalence", model, patches)
    choice, _ = await settle("pairwise", model, patches)
    pairs = [tuple(shown(request).values()) for request in model.requests]
    assert len(pairs) == 12
    assert {(other, one) for one, other in pairs} == set(pairs)
    assert choice.chosen == plain.chosen
    assert choice.steps[-1].note == "12 model calls; 6 of 6 pairs level; the order so far stands"


async def test_ranks_by_wins(settle, patches):
    choice, _ = await settle("pairwise", by_content("split()", "lower()", "casefold()", "title()"), patches)
    step = choice.steps[-1]
    assert [one.members for one in step.kept] == [("split",), ("lower",), ("fold",), ("wrong",)]
    assert [one.score for one in step.kept] == [3, 2, 1, 0]
    assert step.kept[1].reason == "won 2 of 3 comparisons, 0 level"


@pytest.mark.parametrize(("settings", "argument", "compared"), [({"pairs": 3}, "", 3), ({"pairs": 5}, "", 3), ({}, ":2", 2)])
async def test_number_of_pairs_is_bounded(settle, patches, settings, argument, compared):
    model = by_content("split()")
    choice, _ = await settle(f"pairwise{argument}", model, patches, **settings)
    assert len(model.requests) == compared * (compared - 1)
    behind = [one for one in choice.steps[-1].kept if one.reason.startswith("not compared")]
    assert len(behind) == len(patches) - compared


async def test_single_prompt_shows_so_many_at_most(settle, patches):
    model = by_content("split()")
    choice, _ = await settle("single", model, patches, shown=3)
    assert len(shown(model.requests[0])) == 3
    assert choice.steps[-1].kept[-1].reason == "not compared: behind the first 3"


async def test_unreadable_answer_goes_back_once_and_counts_as_a_call(settle, scripted, patches):
    model = scripted("Hm.", Reply("<choose>7", stop_reason=StopReason.LENGTH), "<choose>2</choose>")
    choice, _ = await settle("single", model, patches)
    assert choice.steps[-1].figures["calls"] == 3
    assert "Your reply had no choice" in model.told(1)
    assert "cut off at the length limit" in model.told(2)


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ("<choose>9</choose>", "3 model calls; 1 ask: no choice that could be read"),
        (Reply("", stop_reason=StopReason.REFUSAL), "3 model calls; 1 ask: the model refused to answer"),
    ],
)
async def test_no_answer_leaves_the_order_and_says_why(settle, scripted, patches, last, why):
    plain, _ = await settle("clean | equivalence", scripted(), patches)
    choice, _ = await settle("single", scripted("", "", last), patches)
    assert choice.chosen == plain.chosen
    assert choice.steps[-1].note == f"{why}; the order so far stands"


async def test_code_is_left_out_where_it_outgrows_the_context(settle, scripted, patches):
    model = scripted(ContextExceeded("too long", prompt_tokens=9, limit=8), "<choose>1</choose>")
    choice, _ = await settle("single", model, patches)
    assert choice.steps[-1].evidence["chosen"] is not None
    assert "def slug(title):" in model.requests[0].messages[0].text
    assert "The original code is not shown" in model.requests[1].messages[0].text


async def test_diffs_that_outgrow_the_context_leave_the_order(settle, scripted, patches):
    full = ContextExceeded("too long", prompt_tokens=9, limit=8)
    choice, _ = await settle("single", scripted(full, full), patches)
    assert "1 ask: the prompt outgrew the model's context" in choice.steps[-1].note


async def test_without_a_clone_the_diffs_are_shown_alone(settle, patches):
    model = by_content("split()")
    choice, _ = await settle("single", model, patches, texts=None)
    assert members(choice) == ("split",)
    assert choice.steps[-1].note == "1 model call; diffs alone were shown: there is no clone"


async def test_all_questions_of_an_issue_share_issue_and_code(settle, patches):
    model = by_content("split()")
    await settle("pairwise", model, patches)
    assert len({request.shared_prefix for request in model.requests}) == 1
    assert "Hello World" in model.requests[0].shared[0].text


@pytest.mark.parametrize("chain", ["single:2", "pairwise", "trajectory"])
async def test_nobody_to_compare_asks_nothing(settle, scripted, patches, chain):
    choice, bench = await settle(chain, scripted(), {"a": patches["lower"], "b": patches["lower"]})
    assert choice.steps[-1].note == "nothing was asked; the order so far stands"
    assert bench.opened == []


@pytest.mark.parametrize("fault", [ServerUnavailable("down"), IssueBudgetReached("spent", where="", hint="")])
async def test_after_a_fault_what_was_answered_is_not_asked_again(settle, scripted, patches, fault):
    offers = {name: patches[name] for name in ("lower", "split")}
    with pytest.raises(type(fault)):
        await settle("pairwise", scripted("<choose>1</choose>", fault), offers)
    rest = scripted("<choose>2</choose>")
    choice, bench = await settle("pairwise", rest, offers)
    assert len(rest.requests) == 1
    assert choice.steps[-1].evidence["chosen"] is not None
    silent = scripted()
    again, _ = await settle("pairwise", silent, offers)
    assert (again.to_json(), silent.requests) == (choice.to_json(), [])
    assert len(Journal(bench.opened[0].journal.path)) == 2


@pytest.mark.parametrize("written", ["single:0", "single:few", "pairwise:1", "trajectory:1"])
def test_argument_that_cannot_work_is_refused(written):
    with pytest.raises(InputError, match="a whole number from"):
        parse_chain(written, with_model(Table(None, None, None), SelectionSettings()) | label_free(Split({}), []))
