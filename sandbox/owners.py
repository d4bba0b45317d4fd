"""Which process made a container, said so exactly that another process can tell whether it still lives.

A process id alone does not do: it is given out again, and means nothing in another namespace or on another machine.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

OWNER_LABEL = "runoff.owner"
State = Literal["alive", "dead", "unknown"]
_PROC = Path("/proc")


def this_process() -> str:
    """`boot/namespace/pid/start` of this process; empty where the kernel does not say (not Linux)."""
    place, pid = _place(), _own_pid()
    start = _start_of(pid) if pid else ""
    return f"{place}/{pid}/{start}" if place and start else ""


def state(owner: str) -> State:
    """What became of the process that `this_process` described; `unknown` if it is none of this machine's."""
    place, _, rest = owner.rpartition("/")[0].rpartition("/")
    start = owner.rpartition("/")[2]
    if not place or place != _place():
        return "unknown"
    return "alive" if _start_of(rest) == start else "dead"


@cache
def _place() -> str:
    """The boot of this machine, and the namespace that process ids count in."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _own_pid() -> str:
    try:
        return str((_PROC / "self").readlink())  # not getpid: it may count in another namespace than /proc does
    except OSError:
        return ""


def _start_of(pid: str) -> str:
    """When the process started, in ticks since the boot; empty if there is none, or only its remains."""
    try:
        fields = (_PROC / pid / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
