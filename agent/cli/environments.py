"""Environments of a data set's instances, for commands that run something in them beside a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from agent import clones
from agent.cli.environment import prepare
from agent.cli.inputs import NOTHING, inputs_of
from agent.cli.settings import AUTO, SolveSettings
from agent.instances import Instance
from sandbox.api import Environment, EnvironmentSpec, Sandbox
from sandbox.errors import InputError
from sandbox.threads import DaemonThreads


@dataclass(frozen=True, slots=True)
class Built:
    """An environment, and how its tests are run."""

    environment: Environment
    test: str
    """The repository's test command, with or without the files to test; empty if nothing names one."""
    spec: EnvironmentSpec


class Environments:
    """Makes the environment of each instance: of install specs, of settings, or of the image that its row names."""

    def __init__(self, sandbox: Sandbox, settings: SolveSettings, repos: Path | None, *, network: bool = False) -> None:
        """`repos`: a folder of clones; None: each repository from its host. `network`: executions may reach it."""
        self._sandbox, self._settings, self._repos, self._network = sandbox, settings, repos, network
        self._opening = asyncio.Lock()  # instances of one project share a clone
        self._threads = DaemonThreads(1, "runoff-inputs")

    async def build(self, instance: Instance, tell: Callable[[str], None]) -> Built:
        """Build and check. Raises InputError (no image, no clone, no spec), EnvironmentBuildError and SandboxError."""
        clone = str(clones.require(self._repos, instance.repo)) if self._repos else ""
        settings = self._settings.model_copy(update={"repo": clone})
        if not settings.install_specs and settings.setup == AUTO and not settings.repo:
            return await self._of_image(instance, tell)
        async with self._opening:
            inputs = await self._threads.submit(lambda: inputs_of(instance, settings))
        with inputs.repository:
            spec = inputs.instance.environment
            networked = replace(spec, network=self._network) if spec else None
            inputs = replace(inputs, instance=replace(inputs.instance, environment=networked))
            settled = await prepare(self._sandbox, replace(inputs, test=NOTHING), settings, tell)
        assert settled.inputs.instance.environment is not None  # noqa: S101  `prepare` has built it
        return Built(settled.environment, inputs.test.value, settled.inputs.instance.environment)

    async def _of_image(self, instance: Instance, tell: Callable[[str], None]) -> Built:
        """In the image that the row names, without a repository."""
        if instance.environment is None:
            raise InputError("the instance names no image", where=instance.id, hint="--install-specs FILE")
        spec = replace(instance.environment, about=instance.about, network=self._network)
        command = self._settings.test_command
        return Built(await self._sandbox.build(spec, tell), "" if command == AUTO else command, spec)
