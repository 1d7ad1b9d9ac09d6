r"""Both two-point functions of a layer, :math:`E\phi(u)\phi(v)` and :math:`E\phi'(u)\phi'(v)`, of many pairs at once.

A kernel matrix has the pairs of n points with m points, whose variances are known ahead. What they cost is shared
between the two functions, which :meth:`deepdynamics.activations.Activation.covariance` and ``slope_covariance`` compute
one at a time:

- linear on each side of zero (ReLU and its kin): one angle gives both, the arc-cosine kernels of orders 1 and 0 (Cho
  and Saul 2009);
- analytic (tanh, GELU, …): Mehler's series Σ_k a_k(q_a) a_k(q_b) c^k and its derivative in the covariance (Price's
  theorem) from one set of coefficients;
- anything else by those two methods: closed forms for erf and the like; with kinks and no closed form (ELU, callables),
  an interpolation where all variances are equal, and some 10 ms a pair where they are not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepdynamics import activations
from deepdynamics._checks import Array
from deepdynamics.activations import Activation

__all__ = ["Pairs", "pairs"]

Pairs = Callable[[slice, slice, Array], tuple[Array, Array]]  # of rows, columns and their covariances

_ONE = 64 * np.finfo(np.float64).eps  # a correlation this close to ±1 is ±1: it is rounded, and the angle its root
_SMALL = 1e-6  # a variance below which the series of E φ'φ', divided by √(q_a q_b), would lose digits


def pairs(activation: Activation, qa: Array, qb: Array) -> Pairs:
    """The function of a block of rows, a block of columns and the covariances K there (r, m) that returns E φ(u)φ(v)
    and E φ'(u)φ'(v), both (r, m), for points of variances ``qa`` (n,) and ``qb`` (m,).

    Variances that are equal to rounding are taken as one. Correlations within 1.4e-14 of ±1 are taken as ±1, so that a
    point that is met twice is the same point.

    >>> both = pairs(activations.get("relu"), np.array([1.0, 4.0]), np.array([1.0]))
    >>> value, slope = both(slice(2), slice(1), np.array([[1.0], [0.0]]))
    >>> value.round(6).tolist(), slope.tolist()
    ([[0.5], [0.31831]], [[0.5], [0.25]])
    """
    low, high = min(qa.min(), qb.min()), max(qa.max(), qb.max())
    if high - low <= 64 * np.finfo(np.float64).eps * high:
        qa = qb = np.array([high])
    if isinstance(activation, activations.Homogeneous):
        return _arc_cosine(activation, qa, qb)
    if isinstance(activation, activations.SmoothActivation) and low > _SMALL:
        try:
            return _series(activation.hermite_coefficients(qa), activation.hermite_coefficients(qb), qa, qb)
        except ValueError:  # the series is too long, or is none
            pass
    return _moments(activation, qa, qb)


def _arc_cosine(activation: activations.Homogeneous, qa: Array, qb: Array) -> Pairs:
    shared, kink = activation.below * activation.above, (activation.above - activation.below) ** 2 / (2 * np.pi)
    ra, rb = np.sqrt(qa), np.sqrt(qb)

    def both(rows: slice, columns: slice, K: Array) -> tuple[Array, Array]:
        c = _correlations(K, ra, rb, rows, columns)
        angle = np.arccos(c)
        np.subtract(np.pi, angle, out=angle)
        value = c * angle
        sine = np.multiply(c, c)
        np.sqrt(np.subtract(1, sine, out=sine), out=sine)
        value += sine
        value *= kink
        angle *= kink
        if shared:
            c *= shared
            value += c
            angle += shared
        value *= _some(ra, rows)[:, None]
        value *= _some(rb, columns)
        return value, angle

    return both


def _series(a: Array, b: Array, qa: Array, qb: Array) -> Pairs:
    terms = max(len(a), len(b))
    a, b = (np.pad(each, ((0, terms - len(each)), (0, 0))) for each in (a, b))
    ra, rb = np.sqrt(qa), np.sqrt(qb)

    def both(rows: slice, columns: slice, K: Array) -> tuple[Array, Array]:
        c = _correlations(K, ra, rb, rows, columns)
        left = a[:, rows] if len(qa) > 1 else a
        right = b[:, columns] if len(qb) > 1 else b
        value, slope = np.zeros_like(K), np.zeros_like(K)  # Horner's rule for a polynomial and its derivative
        for one, other in zip(left[::-1], right[::-1], strict=True):
            slope *= c
            slope += value
            value *= c
            value += one[:, None] * other
        slope /= _some(ra, rows)[:, None]
        slope /= _some(rb, columns)
        return value, slope

    return both


def _moments(activation: Activation, qa: Array, qb: Array) -> Pairs:
    equal = qa is qb and len(qa) == 1
    ra, rb = np.sqrt(qa), np.sqrt(qb)

    def both(rows: slice, columns: slice, K: Array) -> tuple[Array, Array]:
        va = _some(qa, rows)[:, None]
        vb = va if equal else _some(qb, columns)  # the same array says that they are equal
        covariance = _correlations(K, ra, rb, rows, columns) * np.sqrt(va * vb)
        value = activation.covariance(va, vb, covariance)
        return np.asarray(value), np.asarray(activation.slope_covariance(va, vb, covariance))

    return both


def _some(q: Array, part: slice) -> Array:
    return q[part] if len(q) > 1 else q


def _correlations(K: Array, ra: Array, rb: Array, rows: slice, columns: slice) -> Array:
    """Covariances over their standard deviations ``ra`` and ``rb``; 0 where one of these is 0."""
    c = K * _inverse(_some(ra, rows))[:, None]
    c *= _inverse(_some(rb, columns))
    if c.max() > 1 - _ONE or c.min() < _ONE - 1:
        c[c > 1 - _ONE] = 1
        c[c < _ONE - 1] = -1
    return c


def _inverse(r: Array) -> Array:
    return np.divide(1, r, out=np.zeros_like(r), where=r > 0)
