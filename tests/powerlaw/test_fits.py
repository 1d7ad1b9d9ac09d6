"""Power-law fits: known exponents, naive searches, quadrature, the powerlaw package, and p-values that are p-values."""

import math
import warnings

import numpy as np
import pytest
import torch
from deepdynamics import powerlaw
from deepdynamics.powerlaw import PowerLaw, bootstrap_p, cutoff, fit, fit_truncated, fits, lognormal, thresholds
from scipy import integrate, optimize, stats


def pareto(exponent, n, seed, xmin=1.0):
    return xmin * (1 - np.random.default_rng(seed).uniform(size=n)) ** (-1 / (exponent - 1))


def naive_distance(tail, xmin):
    """Exponent and KS distance from the definitions, the empirical law taken from both sides of each point."""
    exponent = 1 + len(tail) / sum(math.log(x / xmin) for x in tail)
    distance = 0.0
    for x in tail:
        model = 1 - (x / xmin) ** (1 - exponent)
        for below in (np.sum(tail < x), np.sum(tail <= x)):
            distance = max(distance, abs(below / len(tail) - model))
    return exponent, distance


@pytest.mark.parametrize("exponent", [1.05, 1.5, 2.5, 4.0])
def test_a_known_exponent_is_found_within_its_standard_error(exponent):
    found = [fit(pareto(exponent, 2000, seed), xmin=1.0) for seed in range(20)]
    errors = np.array([(f.exponent - exponent) / f.standard_error for f in found])
    # (α - 1) estimated / true is 2000 / Gamma(2000): bias 1/2000, so the errors are standard normal to a few per cent.
    assert abs(errors.mean()) < 4 / math.sqrt(20) + 0.05 and 0.5 < errors.std() < 1.6
    assert all(f.n_tail == 2000 and f.xmin == 1.0 for f in found)


def test_the_fields_unpack_in_the_documented_order():
    found = fit(pareto(2.0, 100, 0))
    exponent, xmin, ks, n_tail, ratio, p = found
    assert found == PowerLaw(exponent, xmin, ks, n_tail, ratio, p)
    _, rate, ratio, p = fit_truncated(pareto(2.0, 100, 0), 1.0)
    assert rate >= 0 and ratio <= 0 <= p <= 1


@pytest.mark.parametrize("seed", range(3))
def test_the_search_is_the_naive_loop_over_all_candidates(seed):
    rng = np.random.default_rng(seed)
    # A tail above a body, with ties: values are rounded.
    x = np.concatenate([rng.uniform(0.5, 1, 80), pareto(1.8, 120, seed + 10)])
    x = np.round(x, 2)
    found = fit(x)
    assert not found.discrete
    candidates = [v for v in np.unique(x) if np.sum(x >= v) >= powerlaw.LEAST_TAIL]
    results = {v: naive_distance(x[x >= v], v) for v in candidates}
    best = min(results, key=lambda v: results[v][1])
    assert found.ks == pytest.approx(results[best][1], rel=1e-10)
    assert found.exponent == pytest.approx(results[found.xmin][0], rel=1e-10)
    assert found.n_tail == np.sum(x >= found.xmin)
    at = fit(x, xmin=found.xmin)
    assert (at.exponent, at.ks) == pytest.approx((found.exponent, found.ks), rel=1e-10)


def test_blocks_and_rounds_change_nothing(monkeypatch):
    x = pareto(2.2, 300, 4)
    whole = fit(x)
    for block, first, factor in ((700, 16, 8), (1, 2, 2), (10**6, 300, 8)):
        monkeypatch.setattr(thresholds, "_BLOCK", block)
        monkeypatch.setattr(thresholds, "_FIRST", first)
        monkeypatch.setattr(thresholds, "_FACTOR", factor)
        assert fit(x) == whole


def all_at_once(logs):
    """Distances of the tails above every value, with the formula of the search, nothing left out."""
    n, found = len(logs), []
    for i in range(n - powerlaw.LEAST_TAIL + 1):
        above = logs[i:] - logs[i]
        slope = (n - i) / (np.cumsum((logs - logs[0])[::-1])[::-1][i] - (n - i) * (logs[i] - logs[0]))
        gap = np.arange(1, n - i + 1) / (n - i) + np.expm1(-slope * above)
        found.append(np.maximum(gap, 1 / (n - i) - gap).max())
    return np.array(found)


