"""The spectrum of the conditional Fisher information of wide orthogonal networks (Hayase and Karakida 2021,
arXiv:2006.07814).

Without biases and with orthogonal weights of variance σ² the dual of one input's Fisher information follows H_1 = q̂ I,
H_{l+1} = q̂ I + W D_l H_l D_l Wᵀ. In the limit of infinite width H_l and D_l² are free, and the law of H is

    ν_1 = δ_q̂,   ν_{l+1} = q̂ + σ² (ν_l ⊠ law of D²).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson
from scipy.optimize import minimize_scalar

from deepdynamics import activations
from deepdynamics._checks import Array, count, number, positive, real
from deepdynamics.activations import ActivationLike
from deepdynamics.freeprobability import DerivativeLaw

__all__ = ["IsometricMaximum", "ThreeLayerLaw", "isometric_lambda_max", "three_layer_law"]

_GRID = np.geomspace(1e-6, 1e9, 601)


@dataclass(frozen=True)
class ThreeLayerLaw:
    """A law with ``atoms`` [(location, mass)] of positive mass, ascending, and a density on ``interval`` = (left,
    right), whose mass is ``continuous_mass``.

    >>> law = three_layer_law(0.7, 0.8)
    >>> [(round(place, 9), round(mass, 9)) for place, mass in law.atoms], round(law.continuous_mass, 9)
    ([(1.0, 0.2), (2.0, 0.1), (3.0, 0.5)], 0.2)
    >>> law.density([0.0, 2.5]).round(3)
    array([0.   , 0.221])
    """

    atoms: list[tuple[float, float]]
    interval: tuple[float, float]
    continuous_mass: float
    _edges: tuple[float, float]  # of the standard variable x, of which λ is an affine function

    def __iter__(self) -> Iterator[Any]:
        return iter((self.atoms, self.interval, self.density))

    def density(self, lam: ArrayLike) -> Array:
        """The density at real ``lam``, of its shape; 0 outside the interval."""
        lam = real("lam", lam)
        (left, right), (low, high) = self.interval, self._edges
        if not right > left:
            return np.zeros_like(lam)
        scale = (right - left) / (high - low)
        x = low + (lam - left) / scale
        inside = (x > low) & (x < high)
        t = np.where(inside, x, (low + high) / 2)
        return np.where(inside, np.sqrt((high - t) * (t - low)) / (2 * np.pi * t * (1 - t)) / scale, 0.0)

    def cdf(self, lam: ArrayLike) -> Array:
        """The share of the law at or below real ``lam``, atoms included, of its shape.

        >>> three_layer_law(0.7, 0.8).cdf([0.5, 1.0, 2.0, 2.9999, 3.0]).round(3)
        array([0. , 0.2, 0.3, 0.5, 1. ])
        """
        lam, (left, right) = real("lam", lam), self.interval
        found = sum((mass * (lam >= place) for place, mass in self.atoms), np.zeros_like(lam))
        if not right > left:
            return np.asarray(found)
        # λ = middle - half cos θ takes the root out of both ends.
        angle = np.linspace(0, np.pi, 2001)
        places = (left + right) / 2 - (right - left) / 2 * np.cos(angle)
        below = cumulative_simpson(self.density(places) * (right - left) / 2 * np.sin(angle), x=angle, initial=0)
        return np.asarray(found + self.continuous_mass * np.interp(lam, places, below / below[-1]))


def three_layer_law(
    alpha_1: float,
    alpha_2: float,
    q_hat: Sequence[float] = (1.0, 1.0, 1.0),
    weight_vars: Sequence[float] = (1.0, 1.0),
) -> ThreeLayerLaw:
    """The law of H_3 = J Jᵀ/M at one input, for three layers of orthogonal weights and slopes that are 0 or 1 (ReLU,
    hard tanh): 1 for a part ``alpha_l`` of the units of hidden layer l. ``q_hat`` = (q̂^0, q̂^1, q̂^2), ‖x^l‖²/M;
    ``weight_vars`` = (σ_2², σ_3²).

    Of H_3 = q̂2 + σ3² P (q̂1 + σ2² q̂0 Q) P with free projections P and Q: atoms at q̂2, q̂2 + σ3² q̂1 and q̂2 + σ3² (q̂1 +
    σ2² q̂0), of masses 1 - α2, (α2 - α1)₊ and (α1 + α2 - 1)₊, and in between the density of q̂2 + σ3² (q̂1 + σ2² q̂0 x)
    with x of density √((λ₊ - x)(x - λ₋))/(2π x (1 - x)), λ± = α1 + α2 - 2 α1 α2 ± 2 √(α1 α2 (1 - α1)(1 - α2)).

    Raises ``ValueError`` for an α outside [0, 1], and a q̂ or variance that is not positive.

    >>> atoms, interval, density = three_layer_law(0.5, 0.5)
    >>> atoms, interval
    ([(1.0, 0.5)], (2.0, 3.0))
    """
    a, b = (_share(name, value) for name, value in (("alpha_1", alpha_1), ("alpha_2", alpha_2)))
    q, s = np.atleast_1d(real("q_hat", q_hat)), np.atleast_1d(real("weight_vars", weight_vars))
    for name, value, size in (("q_hat", q, 3), ("weight_vars", s, 2)):
        if value.shape != (size,) or not (np.isfinite(value) & (value > 0)).all():
            raise ValueError(f"{name} = {value.tolist()}: {size} positive numbers are allowed")
    places = q[2], q[2] + s[1] * q[1], q[2] + s[1] * (q[1] + s[0] * q[0])
    masses = 1 - b, b - a, a + b - 1
    middle, half = a + b - 2 * a * b, 2 * np.sqrt(a * b * (1 - a) * (1 - b))
    edges = float(max(middle - half, 0.0)), float(min(middle + half, 1.0))
    left, right = (float(places[1] + (places[2] - places[1]) * x) for x in edges)
    atoms = [(float(place), float(mass)) for place, mass in zip(places, masses, strict=True) if mass > 0]
    return ThreeLayerLaw(atoms, (left, right), min(a, b) - max(a + b - 1, 0.0), edges)


@dataclass(frozen=True)
class IsometricMaximum:
    """The top of the law, ``lambda_max``, and ``atom_mass``, the mass of the atom there (0 where there is none).

    >>> lambda_max, atom_mass = isometric_lambda_max("linear", 1.0, 5)
    >>> lambda_max, atom_mass
    (5.0, 1.0)
    """

    lambda_max: float
    atom_mass: float

    def __iter__(self) -> Iterator[float]:
        return (getattr(self, field.name) for field in fields(self))


def isometric_lambda_max(activation: ActivationLike, q: float, depth: int) -> IsometricMaximum:
    """The largest eigenvalue of H_L = J Jᵀ/M, L = ``depth`` layers of weights of which the last is linear, for
    orthogonal weights on the critical line, σ² = 1/E φ'², at the fixed point q (variance of pre-activations; q̂ = E φ²).

    Where the largest slope² d (1 for hard tanh) has mass p, there is an atom at the top, of mass 1 - (L - 1)(1 - p) if
    that is positive, and λ_max = q̂ Σ_{k<L} (σ² d)^k. Elsewhere the top is the edge of the continuous part, where
    the inverse of ∫ t/(x - t) dν_L turns: through a layer, with N its value, x → q̂ + σ² x x_D(N) N/(1 + N).

    Raises ``ValueError`` for a q that is not positive or at which no bias variance makes the network critical, a depth
    below 1, or an unknown activation.

    >>> lambda_max, atom_mass = isometric_lambda_max("hardtanh", 0.12, 8)
    >>> round(lambda_max, 4), round(atom_mass, 4)
    (0.9663, 0.9728)
    """
    phi, q, L = activations.get(activation), number("q", q, positive), count("depth", depth)
    law = DerivativeLaw.of(phi, q)
    weight_var, q_hat = 1 / law.moment(1), float(phi.second_moment(q))
    bias_var = q - weight_var * q_hat
    if bias_var < -1e-9 * q:
        raise ValueError(
            f"q = {q}: a critical network with this activation would need a bias variance of {bias_var:.3g}"
        )
    held = law.atoms[-1] and law.points[-1] == law.top
    missing = (L - 1) * (1 - law.weights[-1]) if held else np.inf
    if L == 1 or missing < 1:
        powers = (weight_var * law.top) ** np.arange(L)
        return IsometricMaximum(float(q_hat * powers.sum()), 1.0 if L == 1 else float(1 - missing))
    return IsometricMaximum(q_hat * _edge(law, weight_var, L), 0.0)


def _share(name: str, value: float) -> float:
    share = number(name, value, real)
    if not 0 <= share <= 1:
        raise ValueError(f"{name} = {share}: a number from 0 to 1 is allowed")
    return share


def _edge(law: DerivativeLaw, weight_var: float, L: int) -> float:
    """The right edge of the continuous part of ν_L for q̂ = 1: the first place where x turns, as ∫ t/(x - t) dν_1 grows
    from 0."""
    inverse = _Inverse(law)

    def place(N: Array) -> Array:
        x = (1 + N) / N  # ν_1 = δ_1
        for _ in range(L - 1):
            x = N / (1 + N) * x * inverse(N)
            N = N + (1 + N) / (weight_var * x)
            x = 1 + weight_var * x
        return x

    values = place(_GRID)
    turned = np.flatnonzero(np.diff(values) > 1e-12 * values[:-1])
    at = int(turned[0]) if len(turned) else len(_GRID) - 2
    near = np.log(_GRID[[max(at - 1, 0), at + 1]])
    found = minimize_scalar(
        lambda t: float(place(np.exp([t]))[0]), bounds=tuple(near), method="bounded", options={"xatol": 1e-10}
    )
    return float(found.fun)


class _Inverse:
    """x > top with E d/(x - d) = N, for the law of d: from a table, then by Newton's method in log(x - top)."""

    def __init__(self, law: DerivativeLaw):
        self.law = law
        self.logs = np.linspace(-32, 25, 1001) + np.log(law.top)
        self.table = np.log(self._value(self.logs)[0])

    def __call__(self, N: Array) -> Array:
        y = np.interp(-np.log(N), -self.table, self.logs)
        for _ in range(3):
            value, slope = self._value(y)
            y = y - (value - N) / slope
        return self.law.top + np.exp(y)

    def _value(self, y: Array) -> tuple[Array, Array]:
        """E d/(x - d) at x = top + e^y, and its derivative by y."""
        inverse = 1 / (np.exp(y)[:, None] + (self.law.top - self.law.points))
        return inverse @ (self.law.weights * self.law.points), -np.exp(y) * (
            inverse**2 @ (self.law.weights * self.law.points)
        )
