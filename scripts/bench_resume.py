"""How long `runoff resume` of a finished run and `runoff report` take, process start included, on a run of many instances.

One instance of each of a few repositories is really worked on by `runoff batch`, as `scripts/soak_batch.py` does it. The
others are these again under other ids: folders, journals and the ledger's lines are copied, so that all files are as
runoff writes them. The run is then evaluated with judgements by chance, and both commands are timed.

usage: python scripts/bench_resume.py [--instances N] [--samples N] [--repeat N] [--keep FOLDER] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from soak_batch import Soak
from soak_lives import Plan
from soak_split import OWNERS

from agent.cli.split_estimate import note_costs
from agent.files import write_text
from agent.llm.ledger import Ledger
from agent.store import InstanceStore, Run, write_json
from sandbox.api import Patch
from selection.evaluation.record import Results, Submission, Summary
from selection.evaluation.sources import of_run
from selection.evaluation.verdicts import Judgement, Outcome
from selection.gold import Gold, GoldLabels

MODEL = "openai:m"
DIFFICULTIES = ("<15 min fix", "15 min - 1 hour", "1-4 hours", ">4 hours")


def worked(folder: Path, samples: int) -> Run:
    """A run of an instance for each repository, carried to its end."""
    plan = Plan(
        instances=len(OWNERS),
        samples=samples,
        in_flight=50,
        latency=0.02,
        kills=0,
        moods=0.0,
        prompt_kb=20,
        max_tokens=4096,
        pieces=1,
        seed=0,
        timeout=30.0,
    )
    soak = Soak(plan, folder)
    soak.work()
    return Run(soak.run)


def multiply(run: Run, instances: int) -> None:
    """Copy what was worked on until the run has so many instances."""
    done = run.order()
    originals = [done[number % len(done)] for number in range(len(done), instances)]
    copies = [(name, f"{name.rpartition('-')[0]}-{number}") for number, name in enumerate(originals, len(done))]
    for original, copy in copies:
        _copy(run.instance(original), run.instance(copy))
    lines = run.ledger.read_text().splitlines(keepends=True)
    write_text(run.ledger, "".join((*lines, *_ledger_lines(lines[1:], copies))))
    write_json(run.path / "manifest.json", {**run.manifest(), "order": [*done, *(copy for _, copy in copies)]})
    note_costs(run, Ledger(run.ledger).by_stage(), instances)
    run.write_predictions(MODEL)


def _copy(original: InstanceStore, copy: InstanceStore) -> None:
    shutil.copytree(original.path, copy.path)
    for path in copy.path.rglob("*.json*"):
        path.write_text(path.read_text().replace(original.path.name, copy.path.name))


def _ledger_lines(lines: list[str], copies: list[tuple[str, str]]) -> Iterator[str]:
    """Those of the originals again for each of their copies, with numbers of their own."""
    by_instance: dict[str, list[dict[str, object]]] = {}
    owners: dict[object, str] = {}
    for line in map(json.loads, lines):
        if line["kind"] == "reserve":
            owners[line["id"]] = line["key"].partition("/")[0]
        by_instance.setdefault(owners[line["id"]], []).append(line)
    number = len(owners)
    for original, copy in copies:
        numbers: dict[object, int] = {}
        for line in by_instance[original]:
            if line["kind"] == "reserve":
                numbers[line["id"]], number = number, number + 1
            again = {**line, "id": numbers[line["id"]]}
            if "key" in again:
                again["key"] = re.sub(r"^[^/]+", copy, str(line["key"]))
            yield json.dumps(again) + "\n"


def judge(run: Run) -> None:
    """An evaluation of the run and of its samples' patches, in which chance says what resolves."""
    chance = random.Random(0)
    names = run.instances()
    labels = {
        name: GoldLabels(
            name, name.rpartition("-")[0].replace("__", "/"), "1", Patch(""), ("t",), (), None, chance.choice(DIFFICULTIES)
        )
        for name in names
    }
    one = of_run(run, names, candidates=True)
    write_json(run.path / "evaluation.json", _summary(run, one, Gold("rows", labels, ()), chance))


def _summary(run: Run, one: Submission, gold: Gold, chance: random.Random) -> dict[str, object]:
    results = Results(run.path)
    for name in gold.by_id:
        for patch in one.wanted(name):
            results.keep(name, patch, "", Judgement(chance.choice((Outcome.RESOLVED, Outcome.UNRESOLVED)), seconds=1.0))
    bases = dict.fromkeys(gold.by_id, "")
    return Summary(results, gold, [one], bases, how="local", tools={}).to_json(finished=True)


def seconds_of(folder: Path, words: list[str], repeat: int) -> tuple[float, float]:
    """(wall, CPU) of `runoff WORDS`, the fastest of so many. Raises RuntimeError if it fails."""
    command = [sys.executable, "-c", "from agent.cli.app import main; main()", *words]
    best: list[tuple[float, float]] = []
    for _ in range(repeat):
        before, started = os.times(), time.monotonic()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        wall, after = time.monotonic() - started, os.times()
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        best.append((wall, cpu))
    return min(best)


def measured(folder: Path, instances: int, samples: int, repeat: int) -> dict[str, object]:
    """The figures by name."""
    run = worked(folder, samples)
    multiply(run, instances)
    judge(run)
    calls = Ledger(run.ledger).totals().calls
    resume = seconds_of(folder, ["resume", run.name], repeat)
    report = seconds_of(folder, ["report", run.name], repeat)
    start = seconds_of(folder, ["--help"], repeat)
    timed = {"resume": resume, "report": report, "help": start}
    files = sum(1 for path in run.path.rglob("*") if path.is_file())
    return {
        "instances": instances,
        "samples": samples,
        "calls": calls,
        "run_files": files,
        **{f"{name}_seconds": round(wall, 2) for name, (wall, _) in timed.items()},
        **{f"{name}_cpu_seconds": round(cpu, 2) for name, (_, cpu) in timed.items()},
    }


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=500)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3, help="how often each command is called; the fastest counts (3)")
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runoff-bench-") as scratch:
        folder = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = measured(folder, chosen.instances, chosen.samples, chosen.repeat)
    print(json.dumps(found) if chosen.json else "\n".join(f"{name:<20} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
