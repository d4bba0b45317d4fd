"""Drives a real `runoff batch` through a long split on a hostile server, kills it again and again, and measures.

The model is an HTTP server of this script in a process of its own (`soak_model.py`); only the sandbox is pretended
(`soak_process.py`). At random moments the run is killed with SIGKILL and resumed. Printed are, besides what came of it:

paid_again      journaled replies that were asked for again; those in flight at a kill may be, and are counted apart
ideal_seconds   max(W / in_flight, C). W: seconds for which the server held requests, those that failed or were cut off
                included, so what a kill wastes is work, too. C: the longest chain of replies that need one another: the
                slowest of an instance's relevance calls, rankings likewise, its slowest sample, its selection
wall_seconds    of all processes together, each from its first request to its end: starting after a kill is left out
wall_over_ideal the quotient of the two
cpu_ms_a_call   CPU time (user and system) of the runoff processes from their first request on, for each reply
rss_mb          resident memory, median of each fifth of the run

usage: python scripts/soak_batch.py [--instances N] [--samples N] [--in-flight N] [--latency SECONDS] [--kills N] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from soak_model import Seen, Temper, serve
from soak_split import make_split

from agent.llm.client import CallKey
from sandbox.api import digest_of

HERE = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
STEP = 0.25
"""Seconds between two looks at the process."""
CALLS_A_SAMPLE = 4.1
"""About as many calls does a sample make here; where kills fall is drawn from what that comes to."""
Call = tuple[int, int]
"""(number of the issue, seed of the call)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done."""

    instances: int
    samples: int
    in_flight: int
    latency: float
    kills: int
    moods: float
    prompt_kb: int
    max_tokens: int
    pieces: int
    seed: int
    timeout: float


@dataclass(frozen=True, slots=True)
class Look:
    """The process at one moment."""

    at: float
    rss_mb: float
    descriptors: int
    user: float
    system: float
    """CPU seconds, in the process's own code and in the kernel's on its behalf."""


@dataclass(slots=True)
class Life:
    """One process, from its start to its end."""

    began: float
    looks: list[Look] = field(default_factory=list)
    ended: float = 0.0
    code: int = 0
    journaled: set[Call] = field(default_factory=set)
    """What the journals held when it ended."""


@dataclass(slots=True)
class Journals:
    """The calls that the run's journals hold; each file is read from where the last look ended."""

    run: Path
    samples: int
    calls: set[Call] = field(default_factory=set)
    replies: int = 0
    _ends: dict[Path, int] = field(default_factory=dict)

    def read(self) -> set[Call]:
        """Read what is new; all that there is."""
        for path in self.run.glob("*/0*/*.jsonl"):
            self._take(path, path.parts[-3])
        for path in self.run.glob("*/05_selection.jsonl"):
            self._take(path, path.parts[-2])
        return set(self.calls)

    def _take(self, path: Path, instance: str) -> None:
        with path.open("rb") as file:
            file.seek(self._ends.get(path, 0))
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._ends[path] = self._ends.get(path, 0) + len(whole)
        sample = int(path.stem) if path.stem.isdigit() else 0
        stage = {"02_testing": "testing", "03_editing": "editing", "05_selection": "selection"}
        name = stage.get(path.parent.name) or stage.get(path.stem) or path.stem
        for line in whole.splitlines():
            entry = json.loads(line)
            if entry["kind"] == "ask":
                self.replies += 1
                key = CallKey(instance, name, sample, entry["branch"], entry["sequence"])
                self.calls.add((int(instance.rpartition("-")[2]), seed_of(key)))


def seed_of(key: CallKey) -> int:
    """The seed that a call is sent with, in a run of seed 0."""
    return int(digest_of("0", str(key))[:7], 16)


