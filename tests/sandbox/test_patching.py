"""Which patches are refused, and that nothing harmless is."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import patching

HEADER = "diff --git a/{0} b/{0}\n--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-old\n+new\n"
NEW = "diff --git a/{0} b/{0}\nnew file mode {1}\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1 @@\n+text\n"


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ("", "empty"),
        ("hello\n", "not a diff"),
        (HEADER.format("../outside"), "`..`"),
        (HEADER.format("pkg/../../outside"), "`..`"),
        ("--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", "absolute"),
        (HEADER.format("/etc/passwd"), "absolute"),
        (HEADER.format(".git/hooks/pre-commit"), ".git"),
        (HEADER.format("vendored/.GIT/config"), ".git"),
        ('diff --git "a/\\056git/config" "b/\\056git/config"\n--- "a/\\056git/config"\n+++ "b/\\056git/config"\n', ".git"),
        (NEW.format("link", "120000"), "symbolic link"),
        (NEW.format("module", "160000"), "submodule"),
        ("diff --git a/l b/l\nindex 1234567..89abcde 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-a\n+b\n", "symbolic link"),
        ("diff --git a/x b/x\nold mode 100644\nnew mode 120000\n", "symbolic link"),
        (NEW.format("link", "120000 "), "symbolic link"),
        (NEW.format("link", "0120000"), "symbolic link"),
        (NEW.format("module", "160000 "), "submodule"),
        (NEW.format("pkg/x.py", "104755"), "mode 104755"),
        ("*** a/.git/config\n--- a/nope\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n", "unified"),
        ("Index: x\n" + HEADER.format("x"), "unified"),
        ("diff --git a/x b/../y\nsimilarity index 100%\nrename from x\nrename to ../y\n", "`..`"),
        ("diff --git a/i.png b/i.png\nGIT binary patch\nliteral 0\n", "binary"),
        ("diff --git a/i.png b/i.png\nBinary files a/i.png and b/i.png differ\n", "binary"),
    ],
)
def test_refused_patch(patch: str, words: str) -> None:
    assert words in patching.check(patch)


@pytest.mark.parametrize(
    "patch",
    [
        HEADER.format("pkg/core.py"),
        HEADER.format(".gitignore"),
        HEADER.format(".github/workflows/ci.yml"),
        HEADER.format("a file.txt"),
        HEADER.format("notes..txt"),
        NEW.format("pkg/new.py", "100755"),
        "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n context\n--- a/../y\n+++ b/../y\n",
    ],
)
def test_harmless_patch(patch: str) -> None:
    assert patching.check(patch) == ""


lines = st.lists(
    st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029\x85"), max_size=12),
    max_size=8,
)


@given(lines, lines)
def test_content_never_looks_like_a_header(before: list[str], after: list[str]) -> None:
    hostile = [f"-- a/../{line}" for line in before] + ["new file mode 120000", "diff --git a/../x b/../x", *before]
    body = difflib.unified_diff([*hostile, ""], [*after, "-- /etc/passwd"], "a/file", "b/file", lineterm="")
    assert patching.check("\n".join(body) + "\n") == ""
