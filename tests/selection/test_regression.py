"""The regression step, on a real tree whose tests really run: what it orders by, and when it leaves the order alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agent.trajectory.flow import Flow, TrajectoryKey
from agent.trajectory.journal import Journal
from sandbox.api import Limits, Patch, Script
from selection.candidates import gather
from selection.chain import Contest
from selection.regression import Regression, RegressionSettings
from selection.suites.running import PLACE
from tests.selection.conftest import SLUG
from tests.selection.diffs import diff

TESTS = """\
import os
import unittest

from slugs import slug


class SlugTests(unittest.TestCase):
    def test_spaces(self):
        self.assertEqual(slug("a b"), "a-b")

    def test_empty(self):
        self.assertEqual(slug(""), "")

    def test_known_to_fail(self):
        self.assertEqual(slug("A"), "a")

    def test_contradicts_itself(self):
        self.assertTrue(os.getcwd().endswith("copy-2"))
"""
FILES = {"slugs.py": SLUG, "tests/test_slugs.py": TESTS, "tests/test_other.py": TESTS.replace("slug", "snail")}
UNITTEST = f"{sys.executable} -m unittest tests.test_gold"


class Bench:
    """Flows over the tree; what a sandbox has at fixed places lies beside each copy."""

    def __init__(self, tree, folder, command):
        self.tree, self.folder, self.command = tree, folder, command
        self.allowed = None

    async def run(self, script, patch=None, repeat=0):
        place = self.folder / f"place-{len(self.tree.ran)}"
        text = script.text.replace("cd /testbed || exit 1", "").replace(PLACE, str(place))
        return await self.tree.run(Script(text, "bash"), patch, repeat)

    async def flow(self, instance, step, *, at_least: Limits | None = None):
        self.allowed = at_least
        journal = Journal(self.folder / f"{step}.jsonl")
        return Flow(TrajectoryKey(instance.id, step, 0), journal, model=None, executor=self)

    def files(self, instance, paths):
        return {path: FILES[path] for path in paths if path in FILES}

    def paths(self, instance):
        return tuple(FILES)

    async def test_command(self, instance):
        return self.command


@pytest.fixture
def judge(tree, tmp_path, instance):
    (tree.root / "tests").mkdir()
    for path, text in FILES.items():
        (tree.root / path).write_text(text)
    for words in (["add", "."], ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "tests"]):
        subprocess.run(["git", *words], cwd=tree.root, check=True)

    async def ruled(offers, command=UNITTEST, **settings):
        found, _ = gather(list(offers.items()))
        bench = Bench(tree, tmp_path, command)
        return await Regression(bench, RegressionSettings(**settings))(Contest(instance, found, len(offers))), bench

    return ruled


def change(body: str) -> Patch:
    return Patch(diff(SLUG, f"def slug(title):\n    return {body}\n", "slugs.py"))


GOOD = change("title.lower().replace(' ', '-')")
BREAKS_ONE = change("title.lower().replace(' ', '_')")
BREAKS_ALL = change("slug_of(title)")


async def test_who_breaks_the_fewest_tests_is_first(judge):
    ruling, bench = await judge({"all": BREAKS_ALL, "one": BREAKS_ONE, "good": GOOD})
    assert [(placed.candidate.origins, placed.score) for placed in ruling.kept] == [
        (("good",), 0.0),
        (("one",), -1.0),
        (("all",), -2.0),
    ]
    assert ruling.kept[0].reason == "breaks none of 2 tests"
    assert ruling.kept[1].reason.startswith("breaks 1 of 2 tests: ")
    assert "test_spaces" in ruling.kept[1].reason
    assert ruling.note == "2 tests of tests/test_slugs.py pass on the unpatched tree"
    assert ruling.figures.items() >= {"tests": 2, "files": 1}.items()
    assert bench.allowed.seconds > RegressionSettings().seconds


async def test_candidate_cannot_talk_its_way_past_the_tests(judge):
    talks = Patch(BREAKS_ONE.diff + diff(TESTS, TESTS.replace('"a-b"', '"a_b"'), "tests/test_slugs.py"))
    ruling, _ = await judge({"talks": talks, "good": GOOD})
    assert [placed.candidate.origins for placed in ruling.kept] == [("good",), ("talks",)]


async def test_candidate_that_does_not_apply_is_out(judge):
    torn = Patch(GOOD.diff.replace("title.replace", "title.remove"))
    ruling, _ = await judge({"torn": torn, "good": GOOD})
    assert [placed.candidate.origins for placed in ruling.out] == [("torn",)]
    assert ruling.out[0].reason.startswith("it does not apply: ")


@pytest.mark.parametrize(
    ("offers", "command", "why"),
    [
        ({"good": GOOD}, UNITTEST, "nothing is left to compare"),
        ({"good": GOOD, "one": BREAKS_ONE}, "make test", "no files can be given to the test command: make test"),
        ({"good": GOOD, "one": BREAKS_ONE}, "", "no files can be given to the test command: there is none"),
        (
            {"a": Patch(diff("", "a = 1\n", "door.py")), "b": Patch(diff("", "a = 2\n", "door.py"))},
            UNITTEST,
            "no test file has to do with what the candidates touch",
        ),
        ({"good": GOOD, "one": BREAKS_ONE}, "python3.99 -m unittest", "no test passes on the unpatched tree"),
    ],
)
async def test_order_stays_where_no_test_can_be_run(judge, offers, command, why):
    ruling, _ = await judge(offers, command)
    found, _ = gather(list(offers.items()))
    assert tuple(placed.candidate for placed in ruling.kept) == found
    assert ruling.note.startswith(why)
    assert ruling.figures == {}


async def test_second_run_replays_the_first(judge, tree):
    first, _ = await judge({"one": BREAKS_ONE, "good": GOOD})
    ran = len(tree.ran)
    again, _ = await judge({"good": GOOD, "one": BREAKS_ONE})
    assert (again, len(tree.ran)) == (first, ran)
