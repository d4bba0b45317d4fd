"""What a diff changes, also where its end was stripped, and what is left without tests and artefacts."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.api import Patch
from selection.equivalence import Level, classes
from selection.patches.changes import Line, Unparsable, essence, parse, readable
from tests.selection.diffs import diff

BEFORE = "one\ntwo\n\nthree\nfour\n\n\n"


def test_lines_with_their_old_numbers():
    (change,) = parse(diff(BEFORE, BEFORE.replace("two", "2"), "a.py", context=1))
    assert (change.path, change.created, change.deleted) == ("a.py", False, False)
    assert change.hunks == ((Line(" ", "one", 1), Line("-", "two", 2), Line("+", "2", 3), Line(" ", "", 3)),)


def test_added_line_has_the_number_of_the_line_that_it_comes_before():
    (change,) = parse(diff("a\nb\n", "a\nnew\nb\n", context=0))
    assert change.hunks == ((Line("+", "new", 2),),)


def test_new_deleted_and_renamed_files():
    rename = "diff --git a/old.py b/new.py\nsimilarity index 100%\nrename from old.py\nrename to new.py\n"
    made, gone, moved = parse(diff("", "x\n", "made.py") + diff("x\n", "", "gone.py") + rename)
    assert (made.path, made.created) == ("made.py", True)
    assert (gone.path, gone.deleted) == ("gone.py", True)
    assert (moved.old_path, moved.path, moved.hunks) == ("old.py", "new.py", ())


def test_blank_context_that_was_stripped_from_the_end_is_put_back():
    whole = diff(BEFORE, BEFORE.replace("four", "4"))
    assert whole.endswith("\n \n \n")
    assert parse(whole.rstrip()) == parse(whole)


def test_hunk_that_lacks_more_than_blank_context_cannot_be_parsed():
    cut = diff(BEFORE, BEFORE.replace("four", "4")).partition("+4")[0]
    with pytest.raises(Unparsable, match="shorter"):
        parse(cut)


@pytest.mark.parametrize("text", ["", "no diff", "@@ -1 +1 @@\n-a\n+b\n", "+++ b/a\n"])
def test_text_that_is_no_diff(text):
    with pytest.raises(Unparsable):
        parse(text)


@given(st.text(alphabet="-+ @ab/,1\n\\\r\f", max_size=60))
def test_whatever_is_behind_a_header_is_parsed_or_refused(text):
    with suppress(Unparsable):
        assert parse("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n" + text)[0].path == "x"


def test_essence_is_without_tests_and_artefacts():
    source = diff("a\n", "b\n", "shop/till.py")
    noise = diff("a\n", "b\n", "tests/test_till.py") + diff("", "x\n", "reproduce.py") + diff("", "x\n", "shop/x.orig")
    assert [change.path for change in essence(noise + source)] == ["shop/till.py"]
    assert essence(noise) == ()
    assert essence("nothing") == ()


def backward(text: str) -> str:
    """What `git diff` writes when it is given the new tree first."""
    signs = {"+": "-", "-": "+"}
    lines = text.splitlines(keepends=True)
    ranges = re.compile(r"@@ -(\S+) \+(\S+) @@")
    turned = []
    for line in lines:
        if line.startswith("diff --git "):
            turned.append(re.sub(r" a/(.*) b/", r" b/\1 a/", line))
        elif line.startswith("--- "):
            old = line[4:]
        elif line.startswith("+++ "):
            turned += [f"--- {line[4:]}", f"+++ {old}"]
        elif line.startswith("@@"):
            turned.append(ranges.sub(r"@@ -\2 +\1 @@", line))
        else:
            turned.append(signs.get(line[0], line[0]) + line[1:])
    return "".join(turned)


@given(st.lists(st.sampled_from(["one\n", "two\n", "--- b/x\n", "\n", "+++ a/y\n"]), min_size=1), st.integers(0, 9))
def test_diff_from_the_new_tree_to_the_old_is_turned_round(lines, at):
    after = [*lines[:at], "new\n", *lines[at + 1 :]]
    there = diff("".join(lines), "".join(after), "a b.py")
    assert readable(there) == there
    assert parse(readable(backward(there)))[0].path == "a b.py"
    assert classes([Patch(there), Patch(backward(there))], Level.SPACE) == ((0, 1),)


def test_diff_that_is_turned_round_applies(tmp_path):
    (tmp_path / "till.py").write_text(BEFORE)
    text = backward(diff(BEFORE, BEFORE.replace("two", "2\n3"), "till.py"))
    subprocess.run(["git", "apply", "-"], input=readable(text), text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "till.py").read_text() == BEFORE.replace("two", "2\n3")
