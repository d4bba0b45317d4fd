"""Cleaning of patches: what is no part of a prediction goes, what is left stays byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cleaning import clean, reason


def section(path, *, new=False, line="x"):
    if new:
        return f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{line}\n"
    return f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{line}\n+{line}{line}\n"


@pytest.mark.parametrize(
    ("path", "new", "why"),
    [
        ("src/app/core.py", False, ""),
        ("src/app/contest.py", False, ""),
        ("src/app/latest/util.py", False, ""),
        ("django/test/client.py", False, ""),
        ("sympy/testing/runtests.py", False, ""),
        ("xarray/testing.py", False, ""),
        ("docs/reproduce.py", True, ""),
        ("reproduce.py", False, ""),
        ("conftest.py", False, "test"),
        ("tests/test_core.py", False, "test"),
        ("src/app/tests/helpers.py", False, "test"),
        ("test/support.js", True, "test"),
        ("testing/python/raises.py", False, "test"),
        ("src/app/test_core.py", True, "test"),
        ("src/core_test.go", False, "test"),
        ("web/button.spec.ts", False, "test"),
        ("polls/tests.py", False, "test"),
        ("reproduce.py", True, "scratch file"),
        ("reproduce_issue.py", True, "scratch file"),
        ("debug-12.sh", True, "scratch file"),
        ("src/__pycache__/core.cpython-311.pyc", True, "artefact"),
        ("src/core.py.orig", True, "artefact"),
        ("app.egg-info/PKG-INFO", True, "artefact"),
        (".coverage", True, "artefact"),
    ],
)
def test_reasons(path, new, why):
    assert reason(path, new=new) == why


def test_a_patch_of_a_fix_and_of_what_came_along():
    fix = section("src/core.py")
    diff = section("reproduce.py", new=True) + fix + section("tests/test_core.py")
    cleaned = clean(diff)
    assert cleaned.diff == fix
    assert cleaned.removed == {"reproduce.py": "scratch file", "tests/test_core.py": "test"}


def test_a_renamed_test_is_one():
    diff = "diff --git a/core.py b/tests/test_core.py\nsimilarity index 100%\nrename from core.py\nrename to tests/test_core.py\n"
    assert clean(diff).removed == {"tests/test_core.py": "test"}


def test_a_line_that_looks_like_a_header_is_a_line():
    diff = section("src/core.py", line="-- a/tests/test_x.py") + section(
        "src/diffs.py", line=" diff --git a/tests/x b/tests/x"
    )
    assert clean(diff) == clean(diff)
    assert clean(diff).removed == {}
    assert clean(diff).diff == diff


NAMES = st.lists(
    st.sampled_from(["src/a.py", "src/b c.py", "tests/t.py", "debug.py", "x.pyc", "lib/test_it.py", "README.md"]),
    unique=True,
)


@given(NAMES, st.booleans())
def test_cleaning_keeps_the_order_and_is_done_once(names, new):
    sections = {name: section(name, new=new) for name in names}
    cleaned = clean("".join(sections.values()))
    assert cleaned.diff == "".join(text for name, text in sections.items() if not reason(name, new=new))
    assert set(cleaned.removed) == {name for name in names if reason(name, new=new)}
    assert clean(cleaned.diff).removed == {}
