"""Candidates: equal changes become one, and nothing disappears without a reason."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sandbox.api import Patch
from selection.candidates import changed_lines, gather, normalize

DIFF = """\
diff --git a/a.py b/a.py
index 1111111..2222222 100644
--- a/a.py
+++ b/a.py
@@ -1,4 +1,4 @@ def f():
 one

--- two
+-- three
 four
"""


def numbered(number: int) -> Patch:
    return Patch(DIFF.replace("three", f"three {number}"))


def test_equal_changes_are_one_candidate_with_all_their_origins():
    noise = DIFF.replace("2222222", "3333333").replace("@@ def f():", "@@").replace("\n\n", "\n \n")
    candidates, dropped = gather([("editing/0", Patch(DIFF)), ("editing/1", numbered(1)), ("editing/2", Patch(noise))])
    assert {one.origins: one.class_size for one in candidates} == {("editing/0", "editing/2"): 2, ("editing/1",): 1}
    assert dropped == ()


def test_a_class_is_represented_by_one_of_its_own_diffs():
    noise = Patch(DIFF.replace("2222222", "3333333"))
    forwards, _ = gather([("a", Patch(DIFF)), ("b", noise)])
    backwards, _ = gather([("b", noise), ("a", Patch(DIFF))])
    assert forwards[0].patch == backwards[0].patch
    assert forwards[0].patch in (Patch(DIFF), noise)
    assert forwards[0].patch.digest.startswith(forwards[0].id)


def test_changes_that_differ_in_more_than_noise_stay_apart():
    indented = Patch(DIFF.replace("+-- three", "+    -- three"))
    moved = Patch(DIFF.replace("@@ -1,4 +1,4 @@", "@@ -9,4 +9,4 @@"))
    assert len(gather([("a", Patch(DIFF)), ("b", indented), ("c", moved)])[0]) == 3


def test_lines_that_look_like_noise_inside_a_hunk_are_content():
    assert normalize(DIFF.replace("+-- three", "+index 5")) != normalize(DIFF.replace("+-- three", "+index 6"))


def test_empty_patches_are_dropped_with_a_reason():
    candidates, dropped = gather([("editing/0", None), ("editing/1", Patch("\n")), ("editing/2", Patch(DIFF))])
    assert [one.origins for one in candidates] == [("editing/2",)]
    assert {one.origin: one.reason for one in dropped} == {
        "editing/0": "the trajectory ended without an edit",
        "editing/1": "the patch is empty: the edits change nothing",
    }


def test_a_renamed_file_has_both_names():
    rename = "diff --git a/old.py b/new.py\nsimilarity index 100%\nrename from old.py\nrename to new.py\n"
    (candidate,), _ = gather([("a", Patch(rename))])
    assert candidate.paths == ("new.py", "old.py")


def test_changed_lines_counts_dashes_in_the_content():
    assert changed_lines(DIFF) == 2


def test_changed_lines_of_a_diff_that_does_not_parse():
    assert changed_lines("--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n-one\n+two\n") > 0


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["1111111", "abcdef0"])), max_size=8), st.randoms())
def test_gathering_does_not_depend_on_the_order(samples, random):
    patches = [
        (f"editing/{index}", Patch(numbered(number).diff.replace("1111111", blob)))
        for index, (number, blob) in enumerate(samples)
    ]
    shuffled = random.sample(patches, len(patches))
    straight, mixed = gather(patches)[0], gather(shuffled)[0]
    assert [(one.id, one.patch, set(one.origins)) for one in straight] == [
        (one.id, one.patch, set(one.origins)) for one in mixed
    ]
    assert sum(one.class_size for one in straight) == len(patches)
