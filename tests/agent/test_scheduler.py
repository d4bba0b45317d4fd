"""The scheduler: so many at once, in order, to the end; and the breaker that ends a run in which everything fails alike."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from agent.endings import Cause, Ending, failed
from agent.llm.budget import IssueBudgetReached
from agent.llm.errors import ContextExceeded, ServerUnavailable, WrongKey
from agent.scheduler import Breaker, Job, LocalScheduler
from sandbox.errors import BudgetReached, EnvironmentBuildError, InputError, SandboxError, StoreError

JOBS = [Job(f"job-{number}", number) for number in range(20)]


class Crew:
    """Carries jobs as a test says, and counts."""

    def __init__(self, body=None):
        self.begun, self.ended, self.open = [], [], False
        self.most = self._now = 0
        self._body = body

    @asynccontextmanager
    async def factory(self):
        self.open = True
        yield self.carry
        self.open = False

    async def carry(self, job):
        assert self.open
        self.begun.append(job.rank)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            if self._body:
                return await self._body(job)
            await asyncio.sleep(0.001)
            return Ending(job.instance, None, "won", patch=True)
        finally:
            self._now -= 1


def fails(error):
    async def body(job):
        await asyncio.sleep(0)
        return failed(job.instance, error)

    return body


async def test_all_are_carried_in_order_so_many_at_once():
    crew = Crew()
    stopped = await LocalScheduler(4).run(iter(JOBS), crew.factory, crew.ended.append)
    assert stopped is None
    assert crew.begun == list(range(20))
    assert crew.most == 4
    assert len(crew.ended) == 20
    assert not crew.open


async def test_an_exception_is_an_ending():
    async def body(job):
        if job.rank % 2:
            raise ValueError("oops")
        return Ending(job.instance, None, "won", patch=True)

    crew = Crew(body)
    assert await LocalScheduler(2, Breaker(3)).run(JOBS, crew.factory, crew.ended.append) is None
    faults = [ending for ending in crew.ended if ending.cause]
    assert len(faults) == 10
    assert {(ending.cause, ending.reason) for ending in faults} == {(Cause.INFRASTRUCTURE, "unexpected ValueError: oops")}


async def test_the_same_fault_in_a_row_stops_the_run():
    crew = Crew(fails(ServerUnavailable("gone")))
    stopped = await LocalScheduler(2, Breaker(5)).run(JOBS, crew.factory, crew.ended.append)
    assert stopped is not None
    assert stopped.reason == "gone"
    assert len(crew.ended) in (5, 6)


@pytest.mark.parametrize("error", [StoreError("disk full"), WrongKey("revoked"), BudgetReached("spent")])
async def test_a_fault_of_the_whole_run_stops_it_at_once(error):
    crew = Crew(fails(error))
    stopped = await LocalScheduler(1, Breaker(5)).run(JOBS, crew.factory, crew.ended.append)
    assert (stopped.reason, len(crew.ended)) == (error.message, 1)


@pytest.mark.parametrize(
    "error", [InputError("no clone"), EnvironmentBuildError("pip"), ContextExceeded("long"), IssueBudgetReached("dear")]
)
async def test_what_is_an_instances_own_stops_nothing(error):
    crew = Crew(fails(error))
    assert await LocalScheduler(2, Breaker(3)).run(JOBS, crew.factory, crew.ended.append) is None
    assert len(crew.ended) == 20
    assert not any(ending.waits for ending in crew.ended)


def test_faults_that_alternate_with_success_or_differ_open_no_breaker():
    breaker = Breaker(2)
    for error in (SandboxError("a"), ServerUnavailable("b"), SandboxError("a")):
        breaker.sees(failed("x", error))
    breaker.sees(Ending("y", None, "won", patch=True))
    breaker.sees(failed("x", SandboxError("a")))
    assert breaker.open is None
    breaker.sees(failed("x", SandboxError("another word, the same fault")))
    assert breaker.open is not None


async def test_an_ending_that_cannot_be_noted_ends_the_run_after_those_under_way():
    finished = []

    async def body(job):
        await asyncio.sleep(0.01 * (job.rank + 1))
        finished.append(job.rank)
        return Ending(job.instance, None, "won", patch=True)

    def full(ending):
        raise StoreError("no space left")

    crew = Crew(body)
    with pytest.raises(StoreError):
        await LocalScheduler(3).run(JOBS, crew.factory, full)
    assert finished == [0, 1, 2]


async def test_cancelling_cancels_what_is_under_way():
    cancelled = []

    async def body(job):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(job.rank)
            raise

    crew = Crew(body)
    task = asyncio.create_task(LocalScheduler(3).run(JOBS, crew.factory, crew.ended.append))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == [0, 1, 2]
    assert crew.ended == []