class Soak:
    """A run with its server, in a folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.log = folder / "requests.jsonl"
        self.run = folder / "runs" / "soak"
        self.journals = Journals(self.run, plan.samples)
        self.lives: list[Life] = []
        self._lines = 0
        self._read = 0

    def work(self) -> None:
        """From the start to the end of the run, with all its kills. Raises RuntimeError if it does not come to one."""
        rows = make_split(self.folder, self.plan.instances, self.plan.prompt_kb * 1000)
        with self._serving() as model:
            kills = self._kills()
            self._live(self._batch(rows, model), next(kills, None))
            while self.lives[-1].code == -signal.SIGKILL or (self.lives[-1].code == 4 and len(self.lives) < 100):  # noqa: PLR2004
                self._live(["resume", "soak"], next(kills, None))
        if self.lives[-1].code:
            said = (self.folder / "said.txt").read_text()[-2000:]
            raise RuntimeError(f"the run ended with {self.lives[-1].code}: {said}")

    @contextmanager
    def _serving(self) -> Iterator[str]:
        ours, theirs = multiprocessing.Pipe()
        plan = self.plan
        temper = Temper(plan.latency, plan.moods, plan.seed, plan.pieces)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, temper, self.log), daemon=True)
        process.start()
        try:
            yield f"openai:m@http://127.0.0.1:{ours.recv()}/v1"
        finally:
            process.terminate()
            process.join()

    def _kills(self) -> Iterator[float]:
        """After how many requests the kills come."""
        chance = random.Random(self.plan.seed)
        expected = self.plan.instances * (self.plan.samples * CALLS_A_SAMPLE + 5)
        return iter(sorted(chance.uniform(0.02, 0.95) * expected for _ in range(self.plan.kills)))

    def _batch(self, rows: Path, model: str) -> list[str]:
        plan = self.plan
        counts = {"samples": plan.samples, "in-flight": plan.in_flight, "max-tokens": plan.max_tokens, "rankings": 1}
        places = {"dataset": rows, "repos": self.folder / "clones", "model": model, "run": "soak", "timeout": plan.timeout}
        rest = {"setup": "none", "test-command": "none", "price": "1,0.1,1.25,5", "budget": 1e6, "testing-context": "files"}
        flags = {**counts, **places, **rest, "workers": 64}
        return ["batch", *(text for name, value in flags.items() for text in (f"--{name}", str(value)))]

    def _live(self, arguments: list[str], kill_after: float | None) -> None:
        """One process; killed once the server has ended so many requests."""
        environment = {**os.environ, "RUNOFF_CACHE_DIR": str(self.folder / "cache")}
        command = [sys.executable, str(HERE / "soak_process.py"), *arguments]
        life = Life(time.monotonic())
        self.lives.append(life)
        with (self.folder / "said.txt").open("a") as said:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=said, stderr=said)
        try:
            while process.poll() is None:
                if look := look_at(process.pid):
                    life.looks.append(look)
                if kill_after is not None and self._requests() >= kill_after:
                    time.sleep(random.Random(kill_after).random())
                    process.kill()
                    break
                time.sleep(STEP)
        finally:
            if process.poll() is None:
                process.kill()
            life.code = process.wait()
            life.ended = time.monotonic()
        life.journaled = self.journals.read()

    def _requests(self) -> int:
        """How many requests the server has ended so far."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        self._read += len(content)
        self._lines += content.count(b"\n")
        return self._lines

    def seen(self) -> list[Seen]:
        """All requests, in the order in which they came."""
        return sorted((Seen(**json.loads(line)) for line in self.log.read_text().splitlines()), key=lambda each: each.at)


