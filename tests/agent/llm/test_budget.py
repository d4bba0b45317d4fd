"""A budget: what is spent and reserved never exceeds it, and nothing is refused that would fit once others have settled."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.budget import Budget, BudgetLimits, IssueBudgetReached
from agent.llm.client import CallKey
from agent.llm.ledger import Ledger
from agent.llm.messages import Message, Part, Request, Usage
from agent.llm.model import Model
from agent.llm.prices import parse_price
from agent.llm.retry import RetryLimits
from agent.llm.totals import Worst
from sandbox.errors import BudgetReached, InputError
from tests.agent.llm.dialects import Clients, Played, ask, chat, hang_up, key, says

PRICE = parse_price("10,10")  # dollars per million tokens


def reserve(ledger: Ledger, worst: Worst) -> int:
    return ledger.reserve(key(), "openai:a", prompt_tokens=1, max_tokens=1, worst=worst)


wanted = st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=12)


@given(wanted, st.integers(1, 100))
def test_limit_holds_and_nothing_that_fits_is_refused(calls: list[tuple[int, float]], limit: int) -> None:
    async def play(folder: str) -> None:
        with Ledger(Path(folder) / "ledger.jsonl") as ledger:
            budget = Budget(ledger, BudgetLimits(dollars=float(limit), tokens=limit))
            refused: list[tuple[int, int]] = []

            async def call(tokens: int, share: float) -> None:
                worst = Worst(tokens, float(tokens))
                try:
                    number = await budget.admit(worst, lambda: reserve(ledger, worst))
                except BudgetReached:
                    refused.append((tokens, ledger.most[1]))
                    return
                assert ledger.most[0] <= limit
                await asyncio.sleep(0)
                used = int(tokens * share)
                ledger.settle(number, Usage(used, 0, 0, 0), float(used), seconds=0, stop_reason="end", attempts=1)
                budget.release()

            await asyncio.gather(*(call(*each) for each in calls))
            assert ledger.totals().unsettled == 0
            assert ledger.most[:2] == (ledger.totals().dollars, ledger.totals().tokens_used)
            assert all(tokens + spent > limit for tokens, spent in refused)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(folder))


issues = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=15)


@given(issues, st.integers(1, 60), st.integers(20, 150))
def test_limit_of_each_issue_holds_within_that_of_the_run(
    calls: list[tuple[str, int, float]], of_issue: int, of_run: int
) -> None:
    async def play(folder: str) -> None:
        with Ledger(Path(folder) / "ledger.jsonl") as ledger:
            budget = Budget(ledger, BudgetLimits(dollars=float(of_run), dollars_per_issue=float(of_issue)))
            refused: list[tuple[str, int, float]] = []

            async def call(name: str, tokens: int, share: float) -> None:
                worst, called = Worst(tokens, float(tokens)), CallKey(name, "testing", 0, "", 0)
                enter = lambda: ledger.reserve(called, "m", prompt_tokens=1, max_tokens=1, worst=worst)  # noqa: E731
                try:
                    number = await budget.admit(worst, enter, name)
                except IssueBudgetReached:
                    refused.append((name, tokens, ledger.most_dollars_of(name)))
                    return
                except BudgetReached:
                    assert tokens + ledger.most[0] > of_run
                    return
                assert ledger.most_dollars_of(name) <= of_issue
                assert ledger.most[0] <= of_run
                await asyncio.sleep(0)
                used = int(tokens * share)
                ledger.settle(number, Usage(used, 0, 0, 0), float(used), seconds=0, stop_reason="end", attempts=1)
                budget.release(name)

            await asyncio.gather(*(call(*each) for each in calls))
            assert all(tokens + spent > of_issue for _, tokens, spent in refused)
            assert not budget._gates, "nothing is kept of issues that have ended"
            assert sum(ledger.of_instance(name).dollars for name in "abc") == ledger.totals().dollars

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(folder))


async def test_an_issue_that_waits_for_its_own_calls_holds_up_nobody_else(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        budget = Budget(ledger, BudgetLimits(dollars_per_issue=10.0))

        async def enter(name: str) -> int:
            called = CallKey(name, "testing", 0, "", 0)
            worst = Worst(8, 8.0)
            return await budget.admit(
                worst, lambda: ledger.reserve(called, "m", prompt_tokens=1, max_tokens=1, worst=worst), name
            )

        first = await enter("a")
        second = asyncio.create_task(enter("a"))
        await asyncio.sleep(0.01)
        assert not second.done()
        await asyncio.wait_for(enter("b"), 1)
        ledger.settle(first, Usage(1, 0, 0, 0), 1.0, seconds=0, stop_reason="end", attempts=1)
        budget.release("a")
        await asyncio.wait_for(second, 1)


async def test_first_come_first_served(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        budget = Budget(ledger, BudgetLimits(calls=10, tokens=100))
        first = await budget.admit(Worst(60, None), lambda: reserve(ledger, Worst(60, None)))
        order: list[str] = []

        async def wait(name: str, tokens: int) -> None:
            await budget.admit(Worst(tokens, None), lambda: reserve(ledger, Worst(tokens, None)))
            order.append(name)

        large = asyncio.create_task(wait("large", 90))
        small = asyncio.create_task(wait("small", 5))
        await asyncio.sleep(0.01)
        assert order == [], "the small one does not overtake"
        ledger.settle(first, Usage(1, 0, 0, 1), None, seconds=0, stop_reason="end", attempts=1)
        budget.release()
        await asyncio.gather(large, small)
        assert order == ["large", "small"]


async def test_cancelled_waiter_gives_way(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        budget = Budget(ledger, BudgetLimits(tokens=100))
        await budget.admit(Worst(60, None), lambda: reserve(ledger, Worst(60, None)))
        waiter = asyncio.create_task(budget.admit(Worst(90, None), lambda: reserve(ledger, Worst(90, None))))
        await asyncio.sleep(0.01)
        waiter.cancel()
        async with asyncio.timeout(1):
            await budget.admit(Worst(30, None), lambda: reserve(ledger, Worst(30, None)))


async def test_reservation_of_a_killed_process_counts(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        reserve(ledger, Worst(60, 0.6))
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        budget = Budget(ledger, BudgetLimits(dollars=1.0))
        with pytest.raises(BudgetReached, match=r"\$0.6000 of \$1.00 are spent or reserved"):
            await budget.admit(Worst(50, 0.5), lambda: reserve(ledger, Worst(50, 0.5)))
        ledger.settle_by_hand(0, 0.1)
        await budget.admit(Worst(50, 0.5), lambda: reserve(ledger, Worst(50, 0.5)))


async def test_unknown_price(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        budget = Budget(ledger, BudgetLimits(dollars=1.0))
        with pytest.raises(InputError) as raised:
            await budget.admit(Worst(50, None), lambda: reserve(ledger, Worst(50, None)))
        assert "--price" in raised.value.hint
        assert not ledger.path.exists()


def model(ledger: Ledger, clients: Clients, limits: BudgetLimits, vendor: str = "openai") -> Model:
    retry = RetryLimits(attempts=3, first_wait=0.01)
    return Model(clients[vendor], ledger=ledger, budget=Budget(ledger, limits), price=PRICE, retry=retry)


async def test_attempt_that_may_be_billed_is_repeated_only_if_both_fit(
    tmp_path: Path, played: Played, clients: Clients
) -> None:
    request = ask(max_tokens=1000)  # at most about 1,400 tokens, so $0.014
    played.plays(hang_up)
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        with pytest.raises(BudgetReached, match="another attempt") as raised:
            await model(ledger, clients, BudgetLimits(dollars=0.02)).complete(request, key())
        assert "connection" in raised.value.message
        assert ledger.most[0] <= 0.02
        assert (len(played.bodies), ledger.totals().maybe_billed, ledger.totals().unsettled) == (1, 1, 0)
    played.plays(hang_up, says(200, chat()))
    with Ledger(tmp_path / "second.jsonl") as ledger:
        reply = await model(ledger, clients, BudgetLimits(dollars=0.04)).complete(request, key())
        assert reply.text == "Hello."
        assert 0.01 < ledger.most[0] <= 0.04


async def test_who_waits_for_the_budget_leaves_its_slot(tmp_path: Path, played: Played, clients: Clients) -> None:
    """A call in back-off needs a slot again before it can settle; those that wait for that must not hold them all."""
    request = ask(max_tokens=1000)
    played.plays(says(429, {"error": {"message": "busy"}}, {"Retry-After": "0.3"}), says(200, chat()))
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        one_at_a_time = model(ledger, clients, BudgetLimits(dollars=0.02))
        one_at_a_time.limiter.limit = 2
        async with asyncio.timeout(10):
            replies = await asyncio.gather(*(one_at_a_time.complete(request, key(sample)) for sample in range(4)))
        assert [reply.text for reply in replies] == ["Hello."] * 4
        assert ledger.totals().unsettled == 0


async def test_server_counts_where_the_bound_is_too_wide(tmp_path: Path, played: Played, clients: Clients) -> None:
    request = Request((Message("user", (Part("files", "word " * 4000),)),), max_tokens=100)
    limits = BudgetLimits(dollars=0.1)  # 20,000 bytes at $10 a million do not fit, 4,000 tokens do
    played.plays(says(200, {"tokens": [0] * 4000}), says(200, chat()))
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        assert (await model(ledger, clients, limits).complete(request, key())).text == "Hello."
    assert [path.rsplit("/", 1)[1] for path in played.paths] == ["tokenize", "completions"]
    played.plays(says(404, {"error": {"message": "no such address"}}))
    with Ledger(tmp_path / "second.jsonl") as ledger, pytest.raises(BudgetReached):
        await model(ledger, clients, limits).complete(request, key())
