"""Power laws of integers: sums term by term, naive searches, known exponents, the powerlaw package, true p-values."""

import math
import warnings

import numpy as np
import pytest
from deepdynamics import powerlaw
from deepdynamics.powerlaw import bootstrap_p, cutoff, fit, fit_truncated, lognormal, zeta
from deepdynamics.powerlaw.thresholds import least_distant, spread
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats


def zipf(exponent, n, seed):
    return np.random.default_rng(seed).zipf(exponent, n)


# The law


def test_zeta_is_that_of_scipy_where_that_is_finite():
    alpha, q = np.meshgrid([1.001, 1.05, 1.5, 2.5, 5.0, 12.0], [1.0, 2, 5, 20, 31, 32, 64, 100, 1000, 1e6])
    np.testing.assert_allclose(zeta.log_zeta(alpha, q), np.log(special.zeta(alpha, q)), rtol=1e-13, atol=1e-14)


@given(st.floats(1.001, 3000), st.integers(1, 10**5))
def test_zeta_loses_one_term_from_one_integer_to_the_next(alpha, q):
    """ζ(α, q) - ζ(α, q + 1) = q^-α, all divided by ζ(α, q): also where each alone is below the smallest number."""
    here, after = zeta.log_zeta(alpha, np.array([q, q + 1.0]))
    # Logarithms of size α log q, each rounded.
    error = 1e-15 * max(alpha * math.log(q + 1), 1)
    assert math.exp(after - here) + math.exp(-alpha * math.log(q) - here) == pytest.approx(1, abs=1e-13 + 4 * error)


@pytest.mark.parametrize("alpha", [3.0, 20.0, 400.0])
@pytest.mark.parametrize("q", [1.0, 30.0, 200.0])
def test_moments_are_sums_over_the_law(alpha, q):
    k = q + np.arange(3_000_000.0)
    p = (k / q) ** -alpha
    logs = np.log(k / q)
    mean = p @ logs / p.sum()
    rel = 1e-9 if alpha > 3 else 1e-6  # what is left out: about 3e6^-2 log 3e6 of the terms at α = 3
    assert zeta._mean_log(np.array(alpha), np.array(q)) == pytest.approx(mean, rel=rel, abs=1e-300)
    if mean > 1e-30:
        variance = p @ (logs - mean) ** 2 / p.sum()
        assert zeta.log_variance(alpha, q) == pytest.approx(variance, rel=1e-4 if alpha == 3 else 1e-6)


@given(st.floats(1e-6, 50), st.sampled_from([1.0, 2, 7, 33, 500, 1e6]))
def test_the_exponent_is_that_of_maximum_likelihood(mean_log, q):
    alpha = zeta.exponents(mean_log, q)
    assert alpha > 1 and zeta._mean_log(alpha, np.asarray(q)) == pytest.approx(mean_log, rel=1e-9)


@pytest.mark.parametrize("exponent, xmin", [(2.5, 1), (2.2, 1), (1.5, 1), (2.5, 7), (12.0, 40)])
def test_random_numbers_follow_the_law(exponent, xmin):
    x = zeta.draw(np.random.default_rng(0), 20_000, exponent, xmin)
    assert (x == np.floor(x)).all() and x.min() == xmin
    log_norm = zeta.log_zeta(exponent, xmin)
    edges = xmin + np.r_[0, 1, 2, 3, 5, 8, 20, 100, 4095, 4096, 4097, 5000, 10**5]
    above = np.exp(zeta.log_zeta(exponent, edges) - log_norm)
    expected = 20_000 * -np.diff(np.r_[above, 0])
    found = np.histogram(x, np.r_[edges, np.inf])[0]
    common = expected > 5
    found, expected = (np.r_[n[common], n[~common].sum()] for n in (found, expected))
    # A last bin of few numbers spoils no test at this level.
    assert stats.chisquare(found, expected).pvalue > 1e-4


def test_numbers_beyond_float64_are_refused():
    with pytest.raises(ValueError, match=r"exponent = 1.001: integers of such a law exceed"):
        zeta.draw(np.random.default_rng(0), 100, 1.001, 1.0)


# The fit


def naive(tail, xmin):
    """Exponent by a search over the likelihood, and the largest difference at any integer up to the last."""
    mean = np.log(tail).mean()
    best = optimize.minimize_scalar(
        lambda a: a * mean + math.log(special.zeta(a, xmin)),
        bounds=(1.01, 30),
        method="bounded",
        options={"xatol": 1e-9},
    )
    k = np.arange(xmin, tail.max() + 1)
    model = 1 - special.zeta(best.x, k + 1) / special.zeta(best.x, xmin)
    data = np.searchsorted(np.sort(tail), k, side="right") / len(tail)
    return best.x, np.abs(model - data).max()


