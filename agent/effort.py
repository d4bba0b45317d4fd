"""What working on an instance has taken besides its calls, for reports and for the next run's estimate of time.

Calls are in the ledger, by stage. This is the rest: how long the instance was under way, how long its environment took, and
what it had executed. Nothing is decided by it, so a kill may lose the seconds of the process that it hits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from agent.store import InstanceStore

EFFORT = "effort.json"
"""In an instance's folder."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds are those of all processes that worked on the instance."""

    seconds: float = 0.0
    """For which it was under way, waiting for others' calls and executions included."""
    environment_seconds: float = 0.0
    """Of these, until its environment was there and healthy."""
    executions: int = 0
    sandbox_seconds: float = 0.0
    """How long the executions took, added up; they ran side by side."""

    @classmethod
    def read(cls, store: InstanceStore) -> Effort | None:
        """What is noted so far; None if nothing is. Raises StoreError."""
        names = [field.name for field in fields(cls)]
        held = store.read(EFFORT, *names)
        return cls(**{name: held[name] for name in names}) if held else None

    def write(self, store: InstanceStore) -> None:
        """Note it down. Raises StoreError."""
        store.write(EFFORT, {name: round(value, 3) for name, value in asdict(self).items()})

    def later(self, seconds: float, environment_seconds: float, executions: int, sandbox_seconds: float) -> Effort:
        """After so many more seconds. Executions are looked up, not done again: theirs are all that there are now."""
        return Effort(self.seconds + seconds, self.environment_seconds + environment_seconds, executions, sandbox_seconds)
