"""What an evaluation leaves behind: every judgement as it comes, and the summary that reports read.

    FOLDER/evaluation.json            the summary, written anew as judgements come in
    FOLDER/evaluation/results.jsonl   a line for each judgement, by instance, patch and basis
    FOLDER/evaluation/logs/           outputs of the tests
    FOLDER/evaluation/official/       what the official harness was given, and its logs

FOLDER is the run, or a folder of its own for a predictions file. A patch is judged once on an instance, however many
systems or samples came to it; `basis` is the digest of what else a judgement rests on (labels, environment, limits).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import filelock

from agent.files import write_text
from agent.jsonl import Appender, damaged, read_lines
from agent.store import read_json, write_json
from sandbox.api import Patch
from sandbox.errors import InputError
from selection.evaluation.verdicts import NO_PATCH, Judgement, Outcome
from selection.gold import Gold

FORMAT = 1
WHAT = "the results of an evaluation"
NAME = "evaluation.json"
SECONDS_BETWEEN = 1.0
"""How often the summary is written while judgements come in."""
How = Literal["official", "local"]
NOTE = {
    "local": "local, not official: runoff's own sandbox in place of the official harness",
    "official": "official: swebench's own harness",
}


@dataclass(slots=True)
class Submission:
    """One system's answer to each instance."""

    name: str
    source: str
    patches: dict[str, Patch | None]
    """By instance; None where it has no patch."""
    told: list[str] = field(default_factory=list)
    """What is odd about it."""
    settled: dict[str, Judgement] = field(default_factory=dict)
    """Instances that need no test to be judged, such as those that a run has not finished."""
    candidates: dict[str, dict[str, Patch | None]] = field(default_factory=dict)
    """By instance and sample: the patches that samples ended with."""

    def wanted(self, instance: str) -> list[Patch]:
        """What is to be judged on an instance, each patch once."""
        patches = (self.patches.get(instance), *self.candidates.get(instance, {}).values())
        return list(dict.fromkeys(patch for patch in patches if patch is not None))


class Results:
    """The judgements of a folder. One process at a time: hold `lock()`. A context manager."""

    def __init__(self, folder: Path) -> None:
        """Raises StoreError where what is there is damaged."""
        self.folder = folder
        self._file = Appender(folder / "evaluation" / "results.jsonl", WHAT, {"kind": "start", "format": FORMAT})
        self._held: dict[tuple[str, str, str], Judgement] = {}
        for number, line in enumerate(read_lines(self._file.path, WHAT), 1):
            if line["kind"] == "judgement":
                self._take(line, number)

    def _take(self, line: Mapping[str, Any], number: int) -> None:
        try:
            key = (line["instance"], line["patch"], line["basis"])
            self._held[key] = Judgement.from_json(line["judgement"])
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(self._file.path, WHAT, number) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder's evaluation. Raises InputError if another process does."""
        place = self.folder / "evaluation" / ".lock"
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(place, timeout=0):
                yield
        except filelock.Timeout:
            raise InputError(
                "another process evaluates this", where=str(self.folder), hint="wait until it ends, then repeat the command"
            ) from None

    def find(self, instance: str, patch: Patch, basis: str) -> Judgement | None:
        """What is known; None if nothing, or if the patch was not judged."""
        held = self._held.get((instance, patch.digest, basis))
        return held if held and held.outcome.judged else None

    def last(self, instance: str, patch: Patch, basis: str) -> Judgement | None:
        """The same, with what says nothing about the patch."""
        return self._held.get((instance, patch.digest, basis))

    def keep(self, instance: str, patch: Patch, basis: str, judgement: Judgement) -> None:
        """Write a judgement down."""
        line = {"instance": instance, "patch": patch.digest, "basis": basis, "judgement": judgement.to_json()}
        self._file.append({"kind": "judgement", "at": _now(), **line})
        self._held[instance, patch.digest, basis] = judgement

    def log(self, instance: str, name: str, text: str) -> str:
        """Keep the output of a test run; returns its place relative to the folder."""
        place = Path("evaluation") / "logs" / instance / f"{name}.txt"
        write_text(self.folder / place, text, lasting=False)
        return str(place)


