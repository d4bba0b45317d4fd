"""Figures over instances that are resolved or not, with how sure they are."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

Z95 = 1.959963984540054
"""Standard normal quantile of a two-sided interval of 95 %."""


def wilson(successes: float, total: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927, JASA 22). (0, 1) where nothing was seen."""
    if total == 0:
        return 0.0, 1.0
    share = successes / total
    scale = 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (0.0 if successes == 0 else max(0.0, middle - half)), (1.0 if successes == total else min(1.0, middle + half))


def coverage(samples: int, resolved: int, k: int) -> float:
    """The unbiased estimate that at least one of `k` samples resolves, of `samples` of which `resolved` do.

    Chen et al. 2021 (arXiv 2107.03374), section 2.1: 1 - C(n - c, k) / C(n, k). Raises ValueError for k outside 1..n.
    """
    if not 1 <= k <= samples or not 0 <= resolved <= samples:
        raise ValueError(f"no coverage of {k} for {resolved} of {samples}")
    return 1.0 - math.comb(samples - resolved, k) / math.comb(samples, k)


def bootstrap(values: Sequence[float], resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of 95 % of a mean. The same values give the same interval.

    Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values")
    chance = random.Random(seed)  # noqa: S311  statistics, no secret
    return percentiles([sum(chance.choices(values, k=len(values))) / len(values) for _ in range(resamples)])


def share_interval(shares: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The interval of 95 % of a mean of shares (0 to 1): by `bootstrap`; Wilson's where all are equal (or there is one).

    Equal values have no spread to draw from, which does not make their mean certain. Raises ValueError for no shares.
    """
    return wilson(sum(shares), len(shares)) if len(set(shares)) == 1 else bootstrap(shares, seed=seed)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Where the middle 95 % of the values lie. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[int(0.025 * len(ordered))], ordered[min(len(ordered) - 1, int(0.975 * len(ordered)))]


def gap_closed(score: float, chance: float, best: float) -> float | None:
    """The share of the way from `chance`, a random sample's score, to the oracle's that is gone; None if there is no way."""
    return (score - chance) / (best - chance) if best > chance else None
