"""Many instances on one machine: so many at once, in order, until all have ended or going on makes no sense.

What an instance is and how it is carried through is the caller's affair: a `Factory` opens what the instances on one
machine share and gives a `Carry`. So a scheduler over several machines can have the same face, given a factory that
can be pickled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from agent.endings import Ending, failed
from agent.tasks import all_ended


@dataclass(frozen=True, slots=True)
class Job:
    """An instance to carry through."""

    instance: str
    rank: int
    """Its place in the order of starts. Where instances wait for the same thing, lower ranks go first."""


Carry = Callable[[Job], Awaitable[Ending]]
"""Carries an instance to an ending; what goes wrong with it is an ending too."""
Factory = Callable[[], AbstractAsyncContextManager[Carry]]
"""Opens what all instances on a machine share."""


class Scheduler(Protocol):
    """Carries jobs through."""

    async def run(self, jobs: Iterable[Job], factory: Factory, ended: Callable[[Ending], None]) -> Ending | None:
        """Carry all jobs through; `ended` hears of each ending as it comes. What stopped the run early, if anything did.

        Raises what `factory` and `ended` raise, after the instances under way have ended.
        """
        ...


@dataclass(slots=True)
class Breaker:
    """Stops a run in which everything fails for the same reason, so that a split is not burnt through in vain.

    A fault that is the whole run's (the budget, a key that was revoked, a full disk) stops it at once. Any other does
    when so many endings in a row have it; an instance that ends otherwise in between shows that it is not everybody's.
    """

    in_a_row: int = 5
    open: Ending | None = None
    """The ending that stopped the run."""
    _fault: str = ""
    _count: int = 0

    def sees(self, ending: Ending) -> None:
        """Take an ending into account."""
        if ending.fault and ending.fault == self._fault:
            self._count += 1
        else:
            self._fault, self._count = ending.fault, int(bool(ending.fault))
        if self.open is None and (ending.of_the_run or self._count >= self.in_a_row):
            self.open = ending


@dataclass(slots=True)
class LocalScheduler:
    """The instances of a run in one process, on one event loop."""

    at_once: int
    breaker: Breaker = field(default_factory=Breaker)

    async def run(self, jobs: Iterable[Job], factory: Factory, ended: Callable[[Ending], None]) -> Ending | None:
        """See `Scheduler`. Cancelling it cancels the instances under way."""
        waiting = iter(jobs)
        async with factory() as carry:
            await all_ended([self._work(waiting, carry, ended) for _ in range(self.at_once)])
        return self.breaker.open

    async def _work(self, waiting: Iterator[Job], carry: Carry, ended: Callable[[Ending], None]) -> None:
        """One instance after the other, for as long as there are some and nothing stops the run."""
        while self.breaker.open is None and (job := next(waiting, None)) is not None:
            try:
                ending = await carry(job)
            except Exception as error:
                ending = failed(job.instance, error)
            self.breaker.sees(ending)
            try:
                ended(ending)
            except Exception as error:  # the caller cannot note it down: nobody else's ending either
                self.breaker.open = self.breaker.open or failed(job.instance, error)
                raise
