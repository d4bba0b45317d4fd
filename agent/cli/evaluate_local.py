"""`runoff evaluate --local`: the environments of its instances, made as `runoff solve` makes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.cli.environments import Environments
from agent.cli.settings import SolveSettings
from agent.instances import Instance
from agent.progress import Event, Watch
from sandbox.api import Limits, Sandbox, digest_of
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
        self._instances, self._gold, self._options = instances, gold, options
        self._sandbox, self._parsers, self._results, self._watch = sandbox, parsers, results, watch
        self._environments = Environments(sandbox, settings, options.repos, network=options.network)

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
            built = await self._environments.build(instance, tell)
            return Bench(built.environment, built.test)

        return build


def local_bases(
    gold: Gold, names: list[str], settings: SolveSettings, options: LocalOptions, *, sandbox: str, harness: Harness
) -> dict[str, str]:
    """By instance: the digest of all that a local judgement rests on."""
    specs = Path(settings.install_specs).expanduser().read_text("utf-8") if settings.install_specs else ""
    chosen = (settings.setup, settings.image, settings.python, settings.test_command, str(options.network))
    shared = digest_of("local", sandbox, str(harness.version), specs, *chosen, options.limits.digest)
    return {name: digest_of(shared, gold.of(name).digest) for name in names}
