"""What is drawn of how scores grow with samples, on real axes."""

import pytest
from matplotlib.figure import Figure

from agent.llm.totals import Totals
from selection.reports.grid import GridPoint, Setting
from selection.reports.plots import draw_frontier, draw_law, draw_selection
from selection.scaling import scaling_of


@pytest.fixture
def axes():
    return Figure().subplots()


def drawn(axes):
    """The data of each line by its label."""
    return {line.get_label(): [tuple(map(float, point)) for point in line.get_xydata()] for line in axes.get_lines()}


def test_law_is_drawn_beyond_what_was_measured(axes):
    found = scaling_of([(4, right) for right in (0, 1, 2, 4)], (16,), resamples=20)
    draw_law(axes, {"mine": found})
    lines = drawn(axes)
    assert lines["mine"] == [(point.k, point.measured) for point in found.points[:-1]]
    law = next(points for name, points in lines.items() if name != "mine")
    assert law == [(point.k, point.law) for point in found.points]
    assert len(axes.collections) == 1  # the band
    assert axes.get_xscale() == "log"


def test_selection_against_samples(axes):
    draw_selection(axes, {"coverage": {1: 0.2, 4: 0.6}, "votes": {1: 0.2, 4: 0.5}})
    assert drawn(axes) == {"coverage": [(1, 0.2), (4, 0.6)], "votes": [(1, 0.2), (4, 0.5)]}


@pytest.mark.parametrize(("unpriced", "label"), [(0, "dollars an issue"), (1, "seconds of the model an issue")])
def test_frontier(axes, unpriced, label):
    points = [GridPoint(Setting(k, 2, 100), k / 10, Totals(dollars=k, seconds=10 * k, unpriced=unpriced)) for k in (1, 3)]
    draw_frontier(axes, {"mine": points})
    price = 10 if unpriced else 1
    assert drawn(axes) == {"mine": [(1.0 * price, 0.1), (3.0 * price, 0.3)]}
    assert [text.get_text() for text in axes.texts] == ["1 x 2", "3 x 2"]
    assert axes.get_xlabel() == label
