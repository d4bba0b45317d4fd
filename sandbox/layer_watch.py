"""Watches what a portable container writes to its own layer, which nothing bounds but the engine's disk.

Sizes are asked of the engine, which walks the layer; the files in it only if the disk has lost that many since the start, as
that takes the engine a second. What a script writes to files that it has removed is in no layer: where the disk runs low
the container is ended, and if its end makes room again it is what filled the disk. One container is ended at a time, so
that nobody is blamed for what a neighbour wrote; one that was ended for nothing is lost, and carried out again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.api import Limit, Limits
from sandbox.disk import DiskLimit
from sandbox.engine import Engine
from sandbox.errors import SandboxLost

LOOK_SECONDS = 2.0
"""How often the layer is looked at."""
LOOKS_PER_COUNT = 5
"""How many looks there are to one count of the files, where the engine's disk is out of sight."""
NOTICES = 2
"""How often the runner is told of a limit before its container is killed."""
ROOM_SECONDS = 3.0
"""How long the end of a container may take to show on the disk."""
SIGNALS: dict[Limit, str] = {"disk": "SIGUSR1", "inodes": "SIGUSR2"}

_ENDING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Room:
    """What is free on the engine's disk."""

    size: int
    """Bytes."""
    files: int

    @classmethod
    def on(cls, disk: DiskLimit) -> Room | None:
        """None where the disk is out of sight."""
        try:
            return cls(shutil.disk_usage(disk.place).free, os.statvfs(disk.place).f_ffree) if disk.place else None
        except OSError:
            return None


class LayerWatch:
    """One container's layer, from before its start until after its end."""

    def __init__(self, engine: Engine, name: str, limits: Limits) -> None:
        """`name`: the container, not started yet."""
        self.outgrown: Limit | None = None
        """The limit that the layer was seen to go beyond."""
        self._engine, self._name, self._limits = engine, name, limits
        self._disk = engine.disk_limit()
        self._before = Room.on(self._disk)
        self._ended = False
        self._looks = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """While the container runs, tell its runner of a limit that the layer outgrows, and kill it if that is not heard."""
        ended = threading.Event()

        def watch() -> None:
            notices = 0
            while not ended.wait(LOOK_SECONDS):
                if self._fills_the_disk():
                    self._end()
                elif reached := self.look():
                    self.outgrown = reached
                    notices += 1
                    self._engine.signal(self._name, SIGNALS[reached] if notices <= NOTICES else "SIGKILL")
            self._engine.release()

        threading.Thread(target=watch, name=f"{self._name}-layer", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def look(self) -> Limit | None:
        """The limit that the layer goes beyond now."""
        self._looks += 1
        if self._engine.written_mb(self._name) > self._limits.disk_mb:
            return "disk"
        if self._is_worth_a_count() and self._engine.written_files(self._name) > self._limits.files:
            return "inodes"
        return None

    def acquit(self) -> None:
        """Raises SandboxLost if the container was ended for a disk that it had not filled."""
        if self._ended and self.outgrown is None:
            raise SandboxLost(
                "an execution was stopped as the disk was almost full",
                where=str(self._disk.place),
                hint="runoff images prune --dry-run",
            )

    def _end(self) -> None:
        """End the container, unless the end of another has made room meanwhile, and see whether that makes room."""
        with _ENDING:
            if not self._fills_the_disk():
                return
            low = Room.on(self._disk)
            self._ended = True
            self._engine.signal(self._name, "SIGKILL")
            until = time.monotonic() + ROOM_SECONDS
            while low is not None and time.monotonic() < until:
                now = Room.on(self._disk)
                if now is not None and now.size - low.size > self._limits.disk_mb << 20:
                    self.outgrown = "disk"
                    return
                time.sleep(0.05)

    def _is_worth_a_count(self) -> bool:
        now = Room.on(self._disk)
        if now is None or self._before is None:
            return self._looks % LOOKS_PER_COUNT == 0
        return self._before.files - now.files > self._limits.files

    def _fills_the_disk(self) -> bool:
        now = Room.on(self._disk)
        if now is None or self._before is None or now.size >= self._disk.keep:
            return False
        return self._before.size - now.size > self._limits.disk_mb << 20
