"""A run that is left alone, and the same run in trouble: what must be equal in the end, and what must not be paid twice."""

import shutil
from collections import Counter
from contextlib import contextmanager

from agent.instances import from_issue
from agent.jsonl import read_lines
from agent.repository import Repository
from tests.e2e.conftest import FILES, ISSUE, git
from tests.e2e.killing import forking
from tests.e2e.playing import Player, seed_of, serving

KILLED = -9
OUTCOME = ("result.json", "patch.diff", "01_context/context.json")


class Scene:
    """A repository with a bug, a model with a plot, and the run that was left alone."""

    def __init__(self, folder, spec, player, instance, fork):
        self.folder, self.player, self.instance, self.fork = folder, player, instance, fork
        self.solve = [
            "solve", "--repo", folder / "texttools", "--issue", ISSUE, "--model", spec, "--samples", 2, "--rankings", 2,
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

    def copy(self, name, source="alone"):
        """A copy of a run, as if it had been interrupted just before its result was written."""
        shutil.copytree(self.run(source), self.run(name))
        for file in ("result.json", "patch.diff"):
            (self.run(name) / self.instance / file).unlink()
        return self.run(name)


def trajectory(key):
    """What a call belongs to: its key without the sequence. Relevance and rankings have a branch for each open call."""
    return key.rpartition("/")[0]


@contextmanager
def scene_in(folder):
    """A scene below this folder."""
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
