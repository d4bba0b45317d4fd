"""Runs a command's coroutine so that Ctrl-C, a SIGTERM or an error ends it promptly and with the right exit code.

The first signal kills what the sandbox runs, which unblocks the threads that wait for it, then cancels the coroutine.
The second one ends the process at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape

from agent.redaction import of_process
from sandbox.errors import RunoffError

T = TypeVar("T")

INTERRUPTED = 130
CLEANUP_SECONDS = 1.2
"""Seconds that a cancelled command has for closing what it opened, before the process ends without it."""
KILL_SECONDS = 10.0
"""Seconds that killing what the sandbox runs may take on a busy machine."""


class Interrupt:
    """What to do at the first signal; the command fills it in as it opens things."""

    def __init__(self) -> None:
        self.hint = ""
        """The command that goes on later."""
        self.kill: Callable[[], None] = lambda: None
        """Ends at once what runs outside this process."""
        self.happened = False


def run(
    command: Callable[[Interrupt], Coroutine[Any, Any, int]],
    errors: Console,
    *,
    on_error: Callable[[RunoffError], None] = lambda error: None,
) -> int:
    """The exit code of a command. A RunoffError is shown as three lines (what, where, the next command), then told."""
    interrupt = Interrupt()
    try:
        return asyncio.run(_watched(command, interrupt, errors))
    except RunoffError as error:
        if interrupt.happened:
            return INTERRUPTED
        error.hint = error.hint.replace("runoff resume RUN", interrupt.hint or "the same command")
        show(error, errors)
        on_error(error)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED


def show(error: RunoffError, errors: Console) -> None:
    """Three lines on standard error, without secrets; a line that has nothing to say is left out."""
    of_process().cleanse(error)
    lines = [("error", error.message, "red"), ("where", error.where, ""), ("next", error.hint, "green")]
    for label, text, style in lines:
        if text:
            mark = f"[{style}]{label}:[/]" if style else f"{label}:"
            errors.print(f"{mark} {escape(text)}", highlight=False, soft_wrap=True)


async def _watched(command: Callable[[Interrupt], Coroutine[Any, Any, int]], interrupt: Interrupt, errors: Console) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(command(interrupt))

    killer = threading.Thread(target=_kill_quietly, args=(interrupt,), daemon=True)

    def stop() -> None:
        if interrupt.happened:
            os._exit(INTERRUPTED)
        interrupt.happened = True
        errors.print(
            "interrupted" + (f"; go on with: {interrupt.hint}" if interrupt.hint else ""), highlight=False, soft_wrap=True
        )
        killer.start()
        loop.call_later(CLEANUP_SECONDS, _leave, killer)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        return await task
    finally:
        if interrupt.happened:
            killer.join(KILL_SECONDS)


def _kill_quietly(interrupt: Interrupt) -> None:
    with contextlib.suppress(Exception):
        interrupt.kill()


def _leave(killer: threading.Thread) -> None:
    """End the process whatever is still closing, but not before the sandbox's processes are gone."""
    killer.join(KILL_SECONDS)
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(INTERRUPTED)
