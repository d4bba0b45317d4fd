"""One instance from start to result: context, testing, editing, matrix, selection.

Every stage is journaled, so to resume is to run this again. Samples flow through testing and editing independently;
the matrix waits for all of them. Which patch wins is up to the selector, which the composition root injects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from agent.cleaning import clean
from agent.context.packing import Context
from agent.context.stage import ContextSettings, build_context
from agent.executor import Executor
from agent.files import write_text
from agent.instances import Instance
from agent.llm.budget import IssueBudgetReached
from agent.llm.errors import ServerUnavailable
from agent.progress import Event, Watch
from agent.repository import Repository, SourceFile
from agent.store import InstanceStore, Parts, Run
from agent.trajectory.flow import Asks, Flow, TrajectoryKey
from agent.trajectory.outcome import Outcome, Parked
from agent.trajectory.samples import Sample, draft_samples
from agent.trajectory.settings import TrajectorySettings
from sandbox.api import Patch, Script
from sandbox.errors import BudgetReached, InfrastructureError, RunoffError, SandboxError, StoreError
from sandbox.matrix import Matrix, fill


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How much is tried, and how far."""

    samples: int = 10
    """ScriptDraft trajectories, and as many editing trajectories."""
    stages: tuple[str, ...] = ("context", "testing", "editing", "selection")
    """Stages to run; a beginning of this list."""
    baseline_repeats: int = 2
    """Runs of each script on the unpatched tree."""
    context: ContextSettings = field(default_factory=ContextSettings)
    trajectory: TrajectorySettings = field(default_factory=TrajectorySettings)
    clean: bool = False
    """Whether tests, caches and scratch files are no part of the prediction; the patch keeps them."""
    early_stop: int = 0
    """Draft only so many samples where their patches are the same change; 0 drafts all."""


@dataclass(frozen=True, slots=True)
class Models:
    """Who answers."""

    main: Asks
    """Ranking, testing, editing and selection."""
    cheap: Asks
    """Relevance: a call for each file."""
    main_name: str
    """As the user names it; suits the edit form to it."""


class Chosen(Protocol):
    """What a selector decides."""

    @property
    def patch(self) -> Patch | None:
        """The winner; None if no candidate is left."""
        ...

    @property
    def reason(self) -> str:
        """Why, in words."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The whole record, for result.json."""
        ...


class Select(Protocol):
    """Chooses between the samples' patches, in types of the lower layers only (`selection.runoff.RunOff`)."""

    async def __call__(
        self,
        flow: Flow,
        instance: Instance,
        *,
        matrix: Matrix,
        patches: Sequence[tuple[str, Patch | None]],
        scripts: Sequence[tuple[str, Script]],
        files_before: Mapping[str, str],
    ) -> Chosen:
        """Choose; asks and runs through the flow only. `patches` and `scripts` are (origin, final one)."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an instance."""

    instance: str
    patch: Patch | None
    reason: str
    """Why this patch won, or why there is none."""
    outcomes: dict[str, dict[str, int]]
    """Trajectories by stage and outcome."""
    selection: dict[str, Any] | None = None
    cause: str = ""
    """Whose the lack of a patch is: `model` or `context` (`agent.endings.Cause`); empty where there is none."""
    removed: dict[str, str] | None = None
    """What the prediction leaves out of the patch: the reason by path (`agent.cleaning`)."""
    saved: int = 0
    """Samples that were not drafted, since the first ones agreed."""

    def to_json(self) -> dict[str, Any]:
        """As result.json holds it."""
        return {**asdict(self), "patch": self.patch.digest if self.patch else None}

    @classmethod
    def read(cls, store: InstanceStore) -> Result | None:
        """What an earlier process of this run came to; None if it has not ended, or its patch is not the one it names."""
        held = store.read("result.json", "patch")
        if held is None:
            return None
        place = store.path / "patch.diff"
        if held["patch"] is None:
            return cls(**held)
        patch = Patch(place.read_bytes().decode("utf-8", "surrogateescape")) if place.is_file() else None
        return cls(**{**held, "patch": patch}) if patch and patch.digest == held["patch"] else None


