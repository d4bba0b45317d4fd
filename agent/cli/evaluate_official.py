"""`runoff evaluate`: calls the official harness, follows its reports, and leaves nothing of it behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.cli.images_make import require_engine
from agent.cli.interrupts import Interrupt
from agent.cli.settings import SolveSettings
from sandbox.api import Patch
from sandbox.errors import InfrastructureError
from sandbox.threads import DaemonThreads
from selection.evaluation import official
from selection.evaluation.evaluate import Todo
from selection.evaluation.harness import Harness
from selection.evaluation.official import Batch
from selection.evaluation.record import Results
from selection.gold import harness_rows

LOOK = 0.5
"""Seconds between two looks at the harness's reports."""
PATIENCE = 5.0
"""Seconds that an interrupted harness has for ending by itself."""
MODEL = "runoff"


@dataclass(frozen=True, slots=True)
class OfficialOptions:
    """What only this way of evaluating has."""

    run_id: str
    namespace: str
    timeout: float


async def judge_officially(
    harness: Harness,
    settings: SolveSettings,
    options: OfficialOptions,
    *,
    todo: Todo,
    bases: Mapping[str, str],
    results: Results,
    interrupt: Interrupt,
) -> None:
    """Judge what is left. Raises InputError (rows that this harness does not read), SandboxUnavailable (no engine)."""
    for name, patch, its_basis, judgement in official.finished_before(results.folder):
        if judgement.outcome.judged and bases.get(name) == its_basis and patch in todo.left.get(name, []):
            todo.keep(name, patch, judgement)
            todo.left[name].remove(patch)
    calls = list(_calls(todo.left, bases))
    if not calls:
        return
    await require_engine()
    threads = DaemonThreads(1, "runoff-harness")
    with tempfile.TemporaryDirectory(prefix="runoff-labels-") as folder:  # labels are not left in a run
        dataset = Path(folder) / "dataset.jsonl"
        names = [name for name, patches in todo.left.items() if patches]
        rows = await threads.submit(lambda: list(harness_rows(settings.dataset, names, split=settings.split)))
        official.check_rows(harness, rows, settings.dataset)
        for batch in calls:
            wanted = [row for row in rows if row["instance_id"] in batch.patches]
            dataset.write_text("".join(json.dumps(row) + "\n" for row in wanted), "utf-8")
            await _Call(harness, options, batch, dataset, settings.workers, results.folder, todo, interrupt).carry_out()
    threads.close()


def _calls(left: Mapping[str, list[Patch]], bases: Mapping[str, str]) -> Iterator[Batch]:
    """The first patch of each instance, then the second of those that have one, and so on: one call judges one each."""
    for number in range(max(map(len, left.values()), default=0)):
        chosen = {name: patches[number] for name, patches in left.items() if len(patches) > number}
        yield Batch(chosen, bases)


@dataclass(slots=True)
class _Call:
    """One run of the harness's command."""

    harness: Harness
    options: OfficialOptions
    batch: Batch
    dataset: Path
    workers: int
    root: Path
    todo: Todo
    interrupt: Interrupt

    async def carry_out(self) -> None:
        """Start it, keep its reports as they come, and say of the rest why there is none."""
        run_id = self.batch.run_id(self.options.run_id)
        place = self.root / "evaluation" / "official" / run_id
        predictions = official.write_inputs(place, self.batch, MODEL)
        command = official.command_line(
            self.harness,
            dataset=self.dataset,
            predictions=predictions.resolve(),
            run_id=run_id,
            workers=self.workers,
            timeout=self.options.timeout,
            namespace=self.options.namespace,
        )
        variables = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        with (place / "harness.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=place, stdin=DEVNULL, stdout=log, stderr=log, env=variables, start_new_session=True
            )
        self.interrupt.kill = lambda: _kill(process, run_id)
        try:
            await self._follow(process, place, run_id)
        except BaseException:
            await asyncio.shield(_stop(process, run_id))
            raise

    async def _follow(self, process: Process, place: Path, run_id: str) -> None:
        left = dict(self.batch.patches)
        ended = asyncio.ensure_future(process.wait())
        while not ended.done():
            await asyncio.wait([ended], timeout=LOOK)
            self._look(left, place, run_id, ended=False)
        if not official.has_begun(place) and (code := ended.result()) != 0:
            log = place / "harness.log"
            message = f"the harness failed (exit code {code}): {_last_line(log)}"
            raise InfrastructureError(message, where=str(log), hint="the same command tries again")
        self._look(left, place, run_id, ended=True)

    def _look(self, left: dict[str, Patch], place: Path, run_id: str, *, ended: bool) -> None:
        """Keep what there is to be known of those that are left."""
        for name, patch in list(left.items()):
            logs = official.log_folder(place, run_id, MODEL, name)
            if judgement := official.judgement_of(logs, name, self.root, ended=ended):
                self.todo.keep(name, patch, judgement)
                del left[name]


async def _stop(process: Process, run_id: str) -> None:
    """End it, and remove the containers that it did not."""
    _kill(process, run_id)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), PATIENCE)


def _kill(process: Process, run_id: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    import docker
    from docker.errors import DockerException

    with contextlib.suppress(DockerException):
        client = docker.from_env()
        try:
            for container in client.containers.list(all=True, filters={"name": run_id}):
                container.remove(force=True)
        finally:
            client.close()


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it said nothing"
