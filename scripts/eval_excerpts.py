"""Measures how often the parts that are shown of a file too large for the context hold what the gold patch changes in it.

usage: python scripts/eval_excerpts.py --rows FILE --repos CLONES [--every N]

FILE has the rows with labels; CLONES holds clones by name. Counted are Python files that the gold patch changes and that are
larger than the room. Parts are chosen by the issue's text alone, without the summary that a model writes of a file, so this
is a lower bound. Labels are read here only, after the choice.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from statistics import fmean

from agent.context.excerpts import choose
from agent.instances import load
from agent.lines import split_lines
from agent.llm.tokens import estimate
from selection.gold import load_gold
from selection.patches.changes import FileChange, essence
from selection.patches.trees import Trees

Changed = tuple[str, str, str, list[set[int]]]
"""Path, text, issue; and the lines of each hunk of the gold patch."""
ROOMS = (1_000, 2_000, 4_000, 8_000, 16_000)
"""Tokens for one file."""


def places(change: FileChange) -> list[set[int]]:
    """Of each hunk the numbers (from 0) of the old lines that go; of an insertion that of the line before it."""
    return [
        {line.old - 1 if line.sign == "-" else max(0, line.old - 2) for line in hunk if line.sign != " "}
        for hunk in change.hunks
    ]


def in_parts(path: str, text: str, issue: str, room: int) -> set[int]:
    """The numbers of the lines that are shown."""
    return {number for part in choose(path, text, wanted=issue, tokens=room) for number in range(part.first, part.last)}


def at_the_beginning(text: str, room: int) -> set[int]:
    """The same of a cut at the end: the yardstick."""
    sizes = accumulate(estimate(line) for line in split_lines(text))
    return {number for number, size in enumerate(sizes) if size <= room}


def main() -> None:
    """Measure and print."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--rows", required=True, help="the data set with its labels")
    made.add_argument("--repos", type=Path, required=True, help="folder of clones")
    made.add_argument("--every", type=int, default=1, help="only each N-th instance that has a clone (1)")
    arguments = made.parse_args()
    found = list(files(arguments.rows, Trees(arguments.repos), arguments.every))
    print("| room | files | all changes shown | some | changes shown | in the file's beginning |\n|---|---|---|---|---|---|")
    for room in ROOMS:
        if larger := [one for one in found if estimate(one[1]) > room]:
            print(row(room, larger))


def files(rows: str, trees: Trees, every: int) -> Iterator[Changed]:
    """Every Python file that a gold patch changes."""
    gold = load_gold(rows)
    there = [one for one in load(rows).by_id.values() if trees.files(one, ()) is not None]
    for instance in there[::every]:
        patch = gold.of(instance.id).patch
        found = essence(patch.diff) if patch else ()
        changes = [one for one in found if one.path.endswith(".py") and not one.created]
        texts = trees.files(instance, [one.old_path for one in changes]) or {}
        for change in changes:
            if change.old_path in texts:
                yield change.old_path, texts[change.old_path], instance.statement, places(change)


def row(room: int, found: Sequence[Changed]) -> str:
    """A row of the table."""
    held = [[hunk <= in_parts(path, text, issue, room) for hunk in hunks] for path, text, issue, hunks in found]
    first = [hunk <= at_the_beginning(text, room) for _, text, _, hunks in found for hunk in hunks]
    shares = (map(all, held), map(any, held), chain.from_iterable(held), first)
    return f"| {room:,} | {len(found)} | {' | '.join(f'{100 * fmean(share):.0f} %' for share in shares)} |"


if __name__ == "__main__":
    main()
