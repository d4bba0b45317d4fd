"""When patches are the same change: classes are a partition, and coarser levels merge what finer ones do."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.api import Execution, Patch, Script
from sandbox.matrix import Matrix
from selection.equivalence import Level, classes, finest, same
from tests.selection.diffs import patch

STATIC = [level for level in Level if level is not Level.BEHAVIOUR]
BEFORE = """\
import os


def total(items):
    # all of them
    found = 0
    for item in items:
        found += item.price
    return found


def empty(items):
    return len(items) == 0
"""
FIXED = BEFORE.replace("found += item.price", "found += item.price * item.count")


def first_level(after: str, other: str, **known) -> Level | None:
    """The finest level at which two changes of BEFORE are the same."""
    return finest(patch(BEFORE, after), patch(BEFORE, other), **known)


@pytest.mark.parametrize(
    ("other", "level"),
    [
        (FIXED, Level.TEXT),
        (FIXED.replace("item.count\n", "item.count  \n\n"), Level.SPACE),
        (FIXED.replace("item.count\n", "item.count  # each\n"), Level.COMMENTS),
        (FIXED.replace("        found +=", "        # each\n        found +="), Level.COMMENTS),
        (FIXED.replace("# all of them", "# every one of them"), Level.COMMENTS),
        (FIXED.replace("items):\n    #", 'items):\n    """Add up.\n\n    Counts.\n    """\n    #', 1), Level.COMMENTS),
        (FIXED.replace("item.price * item.count", "item.price*item.count"), Level.COMMENTS),
        (FIXED.replace("item.price * item.count", "item.count * item.price"), None),
        (FIXED.replace("found = 0", "found = 1"), None),
        (FIXED.replace("        found += item", "    found += item"), None),
        (BEFORE, None),
    ],
)
def test_finest_level_at_which_a_change_is_the_same(other, level):
    assert first_level(FIXED, other) is level


def test_statement_broken_into_lines_is_the_same_syntax():
    one = BEFORE.replace("return found", "return round(found, 2)")
    other = BEFORE.replace("return found", "return round(\n        found,\n        2,\n    )")
    assert first_level(one, other) is Level.SYNTAX


def test_number_of_context_lines_is_white_space():
    assert same(patch(BEFORE, FIXED, context=3), patch(BEFORE, FIXED, context=0), Level.SPACE)


def test_line_that_is_replaced_by_itself_is_kept():
    head = "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n"
    kept, replaced = Patch(f"{head}-a = 1\n+a = 2\n b = 3\n"), Patch(f"{head}-a = 1\n-b = 3\n+a = 2\n+b = 3\n")
    assert same(kept, replaced, Level.SPACE)


def test_same_lines_elsewhere_are_another_change():
    twice = "a = 1\nb = 1\na = 1\nb = 1\n"
    first = patch(twice, "a = 1\nb = 1\nx\na = 1\nb = 1\n", context=0)
    second = patch(twice, "a = 1\nb = 1\na = 1\nb = 1\nx\n", context=0)
    assert not same(first, second)
    assert not same(patch(BEFORE, FIXED, "a.py"), patch(BEFORE, FIXED, "b.py"))


def test_tests_and_scratch_files_make_no_difference_beside_a_fix():
    fixed = patch(BEFORE, FIXED)
    more = Patch(fixed.diff + patch("", "assert True\n", "tests/test_till.py").diff + patch("", "1\n", "repro.py").diff)
    assert not same(fixed, more, Level.TEXT)
    assert same(fixed, more, Level.SPACE)


def test_patches_of_tests_only_are_compared_by_what_they_hold():
    one, other = patch("", "assert 1\n", "tests/test_a.py"), patch("", "assert 2\n", "tests/test_a.py")
    assert not same(one, other)


def test_what_cannot_be_parsed_is_the_same_as_its_own_text_only():
    assert len(classes([Patch("@@ torn"), Patch("@@ torn"), Patch("@@ other"), patch(BEFORE, FIXED)])) == 3


def test_known_files_show_that_two_diffs_make_the_same_tree():
    """One moves a function up, the other moves the rest down: which lines go is different, what they make is not."""
    before = "def a():\n    return 1\n\n\ndef b():\n    return 2\n"
    up = Patch(
        "--- a/m.py\n+++ b/m.py\n@@ -1,6 +1,6 @@\n+def b():\n+    return 2\n+\n+\n def a():\n     return 1\n-\n-\n-def b():\n-    return 2\n"
    )
    down = Patch(
        "--- a/m.py\n+++ b/m.py\n@@ -1,6 +1,6 @@\n-def a():\n-    return 1\n-\n-\n def b():\n     return 2\n+\n+\n+def a():\n+    return 1\n"
    )
    assert not same(up, down)
    assert same(up, down, files={"m.py": before})


def test_known_files_show_parentheses_that_change_nothing():
    one = patch(BEFORE, BEFORE.replace("return found", "return (found + 1)"))
    other = patch(BEFORE, BEFORE.replace("return found", "return found + 1"))
    assert not same(one, other)
    assert not same(one, other, Level.COMMENTS, files={"shop/till.py": BEFORE})
    assert same(one, other, files={"shop/till.py": BEFORE})


def test_known_files_that_a_patch_does_not_fit_on_leave_the_diff_to_be_compared():
    other = FIXED.replace("item.count\n", "item.count  # each\n")
    assert first_level(FIXED, other, files={"shop/till.py": "something else\n"}) is Level.COMMENTS


NOISE = {
    "blank": lambda lines, at, _: [*lines[:at], "", *lines[at:]],
    "spaces": lambda lines, at, _: [*lines[:at], lines[at] + "  ", *lines[at + 1 :]],
    "comment": lambda lines, at, word: [*lines[:at], f"# {word}", *lines[at:]],
    "rename": lambda lines, at, word: [line.replace("found", word) for line in lines],
    "line": lambda lines, at, word: [*lines[:at], f"{word} = {at}", *lines[at:]],
}
EDITS = st.lists(st.tuples(st.sampled_from(sorted(NOISE)), st.integers(0, 13), st.sampled_from("xyz")), max_size=3)


def edited(edits) -> Patch:
    lines = FIXED.splitlines()
    for kind, at, word in edits:
        lines = NOISE[kind](lines, min(at, len(lines) - 1), word)
    return patch(BEFORE, "\n".join(lines) + "\n")


@settings(max_examples=60, deadline=None)
@given(st.lists(EDITS, min_size=1, max_size=6), st.booleans(), st.randoms(use_true_random=False))
def test_classes_are_a_partition_that_coarser_levels_only_merge(variants, known, chance):
    patches = [edited(edits) for edits in variants]
    files = {"shop/till.py": BEFORE} if known else None
    finer = [{index} for index in range(len(patches))]
    for level in STATIC:
        found = [set(group) for group in classes(patches, level, files=files)]
        assert sorted(index for group in found for index in group) == list(range(len(patches)))
        assert all(any(group <= bigger for bigger in found) for group in finer)
        finer = found
    order = chance.sample(range(len(patches)), len(patches))
    mixed = classes([patches[index] for index in order], files=files)
    assert {frozenset(order[index] for index in group) for group in mixed} == {frozenset(group) for group in finer}


@settings(max_examples=60, deadline=None)
@given(EDITS, EDITS, EDITS)
def test_being_the_same_is_an_equivalence_relation(one, two, three):
    a, b, c = edited(one), edited(two), edited(three)
    for level in STATIC:
        assert same(a, a, level)
        assert same(a, b, level) == same(b, a, level)
        assert not (same(a, b, level) and same(b, c, level)) or same(a, c, level)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["blank", "spaces", "comment"]), st.integers(0, 13), st.just("x")), max_size=4))
def test_noise_makes_no_other_change(edits):
    assert same(patch(BEFORE, FIXED), edited(edits), Level.COMMENTS)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet='-+ @ab/,1\n"#', max_size=40), max_size=4))
def test_any_texts_have_classes(texts):
    head = "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n"
    patches = [Patch(text) for text in texts] + [Patch(head + text) for text in texts]
    assert sum(map(len, classes(patches))) == len(patches)


def ran(matrix: dict[str, tuple[int, ...]]) -> tuple[list[Patch], Matrix]:
    """Patches that are all different, and scripts that exited on them as given."""
    patches = [patch(BEFORE, BEFORE.replace("0", f"{number + 7}")) for number in range(len(matrix))]
    scripts = tuple(Script(f"exit {number}", "bash") for number in range(max(map(len, matrix.values()))))
    cells = {
        (one.digest, script.digest): Execution(code, "", random.random())
        for one, codes in zip(patches, matrix.values(), strict=True)
        for script, code in zip(scripts, codes, strict=False)
    }
    return patches, Matrix(scripts, tuple(patches), {}, cells)


def test_behaviour_merges_what_ends_alike_in_all_scripts():
    patches, matrix = ran({"a": (0, 2), "b": (0, 2), "c": (0, 0), "fails": (1, 2), "fails too": (1, 2), "half run": (0,)})
    assert len(classes(patches, Level.SYNTAX)) == 6
    assert classes(patches, Level.BEHAVIOUR, matrix=matrix) == ((0, 1), (2,), (3,), (4,), (5,))


def test_behaviour_needs_a_matrix():
    with pytest.raises(ValueError, match="matrix"):
        classes([patch(BEFORE, FIXED)], Level.BEHAVIOUR)
