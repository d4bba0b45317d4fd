"""Stops pulls and builds before the disk is full: an engine whose disk is full cannot even remove what fills it."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors
import requests

from sandbox.errors import InputError, SandboxError, SandboxLost

VARIABLE = "RUNOFF_KEEP_FREE"
DEFAULT_GIB = 2.0
LOOK_SECONDS = 0.5
"""How often the disk is looked at while something grows; a fast disk takes a gigabyte in that time."""
GIB = 1 << 30


class DiskLow(SandboxError):
    """Less is free than is to be kept free."""

    cause = "disk"


@dataclass(frozen=True, slots=True)
class DiskLimit:
    """How much has to stay free where the engine keeps its images."""

    place: Path | None
    """None where that is out of sight, on another machine: then nothing is watched."""
    keep: int
    """Bytes."""

    def free(self) -> int | None:
        """Bytes that are free; None if that is not known."""
        try:
            return shutil.disk_usage(self.place).free if self.place else None
        except OSError:
            return None

    def check(self, doing: str) -> None:
        """Raises DiskLow, saying what was under way, if less is free than is to be kept."""
        free = self.free()
        if free is not None and free < self.keep:
            raise DiskLow(
                f"{doing}: the disk is almost full, {free / GIB:.1f} GiB free and {self.keep / GIB:.1f} GiB to be kept",
                where=str(self.place),
                hint="runoff images prune --dry-run, or keep less: --keep-free GIB (RUNOFF_KEEP_FREE)",
            )

    @contextlib.contextmanager
    def watched(self, doing: str, stop: Callable[[], None]) -> Iterator[None]:
        """Call `stop`, from another thread, once the disk is low, and then raise DiskLow instead of what that led to."""
        ended, low = threading.Event(), threading.Event()

        def watch() -> None:
            while not ended.wait(LOOK_SECONDS):
                free = self.free()
                if free is not None and free < self.keep:
                    low.set()
                    stop()
                    return

        thread = threading.Thread(target=watch, name="runoff-disk", daemon=True)
        thread.start()
        try:
            yield
        except Exception as error:
            if low.is_set():
                raise self._low(doing) from error
            raise
        else:
            if low.is_set():
                raise self._low(doing)
        finally:
            ended.set()

    def _low(self, doing: str) -> DiskLow:
        with contextlib.suppress(SandboxError):
            self.check(doing)
        free = (self.free() or 0) / GIB  # what was under way is gone and has made room again
        return DiskLow(
            f"{doing} was stopped before the disk was full; {free:.1f} GiB are free without it, "
            f"{self.keep / GIB:.1f} GiB are to be kept",
            where=str(self.place),
            hint="runoff images prune --dry-run, or keep less: --keep-free GIB (RUNOFF_KEEP_FREE)",
        )


def keep_free(environment: Mapping[str, str] = os.environ) -> int:
    """Bytes to keep free, from RUNOFF_KEEP_FREE in GiB. Raises InputError for what is no such number."""
    text = environment.get(VARIABLE, "") or str(DEFAULT_GIB)
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise InputError(f"{text!r} is no size", where=VARIABLE, hint=f"give GiB to keep free: {VARIABLE}=5")
    return int(size * GIB)


def limit_of(client: docker.DockerClient, keep: int) -> DiskLimit:
    """The limit for the disk of an engine on this machine. Raises SandboxError if the engine does not answer."""
    if not client.api.base_url.startswith("http+docker://"):
        return DiskLimit(None, keep)
    try:
        place = Path(client.info().get("DockerRootDir") or "/nonexistent")
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise SandboxLost(
            f"the Docker engine does not answer: {error}", where="Docker engine", hint="runoff doctor"
        ) from error
    return DiskLimit(place if place.is_dir() else None, keep)
