"""Every script on every patch and on the unpatched tree: the evidence that votes are counted from.

Scripts and patches that are equal by content are one. A script that does not show the issue on the unpatched tree, each time
that it runs there, cannot vote; so by default nothing is spent on running it on patches.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

from sandbox.api import Execution, Patch, Script, Verdict

FORMAT = 1
T = TypeVar("T", Script, Patch)


class Run(Protocol):
    """Executes a script on the tree with a patch; the caller bounds how many run at once, and caches."""

    def __call__(self, script: Script, patch: Patch | None, repeat: int, /) -> Awaitable[Execution]:
        """`repeat` tells repeated executions of the same pair apart."""
        ...


@dataclass(frozen=True, slots=True)
class Cell:
    """One script on one patch, by digest."""

    patch: str
    script: str
    execution: Execution


@dataclass(frozen=True, slots=True)
class Matrix:
    """What became of every script, on the unpatched tree and on every patch that it was run on."""

    scripts: tuple[Script, ...]
    """Distinct, in the order in which they were given."""
    patches: tuple[Patch, ...]
    """Distinct, in the order in which they were given."""
    baseline: Mapping[str, tuple[Execution, ...]]
    """By digest of the script: its executions on the unpatched tree, one a repeat."""
    cells: Mapping[tuple[str, str], Execution] = field(default_factory=dict)
    """By digests of patch and script. Absent where a script was not run since it cannot vote."""

    def reproduces(self, script: Script) -> bool:
        """Whether the script showed the issue on the unpatched tree, each time that it ran there."""
        return shows_issue(self.baseline[script.digest])

    def is_flaky(self, script: Script) -> bool:
        """Whether the script contradicted itself on the unpatched tree."""
        return len({execution.verdict for execution in self.baseline[script.digest]}) > 1

    def cell(self, patch: Patch, script: Script) -> Execution | None:
        """The execution of the script on the patch, if there was one."""
        return self.cells.get((patch.digest, script.digest))

    def to_json(self) -> str:
        """As `04_matrix.json` holds it."""
        return json.dumps(
            {
                "format": FORMAT,
                "scripts": [asdict(script) for script in self.scripts],
                "patches": [asdict(patch) for patch in self.patches],
                "baseline": {digest: [asdict(run) for run in runs] for digest, runs in self.baseline.items()},
                "cells": [asdict(Cell(patch, script, run)) for (patch, script), run in self.cells.items()],
            },
            ensure_ascii=False,
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> Matrix:
        """The inverse of `to_json`. Raises ValueError for text that is not of this format."""
        held: dict[str, Any] = json.loads(text)
        if held.get("format") != FORMAT:
            raise ValueError(f"a matrix of format {held.get('format')!r}; this version reads {FORMAT}")
        return cls(
            scripts=tuple(Script(**script) for script in held["scripts"]),
            patches=tuple(Patch(**patch) for patch in held["patches"]),
            baseline={digest: tuple(Execution(**run) for run in runs) for digest, runs in held["baseline"].items()},
            cells={(cell["patch"], cell["script"]): Execution(**cell["execution"]) for cell in held["cells"]},
        )


def shows_issue(runs: Iterable[Execution]) -> bool:
    """Whether there was a run, and each showed the issue."""
    verdicts = {run.verdict for run in runs}
    return verdicts == {Verdict.ISSUE}


def distinct(items: Iterable[T]) -> tuple[T, ...]:
    """Without those that equal an earlier one by content."""
    first: dict[str, T] = {}
    for item in items:
        first.setdefault(item.digest, item)
    return tuple(first.values())


async def fill(
    run: Run, scripts: Iterable[Script], patches: Iterable[Patch], *, baseline_repeats: int = 2, all_scripts: bool = False
) -> Matrix:
    """Execute what the matrix holds; as much at once as `run` lets through.

    `baseline_repeats`: runs of each script on the unpatched tree (at least one); only a script whose first run shows the
    issue is run again. `all_scripts`: run those on patches too that cannot vote. Raises what `run` raises, after the
    other executions have been cancelled.
    """
    rows, columns = distinct(scripts), distinct(patches)
    baseline: dict[str, tuple[Execution, ...]] = {}
    cells: dict[tuple[str, str], Execution] = {}

    async def one_cell(patch: Patch, script: Script) -> None:
        cells[patch.digest, script.digest] = await run(script, patch, 0)

    async def one_script(script: Script, group: asyncio.TaskGroup) -> None:
        runs = [await run(script, None, 0)]
        if shows_issue(runs):
            runs += [await run(script, None, repeat) for repeat in range(1, baseline_repeats)]
        baseline[script.digest] = tuple(runs)
        if all_scripts or shows_issue(runs):
            for patch in columns:
                group.create_task(one_cell(patch, script))

    try:
        async with asyncio.TaskGroup() as group:
            for script in rows:
                group.create_task(one_script(script, group))
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from faults
    return _in_order(rows, columns, baseline, cells)


def _in_order(
    scripts: tuple[Script, ...],
    patches: tuple[Patch, ...],
    baseline: Mapping[str, tuple[Execution, ...]],
    cells: Mapping[tuple[str, str], Execution],
) -> Matrix:
    """The matrix with its entries in the order of its rows and columns, however the executions came in."""
    keys = [(patch.digest, script.digest) for patch in patches for script in scripts]
    return Matrix(
        scripts,
        patches,
        {script.digest: baseline[script.digest] for script in scripts},
        {key: cells[key] for key in keys if key in cells},
    )