@pytest.mark.parametrize("seed", range(3))
def test_the_search_is_the_naive_loop_over_all_candidates(seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.integers(1, 6, 200), 4 + np.minimum(zipf(2.5, 200, seed), 3000)])
    found = fit(x, discrete=True)
    candidates = [v for v in np.unique(x) if np.sum(x >= v) >= powerlaw.LEAST_TAIL and v < x.max()]
    results = {v: naive(x[x >= v], v) for v in candidates}
    best = min(results, key=lambda v: results[v][1])
    assert (found.xmin, found.n_tail, found.discrete) == (best, np.sum(x >= best), True)
    assert found.exponent == pytest.approx(results[best][0], abs=1e-6)  # the search's: a parabola to rounding
    assert found.ks == pytest.approx(results[best][1], abs=1e-6)
    at = fit(x, xmin=best, discrete=True)
    assert tuple(at) == pytest.approx(tuple(found), rel=1e-9)


@pytest.mark.parametrize("exponent", [2.5, 2.2])
def test_zipf_samples_give_their_exponent(exponent):
    """At xmin = 1 the errors are standard normal: the mean of 20 within 4/√20. With its own xmin a fit has the error of
    the tail that it keeps, and is chosen among tails whose estimates are strongly correlated; 4 standard errors."""
    for own in (False, True):
        found = [fit(zipf(exponent, 5000, seed), None if own else 1, discrete=True) for seed in range(20)]
        errors = np.array([(f.exponent - exponent) / f.standard_error for f in found])
        assert (np.abs(errors) < 4).all() and abs(errors.mean()) < 4 / math.sqrt(20) and 0.5 < errors.std() < 1.6
        assert max(f.standard_error for f in found) < 0.2


def test_the_standard_error_is_the_spread_of_estimates():
    found = [fit(zipf(2.2, 1000, seed), 1, discrete=True) for seed in range(100)]
    spread_found = np.std([f.exponent for f in found])
    assert found[0].standard_error == pytest.approx(spread_found, rel=4 / math.sqrt(200))


def test_far_from_one_the_laws_of_integers_and_of_real_numbers_are_the_same():
    """Rounding changes log x by 1/(2 xmin) at most, and the exponent relatively by as much, times (α - 1)."""
    x = 1e5 * (1 - np.random.default_rng(0).uniform(size=2000)) ** (-1 / 1.5)
    real, whole = fit(x, 1e5), fit(np.round(x), 1e5, discrete=True)
    assert whole.exponent == pytest.approx(real.exponent, rel=1e-5) and whole.ks == pytest.approx(real.ks, abs=1e-4)
    assert whole.standard_error == pytest.approx(real.standard_error, rel=1e-4)
    cut, whole_cut = fit_truncated(x, 1e5), fit_truncated(np.round(x), 1e5, discrete=True)
    assert whole_cut.ratio == pytest.approx(cut.ratio, abs=1e-3)


# Alternatives


def test_the_lognormal_alternative_is_the_best_there_is():
    x = np.maximum(np.random.default_rng(1).lognormal(2, 1, 3000).round(), 1)
    for xmin in (2, 4):
        tail = x[x >= xmin]
        found = fit(x, xmin, discrete=True)
        power = -found.exponent * np.log(tail) - math.log(special.zeta(found.exponent, xmin))

        def terms(mu, sigma, tail=tail, xmin=xmin):
            law = stats.norm(mu, sigma)
            return np.log(law.sf(np.log(tail - 0.5)) - law.sf(np.log(tail + 0.5))) - law.logsf(math.log(xmin - 0.5))

        def negative(parameters):
            return -terms(parameters[0], math.exp(parameters[1])).sum()

        best = optimize.minimize(negative, [2.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-9})
        assert found.lognormal_ratio == pytest.approx(power.sum() + best.fun, abs=1e-5)
        gaps = power - terms(best.x[0], math.exp(best.x[1]))
        vuong = 2 * stats.norm.cdf(-abs(gaps.sum()) / (gaps.std() * math.sqrt(len(tail))))
        assert found.lognormal_p == pytest.approx(vuong, rel=1e-2)


