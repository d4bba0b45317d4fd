"""The real swebench reads logs as it does in its own harness; runoff finds it, or says how to get it."""

import asyncio
import sys
import venv

import pytest

from sandbox.api import Patch
from sandbox.errors import InfrastructureError, InputError
from selection.evaluation.harness import Harness, Parsers, find_harness
from selection.gold import GoldLabels

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("swebench")]
PYTEST = """============================= test session starts ==============================
PASSED tests/test_till.py::test_closes
PASSED tests/test_till.py::test_prices[1/2]
FAILED tests/test_till.py::test_opens - AssertionError: closed
SKIPPED [1] tests/test_till.py:7: no drawer
"""
LONG_IDS = """test_closes (till.tests.TillTests.test_closes) ... ok
test_opens (till.tests.TillTests.test_opens) ... FAIL
test_prices (till.tests.TillTests.test_prices)
A price is printed. ... ok
"""


def labels(fail_to_pass, pass_to_pass=(), parser="parse_log_pytest", repo="shop/till"):
    return GoldLabels("shop__till-1", repo, "1", Patch(""), fail_to_pass, pass_to_pass, None, log_parser=parser)


@pytest.fixture(scope="module")
def grade():
    """Grades logs, all in one process of the parsers."""

    async def all_of(questions):
        async with Parsers(await find_harness()) as parsers:
            return [await parsers.grade(*question) for question in questions]

    return lambda *questions: asyncio.run(all_of(questions))


def test_grades_of_logs(grade):
    opens, closes = "tests/test_till.py::test_opens", "tests/test_till.py::test_closes"
    short, long = "{} (till.tests.TillTests)", "{} (till.tests.TillTests.{})"
    red, green, old, new, docstring, prefix, nothing, requests = grade(
        (labels((opens,), (closes,)), PYTEST),
        (labels((closes,)), PYTEST),
        (labels((short.format("test_closes"),), (short.format("test_opens"),), "parse_log_django"), LONG_IDS),
        (labels((long.format("test_closes", "test_closes"),), (), "parse_log_django"), LONG_IDS),
        (labels(("A price is printed.",), (), "parse_log_django"), LONG_IDS),
        (labels(("tests/test_till.py::test_prices[1",)), PYTEST),
        (labels((opens,)), "Traceback (most recent call last):\nImportError\n"),
        (labels((closes,), (), "", "psf/requests"), PYTEST),
    )
    assert (red.resolved, red.failures_seen, red.ran) == (False, True, True)
    assert red.fail_to_pass == ((), (opens,))
    assert red.pass_to_pass == ((closes,), ())
    assert green.resolved
    assert old.fail_to_pass[0] == (short.format("test_closes"),)
    assert old.pass_to_pass[1] == (short.format("test_opens"),)
    assert new.resolved
    assert docstring.resolved
    assert prefix.resolved  # ids that the data set cuts off within a parameter
    assert (nothing.resolved, nothing.ran) == (False, False)
    assert requests.resolved  # a row that names no parser: by its repository


async def test_logs_that_nothing_reads():
    async with Parsers(await find_harness()) as parsers:
        with pytest.raises(InfrastructureError, match="no parser for the logs of shop/till"):
            await parsers.grade(labels(("a",), parser=""), PYTEST)
        graded = await parsers.grade(labels(("tests/test_till.py::test_closes",)), PYTEST)
    assert graded.resolved  # the process answers the next question as if nothing had been


async def test_process_ends_with_the_context():
    async with Parsers(await find_harness()) as parsers:
        await parsers.grade(labels(("a",)), PYTEST)
        process = parsers._process
        assert process.returncode is None
    assert process.returncode is not None


async def test_python_without_swebench(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    with pytest.raises(InputError, match="swebench is not installed") as raised:
        await find_harness(str(tmp_path / "bare/bin/python"))
    assert "pip install 'runoff[evaluate]'" in raised.value.hint


async def test_no_such_python():
    with pytest.raises(InputError, match="no such interpreter"):
        await find_harness("/nowhere/python")


@pytest.mark.parametrize(("version", "known"), [("3.0.17", False), ("4.1.0", True), ("5.0.2", True), ("6.0.0", False)])
async def test_versions(tmp_path, version, known):
    """Metadata alone decides: nothing of an unknown version is imported."""
    venv.create(tmp_path / "env", with_pip=False)
    packages = tmp_path / f"env/lib/python3.{sys.version_info.minor}/site-packages"
    info = packages / f"swebench-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: swebench\nVersion: {version}\n")
    python = str(tmp_path / "env/bin/python")
    if known:
        found = await find_harness(python)
        assert isinstance(found, Harness)
        assert found.needs_scripts is version.startswith("5")
    else:
        with pytest.raises(InputError, match=f"swebench {version} is not known to work"):
            await find_harness(python)
