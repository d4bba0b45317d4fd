"""SIGKILL at every point at which a run writes, and at random times; then `runoff resume`.

The outcome is that of the run that was left alone, byte for byte. No reply that reached a journal is asked for again;
of the calls that were under way at most one a trajectory is, and the ledger shows what was reserved for it.

In CI each kind of line and of file is killed at, at one of its points each; `ALL_KILLS=1` kills at all of them.
"""

import json
import os
import random
import shutil
from collections import Counter

import pytest

from agent.instances import from_issue
from agent.jsonl import read_lines
from agent.repository import Repository
from tests.e2e.conftest import FILES, ISSUE, git
from tests.e2e.killing import forking
from tests.e2e.playing import Player, seed_of, serving

ALL = os.environ.get("ALL_KILLS") == "1"
KILLED = -9
OUTCOME = ("result.json", "patch.diff", "01_context/context.json")


class Scene:
    """A repository with a bug, a model with a plot, and the run that was left alone."""

    def __init__(self, folder, spec, player, instance, fork):
        self.folder, self.player, self.instance, self.fork = folder, player, instance, fork
        self.solve = [
            "solve", "--repo", folder / "texttools", "--issue", ISSUE, "--model", spec, "--samples", 3, "--rankings", 2,
            "--sandbox", "local", "--price", "1,2", "--run",
        ]  # fmt: skip
        code, _, err = fork(*self.solve, "alone", trace=folder / "trace")
        assert code == 0, err
        self.points = Counter((folder / "trace").read_text().splitlines())
        self.calls = player.counts()
        assert max(self.calls.values()) == 1
        self.outcome = self.outcome_of("alone")

    def run(self, name):
        return self.folder / "runs" / name

    def outcome_of(self, name):
        instance = self.run(name) / self.instance
        return [(self.run(name) / "predictions.jsonl").read_text(), *((instance / file).read_text() for file in OUTCOME)]

    def journaled(self, name):
        """Seeds of the calls whose replies reached a journal of the run."""
        found = set()
        for path in self.run(name).glob("*/*.jsonl"), self.run(name).glob("*/*/*.jsonl"):
            for journal in path:
                lines = list(read_lines(journal, "a journal"))
                place = lines and "stage" in lines[0] and f"{self.instance}/{lines[0]['stage']}/{lines[0]['sample']}"
                for line in lines:
                    if line["kind"] == "ask":
                        branch = f"/{line['branch']}" if line["branch"] else ""
                        found.add(seed_of(f"{place}{branch}/{line['sequence']}"))
        return found

    def ledger(self, name):
        """(reservations by id: the key, ids that were settled or failed)."""
        lines = list(read_lines(self.run(name) / "ledger.jsonl", "the ledger"))
        reserved = {line["id"]: line["key"] for line in lines if line["kind"] == "reserve"}
        assert len(reserved) == sum(line["kind"] == "reserve" for line in lines)
        return reserved, {line["id"] for line in lines if line["kind"] in ("settle", "fail")}

    def interrupted(self, name, *arguments, **how):
        """Run until it is killed, if it is; checks what is on the disk then. True if it was killed."""
        before, asked, known = self.journaled(name), len(self.player.asked), self.ledger(name)[0]
        code, _, err = self.fork(*arguments, **how)
        assert code in (0, KILLED), err
        requests, held = self.player.counts(asked), self.journaled(name)
        assert not before & set(requests), "a reply that had reached a journal was asked for again"
        reserved = {number: key for number, key in self.ledger(name)[0].items() if number not in known}
        assert requests <= Counter(map(seed_of, reserved.values())), "a call was made that the ledger does not know"
        open_calls = Counter(trajectory(key) for key in reserved.values() if seed_of(key) not in held)
        assert max(open_calls.values(), default=0) <= 1, "more than one call of a trajectory is lost"
        return code == KILLED

    def finished(self, name, start, **how):
        """Resume, or start again what never began, and hold the result against the run that was left alone."""
        began = (self.run(name) / "manifest.json").exists()
        before, held = len(self.player.asked), self.journaled(name)
        reserved, settled = self.ledger(name)
        code, _, err = self.fork(*(["resume", name] if began else start), **how)
        assert code == 0, err
        assert self.outcome_of(name) == self.outcome
        again = self.player.counts(before)
        assert not held & set(again), "a reply that had reached a journal was asked for again"
        assert max(again.values(), default=1) == 1
        now, settled_now = self.ledger(name)
        assert settled <= settled_now
        assert {number for number in now if number not in settled_now} == set(reserved) - settled, "they stay unsettled"
        assert self.journaled(name) == set(self.calls)
        assert list(self.run(name).rglob(".*.tmp")) == []
        assert not (self.run(name) / "owner.json").exists()
        return again


def trajectory(key):
    """What a call belongs to: its key without the sequence. Relevance and rankings have a branch for each open call."""
    return key.rpartition("/")[0]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    project = folder / "texttools"
    for path, text in FILES.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    git(folder, "init", "-q", "-b", "main", "texttools")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "Add slug and wrap")
    with Repository.open(str(project)) as repository:
        instance = from_issue(repository, ISSUE).id
    player = Player(instance)
    with serving(player) as spec, forking(folder) as fork:
        yield Scene(folder, spec, player, instance, fork)


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
    print(f"\n{len(plan)} kills, {len(missed)} points not reached, calls again: {dict(repeated)}")
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
    print(f"\nseed {seed}: {kills} kills, {len(reserved) - len(settled)} calls unsettled, one call at most {worst} times")
