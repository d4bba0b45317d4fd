"""`--json`: a run as JSON lines on standard output, for programs that start runoff and follow it.

Every line is an object with `event`: `started`, `progress`, `ended` (one instance of many), `note`, and at the end
`result` or `error`. Lines are written as things happen; a reader needs no terminal and no parsing of texts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import typer

from agent.llm.totals import Totals
from agent.progress import NOTE, Event
from sandbox.errors import RunoffError


class JsonEvents:
    """A watcher for `agent.cli.compose.Session` that prints what it hears."""

    def __init__(self) -> None:
        self.spent: Callable[[], Totals] = Totals
        """What the run has cost so far; the command fills it in."""
        self._spent, self._added_up = Totals(), -float("inf")

    def __call__(self, event: Event) -> None:
        """Print one event."""
        if event.stage == NOTE:
            emit("note", text=event.text)
        elif event.stage == "started":
            emit("started", instance=event.instance, text=event.text)
        elif event.stage == "ended":
            emit(**{**event.to_json(), "event": "ended"}, spent=spent_json(self.spent()))
        else:
            emit("progress", **event.to_json(), spent=spent_json(self._lately()))

    def _lately(self) -> Totals:
        """The sums, made anew at most once a second: hundreds of calls may be open, and thousands of events come."""
        if time.monotonic() - self._added_up >= 1.0:
            self._spent, self._added_up = self.spent(), time.monotonic()
        return self._spent


def emit(event: str, **fields: Any) -> None:
    """Print one line."""
    typer.echo(json.dumps({"event": event, **fields}, ensure_ascii=False))


def emit_error(error: RunoffError) -> None:
    """The last line of a command that failed; the three lines on standard error say the same."""
    emit(
        "error",
        message=error.message,
        where=error.where,
        next=error.hint,
        cause=error.cause,
        exit_code=error.exit_code,
    )


def spent_json(totals: Totals) -> dict[str, Any]:
    """What a run has cost: what is known, and the most that it can be."""
    return {
        "calls": totals.calls,
        "tokens": totals.tokens_used,
        "dollars": round(totals.dollars, 6),
        "most_dollars": round(totals.most_dollars, 6),
        "unpriced_calls": totals.unpriced,
        "unsettled_calls": totals.unsettled,
    }
