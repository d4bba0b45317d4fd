"""An issue with its labels: a small repository, the tests of its fix, and patches of every kind."""

import difflib
import json
import os
import subprocess

BEFORE = {
    "till.py": "def total(prices):\n    return sum(prices) + 1\n\n\ndef count(prices):\n    return len(prices)\n",
    "tests/__init__.py": "",
    "tests/test_till.py": (
        "import unittest\n\nimport till\n\n\nclass TillTests(unittest.TestCase):\n"
        "    def test_count(self):\n        self.assertEqual(till.count([1, 2]), 2)\n"
    ),
}
TOTAL = "\n    def test_total(self):\n        self.assertEqual(till.total([1, 2]), 3)\n"
FIXED = BEFORE["till.py"].replace(" + 1", "")
COMMAND = "python -m unittest -v"
ID = "shop__till-1"


def diff_of(path, before, after):
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}")
    return f"diff --git a/{path} b/{path}\n" + "".join(lines)


def change(old, new):
    return diff_of("till.py", BEFORE["till.py"], BEFORE["till.py"].replace(old, new))


GOLD = change(" + 1", "")
TEST_PATCH = diff_of("tests/test_till.py", BEFORE["tests/test_till.py"], BEFORE["tests/test_till.py"] + TOTAL)
PATCHES = {
    "right": GOLD,
    "right in other words": change("return sum(prices) + 1", "return sum(prices, 0)"),
    "wrong": change(" + 1", " + 2"),
    "breaks another": GOLD.replace(" def count(prices):", "-def count(prices):\n+def counted(prices):").replace(
        "@@ -1,5 +1,5 @@", "@@ -1,5 +1,5 @@"
    ),
    "does not apply": GOLD.replace("sum(prices) + 1", "sum(pieces) + 1"),
    "the wrong way round": diff_of("till.py", FIXED, BEFORE["till.py"]),
    "hangs": change("return sum(prices) + 1", "while True: pass"),
    "eats memory": change("return sum(prices) + 1", "return bytearray(1 << 31) and 3"),
    "pretends": change(
        "return sum(prices) + 1",
        "import os, sys; sys.stderr.write('ok\\ntest_total (tests.test_till.TillTests.test_total) ... ok\\n'); sys.stderr.flush(); os._exit(1)",
    ),
    "touches the tests": GOLD
    + diff_of("tests/test_till.py", BEFORE["tests/test_till.py"], "raise SystemExit('no tests')\n"),
}


def git(folder, *arguments):
    who = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-C", str(folder), "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **who}).stdout.strip()


def make(folder):
    """The repository at the base commit; returns the commit."""
    for path, text in BEFORE.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Add a till")
    return git(folder, "rev-parse", "HEAD")


def row(commit, **columns):
    """The instance as a data set has it. Its ids have the short form, as they were made with an older Python."""
    return {
        "instance_id": ID,
        "repo": "shop/till",
        "base_commit": commit,
        "version": "1",
        "problem_statement": "total counts one too many",
        "patch": GOLD,
        "test_patch": TEST_PATCH,
        "FAIL_TO_PASS": json.dumps(["test_total (tests.test_till.TillTests)"]),
        "PASS_TO_PASS": json.dumps(["test_count (tests.test_till.TillTests)"]),
        "difficulty": "<15 min fix",
        "log_parser": "parse_log_django",
        "eval_type": "pass_and_fail",
        **columns,
    }


def write(path, *rows):
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path
