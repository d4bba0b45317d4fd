"""A report as a page and as figures: all of it is there, nothing is fetched, and names are only names."""

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from agent.llm.totals import Totals
from sandbox.errors import InputError, StoreError
from selection.report import Estimate, Report, Sampling, Share
from selection.reports.costs import Cost, Early, StageCost, Times
from selection.reports.figures import svg_figures, write_figures
from selection.reports.page import page, write_page
from selection.reports.tables import notes, sections

NAMES = ("first", "<script>alert(1)</script> & $x$")
MADE = datetime(2026, 1, 1, tzinfo=UTC)


def report(name, right=30):
    coverage = {k: Estimate(value, (value - 0.1, value + 0.1)) for k, value in ((1, 0.3), (2, 0.4), (5, 0.6))}
    sampling = Sampling(100, 5, coverage, Share(60, 100), Share(35, 100), Share(right, 100))
    spent = Totals(calls=7, input=1000, output=50, dollars=2.5, seconds=70.0)
    stages = {"editing": StageCost(spent, {"input": 2.0, "output": 0.5, "cache_read": 0.0, "cache_write": 0.0})}
    cost = Cost(stages, 100, Early(400, 100, 0.5), Times((10.0, 20.0, 40.0), 9.0, 30, 60.0))
    shares = {"one/a": Share(right, 100)}
    return Report(
        name,
        "here",
        "official",
        finished=True,
        resolved=Share(right, 100),
        by_repository=shares,
        sampling=sampling,
        cost=cost,
    )


@pytest.fixture
def reports():
    return [report(NAMES[0]), report(NAMES[1], right=40)]


class Reading(HTMLParser):
    """Collects the tags, the attributes and the cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.cells, self._cell = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self._cell = tag in {"td", "th"}
        if self._cell:
            self.cells.append("")

    def handle_endtag(self, tag):
        self._cell = self._cell and tag not in {"td", "th"}

    def handle_data(self, data):
        if self._cell:
            self.cells[-1] += data


def test_page_holds_every_cell(reports):
    read = Reading(page(reports, {}, made=MADE))
    for section in sections(reports):
        for cell in (*section.columns, *(cell for row in section.rows for cell in row)):
            assert cell in read.cells
    assert "script" not in read.tags
    assert read.cells.count(NAMES[1]) >= len([each for each in sections(reports) if NAMES[1] in each.columns])


def test_page_needs_nothing_else(reports, tmp_path):
    write_page(tmp_path / "report.html", reports, svg_figures(reports))
    text = (tmp_path / "report.html").read_text()
    read = Reading(text)
    assert read.tags.count("svg") == 4
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    places = [value for name, value in read.attributes if name in {"src", "href", "xlink:href", "action"}]
    assert all(place.startswith("#") for place in places), places
    assert not re.search(r"url\((?!#)|@import", text)


def test_figures(reports, tmp_path):
    written = write_figures(reports, tmp_path / "new" / "folder")
    names = {"resolved", "coverage", "cost", "time"}
    assert {path.name for path in written} == {f"{name}.{kind}" for name in names for kind in ("svg", "pdf")}
    for path in written:
        if path.suffix == ".svg":
            assert ET.fromstring(path.read_text()).tag.endswith("svg")
        else:
            assert path.read_bytes().startswith(b"%PDF-")
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_figures(reports, tmp_path / "new" / "folder")] == before


def test_law_in_the_figure_of_coverage(reports):
    """It goes on where the samples end; two points are no curve."""
    found = svg_figures(reports)["coverage"]
    assert "first: by the law of those" in found
    few = report("few")
    two = {k: few.sampling.coverage[k] for k in (1, 2)}
    assert "by the law" not in svg_figures([replace(few, sampling=replace(few.sampling, coverage=two))])["coverage"]


def test_figures_of_what_there_is(tmp_path):
    assert write_figures([Report("none", "here", "not evaluated", finished=False)], tmp_path) == []
    judged = Report("judged", "here", "official", finished=True, resolved=Share(1, 2))
    assert [path.name for path in write_figures([judged], tmp_path)] == ["resolved.svg", "resolved.pdf"]


def test_figures_without_matplotlib(reports, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="matplotlib") as missing:
        write_figures(reports, tmp_path)
    assert missing.value.hint == "pip install 'runoff[plots]'"


def test_figures_where_nothing_can_be_written(reports, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        write_figures(reports, tmp_path / "file" / "below")


def test_sections(reports):
    found = {section.title: section for section in sections(reports)}
    assert found["Time"].rows[1] == ("seconds an issue: mean", "23.3", "23.3")
    assert found["Early stop of sampling"].rows[1] == ("samples saved", "100 (20.0%)", "100 (20.0%)")
    stages = found["first: tokens and dollars by stage"]
    assert stages.columns == ("stage", "calls", "input", "output", "cache read", "cache write", "dollars", "share")
    assert stages.rows[0] == (
        "editing", "7", "1,000 ($2.0000)", "50 ($0.5000)", "0 ($0.0000)", "0 ($0.0000)", "$2.5000", "100.0%",
    )  # fmt: skip
    assert [section.title for section in sections(reports[:1])].count("Time") == 1
    assert notes(reports)[0] == "first: official"
