"""A llama.cpp server with a small model, as a process that a test can kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def start(log: Path, *, port: int = 0, slots: int = 2, context: int = 1024) -> tuple[subprocess.Popen[str], str]:
    """The process and the base URL (without /v1), which is empty if it did not start; what it says goes to `log`.

    One thread: several wait for each other at every layer, for long where the machine has other work too.
    """
    command = [sys.executable, str(ROOT / "scripts" / "model-server"), "--model", "smollm2", "--threads", "1"]
    options = ["--port", str(port), "--context", str(context), "--slots", str(slots)]
    with log.open("a") as errors:
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip().partition("@")[2].removesuffix("/v1")


def end(process: subprocess.Popen[str], *, kill: bool = False) -> None:
    """SIGTERM, or SIGKILL, and wait until it is gone."""
    process.kill() if kill else process.terminate()
    process.communicate(timeout=20)
