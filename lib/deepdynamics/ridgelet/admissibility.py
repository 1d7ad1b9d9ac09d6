r"""The constant of an activation and an analysing function, from their Fourier transforms.

Fourier transforms are angular, here and in all rooms of this package:

.. math:: \hat g(\zeta) = \int g(t)\, e^{-i\zeta t}\, dt .
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from deepdynamics._checks import Array

Transform = Callable[[Array], Any]

# ζ = lower + e^t: in t the trapezoid rule converges exponentially for what is analytic around the half line.
_STEP = 1 / 8
_NODES = np.exp(np.arange(-60, 40 + _STEP, _STEP))
_ROWS = 256  # lower ends at a time
_SMALL = 1e-10  # what the integrand may be at the ends of the nodes, in its largest value


def admissibility_constant(sigma_hat: Transform, rho_hat: Transform, dimension: int = 1) -> float:
    r"""The constant K of S[R[f]] = K f,

    .. math:: K = (2\pi)^{m-1} \int_{\zeta \neq 0} \hat\sigma(\zeta)\, \overline{\hat\rho(\zeta)}\, |\zeta|^{-m}\,
        d\zeta ,

    for real functions σ, ρ on the line, and inputs of ``dimension`` m. The transforms take arrays of ζ > 0 (those of
    real functions are conjugate at -ζ); σ̂ is a function there, whatever distribution it has at 0. Relative error
    1e-14 for integrands that are analytic around ζ > 0.

    With the Fourier transform in ordinary frequency the factor (2π)^{m-1} is absent (Sonoda and Murata 2017), which
    is the same number. Raises ``ValueError`` where the integral diverges, and says at which end and how fast; where it
    is 0, because one function is even and the other odd; where a transform is not finite.

    >>> relu_hat = lambda z: -1 / z**2
    >>> K = admissibility_constant(relu_hat, lambda z: z**4 * np.sqrt(2 * np.pi) * np.exp(-(z**2) / 2))
    >>> round(K / math.sqrt(2 * math.pi), 12)
    -2.0
    >>> admissibility_constant(relu_hat, lambda z: -(z**2) * np.sqrt(2 * np.pi) * np.exp(-(z**2) / 2))
    Traceback (most recent call last):
    ValueError: not admissible in dimension 1: σ̂ ρ̂ / |ζ|^1 goes like |ζ|^-1 at 0, where its integral diverges
    """
    m = checked_dimension(dimension)
    with np.errstate(all="ignore"):
        values = density(sigma_hat, rho_hat, m)(_NODES) * _NODES
    finite = np.isfinite(values)
    if not finite.all():
        raise ValueError(f"σ̂ ρ̂ / |ζ|^{m} at ζ = {_NODES[~finite][0]:.3g}: transforms that are finite there are allowed")
    sizes = np.abs(values)
    for end, inner in ((0, 16), (-1, -17)):
        if sizes[end] > _SMALL * sizes.max():
            power = math.log(sizes[end] / sizes[inner]) / math.log(_NODES[end] / _NODES[inner]) - 1
            raise ValueError(f"not admissible in dimension {m}: {_divergence(m, power, end)}")
    total = float(values.real.sum())
    if abs(total) <= 1e-12 * float(sizes.sum()):
        raise ValueError(
            f"not admissible in dimension {m}: the integral of σ̂ ρ̂ / |ζ|^{m} is 0, as it is where, but for "
            "what happens at ζ = 0, one of σ and ρ is even and the other odd"
        )
    return 2 * (2 * math.pi) ** (m - 1) * _STEP * total


def _divergence(m: int, power: float, end: int) -> str:
    """Why the integral of what goes like |ζ|^power at the first or the last of the nodes does not converge."""
    beyond = power < -0.99 if end == 0 else power > -1.01
    place, what = "0" if end == 0 else "infinity", "diverges" if beyond else "converges too slowly"
    return f"σ̂ ρ̂ / |ζ|^{m} goes like |ζ|^{power:.2g} at {place}, where its integral {what}"


def density(sigma_hat: Transform, rho_hat: Transform, dimension: int) -> Transform:
    """The integrand of the constant, for ζ > 0.

    >>> density(lambda z: -1 / z**2, lambda z: z**4, 1)(np.array([2.0])).tolist()
    [(-2+0j)]
    """
    return lambda z: np.asarray(sigma_hat(z)) * np.conj(np.asarray(rho_hat(z), dtype=complex)) / z**dimension


def half_line(f: Transform, lower: Array) -> Array:
    """The real part of the integral of f from each of ``lower`` >= 0 (n,) to infinity.

    >>> half_line(lambda z: np.exp(-z), np.array([0.0, 1.0])).round(12).tolist()
    [1.0, 0.367879441171]
    """
    with np.errstate(all="ignore"):
        parts = [(np.real(f(lower[i : i + _ROWS, None] + _NODES)) * _NODES).sum(1) for i in range(0, len(lower), _ROWS)]
    return np.asarray(_STEP * np.concatenate(parts)) if parts else np.zeros(0)


def checked_dimension(dimension: Any) -> int:
    """A positive integer.

    >>> checked_dimension(2)
    2
    """
    if isinstance(dimension, bool) or not isinstance(dimension, int | np.integer) or dimension < 1:
        raise ValueError(f"dimension = {dimension!r}: a positive integer is allowed")
    return int(dimension)
