"""What the live view looks like, without a terminal."""

import asyncio
import io
from dataclasses import replace

import pytest
from rich.console import Console

from agent.cli import progress
from agent.cli.live import in_a_line, show
from agent.cli.progress import BatchProgress
from agent.cli.standing import Numbers, View
from agent.llm.totals import Totals
from agent.progress import Event

TOTALS = Totals(calls=8132, input=9_000_000, cache_read=31_000_000, output=4_200_000, dollars=41.5, unsettled=196)
MIDWAY = View(
    title="run first: 500 of 500 instances, 40 at once",
    seconds=4321.0,
    eta=5400.0,
    total=500,
    earlier=100,
    ended=112,
    phases={"waiting": 248, "environment": 2, "reading": 6, "drafting": 30, "choosing": 2},
    patches=95,
    causes={"model": 12, "infrastructure": 5},
    trajectories=288,
    calls_a_second=38.2,
    executions_a_second=6.1,
    numbers=Numbers(TOTALS, 900, 196, 200, 100.0, 10, 40),
    last=("django__django-11099 patch: It has the most votes. (241 s, $0.21)", "sympy__sympy-1 model: no edit " + "x" * 90),
)
START = View("starting", 0.0, None, 0, 0, 0, {"waiting": 0}, 0, {}, 0, 0.0, 0.0, Numbers(), ())


def drawn(view, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(show(view))
    return console.file.getvalue()


@pytest.mark.parametrize("view", [START, MIDWAY], ids=["start", "midway"])
def test_eighty_columns(view, snapshot):
    assert drawn(view, 80) == snapshot


@pytest.mark.parametrize("width", [20, 33, 60, 79, 120, 300])
def test_no_line_is_wider_than_the_terminal(width):
    for view in (START, MIDWAY, replace(MIDWAY, total=1, title="t" * 400, causes=dict.fromkeys("abcdefghij", 10**9))):
        assert max(map(len, drawn(view, width).splitlines())) <= width


def test_one_line_for_a_pipe():
    assert in_a_line(MIDWAY) == (
        "1:12:01 now         248 waiting, 2 environment, 6 reading, 30 drafting, 2 choosing; 196/200 calls in flight,"
        " 8,132 made, 40,000,000 tokens in, 4,200,000 out; $41.5000; about 1:30:00 left"
    )
    assert "nothing under way" in in_a_line(START)


async def test_a_pipe_hears_how_a_batch_stands_while_nothing_ends(monkeypatch):
    monkeypatch.setattr(progress, "HEARTBEAT", 0.01)
    console = Console(file=io.StringIO(), force_terminal=False)
    with BatchProgress(console, now=lambda: 7.0) as shown:
        telling = asyncio.create_task(shown.refreshing())
        shown(Event("", "started", "run r: 1 of 1 instances, 1 at once", 0, 1))
        shown(Event("a-1", "started", "begins"))
        while " 1 environment;" not in console.file.getvalue():  # noqa: ASYNC110  a clock is waited for
            await asyncio.sleep(0.01)
        telling.cancel()
