"""What `scripts/soak_batch.py` makes of what it saw: time with and without the share of kills."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("soak_figures")


@pytest.fixture
def steady(soak):
    """Four requests at a time from 0 to 100 s, each held for 2 s; none between 40 and 50 s, one at a time until 60 s."""
    seen = importlib.import_module("soak_model").Seen
    full = [at for at in range(0, 100, 2) if not 40 <= at < 60 for _ in range(4)]
    starts = sorted([*full, *range(50, 60, 2)])
    return [seen(float(at), 0, "editing", number, 10, "good", 2.0) for number, at in enumerate(starts)]


@pytest.fixture
def lives(soak):
    life = importlib.import_module("soak_lives").Life
    return [life(0.0, ended=40.0, code=-9), life(42.0, ended=100.0)]


def test_time_without_spans(soak):
    assert soak.without((0.0, 10.0), [(2.0, 3.0), (3.0, 5.0), (8.0, 12.0)]) == [(0.0, 2.0), (5.0, 8.0)]
    assert soak.without((0.0, 10.0), []) == [(0.0, 10.0)]


def test_recovery_ends_when_as_much_is_held_again(soak, steady, lives):
    firsts = soak.first_requests(lives, steady)
    assert firsts == [0.0, 50.0]
    assert soak.recoveries(lives, firsts, steady) == [(40.0, pytest.approx(60.0))]


def test_calm_time_is_full(soak, steady, lives):
    calm = soak.without((0.0, 100.0), soak.recoveries(lives, [0.0, 50.0], steady))
    assert soak.length(calm) == pytest.approx(80.0)
    assert soak.work(steady, calm) == pytest.approx(4 * 80.0)
    assert soak.in_flight(steady, calm) == [4] * 10


def test_requests_held(soak, steady):
    assert [soak.held_at(steady, at) for at in (1.0, 45.0, 51.0, 61.0)] == [4, 0, 1, 4]
