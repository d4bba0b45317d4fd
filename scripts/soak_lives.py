"""What `scripts/soak_batch.py` sees of the processes that it starts: their memory and time, and what they journaled."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from agent.llm.client import CallKey
from sandbox.api import digest_of

TICKS = os.sysconf("SC_CLK_TCK")
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
    children: float
    """CPU seconds of processes that it started and that have ended: git."""


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
    user, system, *children = (int(text) / TICKS for text in fields[11:15])
    return Look(time.monotonic(), rss, descriptors, user, system, sum(children))
