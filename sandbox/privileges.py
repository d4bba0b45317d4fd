"""What this process may do on its host, as far as the local backend depends on it."""

from __future__ import annotations

import os
from pathlib import Path

OTHER_UID = 64_999
"""A user that owns nothing: scripts run as it where this process is root. Outside the ranges that systems hand out."""
CAP_SYS_ADMIN = 21


def other_uid() -> int:
    """The user to run scripts as; zero where this process has no privileges and keeps its own."""
    if os.geteuid() != 0:
        return 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return OTHER_UID if int(line.split()[1], 16) >> CAP_SYS_ADMIN & 1 else 0
    return 0
