"""The intervals are those of scipy, and they are wrong as often as they may be."""

import numpy as np
import pytest
from deepdynamics.claims import LEVEL, claim
from deepdynamics.claims.measurement import Estimate, against
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

LISTS = st.lists(st.floats(-3, 3), min_size=2, max_size=20).filter(lambda values: np.ptp(values) > 1e-3)


def versus(samples, rival, *, paired=False):
    return claim("t.a", "s", side="above", samples=samples, rival=("r", rival), paired=paired, hypothesis=True)


@given(LISTS, LISTS)
def test_two_lists_are_told_apart_as_by_welch(samples, rival):
    try:
        found = versus(samples, rival)
    except ValueError as error:
        assert "shifted or scaled" in str(error) or "copies" in str(error)
        return
    test = stats.ttest_ind(samples, rival, equal_var=False)
    low, high = test.confidence_interval(1 - LEVEL)
    half = max((high - low) / 2, found.margin)  # a rival that varies is not rejected more easily than one that does not
    assert found.rival.half_width == pytest.approx(half, rel=1e-6)
    assert found.rival.difference == pytest.approx(test.statistic * found.rival.difference_error)
    if found.rival.rejected:
        assert test.pvalue < LEVEL


@given(st.integers(0, 1000), st.integers(3, 20))
def test_pairs_are_told_apart_as_by_the_paired_test(seed, count):
    samples, noise = np.random.default_rng(seed).normal(size=(2, count))
    rival = samples + 0.3 * noise - 1
    found, test = versus(samples, rival, paired=True), stats.ttest_rel(samples, rival)
    low, high = test.confidence_interval(1 - LEVEL)
    assert found.rival.half_width == pytest.approx((high - low) / 2)
    assert found.rival.difference == pytest.approx((high + low) / 2)
    assert found.rival.rejected == (test.pvalue < LEVEL)


def test_rival_of_samples_beside_a_measured_number():
    samples = np.array([0.1, -0.1, 0.2, -0.2, 0.05])
    error = samples.std(ddof=1) / np.sqrt(5)
    exact = against("r", samples, Estimate(1.0), None, 0.1, False)
    assert exact.half_width == pytest.approx(0.1 + stats.t.isf(LEVEL / 2, 4) * error)
    known = against("r", samples, Estimate(1.0, 1e-9), None, 0.0, False)
    assert known.half_width == pytest.approx(stats.t.isf(LEVEL / 2, 4) * error)


def test_equal_lengths_do_not_imply_pairs():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=10)
    rival = shared + 0.01 * rng.normal(size=10) - 1
    assert versus(shared, rival).verdict == "undecided" and versus(shared, rival, paired=True).verdict == "supported"


@pytest.mark.parametrize("paired", [False, True])
def test_rival_that_is_right_is_rejected_once_in_ten_thousand(paired):
    rng, rejected = np.random.default_rng(1), 0
    for ours, theirs in rng.normal(size=(8000, 2, 6)):
        rejected += versus(ours, theirs, paired=paired).rival.rejected
    assert rejected <= 6  # 0.8 are expected
