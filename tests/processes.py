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
    return (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def command_of(pid: int) -> str:
    """Its command line."""
    return " ".join(arguments_of(pid))


def arguments_of(pid: int) -> list[str]:
    """The words of its command line, and an empty one behind them; nothing of a process that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    return []
