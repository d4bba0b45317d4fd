"""What the pipeline tells whoever watches it. How it is shown is up to the watcher (`agent.cli.progress`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

NOTE = "note"


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened in a stage of an instance."""

    instance: str
    stage: str
    """`started`; `environment`, `relevance`, `ranking`, `testing`, `editing`, `matrix` or `selection`; `ended`, in a run
    of many instances; `note` for what belongs to no stage: a warning, a call that is repeated."""
    text: str
    done: int = 0
    """How much of the stage is done, out of `total`; both 0 where that is not known. With `started` and `ended`: instances
    of the run that have."""
    total: int = 0
    passing: bool = False
    """Of interest only as long as it is the newest: a plain log leaves it out."""
    cause: str = ""
    """With `ended`: why the instance has no patch (`agent.endings.Cause`)."""

    def to_json(self) -> dict[str, Any]:
        """For a line of `--json`."""
        return asdict(self)


def note(text: str) -> Event:
    """An event that belongs to no stage."""
    return Event("", NOTE, text)


Watch = Callable[[Event], None]
