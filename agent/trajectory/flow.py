"""The effects that a trajectory may have: ask a model, run a script, do several things at once.

A trajectory is a plain async function over a `Flow`. Local variables are its state; every effect goes through here
and into the journal. To resume, the same function runs again: effects that the journal holds return at once, the
first one that it lacks is carried out. So a trajectory has no clock, no randomness and no tasks of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from agent.llm.client import CallKey
from agent.llm.errors import ContextExceeded
from agent.llm.messages import Reply, Request, StopReason, Usage
from agent.redaction import of_process
from agent.trajectory.journal import Entry, Journal, JournalMismatch
from sandbox.api import Execution, Patch, Script
from sandbox.errors import BudgetReached, InfrastructureError, RunoffError

T = TypeVar("T")


class Asks(Protocol):
    """Completes requests: a model client behind its limiter, retries and ledger (`agent.llm.model.Model`)."""

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """As `agent.llm.client.Client.complete`."""
        ...


class Runs(Protocol):
    """Executes scripts in the instance's environment, each (patch, script, repeat) once."""

    async def run(self, script: Script, patch: Patch | None = None, repeat: int = 0) -> Execution:
        """As `sandbox.api.Sandbox.execute`; equal arguments give the same, shared execution."""
        ...


class KeepsParts(Protocol):
    """Keeps request text, once per digest."""

    def keep(self, request: Request) -> None:
        """Store the parts of the request that are not stored yet."""
        ...


@dataclass(frozen=True, slots=True)
class TrajectoryKey:
    """Which trajectory this is."""

    instance: str
    stage: str
    sample: int
    attempt: int = 0
    """See `agent.llm.client.CallKey`."""


class Flow:
    """The effects of one branch of one trajectory."""

    def __init__(
        self,
        key: TrajectoryKey,
        journal: Journal,
        *,
        model: Asks,
        executor: Runs | None = None,
        parts: KeepsParts | None = None,
        on_effect: Callable[[Entry], None] = lambda entry: None,
        fork: bool = False,
        branch: str = "",
    ) -> None:
        """`fork`: where the journal holds another request, let go of the rest of that branch instead of stopping."""
        self.key = key
        self.branch = branch
        self.journal = journal
        self._model = model
        self._executor = executor
        self._parts = parts
        self._on_effect = on_effect
        self._fork = fork
        self._sequence = 0

    def observed(self, on_effect: Callable[[Entry], None]) -> Flow:
        """The same flow, which calls `on_effect` after each effect, replayed ones included. Use it in place of this one."""
        self._on_effect = on_effect
        return self

    async def ask(self, step: str, request: Request) -> Reply:
        """A completion. Raises ContextExceeded (journaled too), and what the client raises for faults."""
        sequence = self._next()
        entry = self._find("ask", sequence, request.parts)
        if entry is None:
            if self._parts is not None:
                self._parts.keep(request)
            key = self.key
            call = CallKey(key.instance, key.stage, key.sample, self.branch, sequence, key.attempt)
            started = time.monotonic()
            try:
                reply = await self._model.complete(request, call)
                result: dict[str, Any] = {"reply": asdict(reply)}
            except ContextExceeded as error:
                result = {"context_exceeded": error.message, "prompt_tokens": error.prompt_tokens, "limit": error.limit}
            except (InfrastructureError, BudgetReached) as error:
                self._note(step, sequence, error)
                raise
            entry = Entry("ask", self.branch, sequence, step, request.parts, result, time.monotonic() - started)
            await self.journal.commit(entry)
        self._on_effect(entry)
        if "context_exceeded" in entry.result:
            raise ContextExceeded(
                entry.result["context_exceeded"], prompt_tokens=entry.result["prompt_tokens"], limit=entry.result["limit"]
            )
        return reply_from(entry.result["reply"])

    async def run(self, step: str, script: Script, patch: Patch | None = None, repeat: int = 0) -> Execution:
        """An execution; `repeat` tells repeated executions of the same pair apart, for flake checks."""
        if self._executor is None:
            raise TypeError("this flow has no executor")
        sequence = self._next()
        parts = {"script": script.digest, "patch": patch.digest if patch else "", "repeat": str(repeat)}
        entry = self._find("run", sequence, parts)
        if entry is None:
            started = time.monotonic()
            try:
                execution = await self._executor.run(script, patch, repeat)
            except InfrastructureError as error:
                self._note(step, sequence, error)
                raise
            result = {"execution": asdict(execution)}
            entry = Entry("run", self.branch, sequence, step, parts, result, time.monotonic() - started)
            await self.journal.commit(entry)
        self._on_effect(entry)
        return Execution(**entry.result["execution"])

    async def all(
        self, bodies: Sequence[Callable[[Flow], Awaitable[T]]], *, names: Sequence[str] = (), limit: int | None = None
    ) -> list[T]:
        """Run the bodies side by side, each on a branch of its own; results in order. At most `limit` at once.

        Branches are named in program order (`0.2`: effect 0, third body), or by `names`. The first fault stops bodies
        that have not begun; those under way end first, so that what they paid for is journaled. Then it is raised.
        """
        sequence = self._next()
        labels = list(names) or [f"{sequence}.{index}" for index in range(len(bodies))]
        children = [self._child(f"{self.branch}/{label}" if self.branch else label) for label in labels]
        gate = asyncio.Semaphore(limit or max(1, len(bodies)))
        faults: list[Exception] = []
        results: dict[int, T] = {}

        async def one(index: int) -> None:
            async with gate:
                if faults:
                    return
                try:
                    results[index] = await bodies[index](children[index])
                except Exception as error:
                    faults.append(error)

        async with asyncio.TaskGroup() as group:
            for index in range(len(bodies)):
                group.create_task(one(index))
        if faults:
            raise faults[0]
        return [results[index] for index in range(len(bodies))]

    def _child(self, branch: str) -> Flow:
        return Flow(
            self.key,
            self.journal,
            model=self._model,
            executor=self._executor,
            parts=self._parts,
            on_effect=self._on_effect,
            fork=self._fork,
            branch=branch,
        )

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _find(self, kind: str, sequence: int, parts: dict[str, str]) -> Entry | None:
        """What the journal holds at this place. A flow passes each place once, so the journal need not keep it."""
        try:
            entry = self.journal.find(kind, self.branch, sequence, parts)
        except JournalMismatch:
            if not self._fork:
                raise
            self.journal.fork(self.branch, sequence)
            return None
        if entry is not None:
            self.journal.forget(entry)
        return entry

    def _note(self, step: str, sequence: int, error: RunoffError) -> None:
        of_process().cleanse(error)  # servers and engines quote what they were sent
        self.journal.note(
            branch=self.branch,
            sequence=sequence,
            step=step,
            cause=error.cause,
            message=error.message,
            where=error.where,
        )


def reply_from(fields: dict[str, Any]) -> Reply:
    """A reply as the journal holds it."""
    return Reply(**{**fields, "usage": Usage(**fields["usage"]), "stop_reason": StopReason(fields["stop_reason"])})
