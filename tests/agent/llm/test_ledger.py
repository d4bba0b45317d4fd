"""The ledger: what its lines say is what its totals say, now and after a restart."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.ledger import Ledger
from agent.llm.messages import StopReason, Usage
from agent.llm.totals import Totals, Worst
from sandbox.errors import InputError, StoreError
from tests.agent.llm.dialects import key

counts = st.one_of(st.none(), st.integers(0, 10**6))
usages = st.builds(Usage, counts, counts, counts, counts)
dollars = st.one_of(st.none(), st.integers(0, 1000).map(float))  # whole, so that sums are exact in any order
settlements = st.tuples(st.just("settle"), usages, dollars)
failures = st.tuples(st.just("fail"), st.booleans())
calls = st.tuples(
    st.sampled_from(["testing", "editing", "relevance"]),
    st.sampled_from(["openai:a", "anthropic:b"]),
    dollars,
    st.integers(0, 2),
    st.one_of(st.just(("open",)), settlements, failures),
)


def reserve(ledger: Ledger, model: str = "openai:a", stage: str = "testing", dollars: float | None = 1.0) -> int:
    return ledger.reserve(key(stage=stage), model, prompt_tokens=10, max_tokens=20, worst=Worst(50, dollars))


def play(ledger: Ledger, call: Any) -> None:
    stage, model, worst, repeats, (what, *rest) = call
    number = reserve(ledger, model, stage, worst)
    for attempt in range(repeats):
        ledger.repeat(number, attempt=attempt + 1, error="busy", wait=0.1, may_be_billed=attempt == 0)
    match what:
        case "settle":
            ledger.settle(number, rest[0], rest[1], seconds=1.0, stop_reason=StopReason.END, attempts=repeats + 1)
        case "fail":
            ledger.fail(number, "down", may_be_billed=rest[0])


def expected(call: Any) -> Totals:
    _, _, worst, repeats, (what, *rest) = call
    maybe = min(repeats, 1)
    unsure = Totals(calls=1, maybe_billed=maybe, uncertain_dollars=maybe * (worst or 0), uncertain_tokens=maybe * 50)
    match what:
        case "settle":
            used: Usage = rest[0]
            untold = used.input is None or used.output is None
            return unsure + Totals(
                input=used.input or 0,
                cache_read=used.cache_read or 0,
                cache_write=used.cache_write or 0,
                output=used.output or 0,
                cache_untold=int(used.cache_read is None),
                uncounted=int(untold),
                dollars=rest[1] or 0,
                unpriced=int(rest[1] is None),
                uncertain_dollars=0 if rest[1] is not None else worst or 0,
                uncertain_tokens=max(0, 50 - used.told) if untold else 0,
                seconds=1.0,
            )
        case "fail" if rest[0]:
            return unsure + Totals(failed=1, maybe_billed=1, uncertain_dollars=worst or 0, uncertain_tokens=50)
        case "fail":
            return unsure + Totals(failed=1)
        case _:
            return unsure + Totals(unsettled=1, unsettled_dollars=worst or 0, unsettled_tokens=50)


@given(st.lists(calls, max_size=8), st.integers(0, 8))
def test_totals(made: list[Any], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        for part in (made[:cut], made[cut:]):  # two processes, one after the other
            with Ledger(path) as ledger:
                for call in part:
                    play(ledger, call)
        ledger = Ledger(path)
        assert ledger.totals() == sum(map(expected, made), Totals())
        for stage, totals in ledger.by_stage().items():
            assert totals == sum((expected(call) for call in made if call[0] == stage), Totals())
        for model, totals in ledger.by_model().items():
            assert totals == sum((expected(call) for call in made if call[1] == model), Totals())
        assert sum((totals.calls for totals in ledger.by_model().values()), 0) == len(made)
        totals = ledger.totals()
        assert ledger.most == (totals.most_dollars, totals.most_tokens, totals.calls)


@given(st.lists(calls, min_size=1, max_size=8), st.data())
def test_settled_by_hand(made: list[Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        with Ledger(path) as ledger:
            for call in made:
                play(ledger, call)
            known, paid = ledger.totals().dollars, 0
            for call in ledger.unsure():
                ledger.settle_by_hand(call.number, float(data.draw(st.integers(0, 5), label=f"call {call.number}")))
            paid = ledger.totals().dollars - known
        for ledger_again in (ledger, Ledger(path)):
            totals = ledger_again.totals()
            assert (ledger_again.unsure(), totals.unsettled, totals.maybe_billed) == ([], 0, 0)
            assert totals.uncertain_dollars == 0
            assert (totals.calls, totals.dollars) == (len(made), known + paid)
            assert ledger_again.most[0] == totals.dollars


def test_settling_by_hand_what_is_settled(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.settle(reserve(ledger), Usage(1, 0, 0, 1), 0.1, seconds=1, stop_reason="end", attempts=1)
        open_call = reserve(ledger)
        with pytest.raises(InputError, match="nothing is unsettled about call 0") as raised:
            ledger.settle_by_hand(0, 1.0)
        assert str(open_call) in raised.value.hint


def test_ledger_of_an_older_version(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    old = {"id": 0, "key": "a/testing/0/0", "stage": "testing", "model": "openai:a", "worst_dollars": 0.5}
    lines = [{"kind": "start", "format": 1}, {"kind": "reserve", "prompt_tokens_estimate": 7, "max_tokens": 3, **old}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert Ledger(path).most == (0.5, 10, 1)


def test_untold_tokens_alone_leave_nothing_to_settle(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:  # a person who answers, and a server of one's own that costs nothing
        for worst, paid in ((None, None), (0.0, None), (1.0, 0.5)):
            ledger.settle(reserve(ledger, dollars=worst), Usage(), paid, seconds=1, stop_reason="end", attempts=1)
        assert ledger.unsure() == []
        ledger.settle(reserve(ledger, dollars=1.0), Usage(), None, seconds=1, stop_reason="end", attempts=1)
        assert [call.number for call in ledger.unsure()] == [3]


def test_only_what_is_unsettled_is_held(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        for _ in range(50):
            ledger.settle(reserve(ledger), Usage(1, 0, 0, 1), 0.1, seconds=1, stop_reason="end", attempts=1)
        assert ledger.unsure() == []
        assert ledger.totals().calls == 50


@given(st.lists(calls, min_size=1, max_size=4), st.integers(0, 10**6))
def test_torn_end_is_dropped(made: list[Any], at: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        with Ledger(path) as ledger:
            for call in made:
                play(ledger, call)
        whole = path.read_bytes()
        path.write_bytes(whole[: at % (len(whole) + 1)])
        with Ledger(path) as ledger:
            before = ledger.totals()
            play(ledger, made[0])
            assert ledger.totals() == before + expected(made[0])
        assert Ledger(path).totals() == before + expected(made[0])
        assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_reservation_is_written_before_the_call(tmp_path: Path) -> None:
    with Ledger(tmp_path / "run" / "ledger.jsonl") as ledger:
        ledger.reserve(key(3, 4), "openai:a", prompt_tokens=10, max_tokens=20, worst=Worst(50, None))
        start, line = (json.loads(text) for text in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines())
    assert start["kind"] == "start"
    assert line == {
        "kind": "reserve",
        "id": 0,
        "key": "demo__one-1/testing/3/4",
        "stage": "testing",
        "model": "openai:a",
        "prompt_tokens_estimate": 10,
        "max_tokens": 20,
        "worst_tokens": 50,
        "worst_dollars": None,
    }


def test_damage_inside_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"kind": "start"}\n{"kind": \n{"kind": "fail", "id": 0}\n')
    with pytest.raises(StoreError, match="line 2"):
        Ledger(path)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "run" / "ledger.jsonl")
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot write the ledger"):
        reserve(ledger)
    assert ledger.totals() == Totals()


@pytest.mark.parametrize(
    ("totals", "words"),
    [
        (Totals(calls=2, dollars=0.5), "$0.5000"),
        (Totals(calls=1, unpriced=1), "1 call of unknown price"),
        (Totals(calls=3, unpriced=2, dollars=0.25), "$0.2500 and 2 calls of unknown price"),
        (Totals(), "$0.0000"),
        (Totals(calls=2, dollars=0.5, unsettled_dollars=0.25), "$0.5000 and at most $0.2500 unsettled"),
        (
            Totals(calls=1, unpriced=1, uncertain_dollars=0.25),
            "$0.0000 and at most $0.2500 unsettled and 1 call of unknown price",
        ),
    ],
)
def test_money_never_passes_unknown_off_as_nothing(totals, words):
    assert totals.money == words


@pytest.mark.parametrize(
    ("totals", "words"),
    [
        (Totals(input=25, cache_read=75), "75% of the prompt tokens from a cache"),
        (
            Totals(input=20, cache_read=75, cache_write=5, cache_untold=2),
            "75% of the prompt tokens from a cache (2 calls did not say)",
        ),
        (Totals(input=100, cache_untold=1), "cache share unknown"),
        (Totals(input=100), "0% of the prompt tokens from a cache"),
        (Totals(), "cache share unknown"),
    ],
)
def test_cached_share(totals, words):
    assert totals.cached == words
