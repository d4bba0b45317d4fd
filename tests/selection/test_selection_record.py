"""The record of a selection: through JSON and back, and on the terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sandbox.api import Verdict
from sandbox.errors import StoreError
from selection.candidates import Dropped
from selection.record import Entrant, Method, Selection, Trial
from selection.show import print_selection, visible
from selection.votes import Standing, Status

DIFF = """\
diff --git a/slugs.py b/slugs.py
--- a/slugs.py
+++ b/slugs.py
@@ -1,2 +1,2 @@
 def slug(title):
-    return title.replace(' ', '-')
+    return title.lower().replace(' ', '-')  # [bold]no markup[/bold] \x1b[31mno escape\x1b[0m, and a line that is longer than a narrow terminal
"""


@pytest.fixture
def selection() -> Selection:
    one, two, three = "a" * 64, "b" * 64, "c" * 64
    return Selection(
        chosen="1f0c9a27d3",
        method=Method.TRAJECTORY,
        reason="The selection trajectory chose it in 3 model calls.",
        vote_took_place=True,
        shortlist=("90aa3b11c4", "1f0c9a27d3"),
        candidates=(
            Entrant(
                "90aa3b11c4",
                ("editing/0", "editing/2"),
                DIFF,
                2,
                2,
                2,
                {one: Verdict.PASS, two: Verdict.PASS, three: Verdict.PASS},
                finalist=True,
                reason="a finalist; the selection trajectory preferred 1f0c9a27d3",
            ),
            Entrant(
                "1f0c9a27d3",
                ("editing/1",),
                DIFF,
                1,
                2,
                1,
                {one: Verdict.ISSUE, two: Verdict.PASS, three: Verdict.BROKEN},
                finalist=True,
                reason="The selection trajectory chose it in 3 model calls.",
            ),
            Entrant(
                "77ab01ee5d",
                ("editing/3",),
                DIFF,
                1,
                2,
                0,
                {one: Verdict.ISSUE},
                finalist=False,
                reason="does not apply: patch failed: slugs.py:1",
            ),
        ),
        standings=(
            Standing(
                two,
                ("testing/0", "testing/1"),
                Status.NO_ISSUE,
                "exits 0 on the unpatched code base: it does not show the issue",
            ),
            Standing(one, ("testing/2",), Status.VOTES, "exits 2 on the unpatched code base, in each of 2 runs"),
            Standing(three, ("testing/3",), Status.VOTES, "exits 2 on the unpatched code base, in each of 2 runs"),
        ),
        dropped=(Dropped("editing/4", "the trajectory ended without an edit"),),
        calls=3,
        trials=(Trial("print(1)\n", "python", Verdict.ISSUE, {"1f0c9a27d3": Verdict.PASS, "90aa3b11c4": Verdict.ISSUE}),),
        argument="Only this one collapses runs of spaces.",
    )


NOBODY = Selection(
    None,
    Method.NONE,
    "There is no candidate that applies.",
    vote_took_place=False,
    shortlist=(),
    candidates=(),
    standings=(),
    dropped=(Dropped("editing/0", "the patch is empty: the edits change nothing"),),
)


def printed(selection: Selection, **options) -> str:
    out = io.StringIO()
    print_selection(selection, Console(file=out, width=options.pop("width", 110), **options))
    return out.getvalue()


def test_through_json_and_back(selection):
    for one in (selection, NOBODY):
        assert Selection.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_json_is_readable_by_others(selection, snapshot):
    assert selection.to_json() == snapshot


def test_record_of_an_older_runoff(selection):
    held = selection.to_json()
    for name in ("selector", "steps", "spared", "alike", "first_by_votes"):
        del held[name]
    read = Selection.from_json(held)
    assert read == selection
    assert read.by_votes == selection.candidates[0]


@pytest.mark.parametrize("damage", [{}, [], None, {"chosen": 1}])
def test_a_damaged_record_names_the_file(damage):
    with pytest.raises(StoreError, match=r"not the record of a selection: .* \(runs/x/result\.json\)") as caught:
        Selection.from_json(damage, where="runs/x/result.json")
    assert caught.value.hint


def test_shown_in_a_pipe(selection, snapshot):
    assert printed(selection) == snapshot


def test_shown_without_a_winner(snapshot):
    assert printed(NOBODY) == snapshot


def test_shown_on_a_terminal_has_a_coloured_diff(selection):
    shown = printed(selection, force_terminal=True, color_system="standard", width=400)
    assert "\x1b[32m+    return title.lower()" in shown
    assert "\x1b[31m-    return title.replace" in shown


def test_what_models_wrote_is_text_and_whole_lines(selection):
    shown = printed(selection, width=60)
    assert (
        "# [bold]no markup[/bold] \u241b[31mno escape\u241b[0m, and a line that is longer than a narrow terminal\n" in shown
    )
    assert "\x1b" not in shown


def test_bytes_that_are_no_text_survive_json(selection):
    odd = replace(selection, argument="caf\udce9")
    assert Selection.from_json(json.loads(json.dumps(odd.to_json()))) == odd


@given(st.text())
def test_nothing_that_is_shown_can_steer_a_terminal(text):
    shown = visible(text)
    assert len(shown) == len(text)
    assert all(
        character in "\n\t" or character.isprintable() or character.isspace() or ord(character) > 0xFF for character in shown
    )
    shown.encode("utf-8")
