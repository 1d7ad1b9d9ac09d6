r"""Gaussian integrals of smooth functions, and Owen's form of the bivariate normal law.

One-point integrals :math:`E f(\sqrt q z)` of a function that is analytic in a strip :math:`|\mathrm{Im}\,x| < s` by the
trapezoid rule, which converges exponentially there (Gauss-Hermite rules do not: the poles of tanh cost them half of
their digits). Two-point integrals by Mehler's expansion in the coefficients
:math:`a_k(q) = E f(\sqrt q z)\,\mathrm{He}_k(z)/\sqrt{k!}`. All in numpy float64; what is checked is checked by the
callers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from deepdynamics._checks import Array

__all__ = [
    "Function",
    "blocks",
    "erf2",
    "gaussian_mean",
    "hermite_coefficients",
    "horner",
    "inverse",
    "mehler_terms",
    "normal",
    "owen_slopes",
    "sine",
]

Function = Callable[[Any], Any]  # of arrays of any shape, elementwise

BLOCK = 2048  # variances treated together: their trapezoid nodes stay in the cache of a core
MAX_TERMS = 4096  # of a Mehler series


def inverse(x: Array) -> Array:
    """1/x, inf at 0.

    >>> inverse(np.array([0.0, 2.0])).tolist()
    [inf, 0.5]
    """
    with np.errstate(divide="ignore"):
        return 1 / np.asarray(x)


def sine(c: Array) -> Array:
    """√(1 - c²).

    >>> float(sine(np.array(0.6)).round(12))
    0.8
    """
    return np.sqrt((1 - c) * (1 + c))


def normal(x: Array) -> Array:
    """The standard normal density.

    >>> bool(normal(np.zeros(1))[0] ** 2 * 2 * np.pi == 1)
    True
    """
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def erf2(x: Array) -> Array:
    """P(|z| < x), z standard normal.

    >>> float(erf2(np.array(1.0)).round(6))
    0.682689
    """
    return np.asarray(erf(x / math.sqrt(2)))


def owen_slopes(h: Array, k: Array, c: Array) -> tuple[Array, Array, Array, Array]:
    """(k ∓ ch)/(hs) and (h ∓ ck)/(ks), s² = 1 - c²: the second arguments of Owen's T for the corners (h, ±k).

    >>> [float(slope) for slope in owen_slopes(np.array(1.0), np.array(2.0), np.array(0.0))]
    [2.0, 2.0, 0.5, 0.5]
    """
    s = sine(c)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = ((k - c * h) / (h * s), (k + c * h) / (h * s), (h - c * k) / (k * s), (h + c * k) / (k * s))
    lower_h, upper_h, lower_k, upper_k = (np.nan_to_num(r, nan=0.0, posinf=np.inf, neginf=-np.inf) for r in ratios)
    return lower_h, upper_h, lower_k, upper_k


def horner(coefficients: Array, x: Array) -> Array:
    """Sum of coefficients[j] x^j; the other axes broadcast with x.

    >>> horner(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0])).tolist()
    [1.0, 17.0]
    """
    total = np.zeros(np.broadcast_shapes(coefficients.shape[1:], x.shape))
    for row in coefficients[::-1]:
        total *= x
        total += row
    return total


def mehler_terms(q: Array, strip: float) -> int:
    """How many coefficients the largest variance needs: a_k ~ exp(-strip √(2k/q)) up to powers of k, and this many
    squares reach 1e-13 of their sum up to q = 40 (for tanh).

    >>> mehler_terms(np.array([1.0]), math.pi / 2)
    192
    """
    wanted = 1 + float(q.max(initial=0.0)) * (math.pi / 2 / strip) ** 2
    return min(96 * math.ceil(wanted), MAX_TERMS)


def _level(q: float, strip: float) -> int:
    """The trapezoid step is 2^(-level/2): the error exp(-2π strip/(√q step)) of the nearest singularity is below 1e-16,
    and the Gaussian's own, exp(-2π²/step²), far below.
    """
    step = min(0.3, 0.16 * strip / math.sqrt(max(q, 1e-12)))
    return math.ceil(-2 * math.log2(step))


@lru_cache(maxsize=64)
def _nodes(level: int, half: bool) -> tuple[Array, Array]:
    """Nodes of the trapezoid rule on [-9.5, 9.5] (e^(-45) is left out) and weights with the Gaussian density; for even
    integrands the right half.
    """
    step = 2 ** (-level / 2)
    count = math.ceil(9.5 / step)
    z: Array = step * np.arange(0 if half else -count, count + 1, dtype=np.float64)
    w = step * normal(z)
    return z, np.where(z > 0, 2 * w, w) if half else w


def gaussian_mean(f: Function, q: Array, strip: float, parity: int) -> Array:
    """E f(√q z), for f of the given parity.

    >>> float(gaussian_mean(np.cos, np.array(2.0), 1.0, 1).round(12)) == round(math.exp(-1), 12)
    True
    """
    mean = np.zeros(q.shape)
    if parity == -1:
        return mean
    flat, out = q.ravel(), mean.reshape(-1)
    for block in blocks(flat):
        z, w = _nodes(_level(flat[block].max(), strip), parity == 1)
        out[block] = f(np.sqrt(flat[block])[:, None] * z) @ w
    return mean


def blocks(q: Array) -> Iterator[NDArray[np.intp]]:
    """Indices of a flat array of variances in blocks of similar size of q: small ones need few nodes and terms.

    >>> [block.tolist() for block in blocks(np.array([3.0, 1.0]))]
    [[1, 0]]
    """
    order = np.argsort(q)
    start = 0
    while start < len(order):
        # the nodes of the trapezoid rule grow like √q
        stop = start + max(1, int(BLOCK / (1 + math.sqrt(q[order[start]]))))
        yield order[start:stop]
        start = stop


@lru_cache(maxsize=16)
def _hermite(level: int, terms: int, parity: int) -> tuple[Array, Array, list[int]]:
    """Nodes z and rows step · N(z) He_k(z)/√k!, for k < terms of the parity that matters."""
    step = min(2 ** (-level / 2), 2.0 / math.sqrt(terms))
    count = math.ceil(13 / step)
    z: Array = step * np.arange(-count if parity == 0 else 0, count + 1, dtype=np.float64)
    half_weight = np.exp(-(z**2) / 4)
    rows, last, row = [], np.zeros_like(z), half_weight
    for k in range(terms):
        rows.append(row)
        last, row = row, (z * row - math.sqrt(k) * last) / math.sqrt(k + 1)
    ks = list(range(terms))[{0: slice(None), 1: slice(0, None, 2), -1: slice(1, None, 2)}[parity]]
    weight = half_weight * step / math.sqrt(2 * math.pi)
    if parity:
        weight = np.where(z > 0, 2 * weight, weight)
    return z, np.stack([rows[k] for k in ks]) * weight, ks


def hermite_coefficients(f: Function, q: Array, strip: float, parity: int, terms: int) -> tuple[Array, list[int]]:
    """E f(√q z) He_k(z)/√k! as (number of k, *q.shape), and these k.

    >>> a, k = hermite_coefficients(lambda x: x, np.array(4.0), 1.0, -1, 4)
    >>> a.round(12) + 0.0, k
    (array([2., 0.]), [1, 3])
    """
    z, matrix, ks = _hermite(_level(float(q.max(initial=0.0)), strip), terms, parity)
    values = f(np.sqrt(q)[..., None] * z)
    return np.moveaxis(values @ matrix.T, -1, 0), ks
