"""SIGKILL at every point at which a run writes, and at random times; then `runoff resume`.

The outcome is that of the run that was left alone, byte for byte. No reply that reached a journal is asked for again;
of the calls that were under way at most one a trajectory is, and the ledger shows what was reserved for it.

In CI each kind of line and of file is killed at, at one of its points each; `ALL_KILLS=1` kills at all of them (figures: `--log-cli-level=INFO`).
"""

import logging
import os
import random
import shutil
from collections import Counter

import pytest

from tests.e2e.playing import seed_of
from tests.e2e.scenes import scene_in

logger = logging.getLogger(__name__)
ALL = os.environ.get("ALL_KILLS") == "1"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with scene_in(tmp_path_factory.mktemp("kills")) as made:
        yield made


def chosen(points):
    """(label, which of its passes): all of them, or for each line and file one of its points, a different one in turn."""
    if ALL:
        return [(label, number) for label, count in points.items() for number in range(count)]
    kinds = {}
    for label in points:
        kinds.setdefault(label.rpartition(": ")[0], []).append(label)
    picked = [labels[turn % len(labels)] for turn, labels in enumerate(kinds.values())]
    return [(label, points[label] // 2) for label in picked]


@pytest.mark.slow
@pytest.mark.timeout(3600 if ALL else 300)
def test_a_kill_at_every_point(scene):
    plan = chosen(scene.points)
    missed, repeated = [], Counter()
    for number, point in enumerate(plan):
        name = f"killed-{number}"
        if not scene.interrupted(name, *scene.solve, name, die_at=point, remember=True):
            missed.append(point)  # what runs side by side does not pass each point equally often in each run
        reserved, settled = scene.ledger(name)
        cut_off = {seed_of(key) for at, key in reserved.items() if at not in settled}
        again = scene.finished(name, [*scene.solve, name], remember=True)
        repeated["cut off"] += len(cut_off)
        repeated["settled, not journaled"] += len(
            {seed_of(key) for at, key in reserved.items() if at in settled} & set(again)
        )
        shutil.rmtree(scene.run(name))
        if number % 50 == 0:
            logger.info("%d of %d kills", number, len(plan))
    logger.info("%d kills, %d points not reached, calls again: %s", len(plan), len(missed), dict(repeated))
    assert len(missed) <= len(plan) // 50, missed


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(5 if ALL else 1))
def test_kills_at_random_times_until_the_run_is_finished(scene, seed):
    name, chance, kills = f"random-{seed}", random.Random(seed), 0
    start = [*scene.solve, name]
    scene.player.seconds = 0.08  # so that calls are in flight when the kill comes
    for _ in range(20):
        began = (scene.run(name) / "manifest.json").exists()
        arguments = ["resume", name] if began else start
        if not scene.interrupted(name, *arguments, seconds=chance.uniform(0.15, 0.9)):
            break
        kills += 1
    scene.player.seconds = 0.0
    scene.finished(name, start)
    assert kills >= 3
    reserved, settled = scene.ledger(name)
    worst = max(Counter(reserved.values()).values())
    unsettled = len(reserved) - len(settled)
    logger.info("seed %d: %d kills, %d calls unsettled, one call at most %d times", seed, kills, unsettled, worst)
