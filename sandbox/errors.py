"""The errors that every layer shares: what happened, where, and the next command to try.

    RunoffError                    anything that ends a command with a message
    +-- InputError                 bad input or settings; nothing was started, nothing spent (exit 2)
    |   +-- EnvironmentBuildError  the set-up command failed, or the environment cannot run a script
    +-- BudgetReached              a limit on money, tokens or calls (exit 3)
    +-- InfrastructureError        a server, an engine or a disk failed; resume later (exit 4)
    |   +-- SandboxError           the sandbox could not give an answer
    |   |   +-- SandboxUnavailable no backend works on this machine
    |   |   +-- SandboxLost      a container, a runner or the engine went away; the same again may succeed
    |   +-- StoreError             the run directory cannot be read or written

What a model got wrong is never an error of this tree: it is a value that goes back to the model.
"""

from __future__ import annotations

from typing import ClassVar


class RunoffError(Exception):
    """Root of the tree.

    `message` says what happened, `where` which file, command or server it concerns, `hint` the next command.
    `exit_code` is the status that the command line ends with, `cause` the word that reports group failures by.
    """

    exit_code: ClassVar[int] = 4
    cause: ClassVar[str] = "infrastructure"

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.where})" if self.where else self.message


class InputError(RunoffError):
    """Input or settings that cannot be used."""

    exit_code = 2
    cause = "data"


class EnvironmentBuildError(InputError):
    """An environment could not be built, or its baseline is not healthy."""

    cause = "environment"


class BudgetReached(RunoffError):
    """A limit on money, tokens or calls ends the run; what is left can be resumed."""

    exit_code = 3
    cause = "budget"


class InfrastructureError(RunoffError):
    """Something outside the work itself failed; the work is parked and can be resumed."""


class SandboxError(InfrastructureError):
    """A sandbox could not carry an execution out. Never counts as a script's failure."""

    cause = "sandbox"


class SandboxUnavailable(SandboxError):
    """No backend works on this machine, or the one that was asked for does not."""


class SandboxLost(SandboxError):
    """A container, a runner or the engine went away under what it did, or refused; the same again may succeed."""


class StoreError(InfrastructureError):
    """A run directory cannot be read or written."""

    cause = "store"
