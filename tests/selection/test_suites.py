"""Test commands: which runner they call, that no test they name is passed on, and how outcomes are read from real runners."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.api import Execution
from selection.suites.running import MARK, PLACE, RECORDER, Ended, Suite, new_failures, suite_of

DJANGO = "./tests/runtests.py --verbosity 2 --settings=test_sqlite --parallel 1"
SYMPY = "PYTHONWARNINGS='ignore::UserWarning,ignore::SyntaxWarning' bin/test -C --verbose"


@pytest.mark.parametrize(
    ("command", "kind", "words"),
    [
        ("pytest -rA", "pytest", "pytest -rA -p runoff_recorder"),
        ("pytest -rA tests/test_gold.py", "pytest", "pytest -rA -p runoff_recorder"),
        ("python3.9 -m pytest -x tests -k gold", "pytest", "python3.9 -m pytest -p runoff_recorder"),
        ("pytest -n 4 -o addopts= -m 'not slow' t.py", "pytest", "pytest -o addopts= -m not slow -p runoff_recorder"),
        ("pytest -rA --durations 25 tests/test_gold.py", "pytest", "pytest -rA --durations 25 -p runoff_recorder"),
        ("tox --current-env -epy39 -v -- tests/test_gold.py", "pytest", "python -m pytest -p runoff_recorder"),
        (f"{DJANGO} queries.test_gold", "django", DJANGO),
        ("python manage.py test --keepdb app.tests", "django", "python manage.py test --keepdb"),
        ("python -m unittest -v tests.test_gold", "unittest", "python -m unittest"),
        ("python -m unittest discover -s tests", "unittest", "python -m unittest"),
        (f"{SYMPY} sympy/core/tests/test_gold.py", "sympy", SYMPY.replace("'", "")),
        ("bin/test -C", "sympy", "bin/test -C --verbose"),
    ],
)
def test_runner_of_a_command_without_the_tests_that_it_names(command, kind, words):
    suite = suite_of(command)
    assert suite is not None
    assert (suite.kind, " ".join(suite.command)) == (kind, words)


@pytest.mark.parametrize("command", ["", "make test", "npm test", "python setup.py build", "pytest 'torn"])
def test_command_that_cannot_be_given_files(command):
    assert suite_of(command) is None


def test_names_of_files_are_the_runners_own():
    django, pytest_suite = suite_of(DJANGO), suite_of("pytest")
    assert django is not None
    assert pytest_suite is not None
    assert (
        "for file in queries.test_bulk_update admin.tests; do"
        in django.script(["tests/queries/test_bulk_update.py", "tests/admin/tests.py"], 60).text
    )
    assert "for file in tests/test_a.py; do" in pytest_suite.script(["tests/test_a.py"], 60).text
    assert (django.runs("tests/a/tests.py"), django.runs("django/test/tests.py")) == (True, False)


def outcomes(suite: Suite, folder: Path, *files: str) -> dict[str, Ended]:
    """Run the suite's script, in a folder in place of the sandbox's tree, with this test's own interpreter."""
    text = suite.script(list(files), 60).text.replace("cd /testbed", f"cd {folder}").replace(PLACE, str(folder / "place"))
    done = subprocess.run(["bash", "-c", text], check=True, capture_output=True, text=True)
    return suite.outcomes(Execution(done.returncode, done.stdout, 1.0))


def test_outcomes_by_pytest(tmp_path):
    (tmp_path / "test_all.py").write_text(
        "import pytest\n\n\ndef test_good(): print('test_bad PASSED')\n\n\ndef test_bad(): assert False\n\n\n"
        "@pytest.fixture\ndef torn(): raise ValueError\n\n\ndef test_set_up(torn): pass\n\n\n"
        "@pytest.mark.skip\ndef test_left_out(): pass\n\n\n@pytest.mark.parametrize('word', ['a b', 'ü\\n'])\n"
        "def test_words(word): pass\n"
    )
    (tmp_path / "test_torn.py").write_text("import no_such_module\n")
    suite = suite_of(f"{sys.executable} -m pytest -p no:cacheprovider")
    assert suite is not None
    found = outcomes(suite, tmp_path, "test_torn.py", "test_all.py")
    assert {name.rpartition("::")[2]: str(ended) for name, ended in found.items()} == {
        "test_torn.py": "failed",
        "test_good": "passed",
        "test_bad": "failed",
        "test_set_up": "failed",
        "test_left_out": "skipped",
        "test_words[a b]": "passed",
        "test_words[\\\\xfc\\\\n]": "passed",
    }


