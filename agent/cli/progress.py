"""Shows what a run does: a live status line on a terminal, plain lines in a pipe or CI. All of it on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from agent.progress import NOTE, Event


class Progress:
    """A watcher for `agent.cli.compose.Session`. A context manager: the status line lives as long as it is open."""

    def __init__(self, console: Console) -> None:
        self.spending: Callable[[], str] = str
        """The line of live spending; the command fills it in."""
        self._console = console
        self._status: Status | None = None
        self._shown: dict[str, int] = {}
        self._line, self._added_up = "", 0.0
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, event: Event) -> None:
        """Show an event. In a pipe, a counted stage is shown at each tenth only."""
        if event.stage == NOTE:
            self._console.print(f"[yellow]{escape(event.text)}[/]", highlight=False, soft_wrap=True)
            return
        count = f" {event.done}/{event.total}" if event.total else ""
        if self._status is not None:
            self._status.update(f"[bold]{event.stage}[/]{count} {escape(event.text)}  [dim]{escape(self._spent())}[/]")
            if event.passing:
                return
        elif event.passing and not self._due(event):
            return
        self._console.print(f"[bold]{event.stage:<11}[/] {escape(event.text)}{count}", highlight=False, soft_wrap=True)

    def _spent(self) -> str:
        """The cost line, made anew at most once a second."""
        if time.monotonic() - self._added_up >= 1.0:
            self._line, self._added_up = self.spending(), time.monotonic()
        return self._line

    def _due(self, event: Event) -> bool:
        tenth = event.done * 10 // event.total
        due = tenth > self._shown.get(event.stage, -1)
        self._shown[event.stage] = max(tenth, self._shown.get(event.stage, -1))
        return due


class BatchProgress(Progress):
    """The same for many instances: a line when one begins and when it ends, and notes."""

    def __call__(self, event: Event) -> None:
        """Show an event, unless it is about what goes on inside an instance."""
        if event.stage == NOTE:
            super().__call__(event)
            return
        if event.stage not in ("started", "ended") and event.instance:
            self._show_live(event)
            return
        about = f"{escape(event.instance)} " if event.instance else ""
        count = f"{event.done}/{event.total} " if event.total else ""
        spent = f"  [dim]{escape(self._spent())}[/]" if event.stage == "ended" else ""
        self._console.print(
            f"{self._elapsed()} [bold]{event.stage:<11}[/] {count}{about}{escape(event.text)}{spent}",
            highlight=False,
            soft_wrap=True,
        )

    def _show_live(self, event: Event) -> None:
        if self._status is not None:
            about = f"{escape(event.instance)}: {event.stage} {escape(event.text)}"
            self._status.update(f"{about}  [dim]{escape(self._spent())}[/]")

    def _elapsed(self) -> str:
        seconds = int(time.monotonic() - self._began)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
