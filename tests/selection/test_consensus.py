"""Agreement: what most propose wins, copies of one another do not, and order has no influence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.api import Patch
from selection.consensus import Split
from selection.patches.similarity import likeness, profile
from tests.selection.diffs import patch

BEFORE = "def total(items):\n    found = 0\n    return found\n"
FIXES = {
    "right": "    return sum(item.price for item in items)",
    "near": "    return sum(item.price for item in list(items))",
    "wrong": "    raise NotImplementedError",
    "odd": "    print('total')\n    return None",
    "far": "    while items:\n        found -= items.pop().weight\n    return found",
}


def fix(name: str, path: str = "shop/till.py") -> Patch:
    return patch(BEFORE, BEFORE.replace("    return found", FIXES[name]), path)


def best(split: Split, instance: str) -> str:
    agreements = split.agreements(instance)
    return max(agreements, key=lambda member: agreements[member].score)


def test_likeness():
    same, near, far = (likeness(profile(fix("right").diff), profile(fix(name).diff)) for name in ("right", "near", "far"))
    assert same == 1
    assert 0.5 < near < 1
    assert far < near
    elsewhere = likeness(profile(fix("right").diff), profile(fix("right", "shop/other.py").diff))
    assert elsewhere == 0.5


def test_most_alike_patch_agrees_most():
    split = Split({"i": [("a", fix("right")), ("b", fix("near")), ("c", fix("wrong")), ("d", fix("far"))]})
    assert best(split, "i") in ("a", "b")
    agreement = split.agreements("i")["a"]
    assert agreement.likest[0][0] == "b"
    assert [like for _, like in agreement.likest] == sorted((like for _, like in agreement.likest), reverse=True)


def test_members_that_always_agree_tell_little_by_it():
    """Two copies agree on everything; on the last instance two strangers agree for once."""
    usual = {
        f"i{number}": [("copy 1", fix(name)), ("copy 2", fix(name)), ("c", fix(other)), ("d", fix("odd"))]
        for number, (name, other) in enumerate([("far", "wrong"), ("wrong", "far")] * 10)
    }
    last = [("copy 1", fix("wrong")), ("copy 2", fix("wrong")), ("c", fix("right")), ("d", fix("right"))]
    split = Split({**usual, "last": last})
    assert best(split, "last") in ("c", "d")
    assert best(Split(split.proposals, discount=False), "last") in ("copy 1", "c")
    scores = {member: one.score for member, one in Split(split.proposals, discount=False).agreements("last").items()}
    assert scores["copy 1"] == pytest.approx(scores["c"], rel=0.05)


def test_single_instance_has_no_usual_but_the_mean():
    split = Split({"i": [("a", fix("right")), ("b", fix("right")), ("c", fix("wrong"))]})
    assert best(split, "i") in ("a", "b")
    assert split.usual["a", "b"] > split.usual["a", "c"]


def test_members_without_a_patch_or_without_code_take_no_part():
    words = Patch("--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-# one\n+# two\n")
    split = Split({"i": [("a", None), ("b", words), ("c", fix("right"))], "none": [("a", None)]})
    assert {member: one.score for member, one in split.agreements("i").items()} == {"b": 0.0, "c": 0.0}
    assert split.agreements("none") == {}
    assert split.usual == {}


OFFERS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([*FIXES, None]), min_size=1)


@settings(max_examples=60, deadline=None)
@given(st.lists(OFFERS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_order_of_members_and_instances_has_no_influence(instances, chance):
    straight = {f"i{n}": [(m, fix(f) if f else None) for m, f in offers.items()] for n, offers in enumerate(instances)}
    names = chance.sample(list(straight), len(straight))
    mixed = {name: chance.sample(straight[name], len(straight[name])) for name in names}
    for name in straight:
        assert Split(straight).agreements(name) == Split(mixed).agreements(name)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(FIXES)), st.sampled_from(list(FIXES)))
def test_likeness_is_symmetric_and_a_share(one, other):
    mine, theirs = profile(fix(one).diff), profile(fix(other, "shop/b.py").diff)
    assert likeness(mine, theirs) == likeness(theirs, mine)
    assert 0 <= likeness(mine, theirs) <= 1
