"""The run-off: from the execution matrix to the patch that won, with the evidence.

`RunOff` is what the pipeline is given as its selector. It holds a chain (`selection.chain`) over the samples' patches: those
that do not apply drop out, equal changes become one candidate, then come the steps of its selector.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from agent.instances import Instance
from agent.trajectory.flow import Flow
from sandbox.api import Execution, Limits, Patch, Script, Verdict
from sandbox.matrix import Matrix
from selection.candidates import Candidate, gather
from selection.chain import Chain, Factory, parse_chain
from selection.consensus import Split
from selection.explain import ASKING
from selection.record import Selection
from selection.runoff_record import record
from selection.steps.asking import Pairwise, Single
from selection.steps.model import Trajectory, with_model
from selection.steps.plain import label_free
from selection.steps.standing import Applies, Votes
from selection.trajectory import SelectionSettings
from selection.votes import Tally, count, standings, voters

USUAL = "votes | top | trajectory"
"""The selector that CodeMonkeys has; `top` keeps `SelectionSettings.finalists`."""


@dataclass(frozen=True, slots=True)
class RunOff:
    """A selector for the pipeline: takes what trajectories ended with, in types of the lower layers only."""

    settings: SelectionSettings = field(default_factory=SelectionSettings)
    selector: str = USUAL
    """Steps: `votes`, `consensus`, `equivalence[:LEVEL]`, `top[:K]`, `trajectory[:K]`, `single[:N]`, `pairwise[:K]`."""
    stop_at: float | None = None
    """Ask no model once a candidate leads that more than this share of the samples with a patch came to."""

    def __post_init__(self) -> None:
        """Raises InputError for a selector that cannot be read."""
        self._chain(_Desk(), {}, 0)

    @property
    def most_calls(self) -> int:
        """Model calls for one instance at most."""
        steps = self._chain(_Desk(), {}, 0).steps
        return sum(step.most_calls for step in steps if isinstance(step, Trajectory | Single | Pairwise))

    async def __call__(
        self,
        flow: Flow,
        instance: Instance,
        *,
        matrix: Matrix,
        patches: Sequence[tuple[str, Patch | None]],
        scripts: Sequence[tuple[str, Script]],
        files_before: Mapping[str, str],
    ) -> Selection:
        """Choose. `patches` are (origin, final patch), None where a trajectory ended without one.

        A candidate that no script of the matrix ran on is applied once, to see whether it can be. `scripts` are (origin,
        final script); `files_before` maps the paths that candidates edit to their text at the base commit, new files left
        out. `flow` is that of the selection, with an executor. Raises what it raises.
        """
        standing = standings(matrix, scripts)
        candidates, _ = gather(patches)
        tallies = await _probe(flow, candidates, count(matrix, candidates, standing))
        qualified = voters(standing)
        example = partial(_example, matrix=matrix, tallies=tallies, qualified=qualified)
        desk = _Desk(flow, files_before, {instance.id: patches}, example)
        chain = self._chain(desk, tallies, len(qualified))
        choice = await chain(instance, patches)
        return record(
            choice,
            selector=chain.name,
            patches=patches,
            tallies=tallies,
            standing=standing,
            matrix=matrix,
            files_before=files_before,
        )

    def _chain(self, desk: _Desk, tallies: Mapping[str, Tally], qualified: int) -> Chain:
        free = label_free(Split(desk.patches), (), trees=desk)
        steps: dict[str, Factory] = {
            "equivalence": free["equivalence"],
            "votes": lambda argument: Votes(tallies, qualified),
            "consensus": free["consensus"],
            "top": lambda argument: free["top"](argument or f"{self.settings.finalists}"),
            **with_model(desk, self.settings, desk.example),
        }
        chain = parse_chain(self.selector, steps, stop_at=self.stop_at, presets={}, opening=("equivalence",), spares=ASKING)
        return replace(chain, steps=(Applies(tallies), *chain.steps))


@dataclass(frozen=True, slots=True)
class _Desk:
    """The bench of one run-off: one flow for all steps, as they follow each other."""

    trunk: Flow | None = None
    """None where a selector is only read."""
    texts: Mapping[str, str] = field(default_factory=dict)
    patches: Mapping[str, Sequence[tuple[str, Patch | None]]] = field(default_factory=dict)
    example: Callable[[Sequence[Candidate]], Script | None] = lambda finalists: None

    async def flow(self, instance: Instance, step: str, *, at_least: Limits | None = None) -> Flow:  # noqa: ARG002  one journal holds all steps
        assert self.trunk is not None  # noqa: S101  a selector that is only read takes no step
        return self.trunk

    def files(self, instance: Instance, paths: Collection[str]) -> Mapping[str, str]:  # noqa: ARG002  there is one instance
        return {path: self.texts[path] for path in paths if path in self.texts}


async def _probe(flow: Flow, candidates: Sequence[Candidate], tallies: Mapping[str, Tally]) -> dict[str, Tally]:
    """Find out whether candidates apply that no script ran on: nothing else would, where no script may vote."""
    untried = [one for one in candidates if not tallies[one.id].verdicts]
    if not untried:
        return dict(tallies)
    bodies: list[Callable[[Flow], Awaitable[Execution]]] = [partial(_apply, patch=one.patch) for one in untried]
    probes = zip(untried, await flow.all(bodies), strict=True)
    return {**tallies, **{one.id: replace(tallies[one.id], apply_error=run.apply_error) for one, run in probes}}


async def _apply(flow: Flow, patch: Patch) -> Execution:
    return await flow.run("apply", Script("exit 0\n", "bash"), patch)


def _example(
    finalists: Sequence[Candidate], *, matrix: Matrix, tallies: Mapping[str, Tally], qualified: frozenset[str]
) -> Script | None:
    """The script that votes and divides the finalists most evenly; the first by digest of several such."""

    def imbalance(script: Script) -> tuple[int, str]:
        verdicts = [tallies[one.id].verdicts.get(script.digest) for one in finalists]
        return abs(2 * verdicts.count(Verdict.PASS) - len(verdicts)), script.digest

    return min((script for script in matrix.scripts if script.digest in qualified), key=imbalance, default=None)
