"""What a model client is: the protocol that every vendor's client fulfils, and the key of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent.llm.messages import Reply, Request


@dataclass(frozen=True, slots=True)
class CallKey:
    """Which call of which trajectory this is. Equal keys mean the same call, in a resumed or a replayed run too."""

    instance: str
    stage: str
    """`relevance`, `ranking`, `testing`, `editing` or `selection`."""
    sample: int
    branch: str
    """Empty on a trajectory's trunk; see `agent.trajectory.flow.Flow.all`."""
    sequence: int
    """0 for the first effect on the branch."""
    attempt: int = 0
    """How often the trajectory was given up and begun anew before (`runoff resume --retry`): each draws another seed."""

    def __str__(self) -> str:
        attempt = f"~{self.attempt}" if self.attempt else ""
        branch = f"/{self.branch}" if self.branch else ""
        return f"{self.instance}/{self.stage}/{self.sample}{attempt}{branch}/{self.sequence}"


class Client(Protocol):
    """Completes requests. Safe to use from many tasks at once."""

    spec: str
    """How the user names it: `anthropic:MODEL`, `openai:MODEL@URL`, `manual:DIR`, `replay:RUN`."""

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """One completion.

        Raises ContextExceeded; NoKey, WrongKey, UnknownModel, RequestRefused; ServerUnavailable.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@runtime_checkable
class Counts(Protocol):
    """A client whose server counts tokens."""

    async def count(self, request: Request) -> int | None:
        """Prompt tokens as the server counts them; None where it cannot."""
        ...
