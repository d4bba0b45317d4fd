"""What is read from the last lines of a test suite's output."""

import pytest

from sandbox.health import Baseline
from sandbox.suite import counts, reached, reason, starts, uncoloured


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("..\n===== 3 failed, 120 passed, 2 warnings in 4.20s =====", "3 failed, 120 passed, 2 warnings"),
        ("82 passed, 3 subtests passed in 0.55s", "82 passed, 3 subtests passed"),
        ("= 1 passed in 61.02s (0:01:01) =", "1 passed"),
        ("Ran 12 tests in 0.1s\n\nFAILED (failures=2, errors=1)", "12 tests, failures=2, errors=1"),
        ("Ran 1 test in 0.1s\n\nOK", "1 tests"),
        ("I passed in 3 minutes", ""),
        ("", ""),
    ],
)
def test_counts(output, says):
    assert counts(output) == says


def test_colour_is_taken_off():
    assert counts(uncoloured("\x1b[32m==== \x1b[1m82 passed\x1b[0m\x1b[32m in 0.55s\x1b[0m ====")) == "82 passed"


@pytest.mark.parametrize(
    ("exit_code", "output", "ran"),
    [
        (1, "1 failed in 0.1s", True),
        (1, "/opt/env/bin/python: No module named pytest", False),
        (2, "1 error in 0.1s", False),
        (2, "3 passed, 1 error in 0.1s", True),
        (4, "ERROR: usage", False),
        (5, "no tests ran in 0.1s", False),
        (127, "nose: command not found", False),
        (1, "something of its own", True),
    ],
)
def test_whether_tests_started(exit_code, output, ran):
    assert starts(exit_code, output) is ran
    assert Baseline("3.11.2", exit_code, output).tests_start is ran


def test_the_warning_says_what_matters():
    assert Baseline("3.11.2").warning == ""
    assert Baseline("3.11.2", 0, "3 passed in 1s").warning == ""
    assert Baseline("3.11.2", 1, "1 failed in 1s").warning == "the test command exits 1 on the unpatched tree: 1 failed"
    slow = Baseline("3.11.2", -9, "tests/a.py ... [ 34%]", "seconds", 60.2)
    assert slow.warning == "the test command did not end within 60 s (it was at 34 %)"
    assert slow.tests_start
    missing = Baseline("3.11.2", 1, "python: No module named pytest\n")
    assert missing.warning == "the tests do not start (exit code 1): python: No module named pytest"
    assert reached("") == ""
    assert reason("") == "it said nothing"
