"""Shows what a run does: a live status line on a terminal, plain lines in a pipe or CI. All of it on standard error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from agent.cli.live import clock, in_a_line, show
from agent.cli.standing import Numbers, Standing
from agent.progress import NOTE, Event

PAUSE = 0.5
"""Seconds between two drawings of the live view."""
HEARTBEAT = 60.0
"""Seconds between two lines on how a batch stands where there is no live view."""


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
            self._console.print(Text(event.text, style="yellow"), highlight=False, soft_wrap=True)
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


class BatchProgress:
    """The same for many instances: on a terminal a live view, else a line when one begins, when it ends, and each minute.

    Notes and endings without a patch are printed in both; on a terminal they scroll above the view.
    """

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self.spending: Callable[[], str] = str
        """The line of live spending; the command fills it in."""
        self.numbers: Callable[[], Numbers] = Numbers
        """What the run knows; the command fills it in."""
        self._console = console
        self._now = now
        self._began = now()
        self._standing = Standing(self._began)
        self._live: Live | None = None
        self._width = console.width

    def __enter__(self) -> Self:
        if self._console.is_interactive and self._console.file.isatty():
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self.refresh()
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        """Take note of an event, and print it unless the view shows it, or it is about what goes on inside an instance."""
        self._standing.take(event, self._now())
        if event.stage == NOTE:
            self._console.print(Text(event.text, style="yellow"), highlight=False, soft_wrap=True)
        elif self._is_printed(event):
            self._print(event)

    async def refreshing(self) -> None:
        """Keep the view up to date until cancelled; where there is none, say once a minute how the run stands."""
        while self._live is not None:
            self.refresh()
            await asyncio.sleep(PAUSE)
        while True:
            await asyncio.sleep(HEARTBEAT)
            self.say()

    def say(self) -> None:
        """Print the view in a line."""
        line = in_a_line(self._standing.view(self.numbers(), self._now()))
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def refresh(self) -> None:
        """Draw the view anew."""
        if self._live is None:
            return
        if self._console.width != self._width:  # what was drawn has been wrapped by the terminal: leave it, begin below
            self._width = self._console.width
            self._live.stop()
            self._live.start()
        self._live.update(show(self._standing.view(self.numbers(), self._now())), refresh=True)

    def _is_printed(self, event: Event) -> bool:
        if not event.instance:
            return True
        return event.stage in ("started", "ended") if self._live is None else bool(event.cause)

    def _print(self, event: Event) -> None:
        about = f"{escape(event.instance)} " if event.instance else ""
        count = f"{event.done}/{event.total} " if event.instance and event.total else ""
        spent = f"  [dim]{escape(self.spending())}[/]" if event.stage == "ended" and self._live is None else ""
        self._console.print(
            f"{clock(self._now() - self._began)} [bold]{event.stage:<11}[/] {count}{about}{escape(event.text)}{spent}",
            highlight=False,
            soft_wrap=True,
        )
