"""What runs on this machine, from /proc: for what starts, hits or counts processes that are not its own children."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


def children(pid: int) -> Iterator[int]:
    """Of all threads of a process."""
    for task in Path(f"/proc/{pid}/task").glob("*"):  # no deeper: looking for a file of what has just ended raises
        with contextlib.suppress(OSError):
            yield from map(int, (task / "children").read_text().split())


def everybody() -> Iterator[int]:
    """The ids of all processes that are seen from here, those in containers too."""
    yield from (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def command_of(pid: int) -> str:
    """Its command line."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    return ""
