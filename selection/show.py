"""Renders the record of a selection for `runoff show`: who was compared, with which votes, and why the winner won.

In a pipe it is plain text without colours, and the diff comes out line by line as it is. What models and repositories
wrote is shown as text: no markup in it is obeyed, and control characters are made visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import category

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandbox.api import Verdict
from selection.record import Entrant, Selection
from selection.votes import Standing, Status

_MARKS = {Verdict.PASS: "+", Verdict.ISSUE: "-", Verdict.BROKEN: "x"}
_UNSEEN = ("Cc", "Cf", "Cs")
"""Control and format characters (escapes, text direction), and bytes that are no UTF-8."""
_DIFF_STYLES = (("+++", "bold"), ("---", "bold"), ("diff ", "bold"), ("+", "green"), ("-", "red"), ("@@", "cyan"))


def print_selection(selection: Selection, console: Console) -> None:
    """Print everything that the record tells."""
    console.print(_headline(selection), soft_wrap=True)
    if selection.candidates:
        console.print(_candidates(selection))
    if selection.standings:
        console.print(_scripts(selection))
        console.print(Text("+ solved   - issue is there   x no verdict   . not run   ( ) does not vote", style="dim"))
    lists = {
        "The same change": _merged(selection),
        "Not told apart by any script": [f"  {' '.join(group)}" for group in selection.alike],
        "Scripts of the selection trajectory": _trials(selection),
        "Steps": _steps(selection),
        "Dropped": _dropped(selection),
    }
    for heading, lines in lists.items():
        if lines:
            console.print(Text(f"\n{heading}", style="bold"))
            console.print(Text("\n".join(lines)), soft_wrap=True)
    if selection.argument:
        console.print(Text("\nWhat the model said for its choice", style="bold"))
        console.print(Text(visible(selection.argument)), soft_wrap=True)
    if selection.winner:
        console.print()
        console.print(diff_text(selection.winner.diff), soft_wrap=True)


def _headline(selection: Selection) -> Text:
    vote = "" if selection.vote_took_place else ", no vote took place"
    if selection.chosen is None:
        return Text(f"No winner{vote}. {selection.reason}", style="bold")
    return Text(f"Winner: {selection.chosen} (by {selection.method.value}{vote})\n{selection.reason}", style="bold")


def _candidates(selection: Selection) -> Table:
    table = _table("candidate", "samples", "lines", "votes", "scripts", "outcome", title="Candidates")
    for entrant in selection.candidates:
        won = entrant.id == selection.chosen
        table.add_row(
            f"{'*' if won else ' '} {entrant.id}",
            Text(visible(_samples(entrant.origins))),
            str(entrant.changed_lines),
            str(entrant.votes),
            _marks(selection, entrant),
            "won" if won else Text(visible(entrant.reason)),
            style="green" if won else None,
        )
    return table


def _marks(selection: Selection, entrant: Entrant) -> str:
    """A mark for each script in the order of the table of scripts; those that do not vote stand in brackets."""
    marks = {True: "", False: ""}
    for standing in _ordered(selection):
        verdict = entrant.verdicts.get(standing.script)
        marks[standing.status is Status.VOTES] += _MARKS[verdict] if verdict else "."
    return marks[True] + (f"({marks[False]})" if marks[False] else "")


def _scripts(selection: Selection) -> Table:
    table = _table("", "script", "samples", "standing", "why", title="Scripts")
    for number, standing in enumerate(_ordered(selection), 1):
        origins = Text(visible(_samples(standing.origins)))
        table.add_row(str(number), standing.script[:10], origins, standing.status.value, Text(visible(standing.reason)))
    return table


def _ordered(selection: Selection) -> Sequence[Standing]:
    """Scripts that vote come first."""
    return sorted(selection.standings, key=lambda standing: standing.status is not Status.VOTES)


def _samples(origins: Sequence[str]) -> str:
    """`editing/0`, `editing/2` as `editing/0,2`."""
    stages: dict[str, list[str]] = {}
    for origin in origins:
        stage, slash, sample = origin.rpartition("/")
        stages.setdefault(stage + slash, []).append(sample)
    return " ".join(stage + ",".join(samples) for stage, samples in stages.items())


def _trials(selection: Selection) -> list[str]:
    return [
        f"  {number}. original {_MARKS[trial.baseline]}   "
        + "   ".join(f"{candidate} {_MARKS[verdict]}" for candidate, verdict in trial.verdicts.items())
        for number, trial in enumerate(selection.trials, 1)
    ]


def _merged(selection: Selection) -> list[str]:
    """Candidates that became part of another, and why."""
    known = {one.id for one in selection.candidates}
    gone = [entry for step in selection.steps for entry in step.out if entry.id not in known]
    return [f"  {entry.id} ({visible(_samples(entry.members))}): {visible(entry.reason)}" for entry in gone]


def _steps(selection: Selection) -> list[str]:
    """What steps said as a whole; what was left out."""
    said = [f"  {step.step}: {visible(step.note)}" for step in selection.steps if step.note]
    return [*said, *(f"  {step}: left out, since one change dominates" for step in selection.spared)]


def _dropped(selection: Selection) -> list[str]:
    return [f"  {visible(one.origin)}: {visible(one.reason)}" for one in selection.dropped]


def diff_text(diff: str) -> Text:
    """A diff with its lines coloured."""
    return Text("\n").join(Text(visible(line), style=_style(line)) for line in diff.removesuffix("\n").split("\n"))


def _style(line: str) -> str:
    return next((style for mark, style in _DIFF_STYLES if line.startswith(mark)), "")


def visible(text: str) -> str:
    """The text with what a terminal would obey, hide or reorder made visible; line ends and tabs stay."""
    return "".join(_symbol(character) for character in text)


def _symbol(character: str) -> str:
    if character in "\n\t" or category(character) not in _UNSEEN:
        return character
    return chr(0x2400 + ord(character)) if character < " " else "\N{REPLACEMENT CHARACTER}"


def _table(*columns: str, title: str) -> Table:
    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
        column.justify = "right" if column.header in ("lines", "votes") else "left"
    return table
