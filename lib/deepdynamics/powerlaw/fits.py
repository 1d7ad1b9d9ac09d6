r"""Power laws in data: fit by maximum likelihood, doubt by three tests.

For data x and a threshold xmin, the n points of the tail x ≥ xmin are compared with

.. math:: p(x) = \frac{\alpha - 1}{x_{\min}} \Bigl(\frac{x}{x_{\min}}\Bigr)^{-\alpha} ,

which in y = log(x / xmin) is an exponential law of rate α - 1. A straight line on doubly logarithmic paper is no
evidence for it. What is: a Kolmogorov-Smirnov distance that data drawn from the fit would have as well
(:func:`bootstrap_p`), and a likelihood that alternatives do not beat: a lognormal law (in :func:`fit`) and a power law
with an exponential cut-off (:func:`fit_truncated`). Both alternatives are cut off below xmin as the power law is, and
contain it as a limit, so that neither fits worse; the question is whether it fits better by more than chance.

Integers follow another law, the zeta law p(k) = k^-α / ζ(α, xmin) on k = xmin, xmin + 1, …, and are fitted by it with
``discrete=True`` (:mod:`deepdynamics.powerlaw.zeta`); without that they are refused, because the continuous law misses
their exponent: 2.1 for 2.5.

The recipe is that of Clauset, Shalizi and Newman (2009). Numpy, float64; a scale of continuous x drops out of
everything but xmin and the rate of a cut-off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from deepdynamics import _checks
from deepdynamics._checks import Array, Numbers, number, positive, real
from deepdynamics.powerlaw import cutoff, lognormal, zeta
from deepdynamics.powerlaw.thresholds import least_distant, spread

__all__ = ["LEAST_TAIL", "PowerLaw", "TruncatedPowerLaw", "bootstrap_p", "fit", "fit_truncated"]

LEAST_TAIL = 50  # points that a tail needs


@dataclass(frozen=True)
class PowerLaw:
    """Result of :func:`fit`; unpacks in this order, ``discrete`` left out.

    ``exponent`` α; ``xmin``; ``ks`` the Kolmogorov-Smirnov distance in the tail, both ends of each step; ``n_tail``;
    ``lognormal_ratio`` Σ log p_power - log p_lognormal over the tail, never positive where the laws are continuous;
    ``lognormal_p`` the two-sided p-value of Vuong's test that both are equally good; ``discrete`` whether the law is
    one of integers.

    >>> exponent, xmin, *_ = PowerLaw(2.5, 1.0, 0.01, 900, -0.2, 0.7)
    >>> exponent, xmin, PowerLaw(2.5, 1.0, 0.01, 900, -0.2, 0.7).standard_error
    (2.5, 1.0, 0.05)
    """

    exponent: float
    xmin: float
    ks: float
    n_tail: int
    lognormal_ratio: float
    lognormal_p: float
    discrete: bool = False

    def __iter__(self) -> Iterator[float]:
        names = ("exponent", "xmin", "ks", "n_tail", "lognormal_ratio", "lognormal_p")
        return iter([getattr(self, name) for name in names])

    @property
    def standard_error(self) -> float:
        """The asymptotic standard error of the exponent at a given xmin: (α - 1)/√n, and 1/√(n var log k) under the
        zeta law."""
        if self.discrete:
            return 1 / math.sqrt(self.n_tail * float(zeta.log_variance(self.exponent, self.xmin)))
        return (self.exponent - 1) / math.sqrt(self.n_tail)


@dataclass(frozen=True)
class TruncatedPowerLaw:
    """Result of :func:`fit_truncated`; unpacks in this order.

    ``exponent`` a and ``rate`` of p(x) ∝ x^-a e^(-rate·x); ``ratio`` Σ log p_power - log p_truncated over the tail,
    never positive; ``p`` that of the likelihood-ratio test, chance that a true power law gives such a ratio.

    >>> exponent, rate, ratio, p = fit_truncated(np.random.default_rng(0).gamma(0.5, 10.0, 5000) + 0.5, 1.0)
    >>> 0.07 < rate < 0.13, ratio < -100, p < 1e-9
    (True, True, True)
    """

    exponent: float
    rate: float
    ratio: float
    p: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.exponent, self.rate, self.ratio, self.p))


def fit(x: Numbers, xmin: float | None = None, discrete: bool = False) -> PowerLaw:
    r"""The power law of the tail of ``x`` (n,) by maximum likelihood,

    .. math:: \hat\alpha = 1 + n \Bigl[\sum_{i=1}^n \log \frac{x_i}{x_{\min}}\Bigr]^{-1} ,

    above ``xmin``; without it, above that value of x, of those that leave a tail of 50 points, at which the
    Kolmogorov-Smirnov distance is smallest (Clauset et al. 2009, section 3). The alternative is a lognormal law
    truncated at xmin, by maximum likelihood; its p-value is Vuong's, 2Φ(-|R|/(s√n)) with s the standard deviation of
    the terms of R (their appendix C). Where the tail of log x is at least as spread as an exponential law, the best
    lognormal law is the power law itself: ratio 0, p-value 1.

    With ``discrete`` the same for the zeta law, which has no closed form of α (their appendix B), and a lognormal
    variable rounded to integers as alternative, which does not contain the zeta law: R can then have either sign.
    Numbers on another lattice have to be divided by its step first.

    Raises ``ValueError`` for data that are not positive and finite, an ``xmin`` of that kind, a tail of fewer than 50
    points, a tail that is a single value, a tail of integers alone without ``discrete``, anything else with it.

    >>> x = np.random.default_rng(0).pareto(1.5, 10_000) + 1
    >>> found = fit(x, xmin=1.0)
    >>> round(found.exponent, 2), round(found.standard_error, 3), found.lognormal_p > 0.1
    (2.51, 0.015, True)
    >>> found = fit(np.random.default_rng(0).zipf(2.5, 10_000), xmin=1, discrete=True)
    >>> round(found.exponent, 2), round(found.standard_error, 3)
    (2.49, 0.017)
    """
    values = _checked(x, discrete)
    if xmin is not None:
        _check_xmin(xmin, discrete)
        _check_count(int((values >= xmin).sum()), f"above xmin = {xmin:.6g}")
    if discrete:
        return _fit_integers(values, xmin)
    logs = np.log(values)
    if xmin is None:
        exponent, start, ks = _search(logs)
        xmin = float(values[start])
    else:
        start = int(np.searchsorted(values, xmin))
        exponent, ks = _distance(logs[start:], math.log(xmin))
    _refuse_integers(values[start:])
    y = np.maximum(logs[start:] - math.log(xmin), 0)
    ratio, p = lognormal.against_power_law(y)
    return PowerLaw(exponent, float(xmin), ks, len(y), ratio, p)


def _fit_integers(values: Array, xmin: float | None) -> PowerLaw:
    if xmin is None:
        exponent, xmin, ks = zeta.search(values, LEAST_TAIL)
        tail = values[values >= xmin]
    else:
        tail = values[values >= xmin]
        _check_spread(tail[-1] - xmin, xmin)
        exponent, ks = zeta.distance(tail, xmin)
    ratio, p = lognormal.against_zeta_law(tail, xmin, exponent)
    return PowerLaw(exponent, float(xmin), ks, len(tail), ratio, p, discrete=True)


def fit_truncated(x: Numbers, xmin: float, discrete: bool = False) -> TruncatedPowerLaw:
    r"""The power law with an exponential cut-off, p(x) ∝ x^{-a} e^{-rate·x} on x ≥ ``xmin``, by maximum likelihood over
    all a and rate ≥ 0, and the likelihood ratio of the pure power law to it; with ``discrete`` both are laws of
    integers.

    The laws are nested, so that the p-value is P(χ²₁ > 2|R|) (Wilks); with rate = 0 on the edge of what is allowed it
    errs on the side of the power law, by up to a factor of two.

    Raises ``ValueError`` as :func:`fit` does; ``RuntimeError`` where the maximum is not found.

    >>> rng = np.random.default_rng(0)
    >>> power, exponential = rng.pareto(0.5, 2000) + 1, rng.exponential(1, 2000) + 1
    >>> fit_truncated(power, 1.0).p > 0.01, fit_truncated(exponential, 1.0).p < 1e-9
    (True, True)
    """
    values = _checked(x, discrete)
    _check_xmin(xmin, discrete)
    tail = values[values >= xmin]
    y = np.log(tail / xmin)
    _check_count(len(y), f"above xmin = {xmin:.6g}")
    _check_spread(y.sum(), xmin)
    top, means = y[-1], np.array([y.mean(), np.exp(y - y[-1]).mean()])
    if discrete:
        alpha = float(zeta.exponents(means[0], xmin))
        pure = -alpha * (means[0] + math.log(xmin)) - float(zeta.log_zeta(alpha, xmin))  # mean log-likelihood of k
    else:
        _refuse_integers(tail)
        pure = -1 - math.log(means[0])  # of y

    def negative(parameters: Array) -> tuple[float, Array]:
        slope, cut = parameters[0], math.exp(parameters[1])
        if discrete:
            log_norm, expected = cutoff.sums(slope + 1, cut, top, xmin)
        else:
            log_norm, expected = cutoff.moments(slope, cut, top)
        gradient = means - expected
        value = slope * means[0] + cut * means[1] + log_norm
        if discrete:
            value += means[0]
        return value, np.array([gradient[0], cut * gradient[1]])

    starts = [np.array([1 / means[0], -5.0]), np.array([0.0, 0.0])]
    bounds = [(None, None), (-40.0, 12.0)]
    found = [optimize.minimize(negative, s, jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-13) for s in starts]
    best = min(found, key=lambda result: float(result.fun))
    if not math.isfinite(best.fun):
        raise RuntimeError(f"no power law with a cut-off was found for {len(y)} values above xmin = {xmin:.6g}")
    ratio = min(0.0, len(y) * float(pure + best.fun))
    rate = math.exp(best.x[1] - top) / xmin
    return TruncatedPowerLaw(1 + float(best.x[0]), rate, ratio, float(stats.chi2.sf(-2 * ratio, 1)))


def bootstrap_p(
    fit: PowerLaw,
    x: Numbers,
    *,
    count: int,
    seed: int | np.random.Generator,
    xmin: float | None = None,
) -> float:
    """How often data drawn from ``fit`` are farther from their own best power law than ``x`` is from it: the share of
    ``count`` synthetic data sets whose Kolmogorov-Smirnov distance is at least ``fit.ks``.

    Semi-parametric (Clauset et al. 2009, section 4.1): each value comes from the power law with probability n_tail/n,
    else from the values of x below xmin; each data set is fitted as x was, by the same kind of law, with its own search
    for xmin, or at ``xmin`` where that was given. The authors reject a power law below 0.1. Resolution: 1/(2√count).

    Raises ``ValueError`` for a ``count`` below 1, and where ``fit`` is no fit to ``x``.

    >>> x = np.random.default_rng(0).pareto(1.5, 200) + 1
    >>> 0.1 < bootstrap_p(globals()["fit"](x), x, count=100, seed=0) <= 1
    True
    """
    _checks.count("count", count)
    values = _checked(x, fit.discrete)
    body = values[: max(len(values) - fit.n_tail, 0)]
    if fit.n_tail > len(values) or (len(body) and body[-1] >= fit.xmin) or values[len(body)] < fit.xmin * (1 - 1e-12):
        raise ValueError(
            f"fit has {fit.n_tail} points above {fit.xmin:.6g}: a fit to the {len(values)} values of x is needed"
        )
    rng, exceeding = np.random.default_rng(seed), 0
    if not fit.discrete:
        body = np.log(body)
    for _ in range(count):
        tail = rng.binomial(len(values), fit.n_tail / len(values)) if len(body) else len(values)
        synthetic = _draw(fit, tail, rng)
        if len(body):
            synthetic = np.concatenate([rng.choice(body, len(values) - tail), synthetic])
        synthetic.sort()
        exceeding += _ks(synthetic, fit, searching=xmin is None) >= fit.ks
    return exceeding / count


def _draw(fit: PowerLaw, count: int, rng: np.random.Generator) -> Array:
    """Logarithms of numbers from a continuous law, and the numbers themselves from a discrete one."""
    if fit.discrete:
        return zeta.draw(rng, count, fit.exponent, fit.xmin)
    return math.log(fit.xmin) + rng.exponential(1 / (fit.exponent - 1), count)


def _ks(ordered: Array, fit: PowerLaw, searching: bool) -> float:
    """Distance of such ascending numbers from the best law of the same kind, with its own threshold or that of fit."""
    if fit.discrete:
        if searching:
            return zeta.search(ordered, LEAST_TAIL)[2]
        return zeta.distance(ordered[np.searchsorted(ordered, fit.xmin) :], fit.xmin)[1]
    if searching:
        return _search(ordered)[2]
    start = math.log(fit.xmin)
    return _distance(ordered[np.searchsorted(ordered, start) :], start)[1]


def _checked(x: Numbers, discrete: bool) -> Array:
    """The data, ascending."""
    values = real("x", x)
    if values.ndim != 1:
        raise ValueError(f"x of shape {values.shape}: a list of numbers is allowed")
    good = np.isfinite(values) & (values > 0)
    if not good.all():
        bad = values[~good]
        raise ValueError(f"x has {len(bad)} values such as {bad[0]}: positive finite numbers are allowed")
    whole = values == np.floor(values)
    if discrete and not whole.all():
        raise ValueError(f"x has values such as {values[~whole][0]}: with discrete=True integers are allowed")
    _check_count(len(values), "in all")
    return np.sort(values)


def _check_xmin(xmin: float, discrete: bool) -> None:
    number("xmin", xmin, positive)
    if discrete and xmin != math.floor(xmin):
        raise ValueError(f"xmin = {xmin}: with discrete=True a positive integer is allowed")


def _refuse_integers(tail: Array) -> None:
    """Beyond 2^52 every float64 is an integer, which says nothing."""
    if tail[0] < 2**52 and (tail == np.floor(tail)).all():
        raise ValueError(
            f"x has integers and nothing else from {tail[0]:.6g} on: discrete=True fits them, the continuous law would "
            "miss their exponent"
        )


def _check_count(count: int, where: str) -> None:
    if count < LEAST_TAIL:
        raise ValueError(f"x has {count} points {where}: at least {LEAST_TAIL} are needed")


def _check_spread(total: float, xmin: float) -> None:
    if not total > 0:
        raise ValueError(f"x has a single value above xmin = {xmin:.6g}: a power law needs values that differ")


def _distance(logs: Array, start: float) -> tuple[float, float]:
    """Exponent and Kolmogorov-Smirnov distance of the tail with these ascending logarithms above ``start``."""
    y = np.maximum(logs - start, 0)
    _check_spread(y.sum(), math.exp(start))
    slope = len(y) / float(y.sum())
    model = -np.expm1(-slope * y)
    steps = np.arange(len(y) + 1) / len(y)
    return 1 + slope, float(max((steps[1:] - model).max(), (model - steps[:-1]).max()))


def _search(logs: Array) -> tuple[float, int, float]:
    """Exponent, index of xmin and distance of the best tail of ascending logarithms."""
    n = len(logs)
    first = np.flatnonzero(np.r_[True, np.diff(logs) > 0])
    first = first[first <= n - LEAST_TAIL]
    sizes = n - first
    total = np.cumsum((logs - logs[0])[::-1])[::-1][first] - sizes * (logs[first] - logs[0])
    usable = total > 1e-12 * sizes
    if not usable.any():
        raise ValueError(
            f"x has a single value in its tail of {LEAST_TAIL} points: a power law needs values that differ"
        )
    first, sizes = first[usable], sizes[usable]
    slopes = sizes / total[usable]

    def distances(chosen: NDArray[np.int64], points: int) -> Array:
        start, m, ranks = first[chosen, None], sizes[chosen, None], spread(sizes[chosen], points)
        above = logs[start + ranks] - logs[start]
        gap = (ranks + 1) / m + np.expm1(-slopes[chosen, None] * above)  # upper end of a step - model
        return np.maximum(gap, 1 / m - gap).max(1)  # type: ignore[no-any-return]

    best, ks = least_distant(distances, sizes)
    return 1 + float(slopes[best]), int(first[best]), ks
