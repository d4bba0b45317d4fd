"""Many like pieces of work at once, where one that fails does not stop the others: what `runoff images` does with images."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.markup import escape

from agent.cli import interrupts
from agent.cli.json_events import emit
from agent.progress import Event, Watch
from sandbox.disk import DiskLow
from sandbox.errors import RunoffError


@dataclass(frozen=True, slots=True)
class Piece:
    """Something to do, by the name that people know it under."""

    name: str
    work: Callable[[Callable[[str], None]], Awaitable[str]]
    """Gets whom to tell what it does; gives what came of it, on a line. Raises RunoffError."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A piece that came to nothing."""

    name: str
    error: RunoffError


async def side_by_side(pieces: Sequence[Piece], workers: int, stage: str, watch: Watch) -> list[Failed]:
    """Do them all, so many at once; those that failed, in order. A disk that is low stops what has not begun."""
    gate = asyncio.Semaphore(workers)
    failed: dict[str, RunoffError] = {}
    done = 0
    low: DiskLow | None = None

    async def one(piece: Piece) -> None:
        nonlocal done, low
        async with gate:
            if low is not None:
                failed[piece.name] = DiskLow(f"not begun: {low.message}", where=low.where, hint=low.hint)
                return
            try:
                came = await piece.work(lambda line: watch(Event(piece.name, stage, f"{piece.name}: {line}")))
            except RunoffError as error:
                failed[piece.name] = error
                low = error if isinstance(error, DiskLow) else low
                came = f"failed: {error.message.splitlines()[0]}"
            done += 1
            watch(Event(piece.name, stage, f"{piece.name}: {came}", done, len(pieces)))

    async with asyncio.TaskGroup() as group:
        for piece in pieces:
            group.create_task(one(piece))
    return [Failed(piece.name, failed[piece.name]) for piece in pieces if piece.name in failed]


def conclude(failed: Sequence[Failed], total: int, what: str, errors: Console, *, as_json: bool) -> int:
    """Say what came of it all. The exit code: 0, or that of the failures (4 if any can be tried again as it is)."""
    ready = total - len(failed)
    if as_json:
        listed = [
            {"name": each.name, "message": each.error.message, "where": each.error.where, "next": each.error.hint}
            for each in failed
        ]
        emit("result", ready=ready, total=total, failed=listed)
    else:
        for each in failed:
            errors.print(f"[bold]{escape(each.name)}[/]", highlight=False, soft_wrap=True)
            interrupts.show(each.error, errors)
        typer.echo(f"{ready} of {total} {what}" + (f", {len(failed)} failed" if failed else ""))
    return max((each.error.exit_code for each in failed), default=0)
