"""predictions.jsonl and unresolved.json while a batch goes on, brought up to date as instances end.

Both are replaced whole, so a reader never sees half a line; to do so at every ending would cost the square of a long
split. So they are written at once only while that is cheap: a write that took t seconds is followed by a pause of 20 t.
Instances that end meanwhile are in the next write, and in the last one; a kill loses nothing, since both files can be
made from the instances' folders.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from agent.files import replacing
from agent.store import Run, write_json

SHARE = 20
"""Seconds of pause for each second of writing."""


class Board:
    """What a run hands out so far."""

    def __init__(self, run: Run, model: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with what the folders say. `model`: what predictions are signed with."""
        self._run = run
        self._model = model
        self._clock = clock
        self._missing = run.write_predictions(model)
        self._lines: list[str] = []
        self._stale = False
        self._due = 0.0

    def ended(self, instance: str) -> None:
        """An instance has ended, for now or for good."""
        line, why = self._run.instance(instance).outcome(self._model)
        if line:
            self._lines.append(line)
            self._missing.pop(instance, None)
        else:
            self._missing[instance] = why
        self._stale = True
        if self._clock() >= self._due:
            self.write()

    def write(self) -> None:
        """Write what has changed. Raises StoreError."""
        if not self._stale:
            return
        started = self._clock()
        if self._lines:
            extend(self._run.path / "predictions.jsonl", "".join(self._lines))
            self._lines.clear()
        write_json(self._run.path / "unresolved.json", self._missing)
        self._stale = False
        now = self._clock()
        self._due = now + SHARE * (now - started)


def extend(path: Path, text: str) -> None:
    """Add to the end of a file so that a reader sees the old content or all of the new. Raises StoreError."""
    with replacing(path, lasting=False) as temporary:
        if path.exists():
            shutil.copyfile(path, temporary)  # inside the kernel: a long file is not read into memory
        with temporary.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
