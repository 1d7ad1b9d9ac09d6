r"""Power laws of integers: the zeta law

.. math:: p(k) = \frac{k^{-\alpha}}{\zeta(\alpha, q)}, \qquad k = q, q + 1, \dots, \qquad
    \zeta(\alpha, q) = \sum_{k \ge q} k^{-\alpha}, \quad \alpha > 1 ,

its maximum likelihood, its Kolmogorov-Smirnov distance from data, and random numbers from it (Clauset, Shalizi and
Newman 2009, sections 3 and 4, appendices B and D). Numpy, float64.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdynamics._checks import Array
from deepdynamics.powerlaw.thresholds import least_distant, spread

__all__ = ["distance", "draw", "exponents", "log_variance", "log_zeta", "search"]


# B_2j / (2j)!, the coefficients of Euler and Maclaurin.
_COEFFICIENTS = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000)
_TERMS = 32  # of the sum that are added one by one where q is not large beside α
_TABLE = 4096  # integers whose probabilities are tabulated for random numbers
_ITERATIONS = 100


def log_zeta(alpha: ArrayLike, q: ArrayLike) -> Array:
    """log ζ(α, q) for α > 1, q ≥ 1; broadcasts. Right to rounding, however small ζ is.

    >>> bool(np.isclose(np.exp(log_zeta(2.0, 1.0)), np.pi**2 / 6, rtol=1e-14))
    True
    """
    alpha, q = np.asarray(alpha, float), np.asarray(q, float)
    return -alpha * np.log(q) + _log_sum(alpha, q)


def _log_sum(alpha: NDArray[np.inexact], q: Array) -> NDArray[np.inexact]:
    """log Σ_{k≥0} (1 + k/q)^-α, for complex α as well.

    By Euler and Maclaurin, from k = 0 where α + 14 ≤ q/2: the first term left out is then 1e-15 of the whole. Elsewhere
    32 terms are added one by one before: if α ≤ q/2 + 14 the same holds, and if not, nothing is left by then.
    """
    alpha, q = np.broadcast_arrays(alpha, q)
    total = _euler_maclaurin(alpha, q)
    hard = alpha.real + 14 > q / 2
    if hard.any():
        a, low = alpha[hard], q[hard]
        steps = np.arange(_TERMS) / low[..., None]
        first = np.exp(-a[..., None] * np.log1p(steps)).sum(-1)
        rest = np.exp(-a * np.log1p(_TERMS / low)) * _euler_maclaurin(a, low + _TERMS)
        total = np.array(total)
        total[hard] = first + rest
    return np.log(total)


def _euler_maclaurin(alpha: NDArray[np.inexact], q: Array) -> NDArray[np.inexact]:
    """Σ_{k≥0} (1 + k/q)^-α = q/(α - 1) + 1/2 + Σ_j B_2j/(2j)! α(α + 1)…(α + 2j - 2)/q^(2j - 1)."""
    total, product = q / (alpha - 1) + 0.5, alpha / q
    for j, coefficient in enumerate(_COEFFICIENTS):
        total = total + coefficient * product
        product = product * ((alpha + 2 * j + 1) / q) * ((alpha + 2 * j + 2) / q)
    return total


def _mean_log(alpha: Array, q: Array) -> Array:
    """E log(k/q) = -d/dα log Σ (1 + k/q)^-α, by a step along the imaginary axis, which subtracts nothing."""
    return -_log_sum(alpha + 1e-30j, q).imag / 1e-30


def log_variance(alpha: ArrayLike, q: ArrayLike) -> Array:
    """var log k under the law, the Fisher information of α.

    >>> log_variance(3.0, 1e6).round(6)  # that of the continuous law is 1/(α - 1)²
    np.float64(0.25)
    """
    alpha, q = np.asarray(alpha, float), np.asarray(q, float)
    step = 1e-4 * (alpha - 1)
    return (_mean_log(alpha - step, q) - _mean_log(alpha + step, q)) / (2 * step)


def exponents(mean_log: ArrayLike, q: ArrayLike) -> Array:
    """The α of maximum likelihood, at which E log(k/q) is ``mean_log`` > 0, the mean of the data; broadcasts.

    By Newton's method for log E log(k/q), which is convex in α: it climbs from below, and what starts or lands above
    is sent a tenth of the way to 1. ``RuntimeError`` where it does not converge.

    >>> exponents(0.5, 1).round(4), exponents(0.5, 1e6).round(4)  # for large q that of the continuous law, 1 + 1/0.5
    (np.float64(2.0867), np.float64(3.0))
    """
    mean_log, q = np.broadcast_arrays(np.asarray(mean_log, float), np.asarray(q, float))
    alpha = 1 + 1 / (mean_log - np.log1p(-0.5 / q))  # Clauset et al., eq. (3.7)
    for _ in range(_ITERATIONS):
        step = 1e-6 * (alpha - 1)
        here, beside = np.log(_mean_log(np.stack((alpha, alpha + step)), q))
        new = np.maximum(alpha - (here - np.log(mean_log)) * step / (beside - here), 1 + 0.1 * (alpha - 1))
        done = np.abs(new - alpha) <= 1e-7 * (alpha - 1)  # the next step would be 1e-13
        alpha = new
        if done.all():
            return alpha
    raise RuntimeError("exponents: Newton's method does not converge")


def distance(values: Array, xmin: float) -> tuple[float, float]:
    """Exponent, and Kolmogorov-Smirnov distance from its law, of ascending integers from ``xmin``: the largest
    difference of the distribution functions at any integer.

    >>> round(distance(np.array([1.0, 1.0, 1.0, 2.0]), 1.0)[1], 3)
    0.075
    """
    tail = _Tails(values, np.array([xmin]))
    return float(tail.alpha[0]), float(tail.distances(np.array([0]), len(tail.values))[0])


def search(values: Array, least: int) -> tuple[float, float, float]:
    """Exponent, xmin and distance of the best tail of ascending integers, among tails of at least ``least`` points and
    two different values.

    Raises ``ValueError`` where there is no such tail.

    >>> exponent, xmin, distance = search(np.sort(np.random.default_rng(0).zipf(2.5, 1000)).astype(float), 50)
    >>> xmin, abs(exponent - 2.5) < 0.2
    (1.0, True)
    """
    starts = np.unique(values[: len(values) - least + 1])
    starts = starts[starts < values[-1]]
    if len(starts) == 0:
        raise ValueError(f"x has a single value in its tail of {least} points: a power law needs values that differ")
    tails = _Tails(values, starts)
    best, ks = least_distant(tails.distances, tails.distinct)
    return float(tails.alpha[best]), float(starts[best]), ks


class _Tails:
    """Tails of ascending integers above several ``starts``, each with its exponent of maximum likelihood."""

    def __init__(self, values: Array, starts: Array):
        self.values, counts = np.unique(values, return_counts=True)
        self.starts, self.first = starts, np.searchsorted(self.values, starts)
        self.below = np.r_[0, np.cumsum(counts)]  # data below each different value, and all of them
        self.distinct, self.size = len(self.values) - self.first, self.below[-1] - self.below[self.first]
        logs = counts * (np.log(self.values) - math.log(self.values[0]))
        mean = np.r_[np.cumsum(logs[::-1])[::-1], 0.0][self.first] / self.size
        self.alpha = exponents(mean - (np.log(starts) - math.log(self.values[0])), starts)
        self.log_norm = log_zeta(self.alpha, starts)

    def distances(self, chosen: NDArray[np.int64], points: int) -> Array:
        """At ``points`` different values of each tail ``chosen``, of both ends of the step there."""
        alpha, log_norm, start = self.alpha[chosen, None], self.log_norm[chosen, None], self.first[chosen, None]
        ranks = spread(self.distinct[chosen], points) if points > 1 else np.zeros((len(chosen), 1), np.int64)
        at = start + ranks
        k, size, before = self.values[at], self.size[chosen, None], self.below[start]
        from_here = np.exp(log_zeta(alpha, k) - log_norm)  # P(K ≥ k)
        beyond = from_here - np.exp(-alpha * np.log(k) - log_norm)
        left = 1 - from_here - (self.below[at] - before) / size
        right = 1 - beyond - (self.below[at + 1] - before) / size
        return np.maximum(np.abs(left), np.abs(right)).max(1)


def draw(rng: np.random.Generator, count: int, alpha: float, q: float) -> Array:
    """``count`` independent integers (as float64) of the law, by inversion of P(K ≥ k): from a table, and beyond it by
    ζ(α, k) ≈ (k - 1/2)^(1 - α)/(α - 1), right to 1e-8.

    Raises ``ValueError`` where the numbers would pass the largest there is, for α close to 1.

    >>> x = draw(np.random.default_rng(0), 1000, 2.5, 1.0)
    >>> x.min() == 1, abs((x == 1).mean() - 0.7454) < 0.05  # 1/ζ(2.5)
    (np.True_, np.True_)
    """
    log_norm = float(log_zeta(alpha, q))
    log_u = np.log1p(-rng.random(count))
    table = log_zeta(alpha, q + np.arange(_TABLE + 1)) - log_norm
    steps = np.searchsorted(-table, -log_u, side="right") - 1  # the last k with log P(K ≥ k) ≥ log u
    log_k = -(log_u + math.log(alpha - 1) + log_norm) / (alpha - 1)
    if log_k.max(initial=0.0) > 700:
        raise ValueError(f"exponent = {alpha}: integers of such a law exceed the largest number of float64")
    return np.where(steps < _TABLE, q + steps, np.floor(0.5 + np.exp(log_k)))
