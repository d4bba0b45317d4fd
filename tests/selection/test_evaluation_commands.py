"""Which tests judge an instance, and the script that runs them on a real tree."""

import subprocess
from dataclasses import replace

import pytest

from sandbox.api import WORKDIR, Patch
from sandbox.errors import InputError
from selection.evaluation.commands import command_of, directives, region, trial
from selection.gold import GoldLabels


def diff_of(*paths):
    return "".join(
        f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+new\n"
        for path in paths
    )


def labels(repo="shop/till", paths=("tests/test_till.py",), script=""):
    return GoldLabels("shop__till-1", repo, "1.0", Patch(diff_of(*paths)), ("t",), (), None, eval_script=script)


SCRIPT = """#!/bin/bash
set -uxo pipefail
cd /testbed
git apply -v - <<'EOF'
EOF
: '>>>>> Start Test Output'
pytest -rA tests/test_till.py
: '>>>>> End Test Output'
git checkout abc tests/test_till.py
"""


def test_directives_are_test_files_only():
    assert directives(labels(paths=("tests/test_a.py", "tests/data.json", "tests/b/expected.txt", "docs/x.md"))) == (
        "tests/test_a.py",
    )


def test_directives_of_django_are_modules():
    paths = ("tests/queries/test_bulk_update.py", "tests/queries/models.py", "tests/queries/fixture.json")
    assert directives(labels("django/django", paths)) == ("queries.test_bulk_update", "queries.models")


@pytest.mark.parametrize(
    ("given", "script", "command"),
    [
        ("pytest -q", "", "pytest -q tests/test_till.py"),
        ("pytest -q tests/test_till.py -x", "", "pytest -q tests/test_till.py -x"),
        ("pytest -q tests/test_till.py -x", SCRIPT, "pytest -q tests/test_till.py -x"),
        ("tox --", SCRIPT, "pytest -rA tests/test_till.py"),
        ("", SCRIPT, "pytest -rA tests/test_till.py"),
    ],
    ids=["files appended", "files named", "a whole command goes first", "the row's script", "only the row's script"],
)
def test_command_of_an_instance(given, script, command):
    assert command_of(labels(script=script), given) == command


def test_command_of_an_unknown_repository():
    with pytest.raises(InputError, match="nothing says how the tests of this repository are run"):
        command_of(labels(), "")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A git tree where the sandbox would have one; scripts are run with its path in place of the sandbox's."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_till.py").write_text("old\n")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def run(tree, script):
    text = script.text.replace(WORKDIR, str(tree))
    done = subprocess.run(["bash", "-c", text], cwd=tree, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


CHANGE = "diff --git a/tests/test_till.py b/tests/test_till.py\n--- a/tests/test_till.py\n+++ b/tests/test_till.py\n@@ -1 +1 @@\n-old\n+new\n"


def test_trial_puts_the_test_files_back_before_the_tests_of_the_fix(tree):
    (tree / "tests/test_till.py").write_text("what a patch made of it\n")
    (tree / "tests/more.py").write_text("a file that the fix adds too\n")
    held = replace(labels(), test_patch=Patch(CHANGE + diff_of("tests/more.py")))
    code, output = run(tree, trial(held, "cat tests/test_till.py tests/more.py; (exit 3)", "mark"))
    assert code == 3
    assert region(output, "mark").text.split() == ["new", "new"]
    assert not (tree / "tests.diff").exists()


def test_trial_on_a_tree_that_refuses_the_tests(tree):
    held = replace(labels(), test_patch=Patch(CHANGE.replace("-old", "-other")))
    code, output = run(tree, trial(held, "echo ran", "mark"))
    assert code == 1
    assert not region(output, "mark").started
    assert "ran" not in output


def test_region_cannot_be_closed_by_what_tests_print():
    seen = region("noise\nmark begins\ntest_a ok\nmark ends\nfaked\ntest_b FAIL\n\nmark ends\n", "mark")
    assert seen.text == "test_a ok\nmark ends\nfaked\ntest_b FAIL\n"
    assert seen.ended


def test_region_of_a_command_that_took_the_shell_with_it():
    seen = region("mark begins\ntest_a ok\n", "mark")
    assert (seen.text, seen.started, seen.ended) == ("test_a ok\n", True, False)


def test_directories_with_blanks(tree):
    held = replace(labels(), test_patch=Patch(diff_of("tests/a b.py")))
    code, output = run(tree, trial(held, "cat 'tests/a b.py'", "mark"))
    assert (code, region(output, "mark").text) == (0, "new\n")
