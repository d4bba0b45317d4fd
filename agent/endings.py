"""How an instance of a run ended for now: with a patch, or without one for a cause that a report can count.

    model           the model came to no patch: no edit, nothing that applies, only tests
    context         what it was to read or to say does not fit the model
    budget          a limit on money, tokens or calls
    sandbox         an environment could not be built, or the sandbox gave no answer
    infrastructure  a model server, a disk, or runoff itself failed
    data            the row, its repository or its commit cannot be used

The first two are the model's, and final unless they are asked for again. None of the others says anything about it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from agent.jsonl import DamagedFile
from agent.llm.budget import IssueBudgetReached
from agent.llm.errors import ContextExceeded, NoKey, RequestRefused, UnknownModel, WrongKey
from sandbox.errors import (
    BudgetReached,
    EnvironmentBuildError,
    InfrastructureError,
    InputError,
    RunoffError,
    SandboxError,
    StoreError,
)

RECORD = "failure.json"
"""In an instance's folder: why it has no result."""


class Cause(StrEnum):
    """Why an instance has no patch."""

    MODEL = "model"
    CONTEXT = "context"
    BUDGET = "budget"
    SANDBOX = "sandbox"
    INFRASTRUCTURE = "infrastructure"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of an instance. Travels between processes: nothing in it but text, numbers and a cause."""

    instance: str
    cause: Cause | None
    """None: it did what was asked, which is a patch unless the stages end before one."""
    reason: str
    where: str = ""
    hint: str = ""
    waits: bool = False
    """Nothing is decided: to go on with the run takes it up again. What does not wait is taken up when asked for."""
    fault: str = ""
    """What failed, in a word that is the same for all instances that it hits; empty if nothing did."""
    of_the_run: bool = False
    """The fault is not this instance's: it will hit every other one too."""
    patch: bool = False
    seconds: float = 0.0
    dollars: float | None = 0.0
    """None: unknown."""

    def record(self) -> dict[str, Any]:
        """For `failure.json`."""
        return {
            name: value for name, value in asdict(self).items() if name not in ("instance", "patch", "seconds", "dollars")
        }


@dataclass(frozen=True, slots=True)
class _Kind:
    """What an error of some class says about an instance; the fields are those of `Ending`."""

    cause: Cause
    waits: bool = False
    of_the_run: bool = False


_KINDS: tuple[tuple[type[RunoffError] | tuple[type[RunoffError], ...], _Kind], ...] = (
    (IssueBudgetReached, _Kind(Cause.BUDGET)),
    (BudgetReached, _Kind(Cause.BUDGET, waits=True, of_the_run=True)),
    (ContextExceeded, _Kind(Cause.CONTEXT)),
    (EnvironmentBuildError, _Kind(Cause.SANDBOX)),
    (SandboxError, _Kind(Cause.SANDBOX, waits=True)),
    ((NoKey, WrongKey, UnknownModel), _Kind(Cause.INFRASTRUCTURE, waits=True, of_the_run=True)),
    (DamagedFile, _Kind(Cause.INFRASTRUCTURE, waits=True)),
    (StoreError, _Kind(Cause.INFRASTRUCTURE, waits=True, of_the_run=True)),
    (RequestRefused, _Kind(Cause.INFRASTRUCTURE)),  # as it would be the next time
    (InfrastructureError, _Kind(Cause.INFRASTRUCTURE, waits=True)),
    (InputError, _Kind(Cause.DATA)),
)
"""The first that fits counts."""


def failed(instance: str, error: Exception) -> Ending:
    """The ending of an instance that an error stopped."""
    if not isinstance(error, RunoffError):
        reason = f"unexpected {type(error).__name__}: {error}"
        hint = "this is a fault of runoff: please report it"
        fault = f"unexpected {type(error).__name__}"
        return Ending(instance, Cause.INFRASTRUCTURE, reason, hint=hint, fault=fault)
    kind = next((kind for classes, kind in _KINDS if isinstance(error, classes)), _Kind(Cause.INFRASTRUCTURE, waits=True))
    fault = error.cause if kind.waits or kind.cause is Cause.INFRASTRUCTURE else ""
    return Ending(
        instance,
        kind.cause,
        error.message,
        error.where,
        error.hint,
        waits=kind.waits,
        fault=fault,
        of_the_run=kind.of_the_run,
    )
