"""Whole files of a run, written so that a reader, or a crash, sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from agent.jsonl import sync_folder
from sandbox.errors import StoreError


@contextlib.contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """Where to write what takes the place of `path` at the end. Raises StoreError, and leaves no scrap.

    `lasting`: wait until content and name are on the disk. Without it a power cut, but no kill, can still undo it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if lasting:
            _sync(temporary)
        temporary.replace(path)
        if lasting:
            sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write: {error.strerror}", where=str(path), hint="make room or mend the rights, then resume"
        ) from error


def write_text(path: Path, text: str, *, lasting: bool = True) -> None:
    """Write a file; see `replacing`."""
    with (
        replacing(path, lasting=lasting) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        file.write(text)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
