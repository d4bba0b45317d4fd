"""Score against cost over (samples x turns x context): what the same runs would have come to, and cost, with less of each.

Samples and turns are cut from the record of a run, the context is what each run had. So a few runs give the curve along
which more money buys more resolved issues, and the settings that are not worth theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.llm.totals import Totals
from agent.store import Run
from selection.reports.samples import NOTHING, Sampled, counts, scaled
from selection.scaling import mean_coverage, steps


@dataclass(frozen=True, slots=True)
class Setting:
    """What is varied."""

    samples: int
    turns: int
    context_tokens: int


@dataclass(frozen=True, slots=True)
class GridPoint:
    """A setting, what its samples cover, and what it costs; both are means over instances."""

    setting: Setting
    coverage: float
    cost: Totals

    @property
    def price(self) -> float:
        """Dollars where every call's price is known, else seconds of the model's time: not to be mixed within a grid."""
        return self.cost.seconds if self.cost.unpriced else self.cost.dollars


def grid(run: Run, found: Sequence[Sampled]) -> list[GridPoint]:
    """Every setting up to that of the run. `found`: its instances, as `sampled` gives them.

    A trajectory that is cut counts by its final patch if that stood by then, else as unresolved: a lower bound. Testing and
    editing are cut alike, but an editing trajectory keeps the script that it was seeded with. Raises ValueError for no
    instance.
    """
    whole = min((len(one.samples) for one in found), default=0)
    if not whole:
        raise ValueError(f"no instance of {run.name} was judged with its samples")
    longest = max(len(sample.editing) for one in found for sample in one.samples)
    context = int(run.settings()["context_tokens"])
    points = []
    for turns in range(1, max(1, longest) + 1):
        told = counts(found, turns)
        for k in steps(whole):
            spent = sum((one.cost(k, turns) for one in found), NOTHING)
            points.append(GridPoint(Setting(k, turns, context), mean_coverage(told, k), scaled(spent, 1 / len(found))))
    return points


def frontier(points: Sequence[GridPoint]) -> list[GridPoint]:
    """The points for which no other has as much coverage for less, or more for as little; the cheapest first."""
    best: list[GridPoint] = []
    for point in sorted(points, key=lambda one: (one.price, -one.coverage)):
        if not best or point.coverage > best[-1].coverage:
            best.append(point)
    return best