class Summary:
    """evaluation.json: who was judged, on what, and what came of it."""

    def __init__(
        self,
        results: Results,
        gold: Gold,
        submissions: list[Submission],
        bases: Mapping[str, str],
        *,
        how: How,
        tools: Mapping[str, str],
    ) -> None:
        """`bases`: by instance, for all instances that are judged."""
        self._results, self._gold, self._submissions, self._bases = results, gold, submissions, bases
        self._how: How = how
        self._tools = tools
        self._written = 0.0

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return self._results.folder

    @property
    def instances(self) -> tuple[str, ...]:
        """What is judged."""
        return tuple(self._bases)

    @property
    def note(self) -> str:
        """How it was judged, in words."""
        return NOTE[self._how]

    def of_candidates(self, submission: Submission) -> list[Judgement | None]:
        """What became of each sample's patch."""
        held = submission.candidates.items()
        return [self._judged(name, patch) for name, samples in held if name in self._bases for patch in samples.values()]

    def write(self, *, finished: bool = False) -> None:
        """Write the file, at most once a second unless it is finished."""
        if finished or time.monotonic() - self._written >= SECONDS_BETWEEN:
            write_json(self._results.folder / NAME, self.to_json(finished=finished))
            self._written = time.monotonic()

    def to_json(self, *, finished: bool) -> dict[str, Any]:
        """As the file holds it."""
        labels = {name: self._gold.by_id[name] for name in self._bases}
        return {
            "format": FORMAT,
            "how": self._how,
            "note": NOTE[self._how],
            "finished": finished,
            "updated": _now(),
            "dataset": self._gold.source,
            "dataset_instances": len(self._gold.by_id),
            "tools": dict(self._tools),
            "instances": {name: {"repo": held.repo, "difficulty": held.difficulty} for name, held in labels.items()},
            "submissions": {one.name: self._submission(one) for one in self._submissions},
        }

    def outcome(self, submission: Submission, instance: str) -> Judgement | None:
        """What became of a submission's own patch; None if that is still to come."""
        return submission.settled.get(instance) or self._judged(instance, submission.patches.get(instance))

    def _submission(self, one: Submission) -> dict[str, Any]:
        outcomes = {
            name: self._entry(one.patches.get(name), self.outcome(one, name)) for name in self._bases if name in one.patches
        }
        candidates = {
            name: {origin: self._entry(patch, self._judged(name, patch)) for origin, patch in samples.items()}
            for name, samples in one.candidates.items()
            if name in self._bases
        }
        return {"source": one.source, "told": one.told, "outcomes": outcomes, "candidates": candidates}

    def _judged(self, instance: str, patch: Patch | None) -> Judgement | None:
        return NO_PATCH if patch is None else self._results.last(instance, patch, self._bases[instance])

    def _entry(self, patch: Patch | None, judgement: Judgement | None) -> dict[str, Any]:
        return {"patch": patch.digest if patch else None, **(judgement.to_json() if judgement else {"outcome": None})}


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The summary of a folder; None if it has none. Raises StoreError if it is damaged, InputError for another format."""
    place = folder / NAME
    if not place.exists():
        return None
    held = read_json(place, "format", "submissions", "instances")
    if held["format"] != FORMAT:
        raise InputError(f"the evaluation is of format {held['format']}; this runoff reads {FORMAT}", where=str(place))
    return held


def counts(judgements: list[Judgement | None]) -> dict[str, int]:
    """How many there are of each outcome, in the order of `Outcome`; what is still to come is left out."""
    seen = [judgement.outcome for judgement in judgements if judgement]
    return {outcome.value: seen.count(outcome) for outcome in Outcome if outcome in seen}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
