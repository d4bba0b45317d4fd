"""The figures of a report against what they are estimates of."""

from itertools import combinations
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection.reports.statistics import Z95, bootstrap, coverage, share_interval, wilson

samples = st.integers(1, 9).flatmap(lambda total: st.tuples(st.just(total), st.integers(0, total), st.integers(1, total)))


@given(samples)
def test_coverage_is_the_share_of_all_choices_that_hold_a_right_one(drawn):
    total, right, k = drawn
    choices = list(combinations([True] * right + [False] * (total - right), k))
    assert coverage(total, right, k) == pytest.approx(sum(map(any, choices)) / len(choices))


@given(samples)
def test_coverage_grows_with_samples(drawn):
    total, right, k = drawn
    assert coverage(total, right, 1) == pytest.approx(right / total)
    assert coverage(total, right, k) >= coverage(total, right, max(1, k - 1)) - 1e-12
    assert coverage(total, right, total) == (1.0 if right else 0.0)


@pytest.mark.parametrize(("total", "right", "k"), [(3, 1, 0), (3, 1, 4), (3, 4, 1), (3, -1, 1)])
def test_coverage_of_nonsense(total, right, k):
    with pytest.raises(ValueError, match="no coverage"):
        coverage(total, right, k)


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_holds_the_share_and_is_symmetric(drawn):
    right, total = drawn
    low, high = wilson(right, total)
    assert 0 <= low <= right / total <= high <= 1
    assert wilson(total - right, total) == pytest.approx((1 - high, 1 - low))


@given(st.integers(1, 499))
def test_wilson_ends_where_the_share_is_just_significant(right):
    """Its defining property: at each end the share lies 1.96 standard errors of that end away."""
    for end in wilson(right, 500):
        assert abs(right / 500 - end) == pytest.approx(Z95 * sqrt(end * (1 - end) / 500), rel=1e-6)


def test_wilson_of_known_cases():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(287, 500) == pytest.approx((0.5303, 0.6166), abs=2e-4)  # 57.4 % of 500 issues


@settings(deadline=None)  # it draws a thousand times
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_bootstrap_lies_within_the_values_and_repeats(values):
    low, high = bootstrap(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert bootstrap(values) == (low, high)


def test_bootstrap_narrows_with_more_values():
    few, many = bootstrap([0.0, 1.0] * 5), bootstrap([0.0, 1.0] * 200)
    assert many[1] - many[0] < few[1] - few[0]


def test_interval_of_equal_shares():
    assert share_interval([1.0]) == wilson(1, 1)
    assert share_interval([0.0] * 8) == wilson(0, 8)
    assert share_interval([0.0, 1.0] * 5, seed=3) == bootstrap([0.0, 1.0] * 5, seed=3)
    with pytest.raises(ValueError, match="no values"):
        share_interval([])


def test_bootstrap_of_nothing():
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])
