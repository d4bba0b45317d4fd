"""A model as trajectories see it: a client behind priming, the limit on calls in flight, retries and the ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from agent.llm.client import CallKey, Client
from agent.llm.errors import Declined
from agent.llm.faults import ContextFilled
from agent.llm.ledger import Ledger
from agent.llm.limiter import Limiter
from agent.llm.messages import Reply, Request, StopReason, Usage
from agent.llm.prices import Price
from agent.llm.primer import Primer
from agent.llm.retry import GaveUp, Repeat, RetryLimits, with_retries
from agent.llm.tokens import BYTES_PER_TOKEN, estimate_prompt
from sandbox.errors import RunoffError

logger = logging.getLogger(__name__)


def log_repeat(key: CallKey, repeat: Repeat) -> None:
    """Tell the log of a repeat; what happens if nobody else listens."""
    logger.warning("%s: %s; attempt %d follows in %.0f s", key, repeat.fault, repeat.attempt + 1, repeat.wait)


class Model:
    """Completes requests; fulfils `agent.trajectory.flow.Asks`. Safe to use from many tasks at once."""

    def __init__(
        self,
        client: Client,
        *,
        ledger: Ledger,
        price: Price | None = None,
        limiter: Limiter | None = None,
        primer: Primer | None = None,
        retry: RetryLimits | None = None,
        bytes_per_token: float = BYTES_PER_TOKEN,
        on_repeat: Callable[[CallKey, Repeat], None] = log_repeat,
    ) -> None:
        """`price` None: unknown. A limiter, a primer and a ledger may be shared between models."""
        self.client = client
        self.limiter = limiter or Limiter(16)
        self._ledger = ledger
        self._price = price
        self._primer = primer or Primer()
        self._retry = retry or RetryLimits()
        self._bytes_per_token = bytes_per_token
        self._on_repeat = on_repeat

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """One completion, on the ledger. Raises what `Client.complete` does; ServerUnavailable only after the retries.

        A call that is cancelled stays unsettled on the ledger: what it used is not known.
        """
        prefix = request.shared_prefix and f"{self.client.spec} {request.shared_prefix}"
        async with self._primer.turn(prefix), self.limiter.slot() as slot:
            call = _Call(self._ledger, self._reserve(request, key), key, self._on_repeat)
            try:
                reply = await with_retries(lambda: call.attempt(self.client, request), self._retry, call.repeat, slot)
            except ContextFilled as error:
                call.settle(error.usage, self._dollars(error.usage), "context")
                raise
            except Declined as error:
                call.settle(Usage(), None, StopReason.REFUSAL)
                return Reply(error.message, model=self.client.spec, stop_reason=StopReason.REFUSAL, seconds=call.seconds)
            except RunoffError as error:
                self._ledger.fail(call.number, str(error), may_be_billed=isinstance(error, GaveUp) and error.may_be_billed)
                raise
            reply = replace(reply, text=_whole(reply.text), dollars=self._dollars(reply.usage), seconds=call.seconds)
            call.settle(reply.usage, reply.dollars, reply.stop_reason)
            return reply

    async def close(self) -> None:
        """Close the client's connections."""
        await self.client.close()

    def _reserve(self, request: Request, key: CallKey) -> int:
        prompt = estimate_prompt(request, self._bytes_per_token)
        worst = self._price.worst(prompt, request.max_tokens) if self._price else None
        return self._ledger.reserve(
            key, self.client.spec, prompt_tokens=prompt, max_tokens=request.max_tokens, dollars=worst
        )

    def _dollars(self, usage: Usage) -> float | None:
        return self._price.dollars(usage) if self._price else None


def _whole(text: str) -> str:
    """The text without halves of surrogate pairs, which servers may send and no file or script can hold."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


@dataclass(slots=True)
class _Call:
    """One call while it is made: how often it was tried, and how long the last attempt took."""

    ledger: Ledger
    number: int
    key: CallKey
    on_repeat: Callable[[CallKey, Repeat], None]
    attempts: int = 0
    seconds: float = 0.0

    async def attempt(self, client: Client, request: Request) -> Reply:
        self.attempts += 1
        started = time.monotonic()
        try:
            return await client.complete(request, self.key)
        finally:
            self.seconds = time.monotonic() - started

    def repeat(self, repeat: Repeat) -> None:
        fault = repeat.fault
        self.ledger.repeat(
            self.number, attempt=repeat.attempt, error=str(fault), wait=repeat.wait, may_be_billed=fault.may_be_billed
        )
        self.on_repeat(self.key, repeat)

    def settle(self, usage: Usage, dollars: float | None, stop_reason: str) -> None:
        self.ledger.settle(
            self.number, usage, dollars, seconds=self.seconds, stop_reason=stop_reason, attempts=self.attempts
        )