@dataclass(slots=True)
class Pipeline:
    """Everything that an instance's stages need."""

    instance: Instance
    repository: Repository
    models: Models
    executor: Executor | None
    """None where no stage executes anything."""
    store: InstanceStore
    parts: Parts
    select: Select
    settings: PipelineSettings
    watch: Watch = lambda event: None
    fork: bool = False
    """Where a journal holds another request than is asked for now, go on from there instead of stopping."""
    forecast: Callable[[Sequence[SourceFile]], str] | None = None
    """What is to be told of the files to read, such as an estimate of the cost."""
    _journals: ExitStack = field(default_factory=ExitStack)

    async def run(self) -> Result:
        """Run the stages and write result.json and patch.diff.

        Raises InfrastructureError, or BudgetReached, if trajectories were parked; what is journaled is kept.
        """
        with self._journals:
            return await self._run()

    async def _run(self) -> Result:
        stages = self.settings.stages
        context = await self.context()
        samples = await self.samples(context) if "testing" in stages else []
        outcomes = {
            "testing": dict(Counter(str(sample.testing.outcome) for sample in samples)),
            "editing": dict(Counter(str(sample.editing.outcome) for sample in samples if sample.editing)),
        }
        if "selection" not in stages:
            return self.finish(Result(self.instance.id, None, f"ended after {stages[-1]}, as asked", outcomes))
        if saved := self.settings.samples - len(samples):
            self.tell("editing", f"the first {len(samples)} samples agree: {saved} are not drafted")
        chosen = await self.choose(samples)
        cause = "" if chosen.patch else _cause(outcomes["editing"])
        result = Result(self.instance.id, chosen.patch, chosen.reason, outcomes, chosen.to_json(), cause, saved=saved)
        return self.finish(result)

    async def context(self) -> Context:
        """The files that the trajectories see."""
        built = await build_context(
            self.instance,
            self.repository,
            self.settings.context,
            relevance_flow=self.flow("relevance", 0, self.models.cheap),
            ranking_flow=self.flow("ranking", 0, self.models.main),
            tell=lambda text, done, total: self.tell("relevance", text, done, total),
            forecast=self.forecast,
        )
        self.store.write("01_context/context.json", built.to_json())
        self.tell("ranking", built.summary())
        return built.context

    async def samples(self, context: Context) -> list[Sample]:
        """ScriptDraft and editing trajectories. Raises InfrastructureError or BudgetReached if any of them was parked."""
        samples = await draft_samples(
            self.settings.samples,
            lambda stage, sample: self.flow(stage, sample, self.models.main),
            self.instance,
            repository=self.repository,
            context=context,
            settings=self.settings.trajectory,
            model=self.models.main_name,
            edit="editing" in self.settings.stages,
            early_stop=self.settings.early_stop,
            tell=self.tell,
        )
        if parked := [sample for sample in samples if isinstance(sample, Parked)]:
            raise _interruption(parked, len(samples), Run(self.store.path.parent).handle)
        return [sample for sample in samples if not isinstance(sample, Parked)]

    async def choose(self, samples: Sequence[Sample]) -> Chosen:
        """Matrix, votes and selection."""
        patches = [(f"editing/{sample.number}", sample.editing.patch if sample.editing else None) for sample in samples]
        scripts = [(f"editing/{sample.number}", sample.tried.script) for sample in samples if sample.tried]
        distinct = list(dict.fromkeys(patch for _, patch in patches if patch))
        matrix = await self.matrix([script for _, script in scripts], distinct)
        chosen = await self.select(
            self.flow("selection", 0, self.models.main),
            self.instance,
            matrix=matrix,
            patches=patches,
            scripts=scripts,
            files_before=self.files_before(distinct),
        )
        self.tell("selection", chosen.reason)
        return chosen

    async def matrix(self, scripts: Sequence[Script], patches: Sequence[Patch]) -> Matrix:
        """Every final script on the unpatched tree and on every final patch."""
        assert self.executor is not None  # noqa: S101  the composition root opens one for this stage
        self.tell("matrix", f"{len(set(scripts))} scripts, {len(patches)} patches and the unpatched tree")
        matrix = await fill(
            self.executor.run, scripts, patches, baseline_repeats=self.settings.baseline_repeats, all_scripts=True
        )
        write_text(self.store.path / "04_matrix.json", matrix.to_json() + "\n")
        return matrix

    def files_before(self, patches: Sequence[Patch]) -> dict[str, str]:
        """The text, at the base commit, of the files that the patches touch; new files have none."""
        paths = dict.fromkeys(path for patch in patches for path in patch.paths)
        return {path: self.repository.read(path) for path in paths if self.repository.entry(path)}

    def finish(self, result: Result) -> Result:
        """Write the result."""
        if result.patch and self.settings.clean:
            result = _cleaned(result, result.patch)
        if result.patch:
            write_text(self.store.path / "patch.diff", result.patch.diff)
        self.store.write("result.json", result.to_json())
        return result

    def flow(self, stage: str, sample: int, model: Asks) -> Flow:
        """The trunk of a trajectory of this instance."""
        journal = self.store.journal(stage, sample)
        self._journals.callback(journal.close)
        return Flow(
            TrajectoryKey(self.instance.id, stage, sample, self.store.attempt),
            journal,
            model=model,
            executor=self.executor,
            parts=self.parts,
            fork=self.fork,
        )

    def tell(self, stage: str, text: str, done: int = 0, total: int = 0) -> None:
        """Tell the watcher."""
        self.watch(Event(self.instance.id, stage, text, done, total, passing=total > 0))


def _cleaned(result: Result, patch: Patch) -> Result:
    """With what its prediction leaves out; a patch of nothing else is none."""
    cleaned = clean(patch.diff)
    if not cleaned.removed or cleaned.diff.strip():
        return replace(result, removed=dict(cleaned.removed))
    kinds = " and ".join(f"{count} {kind}" for kind, count in Counter(cleaned.removed.values()).items())
    return replace(result, removed=dict(cleaned.removed), cause="model", reason=f"the patch holds nothing but {kinds}")


def _interruption(parked: Sequence[Parked], samples: int, run: str) -> RunoffError:
    """What ends the run for now: the budget if that is all there is, else the infrastructure."""
    causes = Counter(trajectory.cause for trajectory in parked)
    kinds: tuple[type[RunoffError], ...] = (SandboxError, StoreError, ServerUnavailable, IssueBudgetReached)
    words = ", ".join(f"{count} {cause}" for cause, count in causes.items())
    message = f"{len(parked)} of {samples} samples are parked: {words}"
    for kind in kinds:
        if set(causes) == {kind.cause}:
            return kind(message, where=parked[0].message, hint=f"runoff resume {run}" + _more(kind))
    if set(causes) <= {BudgetReached.cause, IssueBudgetReached.cause}:
        return BudgetReached(message, where=parked[0].message, hint=f"runoff resume {run} --budget MORE")
    return InfrastructureError(message, where=parked[0].message, hint=f"runoff resume {run}")


def _more(kind: type[RunoffError]) -> str:
    return " --budget-per-issue MORE" if kind is IssueBudgetReached else ""


def _cause(editing: Mapping[str, int]) -> str:
    """Why no candidate is left: the context if that is what ended all trajectories, else the model."""
    return "context" if set(editing) == {str(Outcome.CONTEXT)} else "model"
