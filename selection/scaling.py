"""What more samples bring: coverage as a law of their number with its uncertainty, and selection against their number.

Coverage@k grows about as c(k) = exp(a k^b) with a, b < 0 (Brown et al. 2024, arXiv 2407.21787, section 3): that is a
straight line of ln(-ln c) over ln k. From such a law follows what more samples would give. Bands are over instances: other
issues of the same kind. All of it is pure arithmetic on counts; `selection.reports.samples` reads them out of runs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from selection.reports.statistics import coverage, percentiles

Counts = Sequence[tuple[int, int]]
"""By instance: (samples, those of them that resolve it)."""
Pick = Callable[[Sequence[int]], int | None]
"""A label-free selector on one instance: of the given samples (their indices, ascending) one, or none."""

_ROUNDS, _DAMPING, _TOLERANCE = 60, 1e-3, 1e-12
_LEAST, _MOST = 1e-9, 1 - 1e-9
"""Where ln(-ln c) is still finite: coverage of nothing, or of everything, is taken for this."""


@dataclass(frozen=True, slots=True)
class Law:
    """c(k) = exp(a k^b)."""

    a: float
    b: float

    def __call__(self, k: float) -> float:
        """The coverage of k samples, k >= 1."""
        return math.exp(max(-700.0, self.a * k**self.b))

    def samples_for(self, target: float) -> float:
        """How many samples come to this coverage; infinite if the law never does. Raises ValueError outside (0, 1)."""
        if not 0 < target < 1:
            raise ValueError(f"no share between 0 and 1: {target}")
        if self(1) >= target:
            return 1.0
        if self.b >= 0:
            return math.inf
        exponent = math.log(math.log(target) / self.a) / self.b
        return math.exp(exponent) if exponent < 700 else math.inf  # noqa: PLR2004  the largest that exp gives


@dataclass(frozen=True, slots=True)
class Point:
    """Coverage of k samples."""

    k: int
    measured: float | None
    """The unbiased estimate; None beyond the samples that there are."""
    law: float
    low: float
    high: float
    """The percentile bootstrap interval of 95 % of the law at k."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """A law and its band."""

    law: Law
    samples: int
    """The fewest that an instance has; measured up to there."""
    instances: int
    points: tuple[Point, ...]
    error: float
    """The root mean square of law less measured, over the measured points."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """Whether half of the samples foretell all of them."""

    half: int
    whole: int
    measured: float
    """Coverage of all samples."""
    foretold: float
    """The mean over halves, drawn at random, of what the law of a half says of all."""
    error: float
    """The mean absolute error of that."""
    within: float
    """The share of halves whose interval of 95 % holds the measured coverage."""


def mean_coverage(counts: Counts, k: int) -> float:
    """The mean over instances of the unbiased estimate. Raises ValueError for no instance, or one with fewer samples."""
    if not counts:
        raise ValueError("no instances")
    return fmean(coverage(samples, right, k) for samples, right in counts)


def steps(most: int, points: int = 12) -> tuple[int, ...]:
    """Numbers of samples from 1 to `most`, about evenly spread over their logarithms."""
    spread = (round(most ** (number / max(1, points - 1))) for number in range(points))
    return tuple(sorted({1, most, *spread})) if most > 0 else ()


def fit(measured: Mapping[int, float]) -> Law:
    """The law with the least squared error in coverage, by Levenberg and Marquardt from the line of ln(-ln c) over ln k.

    `measured`: coverage by number of samples, in which coverage does not fall. Raises ValueError for fewer than two numbers.
    """
    if len(measured) < 2:  # noqa: PLR2004  a line needs two
        raise ValueError("a law needs coverage at two numbers of samples")
    ks, cs = list(measured), [min(max(c, _LEAST), _MOST) for c in measured.values()]
    return _refined(_line(ks, cs), ks, cs)


def _line(ks: Sequence[int], cs: Sequence[float]) -> Law:
    xs, ys = [math.log(k) for k in ks], [math.log(-math.log(c)) for c in cs]
    x, y = fmean(xs), fmean(ys)
    spread = math.fsum((one - x) ** 2 for one in xs)
    slope = math.fsum((one - x) * (other - y) for one, other in zip(xs, ys, strict=True)) / spread
    return Law(-math.exp(y - slope * x), slope)


def _refined(law: Law, ks: Sequence[int], cs: Sequence[float]) -> Law:
    """Steps in (ln(-a), b), so that a stays negative."""
    error, damping = _error(law, ks, cs), _DAMPING
    for _ in range(_ROUNDS):
        better = _step(law, ks, cs, damping)
        left = _error(better, ks, cs) if better else math.inf
        if better is None or left >= error:
            damping *= 10
            if damping > 1 / _TOLERANCE:
                break
            continue
        done = error - left <= _TOLERANCE
        law, error, damping = better, left, damping / 10
        if done:
            break
    return law


def _step(law: Law, ks: Sequence[int], cs: Sequence[float], damping: float) -> Law | None:
    """One damped step; None where it leads out of what can be computed."""
    uu = uv = vv = gu = gv = 0.0
    for k, c in zip(ks, cs, strict=True):
        value = law(k)
        u = value * law.a * k**law.b
        v = u * math.log(k)
        uu, uv, vv = uu + u * u, uv + u * v, vv + v * v
        gu, gv = gu + u * (c - value), gv + v * (c - value)
    uu, vv = uu * (1 + damping) + _TOLERANCE, vv * (1 + damping) + _TOLERANCE
    whole = uu * vv - uv * uv
    if whole <= 0:
        return None
    by_u, by_v = (vv * gu - uv * gv) / whole, (uu * gv - uv * gu) / whole
    if abs(by_u) > 50 or abs(law.b + by_v) > 50:  # noqa: PLR2004  laws are of the order of one
        return None
    return Law(law.a * math.exp(by_u), law.b + by_v)


def _error(law: Law, ks: Sequence[int], cs: Sequence[float]) -> float:
    return math.fsum((law(k) - c) ** 2 for k, c in zip(ks, cs, strict=True))


def scaling_of(counts: Counts, ahead: Sequence[int] = (), *, resamples: int = 1000, seed: int = 0) -> Scaling:
    """The law of these instances, with its band at the measured numbers of samples and at those of `ahead`.

    Instances with more samples than the fewest take part with all of them. Raises ValueError for no instances, or where one
    has fewer than two samples.
    """
    most = min((samples for samples, _ in counts), default=0)
    ks = steps(most)
    table = [[coverage(samples, right, k) for k in ks] for samples, right in counts]
    law = fit(_means(table, ks))
    shown = [*ks, *sorted({k for k in ahead if k > most})]
    chance = random.Random(seed)  # noqa: S311  statistics, no secret
    laws = [fit(_means(chance.choices(table, k=len(table)), ks)) for _ in range(resamples)]
    means = _means(table, ks)
    points = []
    for k in shown:
        low, high = percentiles([one(k) for one in laws])
        points.append(Point(k, means.get(k), law(k), low, high))
    error = math.sqrt(fmean((law(k) - c) ** 2 for k, c in means.items()))
    return Scaling(law, most, len(counts), tuple(points), error)


def _means(table: Sequence[Sequence[float]], ks: Sequence[int]) -> dict[int, float]:
    return dict(zip(ks, map(fmean, zip(*table, strict=True)), strict=True))


def foresight(counts: Counts, *, halves: int = 20, resamples: int = 200, seed: int = 0) -> Foresight:
    """Fits on a half of each instance's samples, drawn at random, what is then compared with all of them.

    Raises ValueError for no instances, or where one has fewer than four samples.
    """
    whole = min((samples for samples, _ in counts), default=0)
    half = whole // 2
    measured = mean_coverage(counts, whole)
    chance = random.Random(seed)  # noqa: S311  statistics, no secret
    foretold: list[Point] = []
    for number in range(halves):
        drawn = [(half, sum(place < right for place in chance.sample(range(n), half))) for n, right in counts]
        foretold.append(scaling_of(drawn, (whole,), resamples=resamples, seed=seed + number).points[-1])
    return Foresight(
        half,
        whole,
        measured,
        fmean(point.law for point in foretold),
        fmean(abs(point.law - measured) for point in foretold),
        fmean(point.low <= measured <= point.high for point in foretold),
    )


def subsets(samples: int, k: int, draws: int, seed: Hashable = 0) -> list[tuple[int, ...]]:
    """All subsets of k of so many samples if they are no more than `draws`, else so many that are drawn at random."""
    if not 1 <= k <= samples:
        raise ValueError(f"no {k} of {samples} samples")
    if math.comb(samples, k) <= draws:
        return list(combinations(range(samples), k))
    chance = random.Random(repr(seed))  # noqa: S311  statistics, no secret
    return [tuple(sorted(chance.sample(range(samples), k))) for _ in range(draws)]


def selected_at(resolved: Sequence[bool], pick: Pick, k: int, *, draws: int = 200, seed: Hashable = 0) -> float:
    """How often what a selector picks of k samples resolves: the mean over subsets, so unbiased.

    `resolved`: by sample of one instance, whether it does; the selector does not see it. Raises ValueError for a selector
    that gives a sample which it was not given.
    """
    return fmean(_right(resolved, pick, chosen) for chosen in subsets(len(resolved), k, draws, seed))


def _right(resolved: Sequence[bool], pick: Pick, chosen: tuple[int, ...]) -> bool:
    picked = pick(chosen)
    if picked is not None and picked not in chosen:
        raise ValueError(f"sample {picked} was not among those to choose from")
    return picked is not None and resolved[picked]
