"""How often lost work is tried again, and how long an engine that is away is waited for; the engine is a script here."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import tries
from sandbox.errors import InputError, SandboxError
from sandbox.tries import Outages, Tries, wait_seconds


class Engine:
    """Answers, or not, as it is told: `--+` is not, not, does; then always, or never."""

    def __init__(self, answers: str = "", *, then: str = "+") -> None:
        self._answers: Iterator[str] = itertools.chain(answers, itertools.repeat(then))
        self.asked = 0

    def answers(self) -> bool:
        self.asked += 1
        return next(self._answers) == "+"


@pytest.fixture(autouse=True)
def no_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "LOOKS", (0.001,))


def outages(engine: Engine, lines: list[str] | None = None, seconds: float = 60) -> Outages:
    return Outages(engine, (lines if lines is not None else []).append, seconds)  # type: ignore[arg-type]


def test_engine_that_answers_is_not_waited_for() -> None:
    lines: list[str] = []
    assert not outages(Engine(), lines).ride_out(lambda: True)
    assert lines == []


def test_outage_is_noted_once_and_its_end_too() -> None:
    lines: list[str] = []
    waits = outages(Engine("---+"), lines)
    assert waits.ride_out(lambda: True)
    assert not waits.ride_out(lambda: True)
    assert [line[:31] for line in lines] == ["the Docker engine does not answ", "the Docker engine answers again"]


def test_engine_that_stays_away_is_an_error_at_once_for_those_who_come_later() -> None:
    engine = Engine(then="-")
    waits = outages(engine, seconds=0.05)
    with pytest.raises(SandboxError, match="has not answered for"):
        waits.ride_out(lambda: True)
    asked = engine.asked
    with pytest.raises(SandboxError, match="has not answered for"):
        waits.ride_out(lambda: True)
    assert (asked > 1, engine.asked) == (True, asked + 1)


def test_outage_that_nobody_has_looked_at_for_long_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine came back while nothing was executed, and has gone away again."""
    waits = outages(Engine("--" + "---+"), seconds=0.05)
    monkeypatch.setattr(tries, "LOOKS", (0.04,))
    with pytest.raises(SandboxError, match="has not answered for"):
        waits.ride_out(lambda: True)
    monkeypatch.setattr(tries, "FORGOTTEN_SECONDS", 0.1)
    monkeypatch.setattr(tries, "LOOKS", (0.001,))
    time.sleep(0.15)
    assert waits.ride_out(lambda: True)


def test_outages_do_not_count_as_tries() -> None:
    work = Tries(outages(Engine("-+-+")), lambda: True, (0.0, 0.0))
    assert [work.another(reason) for reason in ("away", "away", "killed", "killed")] == [True, True, True, False]
    assert str(work.spent()) == "2 containers were lost over one execution, the last: killed (docker)"


def test_engine_that_comes_and_goes_does_not_keep_work_forever() -> None:
    work = Tries(outages(Engine("-+" * 50)), lambda: True, (0.0, 0.0, 0.0))
    assert sum(1 for _ in itertools.takewhile(lambda _: work.another("away"), range(100))) == tries.OUTAGES + 2


def test_work_that_nobody_wants_any_more_ends() -> None:
    work = Tries(outages(Engine(then="-")), lambda: False, (0.0, 60.0))
    started = time.monotonic()
    with pytest.raises(SandboxError, match="interrupted"):
        work.another("killed")
    assert time.monotonic() - started < 5


@given(st.lists(st.sampled_from(["+", "-+", "---+"]), max_size=9), st.integers(1, 5))
def test_tries_are_as_many_as_there_are_pauses(before: list[str], pauses: int) -> None:
    """Whatever the engine does in between."""
    work = Tries(outages(Engine("".join(before))), lambda: True, (0.0,) * pauses)
    while work.another("killed"):
        pass
    assert len(work.reasons) == pauses


def test_seconds_to_wait() -> None:
    assert wait_seconds({}) == 120
    assert wait_seconds({"RUNOFF_ENGINE_WAIT": "1.5"}) == 1.5
    for text in ("soon", "-1", "inf", "nan"):
        with pytest.raises(InputError, match="no number of seconds"):
            wait_seconds({"RUNOFF_ENGINE_WAIT": text})
