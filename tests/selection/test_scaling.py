"""The law of coverage, its band and what it foretells; selection against the number of samples."""

import math
import random
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.reports.statistics import coverage
from selection.scaling import Law, fit, foresight, mean_coverage, scaling_of, selected_at, steps, subsets

laws = st.builds(Law, st.floats(-4, -0.05), st.floats(-1.5, -0.05))
labels = st.lists(st.booleans(), min_size=1, max_size=9)


@st.composite
def counted(draw, least=2, most=12):
    samples = draw(st.integers(least, most))
    return draw(st.lists(st.tuples(st.just(samples), st.integers(0, samples)), min_size=1, max_size=12))


@given(laws)
def test_fit_of_an_exact_law(law):
    found = fit({k: law(k) for k in (1, 2, 3, 5, 8, 13, 20)})
    assert [found(k) for k in (1, 4, 20, 100)] == pytest.approx([law(k) for k in (1, 4, 20, 100)], abs=1e-4)


@given(laws, st.floats(0.01, 0.99))
def test_samples_for_a_target(law, target):
    k = law.samples_for(target)
    if math.isinf(k):
        assert law(1e300) < target
    else:
        assert law(k) >= target - 1e-9
        assert k == 1 or law(k * 0.99) <= target + 1e-9


@pytest.mark.parametrize("target", [0.0, 1.0, -1.0])
def test_no_samples_for_what_is_no_share(target):
    with pytest.raises(ValueError, match="between 0 and 1"):
        Law(-1, -0.5).samples_for(target)


def test_known_law():
    law = Law(math.log(0.25), -0.5)
    assert [law(1), law(4), law(16)] == pytest.approx([0.25, 0.5, 0.25**0.25])
    assert law.samples_for(0.5) == pytest.approx(4)
    assert Law(-1, 0.0).samples_for(0.9) == math.inf


@pytest.mark.parametrize(("share", "law"), [(0.0, 0.0), (1.0, 1.0), (0.3, 0.3)])
def test_coverage_that_does_not_grow(share, law):
    """Nothing resolved, everything, or all samples of an instance alike."""
    counts = [(6, 6 if number < 10 * share else 0) for number in range(10)]
    found = scaling_of(counts, (60,), resamples=50)
    assert [point.law for point in found.points] == pytest.approx([law] * len(found.points), abs=1e-6)
    assert found.error == pytest.approx(0, abs=1e-6)


@given(counted())
def test_points_of_a_scaling(counts):
    found = scaling_of(counts, (50,), resamples=20)
    assert (found.samples, found.instances) == (counts[0][0], len(counts))
    assert [point.k for point in found.points][-1] == 50
    for point in found.points:
        assert point.measured == (pytest.approx(mean_coverage(counts, point.k)) if point.k <= found.samples else None)
        assert 0 <= point.low <= point.high <= 1
        assert 0 <= point.law <= 1


@given(counted(), st.randoms())
def test_order_of_instances(counts, chance):
    mixed = chance.sample(counts, len(counts))
    one, other = (scaling_of(held, resamples=2).law for held in (counts, mixed))
    assert [one(k) for k in (1, 10)] == pytest.approx([other(k) for k in (1, 10)], abs=1e-6)


def test_band_is_over_instances():
    alike = scaling_of([(8, 3)] * 30, resamples=100)
    apart = scaling_of([(8, 0), (8, 1), (8, 8)] * 10, resamples=100)
    assert all(point.high - point.low < 1e-9 for point in alike.points)
    assert all(point.high - point.low > 0.1 for point in apart.points)
    assert all(point.low < point.law < point.high for point in apart.points)


def test_same_seed_gives_the_same_band():
    counts = [(5, right % 6) for right in range(12)]
    assert scaling_of(counts, resamples=50, seed=3) == scaling_of(counts, resamples=50, seed=3)
    assert scaling_of(counts, resamples=50, seed=3) != scaling_of(counts, resamples=50, seed=4)


def test_half_of_the_samples_foretells_all_where_chances_follow_a_law():
    chance = random.Random(1)
    shares = [chance.betavariate(0.4, 1.6) for _ in range(150)]
    counts = [(40, sum(chance.random() < share for _ in range(40))) for share in shares]
    seen = foresight(counts, halves=5, resamples=60)
    assert (seen.half, seen.whole) == (20, 40)
    assert seen.measured == pytest.approx(fmean(right > 0 for _, right in counts))
    assert seen.error < 0.03
    assert seen.within == 1.0


def test_half_that_sees_nothing_foretells_nothing():
    seen = foresight([(4, 0)] * 5, halves=2, resamples=5)
    assert (seen.measured, seen.foretold) == pytest.approx((0.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("counts", [[], [(1, 1)]])
def test_too_little_for_a_law(counts):
    with pytest.raises(ValueError):
        scaling_of(counts)


def test_instances_with_too_few_samples():
    with pytest.raises(ValueError):
        mean_coverage([(5, 1), (3, 1)], 4)
    with pytest.raises(ValueError, match="no instances"):
        mean_coverage([], 1)


@given(st.integers(1, 2000), st.integers(2, 30))
def test_steps(most, points):
    found = steps(most, points)
    assert (found[0], found[-1]) == (1, most)
    assert list(found) == sorted(set(found))
    assert len(found) <= points + 2


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 60), st.integers())
def test_subsets(samples, k, draws, seed):
    if k > samples:
        with pytest.raises(ValueError, match="of"):
            subsets(samples, k, draws, seed)
        return
    found = subsets(samples, k, draws, seed)
    assert found == subsets(samples, k, draws, seed)
    assert all(len(set(one)) == k and list(one) == sorted(one) and set(one) <= set(range(samples)) for one in found)
    if math.comb(samples, k) <= draws:
        assert found == list(combinations(range(samples), k))
    else:
        assert len(found) == draws


@given(labels, st.data())
def test_a_selector_that_sees_labels_reaches_the_coverage(resolved, data):
    k = data.draw(st.integers(1, len(resolved)))
    seeing = lambda chosen: max(chosen, key=lambda number: resolved[number])  # noqa: E731
    blind = lambda chosen: chosen[0]  # noqa: E731
    best = coverage(len(resolved), sum(resolved), k)
    assert selected_at(resolved, seeing, k) == pytest.approx(best)
    assert selected_at(resolved, blind, k) <= best + 1e-9


@given(labels)
def test_one_sample_leaves_no_choice(resolved):
    assert selected_at(resolved, lambda chosen: chosen[0], 1) == pytest.approx(fmean(resolved))


def test_selector_that_chooses_none():
    assert selected_at([True, True], lambda chosen: None, 2) == 0


def test_selector_that_cheats():
    with pytest.raises(ValueError, match="not among"):
        selected_at([False, False, True], lambda chosen: 2, 1)
