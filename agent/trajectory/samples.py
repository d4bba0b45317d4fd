"""All samples of an instance: for each a testing trajectory, and an editing trajectory seeded with its script.

There is no barrier between the two: a sample edits as soon as its own script is there. A sample whose testing ended
without a script waits for all testing trajectories and borrows the first script that reproduces, by sample number;
if there is none, it edits without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.context.packing import Context, render_files
from agent.instances import Instance
from agent.repository import Repository
from agent.tasks import together
from agent.trajectory.edit_form import choose
from agent.trajectory.editing import Desk, editing
from agent.trajectory.flow import Flow
from agent.trajectory.outcome import Editing, Parked, TestedScript, Testing
from agent.trajectory.settings import TrajectorySettings
from agent.trajectory.testing import testing
from sandbox.errors import InfrastructureError

Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one sample left behind."""

    number: int
    testing: Testing
    editing: Editing | None = None
    """None if the run ends after testing."""

    @property
    def tested(self) -> TestedScript | None:
        """The sample's final script."""
        return self.editing.tested if self.editing else self.testing.tested


async def draft_samples(
    count: int,
    flow: Callable[[str, int], Flow],
    instance: Instance,
    repository: Repository,
    context: Context,
    settings: TrajectorySettings,
    *,
    model: str,
    edit: bool = True,
    tell: Tell = lambda stage, text: None,
) -> list[Sample | Parked]:
    """Run all samples side by side. `flow(stage, number)` opens a trajectory; `model` suits the edit form to it.

    A fault of the infrastructure parks the sample that it hit; the others go on.
    """
    files = render_files(context)
    desk = Desk(instance, repository, context, files, choose(settings.edit_format, model, context))
    tests: list[asyncio.Future[Testing | Parked]] = [asyncio.get_running_loop().create_future() for _ in range(count)]

    async def test(number: int) -> None:
        try:
            ended: Testing | Parked = await testing(flow("testing", number), instance, settings, files)
            tell("testing", f"sample {number}: {_told(ended)}")
        except InfrastructureError as error:
            ended = _park(error, f"testing sample {number}", tell)
        tests[number].set_result(ended)

    async def draft(number: int) -> Sample | Parked:
        tested = await tests[number]
        if isinstance(tested, Parked) or not edit:
            return tested if isinstance(tested, Parked) else Sample(number, tested)
        try:
            seed = tested.tested or _first_that_reproduces([await other for other in tests])
            edited = await editing(flow("editing", number), desk, settings, seed)
        except InfrastructureError as error:
            return _park(error, f"editing sample {number}", tell)
        tell("editing", f"sample {number}: {edited.outcome} after {edited.turns} turns")
        return Sample(number, tested, edited)

    async def both(number: int) -> Sample | Parked:
        await test(number)
        return await draft(number)

    return await together([both(number) for number in range(count)])


def _first_that_reproduces(tests: list[Testing | Parked]) -> TestedScript | None:
    """Raises InfrastructureError if a test that might come first is parked: resuming would choose another."""
    for ended in tests:
        if isinstance(ended, Parked):
            raise InfrastructureError(f"waits for a testing trajectory that is parked: {ended.message}")
        if ended.tested and ended.tested.reproduces:
            return ended.tested
    return None


def _park(error: InfrastructureError, what: str, tell: Tell) -> Parked:
    tell(what.split(maxsplit=1)[0], f"{what} is parked: {error}")
    return Parked(error.cause, str(error))


def _told(ended: Testing) -> str:
    verdict = f"script exits {ended.tested.baseline.exit_code} on the unpatched tree" if ended.tested else "no script"
    return f"{ended.outcome} after {ended.turns} turns, {verdict}"
