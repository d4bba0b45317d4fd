"""The chain of a run-off: equal changes are merged, its selector is a setting, and it may end early."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from sandbox.api import Patch
from sandbox.errors import InputError
from selection.record import Method, Selection
from selection.runoff import RunOff
from selection.show import print_selection
from selection.trajectory import SelectionSettings
from tests.selection.judges import by_content, by_place


@pytest.fixture
def hold(flow_of, instance, before, tree):
    """Holds a run-off over {origin: patch} with scripts, a selector and a model."""

    async def run(model, offers, scripts=(), *, selector="votes | top | trajectory", stop_at=None, **settings):
        matrix = await tree.matrix(scripts, list({patch.digest: patch for patch in offers.values()}.values()))
        return await RunOff(SelectionSettings(**settings), selector, stop_at)(
            flow_of(model),
            instance,
            matrix=matrix,
            patches=list(offers.items()),
            scripts=[(f"testing/{number}", script) for number, script in enumerate(scripts)],
            files_before=before,
        )

    return run


@pytest.fixture
def twin(tree):
    """The same change as `lower`, with a comment and broken over lines."""
    return tree.patch(
        "def slug(title):\n    # RFC 3986\n    return (\n        title.lower()\n        .replace(' ', '-')\n    )\n"
    )


def shown(selection: Selection) -> str:
    out = io.StringIO()
    print_selection(selection, Console(file=out, width=200))
    return out.getvalue()


def samples(selection: Selection) -> dict[tuple[str, ...], str]:
    return {entrant.origins: entrant.id for entrant in selection.candidates}


async def test_equal_changes_are_one_candidate_whose_size_counts(hold, scripted, patches, twin):
    offers = {"editing/0": twin, "editing/1": patches["split"], "editing/2": patches["lower"]}
    selection = await hold(scripted(), offers, turns=0)
    assert samples(selection).keys() == {("editing/0", "editing/2"), ("editing/1",)}
    assert (selection.patch, selection.method) == (patches["lower"], Method.CLASS_SIZE)
    assert f"({'editing/0'}): the same change as {selection.chosen} but for comments" in shown(selection)
    assert "2 distinct changes in 3 proposals" in shown(selection)


async def test_equal_changes_do_not_fill_the_short_list(hold, patches, twin, expects):
    """Merged by text alone, `lower` and its twin would be both finalists, and `split`, which is right, none."""
    offers = {"editing/0": twin, "editing/1": patches["split"], "editing/2": patches["lower"]}
    model = by_content("split()")
    selection = await hold(model, offers, [expects("Hello World", "hello-world")], finalists=2)
    assert selection.patch == patches["split"]
    assert len(selection.shortlist) == 2


async def test_what_no_script_tells_apart_is_noted_and_stays_apart(hold, scripted, patches, expects):
    offers = {f"editing/{number}": patches[name] for number, name in enumerate(("lower", "fold", "split"))}
    scripts = [expects("Hello World", "hello-world"), expects("A  b", "a-b")]
    selection = await hold(scripted(), offers, scripts, turns=0)
    ids = samples(selection)
    assert [set(group) for group in selection.alike] == [{ids["editing/0",], ids["editing/1",]}]
    assert len(selection.candidates) == 3
    assert "Not told apart by any script" in shown(selection)


@pytest.mark.parametrize(
    ("selector", "method", "calls"),
    [
        ("votes | top:3 | single", Method.SINGLE, 1),
        ("votes | top:3 | single:3", Method.SINGLE, 3),
        ("votes | top:3 | pairwise", Method.PAIRWISE, 6),
        ("votes | top:4 | pairwise | top:2 | trajectory", Method.TRAJECTORY, 13),
    ],
)
async def test_model_decides_among_the_finalists(hold, patches, expects, selector, method, calls):
    offers = {f"editing/{number}": patch for number, patch in enumerate(patches.values())}
    script = expects("Hello World", "hello-world")
    selection = await hold(by_content("split()", "casefold()"), offers, [script], selector=selector)
    assert (selection.patch, selection.method, selection.calls) == (patches["split"], method, calls)
    assert selection.reason.startswith(
        f"The {method.value} chose it after {calls if method is not Method.TRAJECTORY else 1}"
    )
    beaten = [one for one in selection.candidates if one.id != selection.chosen and one.finalist]
    assert {one.reason for one in beaten} == {f"a finalist; the {method.value} preferred {selection.chosen}"}
    assert selection.argument == "It looks best."
    assert Selection.from_json(json.loads(json.dumps(selection.to_json()))) == selection


async def test_who_was_not_shown_to_the_model_is_not_said_to_be_beaten_by_it(hold, patches):
    offers = {f"editing/{number}": patch for number, patch in enumerate(patches.values())}
    selection = await hold(by_content("casefold()"), offers, selector="votes | pairwise:2")
    reasons = [one.reason for one in selection.candidates if one.id != selection.chosen]
    assert reasons.count("not compared: behind the first 2") == 2


@pytest.mark.parametrize(
    ("selector", "calls"),
    [("votes", 0), ("consensus | top:2", 0), ("votes | top | trajectory", 5), ("votes | single:3", 6), ("pairwise:3", 12)],
)
def test_most_calls_of_a_selector_are_known_beforehand(selector, calls):
    assert RunOff(SelectionSettings(turns=5, attempts=2), selector).most_calls == calls


async def test_votes_alone_ask_nobody(hold, scripted, patches, expects):
    offers = {"editing/0": patches["wrong"], "editing/1": patches["lower"]}
    selection = await hold(scripted(), offers, [expects("Hello World", "hello-world")], selector="votes")
    assert (selection.patch, selection.method, selection.calls) == (patches["lower"], Method.VOTES, 0)


async def test_consensus_goes_before_votes_where_it_is_asked_for(hold, scripted, patches, tree, expects):
    near = tree.patch("def slug(title):\n    return title.title().replace(' ', '-').strip()\n")
    offers = {"editing/0": patches["wrong"], "editing/1": near, "editing/2": patches["split"]}
    selection = await hold(scripted(), offers, [expects("A  b", "a-b")], selector="consensus | top:2")
    assert selection.method is Method.CONSENSUS
    assert selection.patch in (near, patches["wrong"])
    assert selection.reason.startswith("It is first by consensus: agrees ")
    split = next(one for one in selection.candidates if one.origins == ("editing/2",))
    assert split.reason == "not on the short-list: number 3, behind the first 2"
    assert selection.by_votes == split
    loser = next(one for one in selection.candidates if one.finalist and one.id != selection.chosen)
    assert loser.reason.startswith("a finalist: agrees ")


async def test_model_that_does_not_decide_leaves_the_votes(hold, patches, expects):
    offers = {"editing/0": patches["wrong"], "editing/1": patches["lower"]}
    script = expects("Hello World", "hello-world")
    selection = await hold(by_place(1), offers, [script], selector="votes | top | pairwise")
    assert (selection.patch, selection.method, selection.calls) == (patches["lower"], Method.VOTES, 2)
    assert "The comparison in pairs did not decide: 1 of 1 pair level." in selection.reason


async def test_dominant_change_is_not_put_to_the_model(hold, scripted, patches, twin, expects):
    offers = {"editing/0": twin, "editing/1": patches["lower"], "editing/2": patches["split"]}
    selection = await hold(scripted(), offers, [expects("Hello World", "hello-world")], stop_at=0.5)
    assert (selection.patch, selection.calls, selection.spared) == (patches["lower"], 0, ("trajectory",))
    assert selection.reason.endswith("2 samples came to it, so these steps were left out: trajectory.")
    assert "trajectory: left out, since one change dominates" in shown(selection)


async def test_dominant_change_that_votes_are_against_is_put_to_the_model(hold, patches, expects):
    offers = {"editing/0": patches["wrong"], "editing/1": patches["wrong"], "editing/2": patches["lower"]}
    model = by_content("lower()")
    selection = await hold(model, offers, [expects("Hello World", "hello-world")], stop_at=0.5)
    assert (selection.patch, selection.calls, selection.spared) == (patches["lower"], 1, ())


async def test_merged_is_what_applies(hold, scripted, patches, twin):
    """The shorter of two equal changes cannot be put on the tree: the other one stands, alone."""
    stuck = Patch(patches["lower"].diff.replace("@@ -1,2 +1,2 @@\n def slug(title):", "@@ -1,2 +1,2 @@\n def slug(name):"))
    selection = await hold(scripted(), {"editing/0": stuck, "editing/1": twin})
    assert (selection.patch, selection.method) == (twin, Method.ONLY)
    assert selection.candidates[0].class_size == 1


async def test_resumed_run_off_asks_nothing_twice(hold, scripted, patches):
    offers = {f"editing/{number}": patch for number, patch in enumerate(patches.values())}
    selector = "votes | top:3 | pairwise | single:2"
    first = await hold(by_content("split()"), offers, selector=selector)
    assert await hold(scripted(), offers, selector=selector) == first


@pytest.mark.parametrize("selector", ["vote", "", "votes | top:0", "votes | trajectory:few", "clean | votes", "first"])
def test_selector_that_cannot_be_read_is_refused_at_once(selector):
    with pytest.raises(InputError, match="step"):
        RunOff(selector=selector)
