"""Drives a real `runoff batch` through a long split on a hostile server, kills it again and again, and measures.

The model is an HTTP server of this script in a process of its own (`soak_model.py`); only the sandbox is pretended
(`soak_process.py`). At random moments of the first part of the run it is killed with SIGKILL and resumed; the last process
is left alone. Printed are, besides what came of it:

paid_again       journaled replies that were asked for again; those in flight at a kill may be, and are counted apart
ideal_seconds    max(W / in_flight, C). W: seconds for which the server held requests, those that failed or were cut off
                 included, so what a kill wastes is work, too. C: the longest chain of replies that need one another: the
                 slowest of an instance's relevance calls, rankings likewise, its slowest sample, its selection. Neither
                 knows of the first request of a prefix, which goes alone, nor of how few calls an instance makes at its
                 beginning and its end: no schedule gets to the ideal
wall_seconds     of all processes together, each from its first request to its end: starting after a kill is left out
wall_over_ideal  the quotient of the two
calm_over_ideal  the same without the kills' share: without the time from each kill until the server holds nine tenths of
                 the requests that it held before (30 s at most), and without what it did in that time
last_over_ideal  of the last process alone: recovery, undisturbed work, and the end of the run, at which calls run out
seconds_a_kill   that share for each kill
cpu_ms_a_call    CPU time (user and system) of the runoff processes from their first request on, for each reply; what is
                 read again after kills is in it. last_cpu_ms_a_call: of the last process. Of git: the processes that
                 read files and write diffs
rss_mb           resident memory of the last process, median of each fifth of its life

usage: python scripts/soak_batch.py [--instances N] [--samples N] [--in-flight N] [--latency SECONDS] [--kills N] [--json]

How far it is, is told on standard error; the last line on standard output is the result.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soak_figures import figures
from soak_lives import Journals, Life, Plan, look_at
from soak_model import Seen, Temper, serve
from soak_split import make_split

HERE = Path(__file__).resolve().parent
STEP = 0.25
"""Seconds between two looks at the process."""
CALLS_A_SAMPLE = 4.1
"""About as many calls does a sample make here; where kills fall is drawn from what that comes to."""
KILLED = (0.02, 0.6)
"""The part of the run, by its requests, in which kills fall."""


class Soak:
    """A run with its server, in a folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.log = folder / "requests.jsonl"
        self.run = folder / "runs" / "soak"
        self.journals = Journals(self.run)
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
        return iter(sorted(chance.uniform(*KILLED) * expected for _ in range(self.plan.kills)))

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
        took = f"{life.ended - life.began:.0f} s, {len(life.journaled)} replies in the journals"
        print(f"process {len(self.lives)} ended with {life.code}: {took}", file=sys.stderr, flush=True)

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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or run and server would live on
    with tempfile.TemporaryDirectory(prefix="runoff-soak-") as scratch:
        soak = Soak(Plan(**chosen), keep or Path(scratch))
        soak.folder.mkdir(parents=True, exist_ok=True)
        soak.work()
        found = figures(soak.plan, soak.run, soak.lives, soak.journals, soak.seen())
        lines = [json.dumps(found)] if as_json else [f"{name:<20} {value}" for name, value in found.items()]
        print("\n".join(lines), flush=True)  # before tens of thousands of files are removed


if __name__ == "__main__":
    main()
