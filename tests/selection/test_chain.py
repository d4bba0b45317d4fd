"""Chains: what steps hand on, what is kept of what they say, and how a chain is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.instances import Instance
from sandbox.api import Patch
from sandbox.errors import InputError
from selection.chain import Chain, Choice, Contest, Placed, Ruling, by_score, parse_chain
from selection.consensus import Split
from selection.patches.changes import essence
from selection.steps.plain import fault, label_free
from tests.selection.diffs import diff, patch

BEFORE = "def total(items):\n    return 0\n"
ISSUE = Instance("shop__till-1", "shop/till", "0" * 40, "The total is always 0.")
RIGHT = patch(BEFORE, "def total(items):\n    return sum(items)\n")
SAME = patch(BEFORE, "def total(items):\n    # all of them\n    return sum(items)\n")
NEAR = patch(BEFORE, "def total(items):\n    return sum(list(items))\n")
OTHER = patch(BEFORE, "def total(items):\n    raise NotImplementedError\n")
TESTS = patch("", "assert True\n", "tests/test_total.py")
TORN = Patch(RIGHT.diff.partition("+    return")[0])
EMPTY = Patch("diff --git a/a.py b/a.py\nindex 1..1 100644\n")


async def choose(text: str, offers: dict[str, Patch | None], **options) -> Choice:
    proposals = list(offers.items())
    split = Split({ISSUE.id: proposals})
    seed = options.pop("seed", 0)
    return await parse_chain(text, label_free(split, list(offers), seed=seed), **options)(ISSUE, proposals)


def members(choice: Choice) -> tuple[str, ...]:
    assert choice.chosen is not None
    return choice.chosen.origins


async def test_cleaning_says_why_a_candidate_drops_out():
    choice = await choose("clean", {"a": RIGHT, "b": TESTS, "c": TORN, "d": EMPTY, "e": None, "f": Patch("\n")})
    assert members(choice) == ("a",)
    reasons = {one.members[0]: one.reason for one in choice.steps[0].out}
    assert reasons["b"] == "it changes nothing else than tests: tests/test_total.py"
    assert reasons["c"].startswith("it cannot be parsed: ")
    assert reasons["d"] == "it changes no line of a.py"
    assert {one.origin: one.reason for one in choice.dropped}.keys() == {"e", "f"}


async def test_cleaning_says_what_of_a_patch_is_not_looked_at():
    choice = await choose("clean", {"a": Patch(RIGHT.diff + TESTS.diff)})
    assert choice.steps[0].kept[0].reason == "looked at without tests/test_total.py (test)"
    assert choice.chosen is not None
    assert TESTS.diff in choice.chosen.patch.diff


async def test_equal_changes_become_one_candidate_with_the_shortest_patch():
    choice = await choose("equivalence", {"a": OTHER, "b": SAME, "c": RIGHT})
    assert members(choice) == ("b", "c")
    assert choice.chosen is not None
    assert choice.chosen.patch == RIGHT
    assert choice.reason == "equivalence: 2 of 3 proposals are this change"
    assert [one.members for one in choice.steps[0].out] == [("b",)]


async def test_level_of_equivalence_can_be_chosen():
    choice = await choose("equivalence:text", {"b": SAME, "c": RIGHT})
    assert len(choice.steps[0].kept) == 2


async def test_consensus_puts_the_most_alike_first():
    choice = await choose("consensus", {"a": OTHER, "b": NEAR, "c": RIGHT})
    assert members(choice)[0] in ("b", "c")
    assert [step.step for step in choice.steps] == ["clean", "equivalence", "consensus"]
    scores = [one.score for one in choice.steps[-1].kept]
    assert scores == sorted(scores, reverse=True)
    assert "as is usual" in choice.reason


async def test_nobody_to_choose():
    assert (await choose("consensus", {"a": None})).reason == "no member has a patch"
    choice = await choose("consensus", {"a": TESTS})
    assert choice.chosen is None
    assert choice.reason == "clean left nobody: it changes nothing else than tests: tests/test_total.py"


async def test_first_member_with_a_usable_patch():
    assert members(await choose("first", {"z": None, "y": TESTS, "x": OTHER, "a": RIGHT})) == ("x",)


async def test_random_is_the_same_for_a_seed_in_any_order_and_differs_between_seeds():
    offers = {"a": RIGHT, "b": OTHER, "c": NEAR}
    for order in permutations(offers):
        assert members(await choose("random", {name: offers[name] for name in order}, seed=3)) == members(
            await choose("random:3", offers)
        )
    assert {members(await choose("random", offers, seed=seed)) for seed in range(20)} == {("a",), ("b",), ("c",)}


async def test_random_draws_members_not_patches():
    offers = {**dict.fromkeys("abcdefghi", RIGHT), "z": OTHER}
    drawn = [members(await choose("random", offers, seed=seed)) for seed in range(40)]
    assert drawn.count(("z",)) < 12


async def test_later_ranker_goes_first_and_an_earlier_one_breaks_its_ties():
    offers = {"a": OTHER, "b": NEAR, "c": RIGHT}
    by_consensus = [one.members for one in (await choose("consensus", offers)).steps[-1].kept]
    choice = await choose("consensus | equivalence", offers)
    assert [one.members for one in choice.steps[-1].kept] == by_consensus


async def test_short_list():
    choice = await choose("consensus | top:2", {"a": OTHER, "b": NEAR, "c": RIGHT})
    assert len(choice.steps[-1].kept) == 2
    assert choice.steps[-1].out[0].reason == "number 3, behind the first 2"


async def test_early_stop_where_a_class_dominates():
    offers = {"a": OTHER, "b": SAME, "c": RIGHT}
    stopped = await choose("consensus", offers, stop_at=0.5)
    assert [step.step for step in stopped.steps] == ["clean", "equivalence"]
    assert stopped.reason.startswith("2 of 3 proposals are this change")
    assert len((await choose("consensus", offers, stop_at=0.7)).steps) == 3


async def test_early_stop_that_spares_some_steps_only():
    offers = {"a": OTHER, "b": SAME, "c": RIGHT}
    stopped = await choose("consensus | top:2 | random", offers, stop_at=0.5, spares=("random",))
    assert [step.step for step in stopped.steps] == ["clean", "equivalence", "consensus", "top:2"]
    assert (members(stopped), stopped.spared) == (("b", "c"), ("random",))
    assert (await choose("consensus | random", offers, stop_at=0.7, spares=("random",))).spared == ()


async def test_candidate_that_became_part_of_another_says_what_sets_it_apart():
    text = Patch(RIGHT.diff + TESTS.diff)
    choice = await choose("equivalence", {"a": RIGHT, "b": SAME, "c": text})
    assert choice.chosen is not None
    reasons = {one.members: one.reason for one in choice.steps[0].out}
    assert reasons == {
        ("b",): f"the same change as {choice.chosen.id} but for comments, docstrings or white space",
        ("c",): f"the same change as {choice.chosen.id} but for white space at line ends, tests or artefacts",
    }


async def test_record_is_plain_json():
    choice = await choose("consensus | top:1", {"a": OTHER, "b": RIGHT})
    assert json.loads(json.dumps(choice.to_json()))["steps"][-1]["step"] == "top:1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a step is empty"),
        ("consensus | ", "a step is empty"),
        ("oracle", "no step 'oracle'"),
        ("top", "a whole number from 1"),
        ("top:0", "a whole number from 1"),
        ("top:many", "a whole number from 1"),
        ("equivalence:behaviour", "one of text, space, comments, syntax"),
        ("consensus:3", "takes no argument"),
    ],
)
def test_chain_that_cannot_be_read(text, says):
    with pytest.raises(InputError, match=says) as caught:
        parse_chain(text, label_free(Split({}), []))
    assert "steps: clean, equivalence, consensus" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("consensus", "clean | equivalence | consensus"),
        (" consensus|top: 3 ", "clean | equivalence | consensus | top:3"),
        ("first", "clean | first"),
        ("random", "clean | random"),
        ("clean | consensus", "clean | consensus"),
        ("equivalence:space", "equivalence:space"),
    ],
)
def test_name_of_a_chain(text, name):
    assert parse_chain(text, label_free(Split({}), [])).name == name


@dataclass(frozen=True)
class Slow:
    """A step that another package brings: it asks something outside, and drops what fails there."""

    name: str = "regression"

    async def __call__(self, contest: Contest) -> Ruling:
        failures = {one.id: one.patch.diff.count("raise") for one in contest.candidates}
        kept = [Placed(one, f"{failures[one.id]} new failures", -failures[one.id]) for one in contest.candidates]
        return Ruling(by_score(kept))


async def test_step_of_another_package_joins_by_its_name():
    offers = {"a": OTHER, "b": RIGHT}
    steps = {**label_free(Split({ISSUE.id: list(offers.items())}), list(offers)), "regression": lambda argument: Slow()}
    chain = parse_chain("consensus | regression", steps)
    choice = await chain(ISSUE, list(offers.items()))
    assert members(choice) == ("b",)
    assert choice.reason == "regression: 0 new failures"


async def test_step_that_drops_everyone():
    @dataclass(frozen=True)
    class Nobody:
        name: str = "nobody"

        async def __call__(self, contest: Contest) -> Ruling:
            return Ruling((), tuple(Placed(one, "no") for one in contest.candidates))

    choice = await Chain((Nobody(),))(ISSUE, [("a", Patch(diff(BEFORE, "x\n")))])
    assert (choice.chosen, choice.reason) == (None, "nobody left nobody: no")


@given(st.text(alphabet="-+ @ab/,1\n\r\f", max_size=60), st.sampled_from(["a.py", "tests/a.py", "../a.py", "a b.py"]))
def test_any_text_is_kept_or_dropped_with_a_reason(text, path):
    head = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n"
    for diff_text in (text, head + text, head + "-a\n+b\n" + text):
        reason = fault(diff_text)
        assert reason == reason.strip()
        assert bool(essence(diff_text)) or reason
