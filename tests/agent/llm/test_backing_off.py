"""How the bound on calls in flight follows what a server bears; all in the time of a clock that jumps."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.faults import Transient
from agent.llm.limiter import ALONE, LONGEST_HOLD, UNASKED_HOLD, Limiter, Slot
from agent.llm.retry import GaveUp, RetryLimits, with_retries
from tests.agent.llm.clock import in_no_time

CEILINGS = st.integers(1, 64)
BUSY = Transient("busy", overload=True)
RESET = Transient("reset", may_be_billed=True)
MANY = RetryLimits(attempts=60, seconds=10_000)


def now() -> float:
    return asyncio.get_running_loop().time()


def busy(pause: float) -> Transient:
    return Transient("busy", overload=True, retry_after=pause)


class TestBound:
    """The algebra of the bound alone."""

    @given(CEILINGS, st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=200))
    def test_stays_between_one_and_what_the_user_allows(self, ceiling: int, ends: list[tuple[bool, int]]) -> None:
        limiter = Limiter(ceiling)
        for good, ago in ends:
            before = limiter.limit
            (limiter.raise_bound if good else limiter.lower_bound)(limiter.round - ago)
            assert 1 <= limiter.limit <= ceiling
            assert limiter.limit in ((before, before + 1) if good else (before, max(1, before // 2)))

    @given(CEILINGS, st.integers(4, 64))
    def test_refusals_of_one_round_halve_it_once(self, ceiling: int, refusals: int) -> None:
        limiter = Limiter(ceiling)
        began = limiter.round
        for _ in range(refusals):
            limiter.lower_bound(began)
        assert limiter.limit == max(1, ceiling // 2)

    @given(st.integers(20, 300), st.lists(st.integers(0, 50), max_size=4))
    def test_refusals_that_are_alone_leave_it(self, width: int, gaps: list[int]) -> None:
        limiter = Limiter(width)
        for gap in gaps:
            for _ in range(width + gap):
                limiter.raise_bound(limiter.round)
            for _ in range(math.ceil(width * ALONE) - 1):
                assert not limiter.lower_bound(limiter.round)
        assert limiter.limit == width
        assert limiter.round == 0

    @given(CEILINGS, st.integers(0, 8))
    def test_recovers_by_one_for_as_many_good_calls_as_it_is_wide(self, ceiling: int, halvings: int) -> None:
        limiter = Limiter(ceiling)
        for _ in range(halvings):
            while not limiter.lower_bound(limiter.round):
                pass
        while limiter.limit < ceiling:
            width = limiter.limit
            for _ in range(width):
                assert limiter.limit == width
                limiter.raise_bound(limiter.round)
            assert limiter.limit == width + 1

    def test_good_ends_from_before_a_refusal_do_not_raise_it(self) -> None:
        limiter = Limiter(8)
        began = limiter.round
        limiter.lower_bound(began)
        for _ in range(100):
            limiter.raise_bound(began)
        assert limiter.limit == 4

    def test_other_faults_leave_it(self) -> None:
        limiter = Limiter(8)
        Slot(limiter).failed(RESET)
        assert limiter.limit == 8


class TestRests:
    """What a call that waits does to the others."""

    def test_its_place_is_anothers_while_it_waits(self) -> None:
        async def work() -> list[str]:
            limiter, told = Limiter(1), []

            async def first() -> None:
                async with limiter.slot() as slot:
                    slot.failed(RESET)
                    await slot.rest(5)
                    told.append(f"first again at {now():.0f}")
                    await asyncio.sleep(1)

            async def other(name: str, seconds: float) -> None:
                async with limiter.slot():
                    told.append(f"{name} at {now():.0f}")
                    await asyncio.sleep(seconds)

            await asyncio.gather(first(), other("second", 7), other("third", 1))
            assert limiter.in_flight == 0
            return told

        assert in_no_time(work()) == ["second at 0", "first again at 7", "third at 8"]

    @pytest.mark.parametrize(
        ("fault", "seconds", "held"),
        [
            (busy(30), 30.5, 30),
            (busy(3600), 3600.5, LONGEST_HOLD),
            (busy(0), 1, 0),
            (Transient("500", retry_after=20), 20.5, 20),
            (BUSY, 2, 2),
            (BUSY, 60, UNASKED_HOLD),
            (RESET, 60, 0),
        ],
    )
    def test_pause_holds_the_others(self, fault: Transient, seconds: float, held: float) -> None:
        async def work() -> float:
            limiter = Limiter(4)

            async def refused() -> None:
                async with limiter.slot() as slot:
                    slot.failed(fault)
                    await slot.rest(seconds)

            async def other() -> float:
                await asyncio.sleep(0)
                async with limiter.slot():
                    return now()

            return (await asyncio.gather(refused(), other()))[1]

        assert in_no_time(work()) == pytest.approx(held)

    @given(st.lists(st.floats(0, 200), min_size=1, max_size=10))
    def test_longest_pause_counts(self, pauses: list[float]) -> None:
        async def work() -> float:
            limiter = Limiter(1)
            for pause in pauses:
                limiter.hold(pause)
            async with limiter.slot():
                return now()

        assert in_no_time(work()) == pytest.approx(max(pauses))

    def test_cancelled_while_it_waits(self) -> None:
        async def work() -> None:
            limiter = Limiter(1)

            async def refused() -> None:
                async with limiter.slot() as slot:
                    slot.failed(BUSY)
                    await slot.rest(50)

            async def queued() -> None:
                async with limiter.slot() as slot:
                    slot.failed(RESET)
                    await slot.rest(1)  # and then stands in the queue behind the hold

            tasks = [asyncio.create_task(refused()), asyncio.create_task(queued())]
            await asyncio.sleep(5)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert limiter.in_flight == 0
            async with limiter.slot():
                assert limiter.in_flight == 1

        in_no_time(work())


@dataclass
class Server:
    """Bears `capacity` calls at a time and turns the rest away, with a pause or without a word."""

    capacity: int
    pause: float | None = None
    closed_until: float = 0.0
    working: int = 0
    served: int = 0
    refused: int = 0
    began: list[float] = field(default_factory=list)
    most: int = 0

    async def answer(self) -> str:
        self.began.append(now())
        await asyncio.sleep(0.05)
        if self.working >= self.capacity or now() < self.closed_until:
            self.refused += 1
            raise Transient("busy", overload=True, retry_after=self.pause)
        self.working += 1
        self.most = max(self.most, self.working)
        await asyncio.sleep(1)
        self.working -= 1
        self.served += 1
        return "done"


async def calls(
    limiter: Limiter, count: int, attempt: Callable[[], Awaitable[str]], limits: RetryLimits = MANY
) -> list[str]:
    async def one() -> str:
        async with limiter.slot() as slot:
            return await with_retries(attempt, limits, lambda repeat: None, slot)

    return await asyncio.gather(*(one() for _ in range(count)))


class TestServers:
    """Limiter and retries together, before servers that bear less than the user allows."""

    @pytest.mark.parametrize("pause", [None, 2.0])
    def test_small_server_serves_all_and_is_not_hammered(self, pause: float | None) -> None:
        server = Server(capacity=3, pause=pause)
        assert in_no_time(calls(Limiter(16), 200, server.answer)) == ["done"] * 200
        assert server.most == 3
        assert server.refused < server.served / 2

    @pytest.mark.parametrize("pause", [None, 2.0])
    def test_refusals_at_random_cost_little(self, pause: float | None) -> None:
        chance = random.Random(0)

        async def answer() -> str:
            if chance.random() < 0.01:
                raise Transient("busy", overload=True, retry_after=pause)
            await asyncio.sleep(1)
            return "done"

        async def work() -> float:
            await calls(Limiter(200), 8_000, answer)
            return now()

        assert in_no_time(work()) < 1.15 * 8_000 / 200  # the last ones wait alone

    def test_recovers_after_the_trouble(self) -> None:
        async def work() -> tuple[int, int]:
            limiter, server = Limiter(16), Server(capacity=16, closed_until=20.0)
            await calls(limiter, 16, server.answer)
            low = limiter.limit
            await calls(limiter, 200, server.answer)
            return low, limiter.limit

        low, later = in_no_time(work())
        assert low < 8
        assert later == 16

    def test_nobody_begins_before_the_pause_is_over(self) -> None:
        async def work() -> Server:
            server = Server(capacity=16, pause=60.0, closed_until=50.0)
            await calls(Limiter(4), 30, server.answer)
            return server

        server = in_no_time(work())
        assert (server.served, server.refused) == (30, 4)
        assert sorted(server.began)[4] >= 60.0

    def test_pause_that_is_longer_than_any_call_may_wait_ends_them_all_soon(self) -> None:
        async def work() -> float:
            server = Server(capacity=0, pause=3600.0)
            limits = RetryLimits(attempts=8, seconds=600)

            async def ended() -> None:
                with pytest.raises(GaveUp):
                    await calls(limiter, 1, server.answer, limits)

            limiter = Limiter(4)
            await asyncio.gather(*(ended() for _ in range(40)))
            return now()

        assert in_no_time(work()) < 10

    def test_silent_attempts_are_few_and_long_ones_may_be_repeated(self) -> None:
        limits = RetryLimits(attempts=8, seconds=10)
        tried: list[float] = []

        async def silent() -> str:
            tried.append(now())
            await asyncio.sleep(900)
            raise Transient("nothing came", silent=True, may_be_billed=True)

        async def slow() -> str:
            await asyncio.sleep(900)
            raise RESET

        with pytest.raises(GaveUp, match="2 attempts"):
            in_no_time(calls(Limiter(1), 1, silent, limits))
        assert len(tried) == 2
        with pytest.raises(GaveUp, match=r"[3-8] attempts"):
            in_no_time(calls(Limiter(1), 1, slow, limits))
