"""A model as trajectories see it: a client behind priming, the limit on calls in flight, retries and the ledger."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from agent.llm.budget import Budget, IssueBudgetReached
from agent.llm.client import CallKey, Client, Counts
from agent.llm.errors import Declined
from agent.llm.faults import ContextFilled, Transient
from agent.llm.ledger import Ledger
from agent.llm.limiter import Limiter, Slot
from agent.llm.messages import Reply, Request, StopReason, Usage
from agent.llm.prices import Price
from agent.llm.primer import Primer
from agent.llm.retry import Repeat, RetryLimits, with_retries
from agent.llm.tokens import BYTES_PER_TOKEN, bound_counted, bound_prompt, estimate_messages, estimate_prompt
from agent.llm.totals import Worst
from sandbox.errors import BudgetReached, RunoffError, StoreError

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
        budget: Budget | None = None,
        price: Price | None = None,
        limiter: Limiter | None = None,
        primer: Primer | None = None,
        retry: RetryLimits | None = None,
        bytes_per_token: float = BYTES_PER_TOKEN,
        on_repeat: Callable[[CallKey, Repeat], None] = log_repeat,
    ) -> None:
        """`price` None: unknown; `budget` None: no limits. Models may share a limiter, a primer, a ledger and its budget."""
        self.client = client
        self.limiter = limiter or Limiter(16)
        self._ledger = ledger
        self._budget = budget or Budget(ledger)
        self._price = price
        self._primer = primer or Primer()
        self._retry = retry or RetryLimits()
        self._bytes_per_token = bytes_per_token
        self._on_repeat = on_repeat

    async def complete(self, request: Request, key: CallKey, *, rank: int = 0) -> Reply:
        """One completion, on the ledger. Raises what `Client.complete` does, and BudgetReached where it does not fit.

        `rank`: of the calls that wait for a place the lower ones go first.
        ServerUnavailable is raised only after the retries.
        A call that is cancelled stays unsettled on the ledger: what it used is not known.
        """
        prefix = request.shared_prefix and f"{self.client.spec} {request.shared_prefix}"
        tokens = estimate_messages(request.shared, self._bytes_per_token)
        async with (
            self._primer.turn(prefix, tokens),
            self.limiter.slot(rank) as slot,
            self._admitted(request, key, slot) as call,
        ):
            try:
                reply = await with_retries(lambda: call.attempt(self.client, request), self._retry, call.repeat, slot)
            except ContextFilled as error:
                call.settle(error.usage, self._dollars(error.usage), "context")
                raise
            except Declined as error:
                call.settle(Usage(), None, StopReason.REFUSAL)
                return Reply(error.message, model=self.client.spec, stop_reason=StopReason.REFUSAL, seconds=call.seconds)
            except RunoffError as error:
                self._ledger.fail(call.number, str(error), may_be_billed=getattr(error, "may_be_billed", False))
                raise
            reply = replace(reply, text=_whole(reply.text), dollars=self._dollars(reply.usage), seconds=call.seconds)
            call.settle(reply.usage, reply.dollars, reply.stop_reason)
            return reply

    async def close(self) -> None:
        """Close the client's connections."""
        await self.client.close()

    @asynccontextmanager
    async def _admitted(self, request: Request, key: CallKey, slot: Slot) -> AsyncIterator[_Call]:
        """The call, once the budget has room for its worst case and the ledger has its reservation."""
        worst = await self._worst(request, key.instance)
        waits = not self._budget.admits(worst, key.instance)
        if waits:
            slot.give_back()  # or it would keep out those whose settling it waits for
        number = await self._budget.admit(worst, lambda: self._reserve(request, key, worst), key.instance)
        try:
            await self._keep(number)
            if waits:
                await self._take_again(slot, number)
            yield _Call(self._ledger, self._budget, number, key, worst, self._on_repeat)
        finally:
            self._budget.release(key.instance)

    async def _keep(self, number: int) -> None:
        """Wait until the reservation is on the disk."""
        try:
            await self._ledger.lasting()
        except asyncio.CancelledError:
            self._ledger.fail(number, "cancelled before it was sent")
            raise
        except StoreError:
            self._ledger.withdraw(number)
            raise

    async def _take_again(self, slot: Slot, number: int) -> None:
        try:
            await slot.take(again=True)
        except asyncio.CancelledError:
            self._ledger.fail(number, "cancelled before it was sent")
            raise

    def _reserve(self, request: Request, key: CallKey, worst: Worst) -> int:
        estimated = estimate_prompt(request, self._bytes_per_token)
        return self._ledger.reserve(
            key, self.client.spec, prompt_tokens=estimated, max_tokens=request.max_tokens, worst=worst
        )

    async def _worst(self, request: Request, issue: str) -> Worst:
        """A bound on an attempt; where that is too much, a closer one by the server's own count, if it counts."""
        worst = self._at_most(bound_prompt(request), request)
        if self._budget.fits(worst, issue) or not isinstance(self.client, Counts):
            return worst
        counted = await self.client.count(request)
        if counted is None or bound_counted(counted, request) >= worst.tokens - request.max_tokens:
            return worst
        return self._at_most(bound_counted(counted, request), request)

    def _at_most(self, prompt_tokens: int, request: Request) -> Worst:
        dollars = self._price.worst(prompt_tokens, request.max_tokens) if self._price else None
        return Worst(prompt_tokens + request.max_tokens, dollars)

    def _dollars(self, usage: Usage) -> float | None:
        return self._price.dollars(usage) if self._price else None


class OutOfBudget(BudgetReached):
    """A call that has failed, perhaps at a cost, and that the budget does not let be tried again."""

    may_be_billed = True
    flag = "--budget"

    def __init__(self, short: str, fault: Transient) -> None:
        super().__init__(
            f"the budget does not suffice for another attempt: {short}; the last one failed: {fault.message}",
            where=fault.where,
            hint=f"raise it: runoff resume RUN {self.flag} MORE",
        )


class OutOfIssueBudget(OutOfBudget, IssueBudgetReached):
    """The same for the limit on one instance."""

    flag = "--budget-per-issue"


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model as one of many instances sees it; fulfils `agent.trajectory.flow.Asks`."""

    model: Model
    rank: int
    """Its place in the order of starts: its calls go before those of instances that began later."""

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """As the model's."""
        return await self.model.complete(request, key, rank=self.rank)


def _whole(text: str) -> str:
    """The text without halves of surrogate pairs, which servers may send and no file or script can hold."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


@dataclass(slots=True)
class _Call:
    """One call while it is made: how often it was tried, and how long the last attempt took."""

    ledger: Ledger
    budget: Budget
    number: int
    key: CallKey
    worst: Worst
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
        """Raises OutOfBudget where the attempt may be billed and another one does not fit beside it."""
        fault = repeat.fault
        if fault.may_be_billed and (short := self.budget.lacks(self.worst, calls=0)):
            raise OutOfBudget(short, fault)
        if fault.may_be_billed and (short := self.budget.lacks_of_issue(self.worst, self.key.instance)):
            raise OutOfIssueBudget(short, fault)
        self.ledger.repeat(
            self.number, attempt=repeat.attempt, error=str(fault), wait=repeat.wait, may_be_billed=fault.may_be_billed
        )
        self.on_repeat(self.key, repeat)

    def settle(self, usage: Usage, dollars: float | None, stop_reason: str) -> None:
        self.ledger.settle(
            self.number, usage, dollars, seconds=self.seconds, stop_reason=stop_reason, attempts=self.attempts
        )