def test_outcomes_by_unittest(tmp_path):
    (tmp_path / "test_all.py").write_text(
        "import subprocess, sys, unittest\n\n\nclass Some(unittest.TestCase):\n"
        "    def test_good(self):\n        'A name that is prose'\n        print('test_bad ... ok')\n"
        "    def test_bad(self): self.fail()\n    def test_error(self): raise ValueError\n"
        "    def test_left_out(self): self.skipTest('')\n"
        "    @unittest.expectedFailure\n    def test_expected(self): self.fail()\n"
        "    def test_parts(self):\n        for n in range(3):\n            with self.subTest(n=n): self.assertNotEqual(n, 1)\n"
        "    def test_starts_others(self):\n"
        "        code = 'import unittest\\nclass A(unittest.TestCase):\\n  def test_inner(self): self.fail()\\nunittest.main()'\n"
        "        subprocess.run([sys.executable, '-c', code], stderr=subprocess.DEVNULL)\n"
    )
    suite = suite_of(f"{sys.executable} -m unittest -v tests.test_gold")
    assert suite is not None
    found = outcomes(suite, tmp_path, "test_all.py")
    assert {name.rpartition(".")[2]: str(ended) for name, ended in found.items()} == {
        "test_good": "passed",
        "test_bad": "failed",
        "test_error": "failed",
        "test_left_out": "skipped",
        "test_expected": "passed",
        "test_parts": "failed",
        "test_starts_others": "passed",
    }


def test_tests_that_do_not_come_to_an_end(tmp_path):
    (tmp_path / "test_a.py").write_text("def test_good(): pass\n\n\ndef test_hangs():\n    while True: pass\n")
    (tmp_path / "test_b.py").write_text("def test_later(): pass\n")
    suite = suite_of(f"{sys.executable} -m pytest -p no:cacheprovider")
    assert suite is not None
    text = suite.script(["test_a.py", "test_b.py"], 20).text.replace("cd /testbed", f"cd {tmp_path}")
    done = subprocess.run(
        ["bash", "-c", text.replace(PLACE, str(tmp_path / "p"))], check=True, capture_output=True, text=True
    )
    assert suite.outcomes(Execution(0, done.stdout, 20.0)) == {"test_a.py::test_good": Ended.PASSED}


def test_outcomes_by_sympy():
    suite = suite_of(SYMPY)
    assert suite is not None
    said = (
        "sympy/core/tests/test_a.py[4] \ntest_good ok\ntest_bad F\ntest_error E\ntest_hard f  [FAIL]\n"
        "sympy/core/tests/test_b.py[1] \ntest_good ok      [OK]\n____ sympy/core/tests/test_a.py:test_bad ____\n"
    )
    found = suite.outcomes(Execution(0, f"tail\n{MARK}\n{said}{MARK} end\n", 1.0))
    assert {name.removeprefix("sympy/core/tests/"): str(ended) for name, ended in found.items()} == {
        "test_a.py::test_good": "passed",
        "test_a.py::test_bad": "failed",
        "test_a.py::test_error": "failed",
        "test_a.py::test_hard": "skipped",
        "test_b.py::test_good": "passed",
    }


def test_new_failures_are_those_of_tests_that_passed_before():
    before = dict.fromkeys(["fails", "passes", "skips", "vanishes"], Ended.PASSED)
    after = {"fails": Ended.FAILED, "passes": Ended.PASSED, "skips": Ended.SKIPPED, "new": Ended.FAILED}
    assert new_failures(before, after) == ("fails", "vanishes")


def test_recorder_is_for_old_pythons_too():
    """It runs in images whose Python is older than this one."""
    import ast

    ast.parse(RECORDER.read_text(), feature_version=(3, 6))
