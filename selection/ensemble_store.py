"""Where the choices of an ensemble land, so that a kill loses none of them and a reader never sees half a file.

For an output `NAME.jsonl`: the predictions there, why each won in `NAME.selection.jsonl` (which grows while the ensemble
runs, and is what it resumes from), and instances without a prediction, with the cause, in `NAME.unresolved.json`. What
steps asked and ran lies in the folder `NAME.work`, by instance, with the ledger of what it cost.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import filelock

from agent.endings import Ending
from agent.files import write_text
from agent.jsonl import Appender, read_lines
from agent.store import write_json
from sandbox.api import Patch
from sandbox.errors import InputError, StoreError
from selection.candidates import ID_LENGTH
from selection.chain import Choice

FORMAT = 1
WHAT = "the record of an ensemble"
MODEL = "runoff-ensemble"
"""What predictions call the system that made them."""


@dataclass(frozen=True, slots=True)
class Made:
    """A choice as it is recorded."""

    instance: str
    chosen: str
    """The candidate's id; empty if nobody was chosen."""
    members: tuple[str, ...]
    """Those that came to this change."""
    reason: str
    figures: Mapping[str, Mapping[str, float]]
    """By step: what it counted."""


class EnsembleStore:
    """The three files of one ensemble. Use as a context manager: one process at a time holds them.

    Raises InputError for a folder, and for files that another process holds; StoreError where they cannot be written.
    """

    def __init__(self, output: Path, digest: str, selector: str) -> None:
        """Take up what an earlier process recorded with the same digest; a record of anything else is replaced."""
        if output.is_dir():
            raise InputError("--output is a folder", where=str(output), hint="name a file, such as --output chosen.jsonl")
        self.output = output
        self.record = output.with_name(f"{output.stem}.selection.jsonl")
        self.unresolved = output.with_name(f"{output.stem}.unresolved.json")
        self._first = {"kind": "ensemble", "format": FORMAT, "digest": digest, "selector": selector}
        self.work = output.with_name(f"{output.stem}.work")
        self.made: dict[str, Made] = {}
        """By instance: what is recorded."""
        self.parked: dict[str, Ending] = {}
        """By instance: what kept this process from choosing; the next one tries again."""
        self.resumed = 0
        """How many choices an earlier process made."""
        self._appender = Appender(self.record, WHAT, self._first)
        self._lock = filelock.FileLock(output.with_name(f".{output.stem}.lock"), timeout=0)

    def __enter__(self) -> Self:
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except filelock.Timeout:
            hint = "wait until it ends, or name another --output"
            raise InputError("another process writes this ensemble", where=str(self.output), hint=hint) from None
        except OSError as error:
            hint = "choose another place with --output"
            raise StoreError(f"cannot write: {error.strerror}", where=str(self.output.parent), hint=hint) from error
        self.made = self._earlier()
        self.resumed = len(self.made)
        return self

    def __exit__(self, *_: object) -> None:
        self._appender.close()
        self._lock.release()

    def add(self, choice: Choice) -> None:
        """Record a choice; it is on the disk when this returns."""
        line = {"kind": "choice", **choice.to_json()}
        self._appender.append(line)
        self.made[choice.instance] = _made(line)

    def park(self, ending: Ending) -> None:
        """Record that there is no choice yet, and why."""
        self._appender.append({"kind": "parked", "instance": ending.instance, **ending.record()})
        self.parked[ending.instance] = ending

    def figures(self) -> dict[str, Counter[str]]:
        """By step: what it counted, over all instances."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for made in self.made.values():
            for step, figures in made.figures.items():
                found[step].update(figures)
        return found

    def finish(self, proposed: Mapping[str, Sequence[tuple[str, Patch | None]]]) -> None:
        """Write predictions and causes, in the order of the instances."""
        rows, causes = [], {}
        for instance, offers in proposed.items():
            made = self.made.get(instance)
            if made is None:
                causes[instance] = _waiting(self.parked.get(instance))
                continue
            patch = next((patch for _, patch in offers if patch and patch.digest[:ID_LENGTH] == made.chosen), None)
            if patch is None:
                causes[instance] = made.reason
            else:
                row = {"instance_id": instance, "model_name_or_path": MODEL, "model_patch": patch.diff}
                rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        write_text(self.output, "".join(rows))
        write_json(self.unresolved, causes)

    def _earlier(self) -> dict[str, Made]:
        try:
            lines = list(read_lines(self.record, WHAT))
        except StoreError:
            lines = []
        if lines[:1] != [self._first]:
            self.record.unlink(missing_ok=True)
            return {}
        return {line["instance"]: _made(line) for line in lines[1:] if line["kind"] == "choice"}


def _made(line: Mapping[str, Any]) -> Made:
    chosen = line["chosen"] or {"id": "", "members": []}
    figures = {step["step"]: step.get("figures", {}) for step in line["steps"]}
    return Made(line["instance"], chosen["id"], tuple(chosen["members"]), line["reason"], figures)


def _waiting(ending: Ending | None) -> str:
    return f"parked, {ending.cause}: {ending.reason}" if ending else "not tried yet: the ensemble was stopped before"
