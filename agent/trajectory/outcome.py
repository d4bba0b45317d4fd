"""How a trajectory ended and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sandbox.api import Execution, Patch, Script, Verdict


class Outcome(StrEnum):
    """Why a trajectory ended. All are terminal; a fault of the infrastructure or a budget parks it (see `Parked`)."""

    DONE = "done"  # the model approved its work
    ATTEMPTS = "attempts"  # out of turns; what there is counts
    CONTEXT = "context"  # the conversation no longer fits the model; what there is counts
    NO_EDIT = "no edit"  # ended without a patch


@dataclass(frozen=True, slots=True)
class TriedScript:
    """A script and what it did on the unpatched tree."""

    script: Script
    baseline: Execution

    @property
    def reproduces(self) -> bool:
        """Whether the script finds the issue on the unpatched tree."""
        return self.baseline.verdict is Verdict.ISSUE


@dataclass(frozen=True, slots=True)
class ScriptDraft:
    """The end of a testing trajectory."""

    outcome: Outcome
    turns: int
    tried: TriedScript | None = None


@dataclass(frozen=True, slots=True)
class PatchDraft:
    """The end of an editing trajectory."""

    outcome: Outcome
    turns: int
    patch: Patch | None = None
    tried: TriedScript | None = None
    """The last script: the one that it was seeded with, or one that it wrote itself."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A trajectory that a fault of the infrastructure or a budget interrupted; resuming takes it up again."""

    cause: str
    """`sandbox.errors.RunoffError.cause` of what interrupted it."""
    message: str
