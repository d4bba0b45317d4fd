"""`runoff evaluate --local`: the environments of its instances, made as `runoff solve` makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent import clones
from agent.cli.environment import prepare
from agent.cli.inputs import NOTHING, inputs_of
from agent.cli.settings import AUTO, SolveSettings
from agent.instances import Instance
from agent.progress import Event, Watch
from sandbox.api import Limits, Sandbox, digest_of
from sandbox.errors import InputError
from sandbox.threads import DaemonThreads
from selection.evaluation.evaluate import STAGE
from selection.evaluation.harness import Harness, Parsers
from selection.evaluation.local import Bench, LocalJudge
from selection.evaluation.record import Results
from selection.gold import Gold


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """What only this way of evaluating has."""

    repos: Path | None
    """A folder of clones; None: each repository from its host."""
    limits: Limits
    network: bool
    """Whether tests may reach the network."""


class LocalJudges:
    """Makes the judge of each instance."""

    def __init__(
        self,
        instances: Mapping[str, Instance],
        gold: Gold,
        settings: SolveSettings,
        options: LocalOptions,
        *,
        sandbox: Sandbox,
        parsers: Parsers,
        results: Results,
        watch: Watch,
    ) -> None:
        self._instances, self._gold, self._settings, self._options = instances, gold, settings, options
        self._sandbox, self._parsers, self._results, self._watch = sandbox, parsers, results, watch
        self._opening = asyncio.Lock()  # instances of one project share a clone
        self._threads = DaemonThreads(1, "runoff-inputs")

    def judge_for(self, name: str) -> LocalJudge:
        """The judge of an instance."""
        return LocalJudge(
            self._gold.of(name),
            self._bench(self._instances[name]),
            self._sandbox,
            self._parsers,
            limits=self._options.limits,
            log=lambda what, text: self._results.log(name, what, text),
        )

    def _bench(self, instance: Instance) -> Callable[[], Awaitable[Bench]]:
        def tell(line: str) -> None:
            self._watch(Event(instance.id, STAGE, f"{instance.id}: {line}"))

        async def build() -> Bench:
            repos = self._options.repos
            clone = str(clones.require(repos, instance.repo)) if repos else ""
            settings = self._settings.model_copy(update={"repo": clone})
            if not settings.install_specs and settings.setup == AUTO and not settings.repo:
                return await self._of_image(instance, tell)
            async with self._opening:
                inputs = await self._threads.submit(lambda: inputs_of(instance, settings))
            with inputs.repository:
                spec = inputs.instance.environment
                networked = replace(spec, network=self._options.network) if spec else None
                inputs = replace(inputs, instance=replace(inputs.instance, environment=networked))
                settled = await prepare(self._sandbox, replace(inputs, test=NOTHING), settings, tell)
            return Bench(settled.environment, inputs.test.value)

        return build

    async def _of_image(self, instance: Instance, tell: Callable[[str], None]) -> Bench:
        """In the image that the row names, without a repository."""
        if instance.environment is None:
            raise InputError("the instance names no image", where=instance.id, hint="--install-specs FILE")
        spec = replace(instance.environment, about=instance.about, network=self._options.network)
        command = self._settings.test_command
        return Bench(await self._sandbox.build(spec, tell), "" if command == AUTO else command)


def local_bases(
    gold: Gold, names: list[str], settings: SolveSettings, options: LocalOptions, *, sandbox: str, harness: Harness
) -> dict[str, str]:
    """By instance: the digest of all that a local judgement rests on."""
    specs = Path(settings.install_specs).expanduser().read_text("utf-8") if settings.install_specs else ""
    chosen = (settings.setup, settings.image, settings.python, settings.test_command, str(options.network))
    shared = digest_of("local", sandbox, str(harness.version), specs, *chosen, options.limits.digest)
    return {name: digest_of(shared, gold.of(name).digest) for name in names}
