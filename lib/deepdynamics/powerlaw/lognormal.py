"""The lognormal law as the alternative to a power law: both from xmin on, by Vuong's test of the likelihood ratio
(Clauset, Shalizi and Newman 2009, appendix C). Numpy, float64.

In y = log(x / xmin) a power law is an exponential law, and a lognormal law a normal law cut off below 0, which contains
it as a limit.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

from deepdynamics._checks import Array
from deepdynamics.powerlaw.zeta import log_zeta

__all__ = ["against_power_law", "against_zeta_law"]


_FLATTEST = 1e6  # threshold of the standard normal law beyond which its tail is exponential to rounding


def against_power_law(y: Array) -> tuple[float, float]:
    """Log-likelihood ratio of the exponential law of y ≥ 0 to the best normal law cut off below 0, and Vuong's p.

    With mean and variance matched, as maximum likelihood asks, one equation is left, for the threshold a in units of
    the standard deviation: var y / (mean y)² = v(a), which rises from 0 to 1.

    >>> rng = np.random.default_rng(0)
    >>> _, p = against_power_law(rng.exponential(1, 1000))
    >>> _, smaller = against_power_law(np.abs(rng.normal(0, 1, 1000)))
    >>> p > 0.01, smaller < 1e-9
    (True, True)
    """
    mean = float(y.mean())
    spread = float(y.var()) / mean**2
    if spread >= _relative_variance(_FLATTEST)[0]:
        return 0.0, 1.0
    a = float(optimize.brentq(lambda a: _relative_variance(a)[0] - spread, -1e6, _FLATTEST, xtol=1e-12, rtol=1e-14))
    _, excess, hazard = _relative_variance(a)
    sigma = mean / excess
    normal = math.log(hazard / sigma) - a * y / sigma - y**2 / (2 * sigma**2)
    terms = -math.log(mean) - y / mean - normal
    ratio, deviation = min(0.0, float(terms.sum())), float(terms.std())
    return ratio, float(2 * special.ndtr(ratio / (deviation * math.sqrt(len(y))))) if deviation > 0 else 1.0


def _relative_variance(a: float) -> tuple[float, float, float]:
    """For z standard normal given z > a: var z / (mean z - a)², mean z - a, and mean z, which is the hazard rate.

    Above 3 by the continued fraction of the hazard, a + 1/(a + 2/(a + 3/(a + …))), which subtracts nothing.
    """
    if a > 3:
        rest = 0.0
        for k in range(200, 1, -1):
            rest = k / (a + rest)
        return rest * (a + rest) - 1, 1 / (a + rest), a + 1 / (a + rest)
    hazard = math.sqrt(2 / math.pi) / float(special.erfcx(a / math.sqrt(2)))
    excess = hazard - a
    return (1 - excess * hazard) / excess**2, excess, max(hazard, 5e-324)


def against_zeta_law(values: Array, xmin: float, alpha: float) -> tuple[float, float]:
    """Log-likelihood ratio of the zeta law to the best lognormal variable rounded to integers, both from ``xmin``, on
    integers ``values``; and Vuong's p-value.

    With Q the upper tail of the normal law, P(K ≥ k) = Q(a + b log((k - ½)/(xmin - ½)))/Q(a). As a → ∞ at fixed a·b
    this is a rounded continuous power law, which differs from the zeta law: the ratio can have either sign.

    >>> x = np.random.default_rng(0).lognormal(3, 0.5, 1000).round()
    >>> ratio, p = against_zeta_law(x, 1.0, alpha=1.3)
    >>> ratio < -500, p < 1e-9
    (True, True)
    """
    k, counts = np.unique(values, return_counts=True)
    start, width = np.log((k - 0.5) / (xmin - 0.5)), np.log1p(1 / (k - 0.5))
    scale = (counts @ np.log(k / (xmin - 0.5))) / len(values)

    def terms(parameters: Array) -> Array:
        a = math.sinh(parameters[1])
        b = math.exp(parameters[0]) / scale * 2 / (math.sqrt(a**2 + 4) + a)  # about E(z | z > a) - a, over the scale
        return _log_interval(a, b * start, b * width)

    def negative(parameters: Array) -> float:
        found = float(counts @ terms(parameters)) / len(values)
        return -found if math.isfinite(found) else 1e300

    simplex = np.array([[0.0, 1.0], [0.3, 1.0], [0.0, 3.0]])
    options = {"initial_simplex": simplex, "xatol": 1e-7, "fatol": 1e-13, "maxfev": 2000}
    best = optimize.minimize(negative, simplex[0], method="Nelder-Mead", bounds=[(-20, 20), (-14, 14)], options=options)
    gaps = -alpha * np.log(k) - float(log_zeta(alpha, xmin)) - terms(best.x)
    ratio = float(counts @ gaps)
    deviation = math.sqrt(float(counts @ (gaps - ratio / len(values)) ** 2) / len(values))
    p = 2 * float(special.ndtr(-abs(ratio) / (deviation * math.sqrt(len(values))))) if deviation > 0 else 1.0
    return ratio, p


def _log_interval(a: float, y: Array, width: Array) -> Array:
    """log [Q(a + y) - Q(a + y + width)] / Q(a): where that is a small part of Q(a + y), the density in the middle."""
    low, high = _log_upper_tail(a, y), _log_upper_tail(a, y + width)
    middle = y + width / 2
    if a < 1:
        log_hazard = -(a**2) / 2 - 0.5 * math.log(2 * math.pi) - float(special.log_ndtr(-a))
    else:
        log_hazard = math.log(math.sqrt(2 / math.pi) / special.erfcx(a / math.sqrt(2)))
    thin = width * (1 + abs(a) + y) < 1e-4
    with np.errstate(divide="ignore"):
        return np.where(
            thin, log_hazard - middle * (a + middle / 2) + np.log(width), low + np.log(-np.expm1(high - low))
        )


def _log_upper_tail(a: float, y: Array) -> Array:
    """log Q(a + y) - log Q(a), y ≥ 0, of the standard normal law, without cancellation where a is large."""
    if a < 1:
        return special.log_ndtr(-(a + y)) - special.log_ndtr(-a)
    ratio = special.erfcx((a + y) / math.sqrt(2)) / special.erfcx(a / math.sqrt(2))
    return -y * (a + y / 2) + np.log(ratio)
