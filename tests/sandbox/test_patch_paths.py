"""Which files a patch touches, however git has to write their names."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.edits.diff import Change, diff_of
from sandbox.api import Patch

NAMES = [
    "plain.py",
    "with space.py",
    "a b/c d.py",
    "x b/y.py",
    " b/x.py",
    "b/x b/b/x",
    "ends in a space ",
    "ümlaut/日本.py",
    'quo"te.py',
    "tab\there.py",
    "new\nline.py",
    "back\\slash.py",
    "\\303\\274.py",
    "undecodable-\udcff.py",
]


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, env=environment)
    return done.stdout.decode("utf-8", "surrogateescape")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a line\n" * 9)
    git(tmp_path, "add", "-A")
    return tmp_path


@pytest.mark.parametrize("quoting", ["true", "false"])
@pytest.mark.parametrize("change", ["written", "emptied", "mode", "deleted", "created empty"])
def test_any_name_in_any_change(folder: Path, quoting: str, change: str) -> None:
    if change == "created empty":
        git(folder, "rm", "-q", "--cached", "-r", ".")
    for name in NAMES:
        match change:
            case "written":
                (folder / name).write_text("--- a/not a header\n+++ b/neither\n")
            case "mode":
                (folder / name).chmod(0o755)
            case "deleted":
                (folder / name).unlink()
            case _:
                (folder / name).write_text("")
    if change == "created empty":
        git(folder, "add", "-A", "-N")
    diff = git(folder, "-c", f"core.quotePath={quoting}", "diff")
    assert sorted(Patch(diff).paths) == sorted(NAMES)
    assert Patch(diff).renamed == ()


@pytest.mark.parametrize("quoting", ["true", "false"])
def test_renamed_files_have_both_names(folder: Path, quoting: str) -> None:
    git(folder, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qm", "first")
    for name in NAMES:
        (folder / name).write_text(f"{name!a}\n" * 9)
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qm", "second")
    for name in NAMES:
        (folder / name).rename(folder / f"{name}.new")
    git(folder, "add", "-A")
    patch = Patch(git(folder, "-c", f"core.quotePath={quoting}", "diff", "--cached", "-M"))
    assert sorted(patch.paths) == sorted(f"{name}.new" for name in NAMES)
    assert sorted(patch.renamed) == sorted(NAMES)


part = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=8).filter(
    lambda text: text.lower() not in (".", "..", ".git")
)


@settings(max_examples=40, deadline=None)
@given(st.lists(part, min_size=1, max_size=3).map("/".join))
def test_any_name_that_git_takes(name: str) -> None:
    assert diff_of({name: Change(b"a\n", b"b\n")}).paths == (name,)