def look_at(process: int) -> Look | None:
    """The process now; None if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        descriptors = sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return None
    if "VmRSS" not in status:
        return None
    rss = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    return Look(time.monotonic(), rss, descriptors, int(fields[11]) / TICKS, int(fields[12]) / TICKS)


def figures(soak: Soak) -> dict[str, object]:
    """What came of it, by name."""
    plan, seen = soak.plan, soak.seen()
    firsts = [next((each.at for each in seen if life.began <= each.at), life.ended) for life in soak.lives]
    firsts = [min(first, life.ended) for first, life in zip(firsts, soak.lives, strict=True)]  # killed before its first
    wall = sum(life.ended - first for life, first in zip(soak.lives, firsts, strict=True))
    held, chain = sum(each.held for each in seen), longest_chain(seen, plan)
    ideal = max(held / plan.in_flight, chain)
    good = Counter((each.issue, each.seed) for each in seen if each.ending == "good")
    spent = [cpu_between(life, first) for life, first in zip(soak.lives, firsts, strict=True)]
    user, system = (1000 * sum(seconds) / sum(good.values()) for seconds in zip(*spent, strict=True))
    predictions = (soak.run / "predictions.jsonl").read_text().splitlines()
    unresolved = json.loads((soak.run / "unresolved.json").read_text())
    return {
        **asdict(plan),
        "predictions": len(predictions),
        "unresolved": dict(Counter(each["cause"] for each in unresolved.values())),
        "processes": len(soak.lives),
        "requests": len(seen),
        "endings": dict(Counter(each.ending for each in seen)),
        "calls": len(good),
        "journaled": len(soak.journals.calls),
        "mean_prompt_kb": round(statistics.mean(each.size for each in seen) / 1000, 1),
        "paid_again": paid_again(soak.lives, seen),
        "answered_twice": sum(count - 1 for count in good.values()),
        "wall_seconds": round(wall, 1),
        "whole_seconds": round(soak.lives[-1].ended - soak.lives[0].began, 1),
        "ideal_seconds": round(ideal, 1),
        "chain_seconds": round(chain, 1),
        "wall_over_ideal": round(wall / ideal, 3),
        "cpu_ms_a_call": round(user + system, 2),
        "of_it_in_kernel": round(system, 2),
        "start_seconds": round(statistics.mean(f - life.began for life, f in zip(soak.lives, firsts, strict=True)), 2),
        **memory(soak.lives),
        **size_of(soak.run),
    }


def paid_again(lives: Sequence[Life], seen: Sequence[Seen]) -> int:
    """Requests for what a journal held already when an earlier process ended."""
    again = 0
    for number, life in enumerate(lives[1:], 1):
        until = lives[number + 1].began if number + 1 < len(lives) else float("inf")
        held = lives[number - 1].journaled
        again += sum((each.issue, each.seed) in held for each in seen if life.began <= each.at < until)
    return again


def longest_chain(seen: Sequence[Seen], plan: Plan) -> float:
    """Seconds of the longest chain of replies in which each needs the one before."""
    owners = {f"{stage}/{sample}": (stage, sample) for stage in ("testing", "editing") for sample in range(plan.samples)}
    names = instance_names(plan)
    samples = {
        (number, seed_of(CallKey(name, stage, sample, "", sequence))): sample
        for number, name in names.items()
        for stage, sample in owners.values()
        for sequence in range(20)
    }
    slowest: dict[tuple[int, str], float] = defaultdict(float)
    sums: dict[tuple[int, int], float] = defaultdict(float)
    for each in (each for each in seen if each.ending == "good"):
        place = (each.issue, each.seed)
        if each.stage == "selection":
            slowest[each.issue, "selection"] += each.held
        elif place in samples:
            sums[each.issue, samples[place]] += each.held
        else:
            slowest[each.issue, each.stage] = max(slowest[each.issue, each.stage], each.held)
    totals: dict[int, float] = defaultdict(float)
    for (issue, _), seconds in slowest.items():
        totals[issue] += seconds
    return max(
        total + max((seconds for (number, _), seconds in sums.items() if number == issue), default=0.0)
        for issue, total in totals.items()
    )


def instance_names(plan: Plan) -> dict[int, str]:
    """Ids by number, as `soak_split` makes them."""
    from soak_split import OWNERS

    return {number: f"{OWNERS[number % len(OWNERS)]}__tables-{number}" for number in range(plan.instances)}


def cpu_between(life: Life, first: float) -> tuple[float, float]:
    """CPU seconds (user, system) of a process from its first request to the last look at it."""
    if not life.looks:
        return 0.0, 0.0
    before = [look for look in life.looks if look.at <= first]
    user, system = (before[-1].user, before[-1].system) if before else (0.0, 0.0)
    return life.looks[-1].user - user, life.looks[-1].system - system


def memory(lives: Sequence[Life]) -> dict[str, object]:
    """Resident memory and descriptors by fifths of the run, each process without the seconds of its start."""
    looks = [look for life in lives for look in life.looks if look.at - life.began > 3 * 1.0]
    looks = looks or [look for life in lives for look in life.looks]
    began, ended = looks[0].at, looks[-1].at
    fifths: list[list[Look]] = [[] for _ in range(5)]
    for look in looks:
        fifths[min(4, int(5 * (look.at - began) / max(1e-9, ended - began)))].append(look)
    rss = [round(statistics.median(look.rss_mb for look in fifth), 1) if fifth else None for fifth in fifths]
    descriptors = [int(statistics.median(look.descriptors for look in fifth)) if fifth else None for fifth in fifths]
    most = max(look.rss_mb for look in looks)
    return {"rss_mb": rss, "rss_mb_most": round(most, 1), "descriptors": descriptors}


def size_of(run: Path) -> dict[str, object]:
    """Files and bytes of the run's folder."""
    files = [path.stat() for path in run.rglob("*") if path.is_file()]
    content, blocks = sum(each.st_size for each in files), sum(each.st_blocks * 512 for each in files)
    return {"run_files": len(files), "run_mb": round(content / 1e6, 1), "run_mb_on_disk": round(blocks / 1e6, 1)}


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=500)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--latency", type=float, default=5.0, help="mean seconds of a reply (default: 5)")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs at random moments (default: 20)")
    parser.add_argument("--moods", type=float, default=0.02, help="share of the requests that fail (default: 0.02)")
    parser.add_argument("--prompt-kb", type=int, default=20, help="kilobytes of a prompt (default: 20)")
    parser.add_argument("--max-tokens", type=int, default=4096, help="above 4096 replies are streamed (default: 4096)")
    parser.add_argument("--pieces", type=int, default=300, help="pieces of a streamed reply (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="of latencies, failures and kills (default: 0)")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds until a call counts as stalled (default: 30)")
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = vars(parser.parse_args())
    as_json, keep = chosen.pop("json"), chosen.pop("keep")
    with tempfile.TemporaryDirectory(prefix="runoff-soak-") as scratch:
        soak = Soak(Plan(**chosen), keep or Path(scratch))
        soak.folder.mkdir(parents=True, exist_ok=True)
        soak.work()
        found = figures(soak)
    print(json.dumps(found) if as_json else "\n".join(f"{name:<16} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
