"""What can go wrong with a model server, apart from what the model says.

ContextExceeded        the prompt does not fit the model: a fact about the request, journaled like a reply
InputError (exit 2)
+-- NoKey, WrongKey, UnknownModel
    +-- RequestRefused     the server calls the request itself bad
    |   +-- Declined       its policy does not let it answer
InfrastructureError (exit 4)
+-- ServerUnavailable  gave up after the retries: down, overloaded, rate limited, garbled
"""

from __future__ import annotations

from sandbox.errors import InfrastructureError, InputError, RunoffError


class ContextExceeded(RunoffError):
    """The prompt is longer than the model takes. `prompt_tokens` and `limit` where the server told them."""

    cause = "context"

    def __init__(self, message: str, *, prompt_tokens: int | None = None, limit: int | None = None, where: str = "") -> None:
        super().__init__(message, where=where, hint="use a smaller --context-tokens, or a model with a longer context")
        self.prompt_tokens = prompt_tokens
        self.limit = limit


class NoKey(InputError):
    """The environment has no key for this vendor."""


class WrongKey(InputError):
    """The server does not accept the key."""


class UnknownModel(InputError):
    """The server has no model of this name."""


class RequestRefused(InputError):
    """The server says that the request is malformed; sending it again would not help."""


class Declined(RequestRefused):
    """The server's policy declines this very request; `Model` turns it into a reply that is a refusal."""


class ServerUnavailable(InfrastructureError):
    """A server did not give a usable answer, retries included."""

    cause = "model server"
