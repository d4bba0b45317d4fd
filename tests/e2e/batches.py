"""A batch over a small split, as tests start it, resume it, and look at what it left behind."""

import json
import secrets
from collections import Counter
from contextlib import contextmanager

from agent.jsonl import read_lines
from agent.llm.ledger import Ledger
from tests.e2e.killing import forking
from tests.e2e.playing import seed_of, serving
from tests.e2e.splits import PRICE, Crowd, make_split, write_rows

LONGEST = 280.0


class Batch:
    """A split, the model that a test plays, and the command line."""

    def __init__(self, bench, name, spec, player):
        self.folder, self.rows, self.clones, self.fork = bench
        self.rows = list(self.rows)
        self.name, self.spec, self.player = name, spec, player
        self.run = self.folder / "runs" / name

    def arguments(self, *more, rows=None):
        file = write_rows(self.folder / f"{self.name}.jsonl", rows or self.rows)
        return [
            "batch", "--dataset", file, "--repos", self.clones, "--model", self.spec, "--samples", 2, "--rankings", 1,
            "--sandbox", "local", "--setup", "none", "--test-command", "none", "--price", PRICE, "--run", self.name, *more,
        ]  # fmt: skip

    def start(self, *more, rows=None, **how):
        return self.fork(*self.arguments(*more, rows=rows), remember=True, **{"seconds": LONGEST, **how})

    def resume(self, *more, **how):
        return self.fork("resume", self.name, *more, remember=True, **{"seconds": LONGEST, **how})

    def ids(self):
        return [row["instance_id"] for row in self.rows]

    def predictions(self):
        return {
            row["instance_id"]: row for row in map(json.loads, (self.run / "predictions.jsonl").read_text().splitlines())
        }

    def journaled(self):
        """Seeds of the calls whose replies reached a journal."""
        found = set()
        for path in self.run.glob("*/0[1-5]*"):
            for journal in [path] if path.suffix == ".jsonl" else path.glob("*.jsonl"):
                lines = list(read_lines(journal, "a journal"))
                place = lines and f"{journal.relative_to(self.run).parts[0]}/{lines[0]['stage']}/{lines[0]['sample']}"
                for line in lines:
                    if line["kind"] == "ask":
                        branch = f"/{line['branch']}" if line["branch"] else ""
                        found.add(seed_of(f"{place}{branch}/{line['sequence']}"))
        return found

    def spent(self):
        """Dollars by instance."""
        ledger = Ledger(self.run / "ledger.jsonl")
        return {name: ledger.of_instance(name).dollars for name in self.ids()}

    def causes(self):
        return {name: why["cause"] for name, why in self.unresolved().items()}

    def most(self):
        """The most that was ever spent or reserved for one instance, by replaying the ledger line by line."""
        worst, spent, peak = {}, Counter(), 0.0
        for line in read_lines(self.run / "ledger.jsonl", "the ledger"):
            if line["kind"] == "reserve":
                worst[line["id"]] = (line["key"].partition("/")[0], line["worst_dollars"])
            elif line["kind"] in ("settle", "fail"):
                name, _ = worst.pop(line["id"])
                spent[name] += line.get("dollars") or 0.0
            for name in self.ids():
                peak = max(peak, spent[name] + sum(dollars for of, dollars in worst.values() if of == name))
        return peak

    def unresolved(self):
        return json.loads((self.run / "unresolved.json").read_text())


@contextmanager
def bench_in(folder):
    """What the batches of a module share: (folder, rows, clones, command line)."""
    rows, clones = make_split(folder)
    with forking(folder) as fork:
        yield folder, rows, clones, fork


@contextmanager
def batch_of(bench, name):
    """A batch of this name and of no earlier try's, with a model of its own."""
    player = Crowd([row["instance_id"] for row in bench[1]])
    with serving(player) as spec:
        yield Batch(bench, f"{name}-{secrets.token_hex(2)}", spec, player)
