"""Prices: what is unknown stays unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.messages import Usage
from agent.llm.prices import Price, Rates, load_prices, parse_price
from agent.llm.specs import default_spec
from sandbox.errors import InputError

PRICE = Price(Rates(3.0, 0.3, 3.75, 15.0))
tokens = st.integers(0, 10**7)


def test_dollars_of_a_call() -> None:
    usage = Usage(input=1_000, cache_read=100_000, cache_write=10_000, output=2_000)
    assert PRICE.dollars(usage) == pytest.approx(0.003 + 0.03 + 0.0375 + 0.03)


@pytest.mark.parametrize("usage", [Usage(), Usage(input=5), Usage(output=5), Usage(cache_read=5, output=5)])
def test_unknown_tokens_have_no_price(usage: Usage) -> None:
    assert PRICE.dollars(usage) is None


def test_unknown_cache_counts_leave_all_in_input() -> None:
    assert PRICE.dollars(Usage(input=1_000_000, output=0)) == 3.0


@given(tokens, tokens, tokens, tokens)
def test_worst_case_is_never_exceeded(fresh: int, read: int, written: int, output: int) -> None:
    dollars = PRICE.dollars(Usage(fresh, read, written, output))
    worst = PRICE.worst(fresh + read + written, output)
    assert dollars is not None
    assert worst is not None
    assert 0 <= dollars <= worst + 1e-9


def test_long_prompts_have_their_own_rates() -> None:
    haiku = load_prices().price("anthropic:claude-haiku-5-5")
    assert haiku is not None
    assert haiku.dollars(Usage(input=60_000, cache_read=40_000, output=1_000_000)) == pytest.approx(0.006 + 0.0004 + 0.5)
    assert haiku.dollars(Usage(input=60_001, cache_read=40_000, output=1_000_000)) == pytest.approx(0.0300005 + 0.002 + 2.5)
    unknown = load_prices().price("openai:gpt-6-sol")
    assert unknown is not None
    assert unknown.dollars(Usage(input=272_001, output=1)) is None
    assert unknown.worst(272_001, 1) is None


@pytest.mark.parametrize(
    "spec",
    [
        "anthropic:claude-none-9",
        "openai:claude-opus-5-5",
        "openai:gpt-4o@http://127.0.0.1:8000/v1",
        "openai:qwen@http://h/v1",
        "manual:x",
    ],
)
def test_unknown_models_have_no_price(spec: str) -> None:
    assert load_prices().price(spec) is None


def test_default_models_have_a_price() -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        for cheap in (False, True):
            assert load_prices().price(str(default_spec({name: "k"}, cheap=cheap))) is not None


def test_own_table_is_plausible() -> None:
    entries = load_prices().entries
    assert len({pattern for pattern, _ in entries}) == len(entries)
    for _, price in entries:
        assert 0 < price.rates.cache_read < price.rates.input <= price.rates.cache_write < price.rates.output


def test_entries_of_the_user_go_first(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodels = ["openai:qwen*@*", "openai:gpt-4o"]\ninput = 1\noutput = 2\n')
    table = load_prices([path])
    assert table.price("openai:qwen3@http://gpu:8000/v1") == Price(Rates(1, 1, 1, 2))
    assert table.price("openai:gpt-4o") == Price(Rates(1, 1, 1, 2))
    assert table.over("openai:gpt-4o", PRICE).price("openai:gpt-4o") is PRICE


@pytest.mark.parametrize(
    "text", ["not toml", "[[price]]\nmodels = ['x']\ninput = -1\noutput = 2", "[[price]]\ninput = 1", "[[cost]]\n"]
)
def test_bad_files_are_bad_input(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        load_prices([path])
    assert raised.value.where == str(path)


def test_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_prices([tmp_path / "none.toml"])


def test_price_by_hand() -> None:
    assert parse_price("3,15") == Price(Rates(3, 3, 3, 15))
    assert parse_price("3, 0.3, 3.75, 15") == PRICE


@pytest.mark.parametrize("text", ["", "3", "1,2,3", "a,b", "-1,2", "nan,1", "inf,1"])
def test_bad_price_by_hand(text: str) -> None:
    with pytest.raises(InputError):
        parse_price(text)
