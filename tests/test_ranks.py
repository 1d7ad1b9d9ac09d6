"""Rank correlations beside scipy's and beside the formula of the partial one; the jackknife beside known errors."""

import numpy as np
import pytest
from deepdynamics.ranks import jackknife, percentiles, rank_correlation
from scipy import stats


def drawn(n=200, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    return z + rng.normal(size=n), z + rng.normal(size=n), z


def test_a_rank_correlation_is_spearmans_with_ties_too():
    x, y, _ = drawn()
    for u in (x, x.round()):
        assert rank_correlation(u, y) == pytest.approx(stats.spearmanr(u, y).statistic, abs=1e-12)


def test_what_is_left_given_one_other_is_the_partial_correlation():
    x, y, z = drawn()
    a, b, c = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    partial = (a - b * c) / np.sqrt((1 - b**2) * (1 - c**2))
    assert rank_correlation(x, y, given=z) == pytest.approx(partial, abs=1e-12)


def test_given_two_others_in_either_order():
    x, y, z = drawn()
    w = np.random.default_rng(1).normal(size=len(z))
    assert rank_correlation(x, y, given=[z, w]) == pytest.approx(rank_correlation(x, y, given=[w, z]), abs=1e-12)


def test_the_error_of_the_jackknife_is_that_of_repetitions():
    rhos = [rank_correlation(*drawn(60, seed)[:2]) for seed in range(300)]
    errors = [jackknife(rank_correlation, *drawn(60, seed)[:2]).std(ddof=1) / 60**0.5 for seed in range(20)]
    assert np.mean(errors) == pytest.approx(np.std(rhos), rel=0.2)


def test_the_jackknife_of_a_mean_is_the_sample_and_that_of_a_variance_has_no_bias():
    """Quenouille: what is left of a bias in 1/n is of a higher order, and a variance over n has no other."""
    values = np.random.default_rng(0).normal(size=9)
    np.testing.assert_allclose(jackknife(np.mean, values), values, rtol=1e-12)
    assert jackknife(np.var, values).mean() == pytest.approx(values.var(ddof=1), rel=1e-12)


def test_percentiles_share_ties():
    np.testing.assert_allclose(percentiles([2.0, 1.0, 2.0, 5.0]), [0.5, 0.0, 0.5, 1.0])


@pytest.mark.parametrize("bad", [[1.0], [[1.0, 2.0]], [1.0, np.nan, 2.0]])
def test_what_has_no_ranks_is_refused(bad):
    with pytest.raises(ValueError):
        percentiles(bad)


def test_columns_without_variation_or_of_other_lengths_are_refused():
    x, y, z = drawn(10)
    with pytest.raises(ValueError, match="variation"):
        rank_correlation(np.ones(10), y)
    with pytest.raises(ValueError, match="variation"):
        rank_correlation(x, z, given=z)
    with pytest.raises(ValueError, match="equal length"):
        jackknife(rank_correlation, x, y[:5])
