"""What one execution may use: the settings of the run, and what an environment has in their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from agent.cli.settings import SolveSettings
from sandbox.api import UNITS, EnvironmentSpec, Execution, Limits


def bounded_by(settings: SolveSettings, spec: EnvironmentSpec | None) -> SolveSettings:
    """The settings under which an environment's scripts are run: models are told them, the sandbox holds scripts to them."""
    own = dict(spec.limits) if spec else {}
    if "seconds" in own:
        own["script_seconds"] = own.pop("seconds")
    return settings.model_copy(update=own)


def limits_of(settings: SolveSettings) -> Limits:
    """The limits that these settings set."""
    return Limits(
        seconds=settings.script_seconds,
        memory_mb=settings.memory_mb,
        processes=settings.processes,
        disk_mb=settings.disk_mb,
        inodes=settings.inodes,
        output_chars=settings.output_chars,
    )


def in_words(limits: Limits) -> str:
    """Such as `120 seconds, 2048 MiB of memory, ...`."""
    return ", ".join(f"{limits.of(limit):g} {UNITS[limit]}" for limit in UNITS)


def reached(executions: Iterable[Execution]) -> str:
    """Which limits ended executions, and how many: `3 x 120 seconds`; empty if none did. Cut output ends nothing."""
    ended = Counter(execution.limit_words for execution in executions if execution.limit not in (None, "output"))
    return ", ".join(f"{count} x {words}" for words, count in ended.most_common())