@pytest.mark.parametrize("kind", ["power", "lognormal", "exponential", "two parts", "quantiles", "wide"])
def test_the_search_misses_no_threshold(kind):
    n, rng = 2000, np.random.default_rng(3)
    x = {
        "power": pareto(2.5, n, 3),
        "lognormal": np.exp(rng.normal(0, 1.5, n)),
        "exponential": rng.exponential(size=n),
        "two parts": np.r_[rng.uniform(0.2, 1, n // 2), pareto(2.0, n // 2, 3)],
        "quantiles": ((np.arange(n) + 0.5) / n) ** (-1 / 1.5),
        "wide": np.exp(rng.normal(0, 20, n)),
    }[kind]
    exact = all_at_once(np.log(np.sort(x)))
    found = fit(x)
    assert found.ks == exact.min() and found.xmin == np.sort(x)[np.argmin(exact)]


@pytest.mark.parametrize("n", [4000, 16_000, 64_000])
def test_the_search_does_not_look_at_every_point_of_every_tail(n, monkeypatch):
    """That would be n²/2 points. Measured for n up to 200,000: 40 to 700 n. A true power law is the hardest case."""
    looked_at = []

    def counting(sizes, points):
        looked_at.append(len(sizes) * points)
        return spread(sizes, points)

    spread = thresholds.spread
    monkeypatch.setattr(fits, "spread", counting)
    fit(pareto(2.5, n, 1))
    assert sum(looked_at) < 1000 * n


@pytest.mark.parametrize("scale", [1e-60, 7.0, 1e60])
def test_scale_equivariance(scale):
    x = np.exp(np.random.default_rng(3).normal(0, 4, 400))
    one, other = fit(x), fit(scale * x)
    assert other.xmin == pytest.approx(scale * one.xmin, rel=1e-10)
    for name in ("exponent", "ks", "n_tail", "lognormal_ratio", "lognormal_p"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6, abs=1e-9)
    cut, scaled = fit_truncated(x, 0.1), fit_truncated(scale * x, 0.1 * scale)
    assert scaled.rate == pytest.approx(cut.rate / scale, rel=1e-3)
    assert scaled.ratio == pytest.approx(cut.ratio, rel=1e-6)


def test_a_power_of_the_data_changes_the_exponent_as_it_must():
    """If s has exponent α, s² has (α + 1)/2: the eigenvalues of J Jᵀ and the singular values of J."""
    x = pareto(1.4, 500, 5)
    one, squared = fit(x), fit(x**2)
    assert squared.exponent == pytest.approx((one.exponent + 1) / 2, rel=1e-10)
    assert squared.ks == pytest.approx(one.ks, rel=1e-8) and squared.n_tail == one.n_tail


# Alternatives


def lognormal_log_likelihood(y, mu, sigma):
    law = stats.norm(mu, sigma)
    return law.logpdf(y) - law.logsf(0)


@pytest.mark.parametrize("threshold", [-2.0, 0.0, 1.5])
def test_the_lognormal_alternative_is_the_best_there_is(threshold):
    rng = np.random.default_rng(6)
    logs = rng.normal(0, 1.5, 4000)
    logs = logs[logs >= threshold]
    found = fit(np.exp(logs), xmin=math.exp(threshold))
    y = logs - threshold
    power = np.log(1 / y.mean()) - y / y.mean()

    def negative(parameters):
        return -lognormal_log_likelihood(y, parameters[0], math.exp(parameters[1])).sum()

    best = optimize.minimize(negative, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11})
    # The naive likelihood is computed with cancellation: 1e-16 times 4,000 terms of size 10, and more.
    assert found.lognormal_ratio == pytest.approx(power.sum() + best.fun, abs=1e-6)
    terms = power - lognormal_log_likelihood(y, best.x[0], math.exp(best.x[1]))
    vuong = 2 * stats.norm.cdf(terms.sum() / (terms.std() * math.sqrt(len(y))))
    assert found.lognormal_p == pytest.approx(vuong, rel=1e-3)


def test_lognormal_data_are_no_power_law():
    for seed in range(3):
        x = np.exp(np.random.default_rng(seed).normal(0, 1, 3000))
        found = fit(x, xmin=1.0)
        assert found.lognormal_ratio < -20 and found.lognormal_p < 1e-6


def test_no_lognormal_law_beats_the_power_law_on_tails_that_are_too_spread():
    y = np.random.default_rng(0).gamma(0.5, 2, 1000)  # variance twice the squared mean
    found = fit(np.exp(y) * 3, xmin=3.0)
    assert (found.lognormal_ratio, found.lognormal_p) == (0.0, 1.0)
    power = np.log(1 / y.mean()) - y / y.mean()
    for sigma in (3.0, 30.0, 300.0):
        best = optimize.minimize_scalar(lambda mu, s=sigma: -lognormal_log_likelihood(y, mu, s).sum())
        assert power.sum() > -best.fun - 1e-3


@pytest.mark.parametrize("a", [-30.0, -1.0, 0.0, 2.9, 3.1, 12.0])
def test_moments_of_the_normal_law_above_a_threshold(a):
    variance, excess, hazard = lognormal._relative_variance(a)

    def moment(k):
        # The density given z > a, relative to its value at max(a, 0).
        start = max(a, 0.0)
        return integrate.quad(
            lambda z: (z - a) ** k * math.exp(-(z**2 - start**2) / 2),
            a,
            start + 12,
            points=[start],
            epsabs=0,
            limit=200,
        )[0]

    mean = moment(1) / moment(0)
    assert excess == pytest.approx(mean, rel=1e-8)
    assert variance == pytest.approx(moment(2) / moment(0) / mean**2 - 1, rel=1e-6)
    assert hazard == pytest.approx(mean + a, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("slope, cut, top", [(0.5, 1.0, 3.0), (1.5, 0.01, 10.0), (-0.4, 5.0, 2.0), (0.05, 2.0, 150.0)])
def test_moments_of_the_power_law_with_a_cut_off(slope, cut, top):
    log_norm, moments = cutoff.moments(slope, cut, top)
    y = np.linspace(0, top + 8, 2_000_001)
    density = np.exp(-slope * y - cut * np.exp(y - top))
    norm = integrate.trapezoid(density, y)
    assert log_norm == pytest.approx(math.log(norm), abs=1e-7)
    assert moments[0] == pytest.approx(integrate.trapezoid(density * y, y) / norm, rel=1e-6)
    assert moments[1] == pytest.approx(integrate.trapezoid(density * np.exp(y - top), y) / norm, rel=1e-6)


def test_a_cut_off_is_found_where_there_is_one():
    rng = np.random.default_rng(8)
    x = rng.gamma(0.5, 10.0, 20_000)  # x^-0.5 e^(-x/10)
    found = fit_truncated(x[x > 0.1], 0.1)
    # Standard errors from the spread over halves of the data are about 0.02 and 0.002.
    assert found.exponent == pytest.approx(0.5, abs=0.06) and found.rate == pytest.approx(0.1, abs=0.006)
    assert found.p < 1e-10


def test_a_power_law_is_seldom_truncated_by_mistake():
    p = np.array([fit_truncated(pareto(1.5, 200, seed), 1.0).p for seed in range(100)])
    # At most a twentieth below 0.05 (the rate is on the edge of what is allowed); 12 of 100 would be 3 deviations more.
    assert (p < 0.05).sum() <= 11


def test_the_powerlaw_package_agrees():
    package = pytest.importorskip("powerlaw")
    rng = np.random.default_rng(9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x in (np.exp(rng.normal(0, 1.5, 1500)), pareto(2.5, 1000, 9), pareto(1.05, 300, 9)):
            ours = fit(x, xmin=float(np.quantile(x, 0.3)))
            theirs = package.Fit(x, xmin=ours.xmin, verbose=0)
            assert ours.exponent == pytest.approx(theirs.power_law.alpha, rel=1e-9)
            # The package takes the empirical law from one side of each point only: up to one step less.
            assert -1e-9 <= ours.ks - theirs.power_law.D <= 1 / ours.n_tail + 1e-9
        x = np.exp(rng.normal(0, 1.5, 1500))
        ours, cut = fit(x, xmin=1.0), fit_truncated(x, 1.0)
        theirs = package.Fit(x, xmin=1.0, verbose=0)
        ratio, p = theirs.distribution_compare("power_law", "lognormal")
        # Their maximum is found by a simplex search to about 1e-4 in the parameters.
        assert ours.lognormal_ratio == pytest.approx(ratio, rel=1e-4) and ours.lognormal_p == pytest.approx(p, rel=1e-2)
        ratio, _ = theirs.distribution_compare("power_law", "truncated_power_law", nested=True)
        assert cut.ratio == pytest.approx(ratio, rel=1e-4)
        assert cut.exponent == pytest.approx(theirs.truncated_power_law.alpha, abs=2e-3)


def test_lists_and_tensors_are_taken_as_arrays_are():
    x = pareto(2.2, 200, 1)
    for same in (list(x), torch.tensor(x), torch.tensor(x, requires_grad=True), [torch.tensor(v) for v in x]):
        assert fit(same) == fit(x) and fit_truncated(same, 1.0) == fit_truncated(x, 1.0)
        assert bootstrap_p(fit(x), same, count=3, seed=0) == bootstrap_p(fit(x), x, count=3, seed=0)


# Goodness of fit


def test_bootstrap_p_is_roughly_uniform_for_true_power_laws():
    p = []
    for seed in range(60):
        x = np.concatenate([np.random.default_rng(seed).uniform(0.2, 1, 30), pareto(1.6, 120, 100 + seed)])
        p.append(bootstrap_p(fit(x), x, count=60, seed=seed))
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert 0.35 < np.mean(p) < 0.65  # four standard errors of the mean of 60 uniform numbers


def test_bootstrap_p_rejects_what_is_no_power_law():
    x = np.exp(np.random.default_rng(1).normal(0, 1, 1000))
    assert bootstrap_p(fit(x, xmin=0.5), x, count=40, seed=0, xmin=0.5) == 0.0


def test_bootstrap_p_depends_on_its_seed_alone():
    x = pareto(2.0, 120, 2)
    found = fit(x)
    one = bootstrap_p(found, x, count=30, seed=5)
    assert one == bootstrap_p(found, x[::-1], count=30, seed=np.random.default_rng(5))
    assert bootstrap_p(found, x, count=30, seed=5) == one


# Bad input

GOOD = pareto(2.0, 100, 0)


@pytest.mark.parametrize(
    "x, xmin, message",
    [
        (GOOD[:49], None, "x has 49 points in all: at least 50"),
        (GOOD, float(np.sort(GOOD)[-20]), "x has 20 points above xmin = .*: at least 50"),
        (np.r_[GOOD, 0.0], None, "x has 1 values such as 0.0: positive finite"),
        (np.r_[GOOD, -1.0], 1.0, "x has 1 values such as -1.0"),
        (np.r_[GOOD, np.nan, np.inf], None, "x has 2 values such as nan"),
        (GOOD[:, None], None, r"x of shape \(100, 1\): a list"),
        (GOOD + 1j, None, "x of type complex128: real numbers"),
        ([1.0, [2.0]], None, "x is no array"),
        (["a", "b"], None, "x of type"),
        (GOOD, 0.0, "xmin = 0.0: finite positive"),
        (GOOD, math.inf, "xmin = inf: finite positive"),
        (np.ones(80), None, "x has a single value in its tail"),
        (np.ones(80), 1.0, "x has a single value above xmin = 1"),
    ],
)
def test_bad_data(x, xmin, message):
    with pytest.raises(ValueError, match=message):
        fit(x, xmin)


@pytest.mark.parametrize(
    "x, xmin, message",
    [
        (GOOD[:49], 1.0, "x has 49 points in all"),
        (GOOD, 50.0, "x has . points above xmin"),
        (GOOD, -1.0, "xmin = -1.0: finite positive"),
        (np.ones(80), 1.0, "x has a single value above xmin = 1"),
    ],
)
def test_bad_data_for_a_cut_off(x, xmin, message):
    with pytest.raises(ValueError, match=message):
        fit_truncated(x, xmin)


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_bad_counts(count):
    with pytest.raises(ValueError, match=f"count = {count}: a positive integer"):
        bootstrap_p(fit(GOOD), GOOD, count=count, seed=0)


def test_a_fit_to_other_data():
    with pytest.raises(ValueError, match="a fit to the 80 values of x is needed"):
        bootstrap_p(fit(GOOD, xmin=1.0), GOOD[:80], count=5, seed=0)


@pytest.mark.parametrize("kind", [np.int64, np.float64, list, torch.tensor])
def test_integers_are_refused_by_the_continuous_laws(kind):
    """A Zipf sample of exponent 2.5 gave 2.11."""
    x = np.random.default_rng(0).zipf(2.5, 2000)
    x = list(x) if kind is list else kind(x)
    message = "x has integers and nothing else from .* on: discrete=True"
    for call in (lambda: fit(x), lambda: fit(x, 1), lambda: fit_truncated(x, 1)):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_tail_of_integers_is_refused_whatever_is_below_it():
    x = np.r_[np.random.default_rng(0).uniform(0.1, 0.9, 50), np.random.default_rng(0).zipf(2.5, 2000)]
    with pytest.raises(ValueError, match="from 1 on: discrete=True"):
        fit(x, 1)
    assert fit(x, 0.1).n_tail == 2050  # all of it is no list of integers
    large = 1e17 * pareto(2.5, 100, 0)  # beyond 2^52 every number of float64 is an integer
    assert fit(large).exponent == pytest.approx(fit(large / 1e17).exponent, rel=1e-9)
