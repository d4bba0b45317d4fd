"""What voters that err select, against every case counted out."""

from itertools import product
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.verifiers import Rates, Voters, curve, expected_selected, stops_paying

shares = st.floats(0, 1)
kinds = st.builds(Voters, shares, shares, shares)


def counted_out(chance, k, voters, count):
    """The same by every combination of samples and votes, each with its probability."""
    samples = []
    for right in (True, False):
        for fooling in (False,) if right else (False, True):
            weight = chance if right else (1 - chance) * (voters.fooled if fooling else 1 - voters.fooled)
            share = 1.0 if fooling else voters.true_positive if right else voters.false_positive
            for votes in product((True, False), repeat=count):
                likely = weight
                for vote in votes:
                    likely *= share if vote else 1 - share
                samples.append((likely, right, sum(votes)))
    expected = 0.0
    for drawn in product(samples, repeat=k):
        likely = 1.0
        for weight, _, _ in drawn:
            likely *= weight
        most = max(votes for _, _, votes in drawn)
        expected += likely * fmean(right for _, right, votes in drawn if votes == most)
    return expected


@given(shares, kinds, st.integers(1, 3), st.integers(0, 2))
def test_formula_against_all_cases(chance, voters, k, count):
    assert expected_selected(chance, k, voters, count) == pytest.approx(counted_out(chance, k, voters, count), abs=1e-6)


@given(shares, kinds, st.integers(0, 30))
def test_one_sample_is_taken_whatever_the_votes(chance, voters, count):
    assert expected_selected(chance, 1, voters, count) == pytest.approx(chance, abs=1e-6)


@given(shares, st.integers(1, 40), st.integers(1, 20))
def test_voters_that_never_err_reach_the_coverage(chance, k, count):
    assert expected_selected(chance, k, Voters(1, 0), count) == pytest.approx(1 - (1 - chance) ** k, abs=1e-6)


@given(shares, shares, st.integers(1, 40), st.integers(0, 20))
def test_voters_that_know_nothing_choose_at_random(chance, share, k, count):
    assert expected_selected(chance, k, Voters(share, share), count) == pytest.approx(chance, abs=1e-6)


def test_bound_of_a_single_voter_is_its_precision():
    voters = Voters(0.8, 0.1)
    assert expected_selected(0.2, 10_000, voters, 1) == pytest.approx(0.2 * 0.8 / (0.2 * 0.8 + 0.8 * 0.1))


def test_wrong_samples_that_fool_every_voter_win_in_the_end():
    scores = curve([0.3], 60, Voters(0.8, 0.1, 0.05), 1.0)
    best = stops_paying(scores)
    assert 1 < best < 30
    assert scores[best - 1] > scores[0] + 0.2
    assert scores[-1] < scores[best - 1] - 0.1


def test_curve_is_the_mean_over_instances():
    voters = Voters(0.7, 0.2)
    alone = [curve([chance], 5, voters, 2.0) for chance in (0.1, 0.6)]
    assert curve([0.1, 0.6], 5, voters, 2.0) == pytest.approx([fmean(pair) for pair in zip(*alone, strict=True)])


@pytest.mark.parametrize(("price", "k"), [(0.0, 4), (0.04, 3), (0.15, 2), (0.5, 1)])
def test_stop_by_price(price, k):
    assert stops_paying([0.2, 0.4, 0.5, 0.53, 0.53], price) == k


def test_no_scores():
    with pytest.raises(ValueError, match="no scores"):
        stops_paying([])


@pytest.mark.parametrize(
    ("chance", "k", "voters"), [(1.5, 1, Voters(1, 0)), (0.5, 0, Voters(1, 0)), (0.5, 1, Voters(1, -1))]
)
def test_what_is_no_share(chance, k, voters):
    with pytest.raises(ValueError, match="no samples"):
        expected_selected(chance, k, voters, 1)


def test_rates():
    assert Rates(4, 3, 10, 1).voters == Voters(0.75, 0.1)
    assert Rates(0, 0, 10, 1).voters is None
