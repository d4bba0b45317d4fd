"""One ensemble from its files to its choices: opens what the steps of its selector need, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from agent.cli.components import selection_settings
from agent.cli.ensemble_bench import EnsembleBench
from agent.cli.interrupts import Interrupt
from agent.cli.models import Specs, open_models, prices_of, specs_of
from agent.cli.refusals import refuse_secrets
from agent.cli.settings import BatchSettings
from agent.endings import Ending
from agent.instances import Instance, Instances, load
from agent.llm.ledger import Ledger
from agent.progress import Event, Watch, note
from agent.store import Run
from sandbox.api import Patch
from sandbox.errors import InputError
from sandbox.probe import choose as choose_sandbox
from selection.chain import Chain, Choice, parse_chain, plain_name
from selection.consensus import Split
from selection.ensemble import Member, choose, digest, proposals, read_members
from selection.ensemble_store import EnsembleStore
from selection.explain import ASKING
from selection.patches.trees import Trees
from selection.regression import RegressionSettings
from selection.scripts import Scripts, runs_among
from selection.steps.model import with_model
from selection.steps.plain import label_free
from selection.steps.running import with_sandbox

RUNS = frozenset(["regression", "votes", "trajectory"])
"""Steps that run something."""
ASKS = frozenset(ASKING)
"""Steps that ask a model."""
OF_ENVIRONMENTS = ("sandbox", "image", "setup", "python", "test_command", "script_seconds", "memory_mb", "disk_mb")
"""Settings that executions depend on."""
OF_MODELS = ("model", "max_tokens", "finalists", "selection_turns", "seed")

Proposed = Mapping[str, Sequence[tuple[str, Patch | None]]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says beyond settings that solving has too."""

    instances: str
    split: str | None
    predictions: list[Path]
    output: Path
    selector: str
    stop_at: float | None
    trees: Trees | None
    scripts: Path | None
    tests: RegressionSettings


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    store: EnsembleStore
    members: tuple[Member, ...]
    known: Instances
    chain: str
    stopped: Ending | None
    """What ended it early, if anything did."""


class EnsembleSession:
    """Carries an ensemble through."""

    def __init__(self, asked: Asked, settings: BatchSettings, watch: Watch, interrupt: Interrupt) -> None:
        self._asked, self._settings, self._watch, self._interrupt = asked, settings, watch, interrupt
        self._run = Run(asked.output.with_name(f"{asked.output.stem}.work"))
        self._bench = EnsembleBench(self._run, settings, asked.trees, watch)

    async def work(self) -> Done:
        """Choose for every instance that the record lacks. Raises InputError before anything is opened."""
        asked = self._asked
        refuse_secrets(self._settings)
        known = load(asked.instances, split=asked.split)
        members = read_members(asked.predictions, Path(self._settings.runs))
        if len(members) < 2:  # noqa: PLR2004  two are the fewest that there is a choice between
            raise InputError("an ensemble has at least two members", where="--predictions", hint="name more files")
        proposed = proposals(members, known.by_id)
        scripts = Scripts(runs_among(members), asked.scripts)
        chain = self._chain(proposed, members, scripts)
        basis = digest(chain, proposed, *self._basis(chain, known, scripts))
        with EnsembleStore(asked.output, basis, chain.name) as store:
            left = [instance for name, instance in known.by_id.items() if name not in store.made]
            async with AsyncExitStack() as stack:
                if left:
                    await self._open(chain, stack)
                stopped = await self._choose(chain, left, proposed, store)
            store.finish(proposed)
        return Done(store, members, known, chain.name, stopped)

    def _chain(self, proposed: Proposed, members: Sequence[Member], scripts: Scripts) -> Chain:
        asked = self._asked
        steps = label_free(Split(proposed), [one.name for one in members], seed=self._settings.seed, trees=asked.trees)
        steps |= with_sandbox(self._bench, scripts.of, asked.tests)
        steps |= with_model(self._bench, selection_settings(self._settings))
        return parse_chain(asked.selector, steps, stop_at=asked.stop_at)

    def _basis(self, chain: Chain, known: Instances, scripts: Scripts) -> list[str]:
        """What the choices depend on beside patches and chain."""
        values, names = self._settings.model_dump(), _names(chain)
        basis = [f"{self._asked.trees.folder if self._asked.trees else ''}"]
        if names & RUNS:
            specs = self._settings.install_specs
            basis += [f"{name}={values[name]}" for name in OF_ENVIRONMENTS]
            basis += [_text(specs) if specs else "", f"{self._asked.tests}"]
        if names & ASKS:
            basis += [f"{name}={values[name]}" for name in OF_MODELS]
        if "votes" in names:
            basis += [f"{name} {script.digest}" for name in known.by_id for _, script in scripts.of(name)]
        return basis

    async def _choose(
        self, chain: Chain, left: Sequence[Instance], proposed: Proposed, store: EnsembleStore
    ) -> Ending | None:
        """Choose, note it down, and tell, if it takes long enough that anybody wants to hear of it."""
        effects = _names(chain) & (RUNS | ASKS)

        def done(choice: Choice) -> None:
            store.add(choice)
            self._bench.release(choice.instance)
            if effects:
                self._watch(Event(choice.instance, "selection", f"{choice.instance}: {choice.reason}"))

        def parked(ending: Ending) -> None:
            store.park(ending)
            self._bench.release(ending.instance)
            self._watch(note(f"{ending.instance}: parked, {ending.cause}: {ending.reason}"))

        return await choose(chain, left, proposed, done=done, parked=parked, at_once=self._at_once(_names(chain)))

    def _at_once(self, names: AbstractSet[str]) -> int:
        """Instances under way at once: enough to keep the sandbox, or the calls in flight, busy."""
        settings = self._settings
        if not names & (RUNS | ASKS):
            return 1
        return settings.instances_at_once or max(2, settings.workers if names & RUNS else settings.in_flight)

    async def _open(self, chain: Chain, stack: AsyncExitStack) -> None:
        """Open what these steps need. Raises InputError and InfrastructureError, before anything is spent."""
        settings, names = self._settings, _names(chain)
        if names & ASKS:
            main = specs_of(settings, os.environ, self._watch).main
            specs = Specs(main, main)
            prices = prices_of(specs, settings)
            self._run.path.mkdir(parents=True, exist_ok=True)
            ledger = stack.enter_context(Ledger(self._run.ledger))
            models = await open_models(
                specs, prices, settings, ledger=ledger, env=os.environ, watch=self._watch, stack=stack
            )
            self._bench.model = models.main
        if names & RUNS:
            sandbox = await choose_sandbox(settings.sandbox, settings.workers, lambda line: self._watch(note(line)))
            stack.push_async_callback(sandbox.close)
            self._interrupt.kill = sandbox.interrupt
            self._bench.sandbox = sandbox


def _names(chain: Chain) -> frozenset[str]:
    return frozenset(plain_name(step.name) for step in chain.steps)


def _text(specs: str) -> str:
    try:
        return Path(specs).expanduser().read_text("utf-8")
    except OSError as error:
        hint = "name a JSON file of environments by repository and version"
        raise InputError(f"cannot read: {error.strerror}", where=f"--install-specs {specs}", hint=hint) from error
