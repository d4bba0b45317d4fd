"""All samples of an instance: for each a testing trajectory, and an editing trajectory seeded with its script.

There is no barrier between the two: a sample edits as soon as its own script is there. A sample whose testing ended
without a script waits for all testing trajectories and borrows the first script that reproduces, by sample number;
if there is none, it edits without.

Where sampling may stop early, the first few samples are drafted ahead of the rest, which are left out if these agree on
one patch: what more of them would cost is better spent where they differ. Which samples there are follows from what the
first ones came to, so a run that is resumed decides the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from agent.context.packing import Context, render_files
from agent.instances import Instance
from agent.repository import Repository
from agent.tasks import all_ended
from agent.trajectory.edit_form import choose
from agent.trajectory.editing import Desk, run_editing
from agent.trajectory.flow import Flow
from agent.trajectory.outcome import Parked, PatchDraft, ScriptDraft, TriedScript
from agent.trajectory.settings import TrajectorySettings
from agent.trajectory.testing import run_testing
from sandbox.api import Patch
from sandbox.errors import BudgetReached, InfrastructureError

Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one sample left behind."""

    number: int
    testing: ScriptDraft
    editing: PatchDraft | None = None
    """None if the run ends after testing."""

    @property
    def tried(self) -> TriedScript | None:
        """The sample's final script."""
        return self.editing.tried if self.editing else self.testing.tried


async def draft_samples(
    count: int,
    flow: Callable[[str, int], Flow],
    instance: Instance,
    *,
    repository: Repository,
    context: Context,
    settings: TrajectorySettings,
    model: str,
    edit: bool = True,
    early_stop: int = 0,
    tell: Tell = lambda stage, text: None,
) -> list[Sample | Parked]:
    """Run all samples side by side. `flow(stage, number)` opens a trajectory; `model` suits the edit form to it.

    A fault of the infrastructure, or a budget that does not suffice, parks the sample that it hit; the others go on.
    Any other error is raised once the other samples have ended, so that what they paid for is journaled.

    `early_stop`: draft only so many samples if their patches are the same change; 0 drafts them all at once.
    """
    files = render_files(context)
    desk = Desk(instance, repository, context, files, choose(settings.edit_format, model, context))
    tests: list[asyncio.Future[ScriptDraft | Parked]] = [asyncio.get_running_loop().create_future() for _ in range(count)]

    async def test(number: int) -> None:
        try:
            draft = await run_testing(flow("testing", number), instance, settings, files)
        except (InfrastructureError, BudgetReached) as error:
            tests[number].set_result(_park(error, f"testing sample {number}", tell))
            return
        except BaseException:
            tests[number].cancel()  # those that wait for it end too
            raise
        tell("testing", f"sample {number}: {_told(draft)}")
        tests[number].set_result(draft)

    async def edit_it(number: int, wave: range) -> Sample | Parked:
        tried = await tests[number]
        if isinstance(tried, Parked) or not edit:
            return tried if isinstance(tried, Parked) else Sample(number, tried)
        try:
            seed = tried.tried or _first_that_reproduces([await other for other in tests[: wave.stop]])
        except _Waits as waits:
            return _park(waits.parked, f"editing sample {number}", tell)
        try:
            edited = await run_editing(flow("editing", number), desk, settings, seed)
        except (InfrastructureError, BudgetReached) as error:
            return _park(error, f"editing sample {number}", tell)
        tell("editing", f"sample {number}: {edited.outcome} after {edited.turns} turns")
        return Sample(number, tried, edited)

    async def both(number: int, wave: range) -> Sample | Parked:
        await test(number)
        return await edit_it(number, wave)

    return await _in_waves(both, count, early_stop if edit else 0)


async def _in_waves(
    draft: Callable[[int, range], Coroutine[Any, Any, Sample | Parked]], count: int, early_stop: int
) -> list[Sample | Parked]:
    """All samples at once; with `early_stop` so many ahead of the rest, which may not be needed."""
    first = range(min(early_stop, count) if early_stop else count)
    samples: list[Sample | Parked] = []
    for wave in (first, range(len(first), count)):
        samples += await all_ended([draft(number, wave) for number in wave])
        if any(isinstance(sample, Parked) for sample in samples) or agree(samples):
            break
    return samples


def agree(samples: Sequence[Sample | Parked]) -> bool:
    """Whether all samples ended with the same change."""
    changes = [
        _change(sample.editing.patch)
        for sample in samples
        if isinstance(sample, Sample) and sample.editing and sample.editing.patch
    ]
    return len(changes) == len(samples) and len(set(changes)) == 1


def _change(patch: Patch) -> str:
    """The diff without what two equal changes may differ in: line numbers, ids, white space at ends, blank lines.

    Indentation stays: in Python it is no matter of taste.
    """
    lines = (line.rstrip() for line in patch.diff.splitlines() if not line.startswith(("index ", "@@ ")))
    return "\n".join(line for line in lines if line not in ("", "+", "-"))


def _first_that_reproduces(tests: list[ScriptDraft | Parked]) -> TriedScript | None:
    """Raises _Waits if a test that might come first is parked: resuming would choose another."""
    for ended in tests:
        if isinstance(ended, Parked):
            raise _Waits(Parked(ended.cause, f"waits for a testing trajectory that is parked: {ended.message}"))
        if ended.tried and ended.tried.reproduces:
            return ended.tried
    return None


class _Waits(Exception):
    """A trajectory cannot begin, since another one is parked."""

    def __init__(self, parked: Parked) -> None:
        super().__init__(parked.message)
        self.parked = parked


def _park(why: InfrastructureError | BudgetReached | Parked, what: str, tell: Tell) -> Parked:
    parked = why if isinstance(why, Parked) else Parked(why.cause, str(why))
    tell(what.split(maxsplit=1)[0], f"{what} is parked: {parked.message}")
    return parked


def _told(ended: ScriptDraft) -> str:
    verdict = f"script exits {ended.tried.baseline.exit_code} on the unpatched tree" if ended.tried else "no script"
    return f"{ended.outcome} after {ended.turns} turns, {verdict}"
