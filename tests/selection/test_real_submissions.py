"""Real submissions: nothing crashes, all of them in seconds, the order of members does not matter, and it pays.

They lie beside the project, not in it; a machine that has them not skips, CI does not.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from agent.instances import Instance, load
from selection.chain import parse_chain
from selection.consensus import Proposals, Split
from selection.ensemble import Member, proposals, read_members
from selection.equivalence import Level, classes
from selection.patches.changes import essence, parse
from selection.steps.plain import fault, label_free

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "swebench"
SECONDS = 20
"""For cleaning and classes of all patches, on two processors; the process's own time is measured, whatever else runs."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir() and os.environ.get("CI") != "true", reason="no SWE-bench data beside the project"),
]


@pytest.fixture(scope="module")
def members() -> tuple[Member, ...]:
    return read_members(sorted((DATA / "submissions").glob("*.jsonl")))


@pytest.fixture(scope="module")
def proposed(members: tuple[Member, ...]) -> dict[str, Proposals]:
    return dict(proposals(members, load(str(DATA / "verified_dev.jsonl")).by_id))


def test_all_patches_are_cleaned_and_classed_in_seconds(proposed):
    parse.cache_clear()
    essence.cache_clear()
    begun = time.process_time()
    reasons: list[str] = []
    sizes: list[int] = []
    for offers in proposed.values():
        faults = {patch: fault(patch.diff) for _, patch in offers if patch}
        reasons += [faults[patch] for _, patch in offers if patch and faults[patch]]
        usable = [patch for _, patch in offers if patch and not faults[patch]]
        groups = classes(usable)
        assert sorted(index for group in groups for index in group) == list(range(len(usable)))
        sizes += map(len, groups)
    seconds = time.process_time() - begun
    assert sum(sizes) + len(reasons) == sum(patch is not None for offers in proposed.values() for _, patch in offers) > 4000
    assert len(reasons) < 100
    assert len(sizes) < 3000
    assert seconds < SECONDS


def test_coarser_levels_only_merge(proposed):
    for offers in list(proposed.values())[::10]:
        patches = [patch for _, patch in offers if patch]
        levels = [classes(patches, level) for level in Level if level is not Level.BEHAVIOUR]
        for finer, coarser in pairwise(levels):
            assert all(any(set(group) <= set(bigger) for bigger in coarser) for group in finer)


async def test_choice_is_the_same_for_any_order_of_members_and_instances(proposed):
    chance = random.Random(6)
    some = dict(list(proposed.items())[::20])
    chosen = await choices(some)
    for _ in range(100):
        names = chance.sample(list(some), len(some))
        assert await choices({name: chance.sample(some[name], len(some[name])) for name in names}) == chosen


async def choices(proposed: dict[str, Proposals]) -> dict[str, str]:
    chain = parse_chain("consensus", label_free(Split(proposed), []))
    made = [await chain(Instance(name, "r/r", "0" * 40, "It fails."), offers) for name, offers in proposed.items()]
    return {choice.instance: choice.chosen.patch.digest for choice in made if choice.chosen}


def test_consensus_closes_a_quarter_of_the_gap_where_members_differ():
    """The whole measurement is scripts/eval_selection.py; here one named set, as a guard against a loss."""
    command = [sys.executable, "scripts/eval_selection.py", "--data", str(DATA), "--methods", "shipped", "--sets", "1"]
    done = subprocess.run([*command, "--resamples", "20"], cwd=ROOT, capture_output=True, text=True, check=True)
    row = next(line for line in done.stdout.splitlines() if line.startswith("| consensus"))
    shares = [float(cell.split()[0]) for cell in row.split("|")[2:7]]
    assert shares[-1] >= 27
