"""`runoff images pull` and `build`: the same images that solving would pull and build, ahead of it and side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from rich.console import Console

from agent.cli.environment import health, prepare
from agent.cli.inputs import Inputs, inputs_of, open_inputs
from agent.cli.interrupts import Interrupt
from agent.cli.json_events import JsonEvents
from agent.cli.limits import bounded_by, limits_of
from agent.cli.progress import Progress
from agent.cli.refusals import refuse_secrets
from agent.cli.settings import AUTO, SolveSettings
from agent.cli.side_by_side import Piece, conclude, side_by_side
from agent.instances import Instance, load
from agent.progress import Event, Watch, note
from sandbox import images, pulling
from sandbox.docker_sandbox import DockerSandbox
from sandbox.engine import Engine
from sandbox.errors import InputError, SandboxUnavailable
from sandbox.health import check_baseline
from sandbox.probe import HINT, probe_docker
from sandbox.threads import DaemonThreads

MB = 1e6
Tell = Callable[[str], None]


async def pull(
    settings: SolveSettings,
    chosen: str | None,
    errors: Console,
    interrupt: Interrupt,
    *,
    attempts: int,
    keep_free: int,
    as_json: bool,
) -> int:
    """Pull what the chosen instances name. The exit code."""
    await require_engine()
    wanted = await _chosen(settings, chosen)
    names = list(dict.fromkeys(each.environment.image for each in wanted if each.environment))
    engine = Engine(uuid4().hex)
    engine.keep_free = keep_free
    interrupt.hint = "the same command"
    threads = DaemonThreads(settings.workers, "runoff-pull")
    try:
        with Progress(errors) as progress:
            watch: Watch = JsonEvents() if as_json else progress
            await _tell_unwatched(engine, threads, watch)
            puller = _Puller(engine, threads, attempts, watch, live=as_json or errors.is_terminal)
            pieces = [Piece(name, puller.work(name)) for name in names]
            failed = await side_by_side(pieces, settings.workers, "pull", watch)
    finally:
        threads.close()
        engine.close()
    return conclude(failed, len(names), "images are here", errors, as_json=as_json)


class _Puller:
    """Pulls on threads and tells on the loop."""

    def __init__(self, engine: Engine, threads: DaemonThreads, attempts: int, watch: Watch, *, live: bool) -> None:
        self._engine = engine
        self._threads = threads
        self._attempts = attempts
        self._watch = watch
        self._live = live
        self._loop = asyncio.get_running_loop()

    def work(self, name: str) -> Callable[[Tell], asyncio.Future[str]]:
        """The work on one image."""
        return lambda tell: self._threads.submit(lambda: self._pull(name, tell))

    def _pull(self, name: str, tell: Tell) -> str:
        client = self._engine.client
        if images.find(client, name) is not None:
            pulling.ensure(client, name, self._engine.disk_limit())
            return "is here already"
        image = pulling.ensure(
            client,
            name,
            self._engine.disk_limit(),
            attempts=self._attempts,
            report=lambda here, total: self._report(name, here, total),
            tell=lambda line: self._from_thread(tell, line),
        )
        return f"pulled, {image.attrs['Size'] / MB:,.0f} MB"

    def _report(self, name: str, here: int, total: int) -> None:
        if self._live and total:
            text = f"{name}: {here / MB:,.0f} of {total / MB:,.0f} MB"
            self._from_thread(self._watch, Event(name, "pull", text, here * 100 // total, 100, passing=True))

    def _from_thread(self, hear: Callable[[Any], None], what: object) -> None:
        self._loop.call_soon_threadsafe(hear, what)


async def build(
    settings: SolveSettings, chosen: str | None, errors: Console, interrupt: Interrupt, *, keep_free: int, as_json: bool
) -> int:
    """Build the environment of a repository, or those of the chosen instances. The exit code."""
    refuse_secrets(settings)
    if settings.sandbox == "local":
        raise InputError("images are Docker's", where="sandbox", hint="leave --sandbox local out: the local one has none")
    await require_engine()
    settings = settings.model_copy(update={"sandbox": "docker"})
    interrupt.hint = "the same command"
    sandbox = DockerSandbox(settings.workers)
    sandbox.engine.keep_free = keep_free
    interrupt.kill = sandbox.interrupt
    builder = _Builder(sandbox, settings)
    threads = DaemonThreads(1, "runoff-disk")
    try:
        with Progress(errors) as progress:
            watch: Watch = JsonEvents() if as_json else progress
            await _tell_unwatched(sandbox.engine, threads, watch)
            if settings.dataset:
                wanted = await _chosen(settings, chosen)
                pieces = [Piece(each.id, builder.of_instance(each)) for each in wanted]
            else:
                if chosen:
                    raise InputError("--instances are those of a data set", where="--instances", hint="add --dataset SOURCE")
                pieces = [Piece(settings.repo or "repository", builder.of_repository())]
            failed = await side_by_side(pieces, settings.workers, "build", watch)
    finally:
        threads.close()
        await sandbox.close()
    return conclude(failed, len(pieces), "environments are built", errors, as_json=as_json)


class _Builder:
    """Builds as `runoff solve` does before its first call of a model."""

    def __init__(self, sandbox: DockerSandbox, settings: SolveSettings) -> None:
        self._sandbox = sandbox
        self._settings = settings
        self._opening = asyncio.Lock()  # instances of one project share a clone

    def of_instance(self, instance: Instance) -> Callable[[Tell], Any]:
        """The work on an instance of a data set."""
        return lambda tell: self._instance(instance, tell)

    def of_repository(self) -> Callable[[Tell], Any]:
        """The work on the repository of the settings."""
        return self._repository

    async def _instance(self, instance: Instance, tell: Tell) -> str:
        settings = self._settings
        if settings.setup != AUTO or settings.image or settings.python or settings.install_specs:
            async with self._opening:
                inputs = await DaemonThreads(1, "inputs").submit(lambda: inputs_of(instance, settings))
            return await self._prepare(inputs, tell)
        if instance.environment is None:
            raise InputError("the instance names no environment", where=instance.id, hint="name one with --image or --setup")
        environment = await self._sandbox.build(replace(instance.environment, about=instance.about), tell)
        limits = limits_of(bounded_by(settings, instance.environment))
        baseline = await check_baseline(
            self._sandbox, environment, base_commit=instance.base_commit, test_command="", limits=limits
        )
        return f"{_tag(environment.key)}, {health(baseline)}"

    async def _repository(self, tell: Tell) -> str:
        inputs = await open_inputs(self._settings.model_copy(update={"issue": "none", "instance": ""}))
        if spec := inputs.instance.environment:
            spec = replace(spec, about={"project": inputs.instance.repo})  # no instance: any issue may use it
            inputs = replace(inputs, instance=replace(inputs.instance, environment=spec))
        return await self._prepare(inputs, tell)

    async def _prepare(self, inputs: Inputs, tell: Tell) -> str:
        with inputs.repository:
            settled = await prepare(self._sandbox, inputs, self._settings, tell)
        return f"{_tag(settled.environment.key)}, {health(settled.baseline)}"


async def _tell_unwatched(engine: Engine, threads: DaemonThreads, watch: Watch) -> None:
    if (await threads.submit(engine.disk_limit)).place is None:
        watch(note("the engine's disk is out of sight from here, so nothing stops before it is full"))


async def require_engine() -> None:
    """Raises SandboxUnavailable, with the reason, where no engine answers."""
    finding = await probe_docker()
    if not finding.works:
        raise SandboxUnavailable(finding.words, where="Docker engine", hint=finding.hint or HINT)


async def _chosen(settings: SolveSettings, chosen: str | None) -> list[Instance]:
    if not settings.dataset:
        raise InputError("no data set is named", where="--dataset", hint="--dataset SOURCE --instances ID,...")
    if not (wanted := chosen or settings.instance):
        raise InputError("no instances are chosen", where="--instances", hint="--instances ID,..., or '*' for all of them")
    return await DaemonThreads(1, "rows").submit(lambda: load(settings.dataset, split=settings.split).chosen(wanted))


def _tag(key: str) -> str:
    return f"runoff/env:{key[:12]}"
