"""runoff as a library: what the commands do, as functions. `from agent import solve, batch, resume`.

The command line adds flags, `RUNOFF_*` variables, `runoff.toml` and what is printed; everything else is here and
in `agent.cli.compose.Session`, which both use. Vendors' keys are read from the environment here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.cli.batching import BatchSession, Outcome
from agent.cli.compose import Session
from agent.cli.settings import BatchSettings, SolveSettings, validated
from agent.llm.totals import Totals
from agent.pipeline import Result
from agent.progress import Event, Watch
from agent.redaction import of_process
from sandbox.api import Patch
from sandbox.errors import RunoffError


@dataclass(frozen=True, slots=True)
class Solution:
    """What became of an issue."""

    result: Result
    run: Path
    """The run's folder: `runoff show` explains it, `resume` goes on with it."""
    spent: Totals
    """Calls, tokens and dollars of the whole run."""

    @property
    def patch(self) -> Patch | None:
        """The patch that won; None if there is none."""
        return self.result.patch

    @property
    def reason(self) -> str:
        """Why this patch won, or why there is none."""
        return self.result.reason


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of a data set's instances."""

    outcome: Outcome
    """How many have a patch, and the causes of the others."""
    run: Path
    """The run's folder, with `predictions.jsonl` and `unresolved.json`."""
    spent: Totals


def _ignore(event: Event) -> None:
    """Watch nothing."""


async def solve_async(settings: SolveSettings | None = None, *, watch: Watch = _ignore, **options: Any) -> Solution:
    """Resolve one issue: what `runoff solve` does.

    `settings`, or its fields as keyword arguments (`repo=".", issue="issue.md", model="anthropic:...", budget=5`; the
    command line's flags with underscores). `watch` hears of every event. To cancel the task kills what runs in the
    sandbox; the run can be resumed.

    Raises InputError (nothing was spent), BudgetReached or InfrastructureError (resume later).
    """
    if settings is not None and options:
        raise TypeError("give either settings or their fields")
    with _without_secrets():
        async with Session(watch) as session:
            result = await session.solve(settings or validated(options))
            return Solution(result, session.run.path, session.spent())


async def resume_async(
    run: str | Path,
    *,
    runs: str | Path = "runs",
    settle: Mapping[int, float] | None = None,
    fork: bool = False,
    watch: Watch = _ignore,
    **changes: Any,
) -> Solution:
    """Go on with a run, by name or folder: what `runoff resume` does.

    `changes` may be `budget`, `budget_tokens`, `budget_calls`, `in_flight`, `workers`, and `model` or `cheap_model` at
    another endpoint. `settle`: dollars for calls that were cut off, by number. Raises as `solve_async`.
    """
    by_hand = {str(number): dollars for number, dollars in (settle or {}).items()}
    with _without_secrets():
        async with Session(watch, fork=fork) as session:
            result = await session.resume(str(run), Path(runs), changes, settle=by_hand)
            return Solution(result, session.run.path, session.spent())


async def batch_async(settings: BatchSettings | None = None, *, watch: Watch = _ignore, **options: Any) -> Batch:
    """Resolve the instances of a data set: what `runoff batch` does. Arguments as those of `solve_async`.

    An instance that fails, a budget that is reached and a server that goes away are part of the outcome; raised is what
    keeps the run from beginning.
    """
    if settings is not None and options:
        raise TypeError("give either settings or their fields")
    with _without_secrets():
        async with BatchSession(watch) as session:
            outcome = await session.batch(settings or validated(options, None, BatchSettings))
            return Batch(outcome, session.run.path, session.spent())


async def resume_batch_async(
    run: str | Path,
    *,
    runs: str | Path = "runs",
    retry: str = "",
    settle: Mapping[int, float] | None = None,
    fork: bool = False,
    watch: Watch = _ignore,
    **changes: Any,
) -> Batch:
    """Go on with a batch: what `runoff resume` does with one. `retry`: a cause, or `all`; the rest as `resume_async`."""
    by_hand = {str(number): dollars for number, dollars in (settle or {}).items()}
    with _without_secrets():
        async with BatchSession(watch, fork=fork) as session:
            outcome = await session.resume_batch(str(run), Path(runs), changes, settle=by_hand, retry=retry)
            return Batch(outcome, session.run.path, session.spent())


@contextmanager
def _without_secrets() -> Iterator[None]:
    """No key of this process leaves in an error's words."""
    try:
        yield
    except RunoffError as error:
        of_process().cleanse(error)
        raise


def solve(settings: SolveSettings | None = None, *, watch: Watch = _ignore, **options: Any) -> Solution:
    """`solve_async` for callers without an event loop. Ctrl-C ends what runs, and raises KeyboardInterrupt."""
    return asyncio.run(solve_async(settings, watch=watch, **options))


def resume(run: str | Path, *, runs: str | Path = "runs", watch: Watch = _ignore, **changes: Any) -> Solution:
    """`resume_async` for callers without an event loop."""
    return asyncio.run(resume_async(run, runs=runs, watch=watch, **changes))


def batch(settings: BatchSettings | None = None, *, watch: Watch = _ignore, **options: Any) -> Batch:
    """`batch_async` for callers without an event loop."""
    return asyncio.run(batch_async(settings, watch=watch, **options))


def resume_batch(run: str | Path, *, runs: str | Path = "runs", watch: Watch = _ignore, **changes: Any) -> Batch:
    """`resume_batch_async` for callers without an event loop."""
    return asyncio.run(resume_batch_async(run, runs=runs, watch=watch, **changes))
