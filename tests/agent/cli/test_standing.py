"""What the events of a run come to: counts, rates and the time that is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.standing import LAST, PHASES, Numbers, Standing
from agent.llm.totals import Totals
from agent.progress import Event, note


def started(total=6, earlier=0):
    return Event("", "started", "run first", done=earlier, total=total)


def standing_of(*events):
    """After events, one a second."""
    standing = Standing(0.0)
    for second, event in enumerate(events, 1):
        standing.take(event, float(second))
    return standing


def test_phases():
    stages = ("environment", "relevance", "editing", "selection")
    events = [event for stage in stages for event in (Event(stage, "started", ""), Event(stage, stage, ""))]
    view = standing_of(started(6, 1), *events).view(Numbers(samples=3), 20.0)
    assert view.phases == {"waiting": 1, "environment": 1, "reading": 1, "drafting": 1, "choosing": 1}
    assert view.trajectories == 2 + 1  # one of three samples is through; the selection


def test_endings():
    events = [Event("a", "started", ""), Event("a", "ended", "patch", 1, 6), Event("b", "ended", "no", 2, 6, cause="model")]
    view = standing_of(started(), *events, note("the server is slow")).view(Numbers(), 9.0)
    assert (view.patches, view.causes, view.ended, view.earlier) == (1, {"model": 1}, 2, 0)
    assert view.last == ("a patch", "b no")


def test_time_left():
    standing = standing_of(started(6), Event("a", "started", ""))
    assert standing.view(Numbers(), 3.0).eta is None
    standing.take(Event("a", "ended", "patch"), 12.0)
    standing.take(Event("b", "started", ""), 12.0)
    numbers = Numbers(at_once=2)
    assert standing.view(numbers, 12.0).eta == pytest.approx((4 * 10 + 10) / 2)
    assert standing.view(numbers, 17.0).eta == pytest.approx((4 * 10 + 5) / 2)
    assert standing.view(numbers, 99.0).eta == pytest.approx(4 * 10 / 2)


def test_rates():
    standing = Standing(0.0)
    for second in range(200):
        calls = 10 * second + (500 if second > 100 else 0)  # 500 that nobody waits for any more
        view = standing.view(Numbers(Totals(calls=calls + 7, unsettled=7), executions=3 * second), float(second))
    assert view.calls_a_second == pytest.approx(10, rel=0.05)
    assert view.executions_a_second == pytest.approx(3, rel=0.05)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["started", "ended", "note", *PHASES]))))
def test_instances_are_counted_once_in_whatever_order_events_come(told):
    standing = standing_of(started(50), *(Event(name, stage, "") for name, stage in told))
    view = standing.view(Numbers(samples=2), 1000.0)
    assert sum(view.phases.values()) + view.ended == 50
    assert view.trajectories >= 0
    assert len(view.last) <= LAST
