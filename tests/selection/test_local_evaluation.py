"""Real patches on a real tree, in the local sandbox, read by swebench's parsers."""

import asyncio
from dataclasses import replace

import pytest
from packaging.version import Version

from sandbox.api import EnvironmentSpec, Limits, Patch
from sandbox.errors import EnvironmentBuildError, SandboxError
from sandbox.local_sandbox import LocalSandbox
from selection.evaluation.harness import Parsers, find_harness
from selection.evaluation.local import Bench, LocalJudge
from selection.evaluation.verdicts import Outcome, Score
from selection.gold import load_gold
from tests.selection import shop

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("swebench"), pytest.mark.timeout(300)]
LIMITS = Limits(seconds=6, memory_mb=512, output_chars=1_000_000)


class Bed:
    """One loop with a sandbox, an environment and the parsers; what is asked of it is judged in it."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "till").mkdir()
        self.commit = shop.make(folder / "till")
        self.labels = self.labelled()
        self.logs = {}

    def labelled(self, **columns):
        path = shop.write(self.folder / "rows.jsonl", shop.row(self.commit, **columns))
        return load_gold(str(path)).of(shop.ID)

    def judge(self, questions):
        """Judgements of (labels, diff, limits), by name; the environment is checked once for equal labels and limits."""

        async def work():
            sandbox = LocalSandbox()
            try:
                environment = await sandbox.build(EnvironmentSpec(self.commit, self.folder / "till"))
                harness = await find_harness()
                older = replace(harness, version=Version("4.1.0"))  # its rules for patches; the parsers are the same
                async with Parsers(harness) as new, Parsers(older) as old:
                    judges = {}
                    return {
                        name: await self._one(judges, sandbox, environment, old if "4.1" in name else new, *each)
                        for name, each in questions.items()
                    }
            finally:
                await sandbox.close()

        return asyncio.run(work())

    async def _one(self, judges, sandbox, environment, parsers, labels, diff, limits):
        async def prepare():
            return Bench(environment, f"{shop.COMMAND} tests/test_till.py")

        def keep(name, text):
            self.logs[name] = text
            return name

        own = (labels.digest, limits, parsers)
        if own not in judges:
            judges[own] = LocalJudge(labels, prepare, sandbox, parsers, limits=limits, log=keep)
        return await judges[own].judge(Patch(diff))


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNOFF_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield Bed(tmp_path_factory.mktemp("shop"))


ELSEWHERE = {
    "nothing to fix": (
        {"FAIL_TO_PASS": '["test_count (tests.test_till.TillTests)"]', "PASS_TO_PASS": "[]"},
        "1 of 1 FAIL_TO_PASS tests pass without a patch",
    ),
    "the fix does not pass": (
        {"PASS_TO_PASS": '["test_network (tests.test_till.TillTests)"]'},
        "with the project's own fix: unresolved: 1 of 1 PASS_TO_PASS fail (test_network (tests.test_till.TillTests))",
    ),
    "no fix to compare with": (
        {"PASS_TO_PASS": '["test_network (tests.test_till.TillTests)"]', "patch": ""},
        "1 of 1 PASS_TO_PASS tests fail without a patch",
    ),
    "other tests than the tree's": (
        {"test_patch": shop.TEST_PATCH.replace("test_count", "test_other"), "patch": ""},
        "without a patch: unresolved: the tests of the fix could not be put on the patched tree",
    ),
}
"""Labels that do not fit the environment, and what is said of it."""
HANGING = shop.TEST_PATCH.replace(
    "self.assertEqual(till.total([1, 2]), 3)", "[0 for _ in iter(lambda: till.total([1, 2]), 3)]"
)


@pytest.fixture(scope="module")
def judged(bed):
    """Everything that is judged here, by name: the parsers take seconds to start."""
    hurried = replace(LIMITS, seconds=3)
    hanging = replace(bed.labels, test_patch=Patch(HANGING))
    return bed.judge(
        {
            **{name: (bed.labels, diff, LIMITS) for name, diff in shop.PATCHES.items()},
            **{name: (bed.labelled(**columns), shop.GOLD, LIMITS) for name, (columns, _) in ELSEWHERE.items()},
            **{
                f"{name}, by swebench 4.1": (bed.labels, shop.PATCHES[name], LIMITS)
                for name in ("the wrong way round", "does not apply")
            },
            "hanging tests, right": (hanging, shop.GOLD, hurried),
            "hanging tests, wrong": (hanging, shop.PATCHES["wrong"], hurried),
        }
    )


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("right", Outcome.RESOLVED),
        ("right in other words", Outcome.RESOLVED),
        ("wrong", Outcome.UNRESOLVED),
        ("breaks another", Outcome.UNRESOLVED),
        ("does not apply", Outcome.NOT_APPLIED),
        ("the wrong way round", Outcome.NOT_APPLIED),
        ("the wrong way round, by swebench 4.1", Outcome.RESOLVED),
        ("does not apply, by swebench 4.1", Outcome.NOT_APPLIED),
        ("hangs", Outcome.TIME_OUT),
        ("eats memory", Outcome.LIMIT),
        ("pretends", Outcome.UNRESOLVED),
        ("touches the tests", Outcome.RESOLVED),
    ],
)
def test_outcomes(judged, name, outcome):
    assert judged[name].outcome is outcome, judged[name]


def test_what_is_told_of_a_wrong_patch(judged):
    wrong = judged["wrong"]
    assert wrong.reason == "1 of 1 FAIL_TO_PASS fail"
    assert wrong.failed == ("test_total (tests.test_till.TillTests)",)
    assert (wrong.fail_to_pass, wrong.pass_to_pass) == (Score(0, 1), Score(1, 1))


def test_what_is_told_of_a_patch_that_breaks_another_test(judged):
    assert judged["breaks another"].reason == "1 of 1 PASS_TO_PASS fail"


def test_what_is_told_of_a_patch_that_pretends(judged):
    """It prints that the tests pass and ends their process; the exit code says otherwise."""
    assert judged["pretends"].reason == "the log tells of no failure, but the test command exits 1"


def test_what_is_told_of_a_patch_that_git_refuses(judged):
    """Version 4.1 goes on to `patch --batch`, which turns a diff round that was written backwards."""
    assert "patch does not apply" in judged["the wrong way round"].reason
    assert judged["the wrong way round, by swebench 4.1"].reason.startswith("resolved; git refuses the patch")


def test_logs_are_kept(judged, bed):
    log = bed.logs[judged["wrong"].log]
    assert "test_count (tests.test_till.TillTests.test_count) ... ok" in log
    assert judged["wrong"].seconds > 0


@pytest.mark.parametrize("name", list(ELSEWHERE))
def test_environments_where_nothing_can_be_said(judged, name):
    judgement = judged[name]
    assert (judgement.outcome, judgement.reason) == (Outcome.ENVIRONMENT, ELSEWHERE[name][1])
    assert not judgement.outcome.judged


def test_issue_that_hangs_the_tests(judged):
    """Tests that do not end without the fix fail; with the fix they pass."""
    assert judged["hanging tests, right"].outcome is Outcome.RESOLVED
    assert judged["hanging tests, wrong"].outcome is Outcome.TIME_OUT


class Broken:
    """Prepares nothing."""

    def __init__(self, error):
        self.error = error
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        raise self.error


@pytest.mark.parametrize(
    ("error", "outcome", "asked"),
    [
        (EnvironmentBuildError("the set-up command failed", where="shop"), Outcome.ENVIRONMENT, 1),
        (SandboxError("the engine is gone", where="docker"), Outcome.INFRASTRUCTURE, 2),
    ],
)
async def test_faults_are_no_verdicts(bed, error, outcome, asked):
    """A set-up that fails is tried once; an engine that fails is tried again with the next patch."""
    prepare = Broken(error)
    judge = LocalJudge(bed.labels, prepare, None, None)  # type: ignore[arg-type]  # it never comes to these
    judgements = [await judge.judge(Patch(diff)) for diff in (shop.GOLD, shop.PATCHES["wrong"])]
    assert [judgement.outcome for judgement in judgements] == [outcome] * 2
    assert prepare.asked == asked
