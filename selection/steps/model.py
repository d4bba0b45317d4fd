"""The steps of a chain that ask a model: the selection trajectory, a single prompt, a comparison in pairs.

Each ranks: whom the model prefers goes first, and where it says nothing the order so far stands, with the reason in the
note. Candidates get their numbers in prompts by digest, so neither ranks nor the order of members show. With nobody to
compare nothing is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from sandbox.api import Script
from selection.bench import Bench
from selection.candidates import Candidate
from selection.chain import Contest, Factory, Placed, Ruling
from selection.outcomes import counted
from selection.steps.asking import Pairwise, Single, fit
from selection.steps.plain import number
from selection.steps.rulings import as_before, preferred
from selection.trajectory import SelectionSettings, choose

Examples = Callable[[Sequence[Candidate]], Script | None]
"""A script to show to the selection trajectory on these finalists, if there is one."""


def with_model(bench: Bench, settings: SelectionSettings, example: Examples = lambda finalists: None) -> dict[str, Factory]:
    """The steps of this module by name, for `selection.chain.parse_chain`.

    `trajectory:K` compares the first K (`settings.finalists`), `single:N` asks N times (once), `pairwise:K` compares the
    first K with each other (as many as `settings.pairs` allows).
    """
    compared = fit(settings.pairs)
    return {
        "trajectory": lambda argument: Trajectory(
            bench, settings, number(argument, least=2) if argument else settings.finalists, example
        ),
        "single": lambda argument: Single(bench, settings, number(argument, least=1) if argument else 1),
        "pairwise": lambda argument: Pairwise(bench, settings, number(argument, least=2) if argument else compared),
    }


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Lets a model tell the first few apart with scripts of its own (`selection.trajectory`)."""

    bench: Bench
    settings: SelectionSettings
    count: int
    example: Examples

    @property
    def name(self) -> str:
        """With the number, unless it is the usual one."""
        return "trajectory" if self.count == self.settings.finalists else f"trajectory:{self.count}"

    @property
    def most_calls(self) -> int:
        """Model calls for one instance at most."""
        return self.settings.turns

    async def __call__(self, contest: Contest) -> Ruling:
        """Whom it chooses goes first; the others keep their order."""
        finalists = contest.candidates[: self.count]
        if len(finalists) < 2 or not self.settings.turns:  # noqa: PLR2004  it takes two
            return as_before(contest, "nothing was asked")
        decision = await choose(
            await self.bench.flow(contest.instance, self.name),
            contest.instance,
            finalists,
            files_before=self.bench.files(contest.instance, {path for one in finalists for path in one.paths}),
            example=self.example(finalists),
            settings=self.settings,
        )
        trials = [asdict(trial) for trial in decision.trials]
        said = {"argument": decision.argument, "trials": trials}
        effort = f"{counted(decision.calls, 'model call')} and {counted(len(trials), 'script')}"
        if decision.chosen is None:
            return as_before(contest, decision.undecided, decision.calls, said)
        placed = [_of_finalist(one, decision.chosen, effort) for one in finalists]
        return preferred(contest, placed, decision.calls, "", said)


def _of_finalist(one: Candidate, chosen: Candidate, effort: str) -> Placed:
    return Placed(one, f"chosen after {effort}", 1.0) if one == chosen else Placed(one, f"it preferred {chosen.id}", 0.0)