@pytest.mark.parametrize("a", [-6.0, 0.5, 1.5, 20.0, 1e5])
def test_the_tail_of_the_normal_law(a):
    """-log of Q(a + y)/Q(a) is ∫ of the hazard, which for large z is z + 1/z - …"""
    y = np.array([0.0, 1e-3 / max(a, 1), 1 / max(a, 1), 3.0 if a < 30 else 1e-4])
    direct, far = special.log_ndtr(-(a + y)) - special.log_ndtr(-a), -y * (a + y / 2) - np.log1p(y / a)
    expected = direct if a < 30 else far
    np.testing.assert_allclose(lognormal._log_upper_tail(a, y), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("a", [-4.0, 0.0, 1.5, 30.0, 1e4])
def test_intervals_of_the_normal_law_thick_and_thin(a):
    """Halves add up to the whole, from widths where tails are subtracted to those where nothing would be left."""
    scale = 1 / max(abs(a), 1)
    for width in scale * 10.0 ** np.arange(-20, 0.5, 0.25):
        y = np.array([0.0, 0.5, 1.0]) * scale
        whole = lognormal._log_interval(a, y, np.full(3, width))
        halves = [lognormal._log_interval(a, y + start, np.full(3, width / 2)) for start in (0, width / 2)]
        np.testing.assert_allclose(np.logaddexp(*halves), whole, atol=1e-8)


def test_integers_beyond_the_precision_of_rounding():
    """From 1e15 on x ± 1/2 is hardly a number of its own, and the laws are those of real numbers."""
    x = np.floor(1e15 * np.exp(np.random.default_rng(0).gamma(2.0, 0.3, 3000)))
    whole = fit(x, 1e15, discrete=True)
    real = lognormal.against_power_law(np.log(x / 1e15))
    assert (whole.lognormal_ratio, whole.lognormal_p) == pytest.approx(real, rel=1e-5)
    assert math.isfinite(fit(zipf(1.1, 1000, 0).astype(float).clip(1), 1, discrete=True).lognormal_ratio)


def test_zipf_samples_are_not_taken_for_lognormal_ones():
    """A rounded continuous power law is the nearest there is to a zeta law among the lognormal ones, and farther."""
    for seed in range(3):
        found = fit(zipf(2.2, 20_000, seed), 1, discrete=True)
        assert found.lognormal_ratio > 0
        assert fit(np.random.default_rng(seed).lognormal(2, 1, 3000).round() + 1, 1, discrete=True).lognormal_p < 1e-6


@pytest.mark.parametrize(
    "a, cut, top, xmin",
    [(2.5, 1e-3, 5.0, 1.0), (0.0, 5.0, 3.0, 1.0), (1.2, 3.0, 9.0, 1.0), (-0.5, 6.0, 4.0, 30.0), (2.0, 0.5, 0.1, 10.0)],
)
def test_sums_of_the_law_with_a_cut_off(a, cut, top, xmin):
    k = xmin + np.arange(4_000_000.0)
    y, high = np.log(k / xmin), k / xmin * math.exp(-top)
    p = np.exp(-a * y - cut * high)
    log_norm, moments = cutoff.sums(a, cut, top, xmin)
    # The direct sum leaves out what is above 4e6: at a = 2.5 and a cut-off at 1.5e5 e^-27 of the whole.
    assert log_norm == pytest.approx(math.log(p.sum()), abs=1e-10)
    np.testing.assert_allclose(moments, [p @ y / p.sum(), p @ high / p.sum()], rtol=1e-9)


def test_without_a_cut_off_the_sum_is_zeta():
    for a, xmin in ((2.5, 1.0), (2.0, 1.0), (3.0, 500.0)):
        log_norm, (mean, _) = cutoff.sums(a, 1e-17, 3.0, xmin)
        assert log_norm == pytest.approx(zeta.log_zeta(a, xmin) + a * math.log(xmin), abs=1e-8)
        assert mean == pytest.approx(zeta._mean_log(np.array(a), np.array(xmin)), rel=1e-6)


def test_a_cut_off_is_found_where_there_is_one():
    """Geometric numbers are a law with exponent 0 and rate -log(1 - p); standard errors from the Fisher matrix are 0.02
    and 0.001."""
    found = fit_truncated(np.random.default_rng(0).geometric(0.05, 10_000), 1, discrete=True)
    assert found.exponent == pytest.approx(0, abs=0.08) and found.rate == pytest.approx(-math.log(0.95), abs=0.004)
    assert found.ratio < -1000 and found.p < 1e-100


def test_a_power_law_is_seldom_truncated_by_mistake():
    p = np.array([fit_truncated(zipf(2.5, 300, seed), 1, discrete=True).p for seed in range(100)])
    # At most a twentieth below 0.05 (the rate is on the edge of what is allowed); 12 of 100 would be 3 deviations more.
    assert (p < 0.05).sum() <= 11 and (p > 0.05).sum() > 50


def test_the_powerlaw_package_agrees():
    package = pytest.importorskip("powerlaw")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rounded = np.maximum(np.random.default_rng(0).lognormal(2, 1, 2000).round(), 1)
        for x, xmin in ((zipf(2.5, 2000, 0), 1), (zipf(2.2, 2000, 0), 2), (rounded, 1)):
            theirs = package.Fit(x, discrete=True, xmin=xmin, estimate_discrete=False, verbose=0)
            ours = fit(x, xmin, discrete=True)
            # A simplex search: about 1e-5 in α, and in what follows from it.
            assert ours.exponent == pytest.approx(theirs.power_law.alpha, abs=1e-4)
            assert ours.ks == pytest.approx(theirs.power_law.D, abs=1e-4)
        ratio, _ = theirs.distribution_compare("power_law", "lognormal")
        assert ours.lognormal_ratio == pytest.approx(ratio, rel=1e-6)
        ratio, _ = theirs.distribution_compare("power_law", "truncated_power_law", nested=True)
        cut = fit_truncated(rounded, 1, discrete=True)
        assert cut.ratio == pytest.approx(ratio, rel=1e-6)
        assert cut.rate == pytest.approx(theirs.truncated_power_law.Lambda, rel=1e-3)


# Goodness of fit


def test_bootstrap_p_is_roughly_uniform_for_true_zeta_laws():
    p = []
    for seed in range(40):
        body = np.random.default_rng(seed).integers(1, 3, 60)
        x = np.r_[body, zeta.draw(np.random.default_rng(seed + 100), 150, 2.0, 3.0)]
        p.append(bootstrap_p(fit(x, 3, discrete=True), x, count=30, seed=seed, xmin=3))
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert 0.32 < np.mean(p) < 0.68  # four standard errors of the mean of 40 uniform numbers


def test_bootstrap_p_with_its_own_search():
    x = zipf(2.5, 500, 1)
    found = fit(x, discrete=True)
    one = bootstrap_p(found, x, count=30, seed=5)
    assert one > 0.1 and one == bootstrap_p(found, x[::-1], count=30, seed=np.random.default_rng(5))


def test_bootstrap_p_rejects_what_is_no_power_law():
    x = np.random.default_rng(1).poisson(4, 1000) + 1
    assert bootstrap_p(fit(x, 1, discrete=True), x, count=40, seed=0, xmin=1) == 0.0


# The least distance


@given(st.lists(st.lists(st.integers(0, 30), min_size=2, max_size=200), min_size=1, max_size=40))
def test_the_least_distance_is_that_of_all(tails):
    deviations = [np.array(t, float) for t in tails]
    sizes = np.array([len(t) for t in tails])

    def distances(chosen, points):
        return np.array([deviations[i][spread(sizes[[i]], points)[0]].max() for i in chosen])

    exact = [d.max() for d in deviations]
    assert least_distant(distances, sizes) == (int(np.argmin(exact)), min(exact))


# Bad input

GOOD = zipf(2.5, 200, 0)


@pytest.mark.parametrize(
    "x, xmin, message",
    [
        (np.r_[GOOD, 2.5], 1, "x has values such as 2.5: with discrete=True integers"),
        (np.r_[GOOD, 0], 1, "x has 1 values such as 0.0: positive finite"),
        (GOOD, 1.5, "xmin = 1.5: with discrete=True a positive integer"),
        (GOOD, 0, "xmin = 0.0: finite positive"),
        (GOOD, 30, "x has .* points above xmin = 30: at least 50"),
        (GOOD[:49], 1, "x has 49 points in all"),
        (np.full(80, 3), 3, "x has a single value above xmin = 3"),
    ],
)
def test_bad_data(x, xmin, message):
    for call in (fit, fit_truncated):
        with pytest.raises(ValueError, match=message):
            call(x, xmin, discrete=True)


def test_data_without_a_tail():
    with pytest.raises(ValueError, match="x has a single value in its tail of 50 points"):
        fit(np.full(80, 3), discrete=True)


def test_a_fit_to_other_data():
    with pytest.raises(ValueError, match=r"x has values such as 1.25: with discrete=True integers"):
        bootstrap_p(fit(GOOD, 1, discrete=True), np.full(200, 1.25), count=5, seed=0)
    with pytest.raises(ValueError, match="a fit to the 80 values of x is needed"):
        bootstrap_p(fit(GOOD, 1, discrete=True), GOOD[:80], count=5, seed=0)
