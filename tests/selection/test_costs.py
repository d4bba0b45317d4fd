"""What a run has taken: dollars by kind of token, time and executions, and what early stop saved."""

import pytest

from agent.effort import Effort
from agent.llm.client import CallKey
from agent.llm.ledger import Ledger
from agent.llm.messages import Usage
from agent.llm.totals import Worst
from agent.store import Run
from selection.reports.costs import Times, cost_of

RATES = {"input": 1.0, "cache_read": 0.5, "cache_write": 2.0, "output": 4.0}
PRICES = {"m": {"rates": RATES, "above": None, "above_rates": None}, "unknown": None}
USAGE = Usage(1_000_000, 2_000_000, 500_000, 250_000)


def run_with(folder, calls, *, settings=None, results=()):
    """A run whose ledger has these calls: (stage, model, dollars)."""
    run = Run(folder / "mine")
    names = [name for name, _ in results] or ["a-1"]
    run.begin({"settings": settings or {}, "prices": PRICES}, {name: {} for name in names})
    for name, result in results:
        run.instance(name).write("result.json", result)
    with Ledger(run.ledger) as ledger:
        for number, (stage, model, dollars) in enumerate(calls):
            key = CallKey("a-1", stage, number, "0", 0)
            call = ledger.reserve(key, model, prompt_tokens=1, max_tokens=1, worst=Worst(2, 9.0))
            ledger.settle(call, USAGE, dollars, seconds=1.0, stop_reason="end", attempts=1)
    return run


def test_dollars_by_kind(tmp_path):
    cost = cost_of(run_with(tmp_path, [("editing", "m", 4.0), ("relevance", "unknown", None)]))
    assert cost.by_stage["editing"].dollars == {"input": 1.0, "output": 1.0, "cache_read": 1.0, "cache_write": 1.0}
    assert cost.by_stage["relevance"].dollars == {}, "an unknown price is not zero"
    assert cost.totals.calls == 2
    assert (cost.early, cost.times) == (None, None)


def test_dollars_by_kind_add_up_to_what_was_spent(tmp_path):
    """Long prompts have rates of their own, and a call may be settled by hand."""
    cost = cost_of(run_with(tmp_path, [("editing", "m", 4.0), ("editing", "m", 8.0)]))
    assert sum(cost.by_stage["editing"].dollars.values()) == pytest.approx(12.0)


def test_what_early_stop_saved(tmp_path):
    results = [
        ("a-1", {"outcomes": {"testing": {"done": 3}, "editing": {"done": 3}}, "saved": 7}),
        ("a-2", {"outcomes": {"testing": {"done": 9, "attempts": 1}, "editing": {}}, "saved": 0}),
    ]
    calls = [("testing", "m", 6.0), ("editing", "m", 7.0), ("selection", "m", 100.0)]
    early = cost_of(run_with(tmp_path, calls, settings={"early_stop": 3}, results=results)).early
    assert (early.drafted, early.saved) == (13, 7)
    assert early.dollars == pytest.approx(7.0)
    assert cost_of(run_with(tmp_path / "other", calls, results=results)).early is None


def test_time_and_executions(tmp_path):
    run = run_with(tmp_path, [], results=[("a-1", {}), ("a-2", {}), ("a-3", {})])
    Effort(30.0, 5.0, 10, 20.0).write(run.instance("a-1"))
    Effort(10.0, 1.0, 4, 4.0).later(80.0, 2.0, 7, 9.0).write(run.instance("a-2"))
    times = cost_of(run).times
    assert times == Times((30.0, 90.0), 8.0, 17, 29.0)
    assert (times.issues, times.mean, times.median) == (2, 60.0, 60.0)
    assert 60.0 < times.ninetieth < 90.0
    assert Times((7.0,), 0.0, 0, 0.0).ninetieth == 7.0
