"""Which patches are refused, and that nothing harmless is."""

from __future__ import annotations

import difflib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import applying, patching

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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with links, as a base commit may have them."""
    git = [
        "git",
        "-C",
        str(tmp_path),
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.org",
        "-c",
        "init.defaultBranch=main",
    ]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "f").write_text("one\ntwo\n")
    for name, target in (("out", ".."), ("dotgit", ".git"), ("alias", "f")):
        (tmp_path / name).symlink_to(target)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "links"], check=True)
    return tmp_path


ADDED = "--- a/{0}\n+++ b/{0}\n@@ -0,0 +1 @@\n+text\n"
RENAMED = "diff --git a/f b/{0}\nsimilarity index 100%\nrename from f\nrename to {0}\n"
CONFIGURED = "--- {0}\n+++ {0}\n@@ -1,2 +1,3 @@\n [core]\n \trepositoryformatversion = 0\n+\tfsmonitor = touch left\n"


@pytest.mark.parametrize(
    "patch",
    [
        NEW.format("dotgit/hooks/left", "100644"),
        ADDED.format("dotgit/hooks/left"),
        ADDED.format("out/left"),
        RENAMED.format("dotgit/left"),
        RENAMED.format("out/left"),
        CONFIGURED.format("a/dotgit/config"),
        CONFIGURED.format("x/dotgit/config"),
        CONFIGURED.format('"a/\\144otgit/config"'),
    ],
)
def test_patch_through_a_link_of_the_tree(tree: Path, patch: str) -> None:
    job = {"patch": patch, "paths": patching.named(patch), "workdir": str(tree)}
    before = (tree / ".git/config").read_text()
    assert "symbolic link" in applying.apply_patch(job)
    assert (tree / ".git/config").read_text() == before
    assert not [*tree.glob(".git/**/left"), *tree.parent.glob("left")]


def test_patch_of_a_link_itself(tree: Path) -> None:
    patch = (
        HEADER.format("alias").replace("-old\n+new", "-one\n+changed").replace("@@ -1 +1 @@", "@@ -1,2 +1,2 @@") + " two\n"
    )
    assert applying.apply_patch({"patch": patch, "paths": patching.named(patch), "workdir": str(tree)})
    assert (tree / "f").read_text() == "one\ntwo\n"


def test_patch_that_takes_too_long(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    for name in ("git", "patch"):
        (slow / name).write_text("#!/bin/sh\nexec sleep 60\n")
        (slow / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    monkeypatch.setattr(applying, "APPLY_SECONDS", 0.2)
    patch = ADDED.format("new")
    job = {"patch": patch, "paths": patching.named(patch), "workdir": str(tree)}
    assert applying.apply_patch(job) == "git takes too long"
