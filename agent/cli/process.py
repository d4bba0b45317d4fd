"""What a process that carries many instances at once asks of its system: open files, and less looking for garbage."""

from __future__ import annotations

import gc
import resource

MOST_FILES = 65_536
OTHER_FILES = 10
"""Files and pipes of an instance under way besides its two journals a sample: the repository's processes, the executions."""
SPARE_FILES = 200
"""What is open whatever is under way."""
COLLECTED = (5_000, 5, 5)
"""Objects made, less those let go of, after which the youngest are looked through; how often that happens until older ones
are. Python's own numbers are 700, 10 and 10. With these all are looked through some twenty times in 500 instances of ten
samples: what an instance leaves in cycles must not pile up."""


def allow_files(at_once: int, samples: int, in_flight: int) -> str:
    """Let this process open as many files as the system allows; shells say 1,024. If it may be too few, what to tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    needed = SPARE_FILES + in_flight + at_once * (2 * samples + OTHER_FILES)
    if needed <= wanted:
        return ""
    return (
        f"{at_once} instances at once with {in_flight} calls in flight may open {needed:,} files, and the system allows"
        f" {wanted:,}: raise that limit (ulimit -Hn), or lower --in-flight or --instances-at-once"
    )


def collect_rarely() -> None:
    """Look for garbage in cycles less often, and not in what lives as long as the process: that took 8 % of its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED)
