"""The bound on calls in flight, and the order in which a shared prefix is primed."""

from __future__ import annotations

import asyncio

import pytest

from agent.llm.limiter import Limiter
from agent.llm.prefix_cache import PrefixCache
from agent.llm.primer import Primer


class Work:
    """Tasks that hold something until they are told to end."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ends: dict[int, asyncio.Future[None]] = {}

    async def do(self, number: int) -> None:
        self.begun.append(number)
        self.ends[number] = asyncio.get_running_loop().create_future()
        await self.ends[number]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class TestLimiter:
    async def hold(self, limiter: Limiter, work: Work, number: int) -> None:
        async with limiter.slot():
            await work.do(number)

    async def test_bound_and_order(self) -> None:
        limiter, work = Limiter(2), Work()
        tasks = [asyncio.create_task(self.hold(limiter, work, number)) for number in range(4)]
        await settle()
        assert (work.begun, limiter.in_flight) == ([0, 1], 2)
        work.ends[1].set_result(None)
        await settle()
        assert work.begun == [0, 1, 2]
        for number in (0, 2):
            work.ends[number].set_result(None)
        await settle()
        work.ends[3].set_result(None)
        await asyncio.gather(*tasks)
        assert limiter.in_flight == 0

    async def test_lower_ranks_go_first(self) -> None:
        limiter, work = Limiter(1), Work()

        async def hold(number: int, rank: int) -> None:
            async with limiter.slot(rank):
                await work.do(number)

        ranks = [7, 3, 1, 3, 0]
        tasks = [asyncio.create_task(hold(number, rank)) for number, rank in enumerate(ranks)]
        await settle()
        tasks[4].cancel()
        for _ in range(4):
            work.ends[work.begun[-1]].set_result(None)
            await settle()
        assert work.begun == [0, 2, 1, 3]
        await asyncio.gather(*tasks[:4])
        assert limiter.in_flight == 0

    async def test_bound_that_changes(self) -> None:
        limiter, work = Limiter(1), Work()
        tasks = [asyncio.create_task(self.hold(limiter, work, number)) for number in range(4)]
        await settle()
        limiter.limit = 3
        await settle()
        assert work.begun == [0, 1, 2]
        limiter.limit = 1
        work.ends[0].set_result(None)
        await settle()
        assert work.begun == [0, 1, 2]
        for number in (1, 2):
            work.ends[number].set_result(None)
        await settle()
        work.ends[3].set_result(None)
        await asyncio.gather(*tasks)

    async def test_cancelled_waiters_lose_no_slot(self) -> None:
        limiter, work = Limiter(1), Work()
        first, second, third = (asyncio.create_task(self.hold(limiter, work, number)) for number in range(3))
        await settle()
        work.ends[0].set_result(None)
        await first  # the slot is given to the second, which is cancelled before it runs
        second.cancel()
        await settle()
        assert 2 in work.begun
        work.ends[2].set_result(None)
        await asyncio.gather(second, third, return_exceptions=True)
        assert limiter.in_flight == 0

    async def test_slot_of_a_failure_is_given_back(self) -> None:
        limiter = Limiter(1)
        with pytest.raises(ValueError, match="x"):
            async with limiter.slot():
                raise ValueError("x")
        assert limiter.in_flight == 0


class TestPrimer:
    async def call(self, primer: Primer, work: Work, number: int, prefix: str = "p", tokens: int = 5000) -> None:
        async with primer.turn(prefix, tokens):
            await work.do(number)

    async def test_first_goes_alone(self) -> None:
        primer, work = Primer(), Work()
        tasks = [asyncio.create_task(self.call(primer, work, number)) for number in range(4)]
        await settle()
        assert work.begun == [0]
        work.ends[0].set_result(None)
        await settle()
        assert sorted(work.begun) == [0, 1, 2, 3]
        for number in (1, 2, 3):
            work.ends[number].set_result(None)
        await asyncio.gather(*tasks)

    async def test_after_a_failure_the_others_go_together(self) -> None:
        """A server that is down is not waited for by one after the other."""
        primer, work = Primer(), Work()
        tasks = [asyncio.create_task(self.call(primer, work, number)) for number in range(4)]
        await settle()
        work.ends[0].set_exception(ValueError("no"))
        await settle()
        assert work.begun == [0, 1, 2, 3]
        tasks[1].cancel()
        for number in (2, 3):
            work.ends[number].set_result(None)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [ValueError, asyncio.CancelledError, type(None), type(None)]

    async def test_prefixes_do_not_wait_for_each_other(self) -> None:
        primer, work = Primer(), Work()
        tasks = [
            asyncio.create_task(self.call(primer, work, number, prefix)) for number, prefix in enumerate(["p", "q", "", ""])
        ]
        await settle()
        assert sorted(work.begun) == [0, 1, 2, 3]
        for end in work.ends.values():
            end.set_result(None)
        await asyncio.gather(*tasks)

    async def test_expired_prefix_is_primed_again_by_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 1000.0
        monkeypatch.setattr("agent.llm.primer.time.monotonic", lambda: now)
        primer, work = Primer(PrefixCache(lifetime=300.0)), Work()

        async def begin(*numbers: int) -> list[asyncio.Task[None]]:
            tasks = [asyncio.create_task(self.call(primer, work, number)) for number in numbers]
            await settle()
            return tasks

        tasks = await begin(0)
        now += 290  # a slow call: the cache was read when it began
        work.ends[0].set_result(None)
        tasks += await begin(1)
        assert work.begun == [0, 1]
        now += 310
        work.ends[1].set_result(None)
        await settle()
        tasks += await begin(2, 3, 4)
        assert work.begun == [0, 1, 2]
        now += 310  # longer than the lifetime, and still those that have waited do not wait for each other
        work.ends[2].set_result(None)
        await settle()
        assert work.begun == [0, 1, 2, 3, 4]
        for number in (3, 4):
            work.ends[number].set_result(None)
        await asyncio.gather(*tasks)

    async def test_prefix_of_an_own_server_stays_warm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 1000.0
        monkeypatch.setattr("agent.llm.primer.time.monotonic", lambda: now)
        primer, work = Primer(), Work()
        tasks = [asyncio.create_task(self.call(primer, work, 0))]
        await settle()
        work.ends[0].set_result(None)
        await settle()
        now += 100_000.0
        tasks += [asyncio.create_task(self.call(primer, work, number)) for number in (1, 2)]
        await settle()
        assert work.begun == [0, 1, 2]
        for number in (1, 2):
            work.ends[number].set_result(None)
        await asyncio.gather(*tasks)

    async def test_prefix_that_is_too_short_to_be_cached_is_not_waited_for(self) -> None:
        primer, work = Primer(PrefixCache(min_tokens=1024)), Work()
        tasks = [asyncio.create_task(self.call(primer, work, n, str(n // 2), (1023, 1024)[n // 2])) for n in range(4)]
        await settle()
        assert work.begun == [0, 1, 2]
        for number in (0, 1, 2):
            work.ends[number].set_result(None)
        await settle()
        work.ends[3].set_result(None)
        await asyncio.gather(*tasks)

    async def test_first_that_is_cancelled_lets_the_others_go(self) -> None:
        primer, work = Primer(), Work()
        tasks = [asyncio.create_task(self.call(primer, work, number)) for number in range(3)]
        await settle()
        tasks[0].cancel()
        await settle()
        assert work.begun == [0, 1, 2]
        for number in (1, 2):
            work.ends[number].set_result(None)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_switched_off(self) -> None:
        primer, work = Primer(enabled=False), Work()
        tasks = [asyncio.create_task(self.call(primer, work, number)) for number in range(3)]
        await settle()
        assert work.begun == [0, 1, 2]
        for end in work.ends.values():
            end.set_result(None)
        await asyncio.gather(*tasks)
