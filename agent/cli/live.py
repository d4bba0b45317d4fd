"""The live view of a run with many instances: `show` makes of a `View` what a terminal is given.

Nothing here knows a terminal, a clock or a run. Lines that are longer than the terminal is wide wrap or are cut.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agent.cli.standing import View

BAR = 40


def show(view: View) -> RenderableType:
    """The view as rich shows it, seven lines and the last endings in 80 columns."""
    head = Text.assemble((view.title, "bold"), no_wrap=True, overflow="ellipsis")
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for label, words in _facts(view):
        facts.add_row(label, words)
    last = [Text(f"  {line}", style="dim", no_wrap=True, overflow="ellipsis") for line in view.last]
    return Group(head, facts, *last)


def in_a_line(view: View) -> str:
    """The view for a pipe: where the instances are, and what is done about them."""
    numbers, totals = view.numbers, view.numbers.totals
    phases = [f"{count} {phase}" for phase, count in view.phases.items() if count]
    work = f"{numbers.in_flight}/{numbers.bound} calls in flight, {totals.calls:,} made, {totals.tokens}"
    where = ", ".join(phases) or "nothing under way"
    return f"{clock(view.seconds)} now         {where}; {work}; {totals.money}; {_left(view)}"


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _facts(view: View) -> Iterator[tuple[str, RenderableType]]:
    numbers, totals = view.numbers, view.numbers.totals
    yield "time", Text(f"{clock(view.seconds)}, {_left(view)}")
    yield "ended", _bar(view)
    yield "now", _joined([f"{count} {phase}" for phase, count in view.phases.items() if count])
    yield "patches", _outcomes(view)
    rates = f"{view.calls_a_second:.1f} calls/s, {view.executions_a_second:.1f} executions/s"
    yield "work", Text(f"{view.trajectories} trajectories, {rates}, {numbers.in_flight}/{numbers.bound} in flight")
    budget = f" of ${numbers.budget:,.2f}" if numbers.budget is not None else ""
    yield "spent", Text(f"{totals.money}{budget}, {totals.calls:,} calls")
    yield "tokens", Text(f"{totals.tokens}, {totals.cached}")


def _left(view: View) -> str:
    """The time that is left; of no use where all that goes on has taken longer than what has ended."""
    if view.eta is None or (view.eta < 1 and any(view.phases.values())):
        return "time left not known yet"
    return f"about {clock(view.eta)} left"


def _bar(view: View) -> RenderableType:
    done = view.earlier + view.ended
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(ProgressBar(max(1, view.total), done, width=BAR), Text(f"{done} of {view.total}"))
    return line


def _outcomes(view: View) -> Text:
    words = Text(f"{view.patches}", style="green")
    if view.causes:
        words.append("; without one: ", style="default")
        words.append(", ".join(f"{count} {cause}" for cause, count in view.causes.items()), style="yellow")
    if view.earlier:
        words.append(f"; {view.earlier} instances ended before", style="default")
    return words


def _joined(words: list[str]) -> Text:
    return Text(", ".join(words) or "nothing")
