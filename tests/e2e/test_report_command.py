"""`runoff report` from the command line: a page, figures, and what it says where it cannot draw."""

import json
import sys

import pytest
from typer.testing import CliRunner

from agent.cli.app import app
from agent.llm.client import CallKey
from agent.llm.ledger import Ledger
from agent.llm.messages import Usage
from agent.llm.totals import Worst
from agent.store import Run


@pytest.fixture
def runs(tmp_path):
    """Two runs that have spent something."""
    for name in ("one", "two"):
        run = Run(tmp_path / "runs" / name)
        run.begin({"settings": {}, "prices": {}}, {"a-1": {}})
        with Ledger(run.ledger) as ledger:
            call = ledger.reserve(
                CallKey("a-1", "editing", 0, "0", 0), "m", prompt_tokens=1, max_tokens=1, worst=Worst(2, 9.0)
            )
            ledger.settle(call, Usage(10, 0, 0, 5), 2.0, seconds=1.0, stop_reason="end", attempts=1)
    return tmp_path / "runs"


def report(runs, *words):
    return CliRunner().invoke(app, ["report", "one", "two", "--runs", str(runs), *map(str, words)])


def test_page_and_figures(runs, tmp_path):
    done = report(runs, "--html", tmp_path / "report.html", "--figures", tmp_path / "figures")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "report.html").read_text()
    assert "<svg" in text
    assert all(f'<th scope="col">{name}</th>' in text for name in ("one", "two"))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"cost.svg", "cost.pdf"}


def test_page_without_matplotlib(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = report(runs, "--html", tmp_path / "report.html")
    assert (done.exit_code, "no figures are in it" in done.stderr) == (0, True), done.output
    assert "<svg" not in (tmp_path / "report.html").read_text()
    done = report(runs, "--figures", tmp_path / "figures")
    assert (done.exit_code, "next: pip install 'runoff[plots]'" in done.stderr) == (2, True), done.output


def test_json_beside_a_page(runs, tmp_path):
    done = report(runs, "--html", tmp_path / "report.html", "--json")
    assert [held["name"] for held in json.loads(done.stdout)] == ["one", "two"]
