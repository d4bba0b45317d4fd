"""When imperfect evidence stops paying: what voters that err make of more samples, as a formula.

Votes pick a right sample the more often, the more there are to pick from, up to a bound that no number of samples passes;
where some wrong samples fool every voter, more samples make it worse. So there is a number of samples after which another
one costs more than it brings (Stroebl, Kapoor and Narayanan 2024, arXiv 2411.17501; Cobbe et al. 2021, arXiv 2110.14168,
section 4.2, saw the turn for the worse). The formula takes samples and voters for independent, which flatters both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Voters:
    """Voters that are all equally good."""

    true_positive: float
    """How often one votes for a right sample."""
    false_positive: float
    """How often one votes for a wrong sample, if it does not fool them all."""
    fooled: float = 0.0
    """The share of wrong samples that every voter votes for, as leaving out what nobody tests does."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How voters did where the labels are known."""

    right: int
    """Votes that could be cast for right samples."""
    right_for: int
    """Those that were."""
    wrong: int
    wrong_for: int

    @property
    def voters(self) -> Voters | None:
        """As one kind of voter; None if there was nothing right, or nothing wrong, to vote on."""
        if not (self.right and self.wrong):
            return None
        return Voters(self.right_for / self.right, self.wrong_for / self.wrong)


def expected_selected(chance: float, k: int, voters: Voters, count: int) -> float:
    """How often the sample with the most votes is right, among k, each of which is right with this chance.

    `count` voters; ties are broken at random. A right sample with v votes wins over k - 1 others, which have at most v with
    probability G(v), with probability (G(v)^k - G(v-1)^k) / (k g(v)). Raises ValueError for shares outside 0..1, and for no
    samples.
    """
    shares = (chance, voters.true_positive, voters.false_positive, voters.fooled)
    if k < 1 or count < 0 or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"no samples to choose from, or no shares: {k}, {shares}")
    right = _binomial(count, voters.true_positive)
    wrong = [(1 - voters.fooled) * share for share in _binomial(count, voters.false_positive)]
    wrong[count] += voters.fooled
    expected = below = 0.0
    for mine, theirs in zip(right, wrong, strict=True):
        every = chance * mine + (1 - chance) * theirs
        upto = min(1.0, below + every)
        if every > 0:
            expected += chance * mine * _wins(below, upto, k)
        below = upto
    return min(1.0, expected)


def _wins(below: float, upto: float, k: int) -> float:
    """(upto^k - below^k) / (upto - below), without loss of digits where they are close."""
    if upto - below < 1e-9:  # noqa: PLR2004  the derivative is as good there
        return float(k * upto ** (k - 1))
    return (upto**k - below**k) / (upto - below)


def _binomial(count: int, share: float) -> list[float]:
    return [math.comb(count, hits) * share**hits * (1 - share) ** (count - hits) for hits in range(count + 1)]


def curve(chances: Sequence[float], most: int, voters: Voters, scripts: float = 1.0) -> list[float]:
    """Expected share of instances resolved, for 1 to `most` samples.

    `chances`: by instance, how often a sample resolves it. `scripts`: voters that a sample brings with it.
    """
    return [
        fmean(expected_selected(chance, k, voters, round(scripts * k)) for chance in chances) for k in range(1, most + 1)
    ]


def stops_paying(scores: Iterable[float], price: float = 0.0) -> int:
    """The number of samples with the best score less price; the smallest of several.

    `scores` for 1, 2, ... samples. `price`: what a sample costs in units of what a resolved instance is worth; 0 asks where
    more samples make it no better. Raises ValueError for no scores.
    """
    nets = [score - price * k for k, score in enumerate(scores, 1)]
    if not nets:
        raise ValueError("no scores")
    best = max(nets)
    return 1 + next(number for number, net in enumerate(nets) if net >= best - 1e-12)
