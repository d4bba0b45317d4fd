"""Makes room while a batch goes on: removes images of its finished instances that came here since the process began.

A split of five hundred instances needs more room for its images than most disks have, and each of them is needed by a few
instances only. What an unfinished instance of any run in the folder needs stays, and so does whatever was here before.
Environments of the local sandbox stay too: they are in use until the sandbox is closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from agent.cli.inputs import on_a_thread
from agent.needs import had, needs
from agent.progress import Watch, note
from agent.store import Run
from sandbox.errors import RunoffError

if TYPE_CHECKING:
    from sandbox.disk import DiskLimit
    from sandbox.inventory import Held
    from sandbox.pruning import Wanted

When = Literal["never", "low", "always"]
SHARE = 20
"""Seconds of pause for each second that looking and removing took."""
EARLY = 2.0
"""The disk is low when less is free than so many times what is to be kept free: at once that, builds are stopped."""
GIB = 1 << 30
MB = 1e6


class Tidying:
    """Removes images as instances end. Of use only where the sandbox is a Docker engine."""

    def __init__(self, run: Run, when: When, watch: Watch, clock: Callable[[], float] = time.monotonic) -> None:
        """Other runs in the same folder need images too."""
        self._run, self._when, self._watch, self._clock = run, when, watch, clock
        self._before: set[str] | None = None
        """Ids of the images that were here when the run began; None while nobody has looked, and if nobody can."""
        self._limit: DiskLimit | None = None
        self._due = 0.0

    async def begin(self) -> None:
        """Remember what is here. An engine that does not answer is no reason not to begin: then nothing is removed."""
        if self._when == "never":
            return
        try:
            await on_a_thread(self._look)
        except RunoffError as error:
            self._watch(note(f"images of finished instances will stay: {error.message}"))

    async def ended(self) -> None:
        """An instance has ended for good: remove what nobody needs any more, if it is time."""
        if self._before is None or self._clock() < self._due or not self._is_time():
            return
        started = self._clock()
        self._due = float("inf")  # one at a time
        try:
            if told := await on_a_thread(self._remove):
                self._watch(note(told))
        except RunoffError as error:
            self._watch(note(f"no room was made: {error.message}"))
        finally:
            now = self._clock()
            self._due = now + SHARE * (now - started)

    def _is_time(self) -> bool:
        if self._when == "always" or self._limit is None:
            return self._when == "always"
        free = self._limit.free()
        return free is not None and free < EARLY * self._limit.keep

    def _look(self) -> None:
        from agent.cli import room
        from sandbox.disk import keep_free, limit_of
        from sandbox.engine import faults

        with faults("the engine cannot be asked for its images"), room.engine(answers=True) as client:
            assert client is not None  # noqa: S101  it is asked for
            self._limit = limit_of(client, keep_free())
            self._before = {str(image["Id"]) for image in client.api.images(all=True)}

    def _remove(self) -> str:
        """What was removed, in words; empty if nothing was."""
        from agent.cli import room
        from sandbox import inventory, pruning
        from sandbox.engine import faults

        with faults("the engine cannot be asked for its images"), room.engine(answers=True) as client:
            assert client is not None  # noqa: S101  it is asked for
            needed = [need.spec for need in needs(self._run.path.parent)]
            going, _ = pruning.plan(inventory.listed(client), room.wanted(client, needed))
            own = room.wanted(client, had(self._run))
            going = [held for held in going if held.id not in (self._before or ()) and _is_of(held, own)]
            gone = [held for held in going if not room.remove(client, held)]
        if not gone:
            return ""
        free = self._limit.free() if self._limit else None
        left = f"; {free / GIB:.1f} GiB are free" if free is not None else ""
        freed = sum(held.own for held in gone) / MB
        return f"removed {len(gone)} images of finished instances, at least {freed:,.0f} MB{left}"


def _is_of(held: Held, own: Wanted) -> bool:
    from sandbox.pulling import familiar

    return held.key in own.keys or any(familiar(name) in own.names for name in held.names)
