"""How long a batch would take, from how long an earlier run took."""

import pytest

from agent.cli.settings import BatchSettings
from agent.cli.split_estimate import Earlier, Pace, SplitEstimate, earlier, note_costs
from agent.effort import Effort
from agent.llm.totals import Totals
from agent.store import Run

PACE = Pace(under_way=600.0, model=3000.0, sandbox=200.0)


@pytest.mark.parametrize(
    ("instances", "settings", "expected"),
    [
        (100, {"instances_at_once": 10, "in_flight": 100, "workers": 8}, (6000.0, "10 instances at once")),
        (100, {"instances_at_once": 100, "in_flight": 10, "workers": 80}, (30000.0, "10 calls in flight")),
        (100, {"instances_at_once": 100, "in_flight": 1000, "workers": 4}, (5000.0, "4 executions at once")),
        (2, {"instances_at_once": 10, "in_flight": 100, "workers": 8}, (600.0, "one instance")),
    ],
)
def test_what_bounds_the_time(instances, settings, expected):
    assert PACE.seconds(instances, BatchSettings(**settings)) == expected


def test_what_is_said():
    before = Earlier("first", 8, {}, PACE)
    assert "about 1:40:00 by how long run first took, bound by x" in SplitEstimate(1, [], [], before, 6000.0, "x").in_a_line(
        None
    )
    assert "how long is not known" in SplitEstimate(1, [], [], None).in_a_line(None)


def run_in(folder, name, seconds, samples=5):
    """A run of as many instances as there are seconds; the last one has not ended."""
    run = Run(folder / name)
    names = [f"a-{number}" for number in range(len(seconds))]
    models = {"main": "openai:m@http://one/v1", "cheap": "openai:m@http://one/v1"}
    run.begin({"settings": {"samples": samples}, "models": models}, {each: {} for each in names})
    for each, spent in zip(names, seconds, strict=True):
        Effort(spent, 1.0, 10, 30.0).write(run.instance(each))
        if each != names[-1]:
            run.instance(each).write("result.json", {})
    stages = {"testing": Totals(calls=4, seconds=40.0), "selection": Totals(calls=2, seconds=6.0)}
    note_costs(run, stages, len(seconds) - 1)


def test_pace_of_an_earlier_run(tmp_path):
    """Of what has ended, scaled to the samples that are planned; dollars that are not known are none."""
    run_in(tmp_path, "first", [100.0, 200.0, 5000.0])
    run_in(tmp_path, "small", [1.0, 1.0])
    found = earlier(BatchSettings(model="openai:m@http://other/v1", samples=10, runs=str(tmp_path)))
    assert found == Earlier("first", 2, {}, Pace(150.0, 2 * 20.0 + 3.0, 60.0))
    assert earlier(BatchSettings(model="openai:another", runs=str(tmp_path))) is None
