"""Drives a real `runoff solve` through thousands of model calls and prints whether memory and descriptors stay flat.

A generated repository of small files asks one relevance call each; the model is an HTTP server of this script, in a
process of its own. The process of the run is sampled from outside (/proc): resident memory, open descriptors, CPU
seconds. Compared are the second and the last fifth of the calls; the first fifth still fills caches and pools.

usage: python scripts/soak_calls.py [CALLS] [--in-flight N] [--words N] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

from soak_lives import look_at

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment."""

    calls: int
    seconds: float
    rss_kb: int
    descriptors: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Soak:
    """What came of it."""

    calls: int
    seconds: float
    cpu_ms_per_call: float
    rss_kb_early: int
    rss_kb_late: int
    bytes_per_call: float
    """Growth of resident memory from the middle of the second fifth to the middle of the last."""
    descriptors_early: int
    descriptors_late: int
    descriptors_most: int
    resume_seconds: float
    """The whole run again from its journals, without a call."""
    resume_rss_kb: int


class Handler(BaseHTTPRequestHandler):
    """Judges every file irrelevant, in many words."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    words = 120

    def do_GET(self) -> None:
        """The list of models."""
        self._send({"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "soak"}]})

    def do_POST(self) -> None:
        """A completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = f"{body['seed']} " + "words " * self.words + "\nRELEVANCE: Not Relevant"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 400, "completion_tokens": self.words, "total_tokens": 400 + self.words}
        about = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
        self._send({**about, "choices": [choice], "usage": usage})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _send(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def play(port: Connection, words: int) -> None:
    """The server's process; tells its port."""
    Handler.words = words
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


def make_repository(folder: Path, files: int) -> Path:
    """A repository of so many small Python files, a hundred to a folder."""
    for number in range(files):
        path = folder / f"package{number // 100}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""Module {number}."""\n\n\ndef f{number}(x):\n    return x + {number}\n')
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "gc.auto=0"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


def sample(process: int, ledger: Path, started: float) -> Sample | None:
    """The process now; None if it has ended."""
    look = look_at(process)
    if look is None:
        return None
    calls = ledger.read_bytes().count(b'"kind": "settle"') if ledger.exists() else 0
    return Sample(calls, look.at - started, round(look.rss_mb * 1024), look.descriptors, look.user + look.system)


def watch(command: list[str], folder: Path, ledger: Path) -> tuple[list[Sample], float]:
    """Samples of the command until it ends, and its seconds. Raises CalledProcessError if it fails."""
    samples: list[Sample] = []
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while process.poll() is None:
            if now := sample(process.pid, ledger, started):
                samples.append(now)
            time.sleep(0.02)
        said = process.stderr.read().decode() if process.stderr else ""
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, stderr=said)
    return samples, time.monotonic() - started


def soak(calls: int, in_flight: int, words: int) -> Soak:
    """One run of so many calls with replies of so many words, and its resumption."""
    with tempfile.TemporaryDirectory(prefix="runoff-soak-") as scratch:
        folder = Path(scratch)
        repository = make_repository(folder / "many", calls)
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=play, args=(theirs, words), daemon=True)
        server.start()
        try:
            model = f"openai:m@http://127.0.0.1:{ours.recv()}/v1"
            runoff = [sys.executable, "-c", "from agent.cli.app import main; main()"]
            solve = ["solve", "--repo", str(repository), "--issue", "it is slow", "--stages", "context", "--run", "soak"]
            limits = ["--in-flight", str(in_flight), "--price", "1,2", "--model", model]
            ledger = folder / "runs" / "soak" / "ledger.jsonl"
            samples, seconds = watch([*runoff, *solve, *limits], folder, ledger)
            next(ledger.parent.glob("*/result.json")).unlink()
            again, resumed = watch([*runoff, "resume", "soak"], folder, ledger)
        finally:
            server.terminate()
            server.join()
    return summary(samples, seconds, max(each.rss_kb for each in again), resumed)


def summary(samples: list[Sample], seconds: float, resume_rss: int, resume_seconds: float) -> Soak:
    """Fifths against each other."""
    calls = samples[-1].calls
    working = [each for each in samples if 0 < each.calls < calls]  # before and after, it opens and closes things
    early = [each for each in working if calls / 5 <= each.calls < 2 * calls / 5]
    late = [each for each in working if 4 * calls / 5 <= each.calls]
    rss_early, rss_late = (int(statistics.median(each.rss_kb for each in group)) for group in (early, late))
    between = statistics.median(each.calls for each in late) - statistics.median(each.calls for each in early)
    spent = working[-1].cpu_seconds - working[0].cpu_seconds
    return Soak(
        calls=calls,
        seconds=round(seconds, 1),
        cpu_ms_per_call=round(1000 * spent / (working[-1].calls - working[0].calls), 2),
        rss_kb_early=rss_early,
        rss_kb_late=rss_late,
        bytes_per_call=round(1024 * (rss_late - rss_early) / between, 1),
        descriptors_early=int(statistics.median(each.descriptors for each in early)),
        descriptors_late=int(statistics.median(each.descriptors for each in late)),
        descriptors_most=max(each.descriptors for each in samples),
        resume_seconds=round(resume_seconds, 1),
        resume_rss_kb=resume_rss,
    )


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calls", nargs="?", type=int, default=2000, help="model calls, one a file (default: 2000)")
    parser.add_argument("--in-flight", type=int, default=16, help="calls at once (default: 16)")
    parser.add_argument("--words", type=int, default=120, help="words of a reply (default: 120)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    found = asdict(soak(chosen.calls, chosen.in_flight, chosen.words))
    print(json.dumps(found) if chosen.json else "\n".join(f"{name:<20} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
