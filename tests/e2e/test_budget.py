"""A budget: never exceeded at any moment, however much goes on at once; what does not fit is parked and finished later."""

import json
from collections import Counter

import pytest

from tests.e2e.served import serve

PRICE = "1,0.1,1.25,2"
SAMPLES = 50


def lines(runoff, run="first"):
    """The lines of a run's ledger."""
    text = (runoff.folder / "runs" / run / "ledger.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def highest(ledger, limit):
    """(the most that was ever spent or reserved, what is spent at the end), asserting the limit after every line."""
    worst, failed, spent, peak = {}, 0.0, 0.0, 0.0
    for line in ledger:
        match line["kind"]:
            case "reserve":
                worst[line["id"]] = line["worst_dollars"]
            case "settle":
                worst.pop(line["id"])
                spent += line["dollars"]
            case "fail":
                failed += worst.pop(line["id"]) * line["may_be_billed"]
        most = spent + failed + sum(worst.values())
        assert most <= limit + 1e-9, line
        peak = max(peak, most)
    return peak, spent


@pytest.fixture
def many(solve_arguments, person):
    """Arguments for 50 samples on a server; they are parallel, and a reply is short."""
    with serve(person.say, seconds=0.02) as served:
        common = ["--model", served.model, "--samples", SAMPLES, "--in-flight", 60, "--max-tokens", 300, "--price", PRICE]
        yield served, [*solve_arguments, *common, "--turns", 3]


def test_half_of_the_trajectories_fit(runoff, many):
    served, arguments = many
    code, _, err = runoff(*arguments, "--run", "free")
    assert code == 0, err
    peak, cost = highest(lines(runoff, "free"), limit=1e9)
    assert peak > cost / 2  # without a budget, the reservations alone go beyond it
    calls_of_a_whole_run = served.asked.total()
    served.asked.clear()

    budget = round(cost / 2, 6)
    code, _, err = runoff(*arguments, "--run", "tight", "--budget", budget)
    assert code == 3, err
    assert "samples are parked" in err
    assert "runoff resume tight --budget MORE" in err
    _, spent = highest(lines(runoff, "tight"), budget)
    assert spent > budget * 0.8, "most of the budget is used before anything is parked"
    parked = {line["key"] for line in lines(runoff, "tight") if line["kind"] == "settle" and "key" in line}
    assert len(parked) < SAMPLES

    code, _, err = runoff("resume", "tight", "--budget", cost * 10)
    assert code == 0, err
    ledger = lines(runoff, "tight")
    keys = Counter(line["key"] for line in ledger if line["kind"] == "reserve")
    assert set(keys.values()) == {1}, "no call is made twice"
    assert served.asked.total() == calls_of_a_whole_run
    manifest = json.loads((runoff.folder / "runs" / "tight" / "manifest.json").read_text())
    assert manifest["settings"]["budget"] == budget
    assert manifest["changes"][-1]["settings"] == {"budget": cost * 10}


def test_tokens_and_calls_are_limited_too(runoff, many):
    served, arguments = many
    code, _, err = runoff(*arguments, "--budget-calls", 30)
    assert code == 3
    assert "all 30 calls are made" in err
    assert served.asked.total() == 30
    code, _, err = runoff("resume", "first", "--budget-calls", 1000, "--budget-tokens", 40_000)
    assert code == 3
    assert "of 40,000 tokens" in err
    settled = [line["usage"] for line in lines(runoff) if line["kind"] == "settle"]
    assert sum(usage["input"] + usage["output"] for usage in settled) <= 40_000
    code, _, err = runoff("resume", "first", "--budget-tokens", 10_000_000)
    assert code == 0, err


def test_unknown_price_is_refused_before_anything_is_spent(runoff, solve_arguments, person):
    with serve(person.say) as served:
        code, _, err = runoff(*solve_arguments, "--model", served.model, "--budget", 5)
        assert code == 2
        assert "--price" in err
        assert served.asked.total() == 0
        assert not (runoff.folder / "runs" / "first").exists()
        cheap = ["--cheap-model", f"{served.model}/x"]
        code, _, err = runoff(*solve_arguments, "--model", served.model, "--price", PRICE, *cheap, "--budget", 5)
        assert code == 2
        assert "--cheap-price" in err


def test_call_that_was_cut_off_counts_until_it_is_settled_by_hand(runoff, solve_arguments, person, wait_until):
    with serve(person.say, seconds=3600) as served:
        arguments = [*solve_arguments, "--model", served.model, "--price", PRICE, "--max-tokens", 300, "--budget", 0.02]
        with runoff.start(*arguments) as process:
            wait_until(lambda: served.asked["relevance"] >= 1)
            process.kill()
    unsettled = [line for line in lines(runoff) if line["kind"] == "reserve"]
    assert unsettled
    left = sum(line["worst_dollars"] for line in unsettled)
    _, out, _ = runoff("show", "first")
    assert "runoff resume first --settle CALL=USD" in out
    assert unsettled[0]["key"].split("/")[0] in out
    with serve(person.say) as served:
        endpoint = ["--model", served.model, "--cheap-model", served.model]
        code, _, err = runoff("resume", "first", *endpoint, "--budget", left)
        assert code == 3
        assert served.asked.total() == 0
        code, _, err = runoff("resume", "first", "--settle", "99=1")
        assert code == 2
        assert "unsettled calls: 0" in err
        code, _, err = runoff("resume", "first", "--settle", "all=0.001", "--budget", 1)
        assert code == 0, err
    settled = [line for line in lines(runoff) if line["kind"] == "by_hand"]
    assert [line["dollars"] for line in settled] == [0.001] * len(unsettled)
    _, out, _ = runoff("show", "first")
    assert "--settle" not in out


def test_finished_run_can_be_settled_and_changed(runoff, solve_arguments, person):
    with serve(person.say) as served:
        code, _, err = runoff(*solve_arguments, "--samples", 1, "--model", served.model, "--price", PRICE)
        assert code == 0, err
    ledger = runoff.folder / "runs" / "first" / "ledger.jsonl"
    reserved = next(line for line in ledger.read_text().splitlines() if '"reserve"' in line)
    number = len(lines(runoff))  # as a process leaves it that is killed beside the last reply
    with ledger.open("a") as file:
        file.write(json.dumps({**json.loads(reserved), "id": number}) + "\n")
    code, out, err = runoff("resume", "first", "--settle", f"{number}=0.5", "--budget", 3)
    assert code == 0, err
    assert "$0.50" in out
    assert lines(runoff)[-1] == {"kind": "by_hand", "id": number, "dollars": 0.5}
