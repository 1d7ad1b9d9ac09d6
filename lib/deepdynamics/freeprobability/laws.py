"""Closed laws of random matrices: Fuss–Catalan, Marchenko–Pastur, and the free product of any law with the latter."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from deepdynamics import activations
from deepdynamics._checks import Array, count, not_negative, number, plain, positive, real
from deepdynamics.activations.integrals import erf2, normal
from deepdynamics.freeprobability.continuation import Complex, followed, newton_step, no_nan
from deepdynamics.freeprobability.curve import Curve

__all__ = [
    "DerivativeLaw",
    "fuss_catalan_density",
    "fuss_catalan_moment",
    "logarithm",
    "marchenko_pastur",
    "moment_generating",
    "multiply_marchenko_pastur",
]

_NODES, _REACH = 1201, 9.5  # of the trapezoid rule in z, one at zero, and where it ends


def fuss_catalan_moment(k: ArrayLike, depth: int) -> Array:
    """E λ^k of J Jᵀ for J the product of ``depth`` Gaussian matrices of variance 1/N: binom((L + 1) k, k)/(L k + 1).

    ``k`` >= 0 of any shape. Raises ``ValueError`` for a negative k and a depth that is no positive integer.

    >>> fuss_catalan_moment([1, 2, 3], 4).round(6)
    array([ 1.,  5., 35.])
    """
    k, L = not_negative("k", k), count("depth", depth)
    return np.asarray(np.exp(gammaln((L + 1) * k + 1) - gammaln(k + 1) - gammaln(L * k + 1)) / (L * k + 1))


def fuss_catalan_density(lam: ArrayLike, depth: int) -> Array:
    """The density whose moments are :func:`fuss_catalan_moment`, 0 outside of (0, (L + 1)^(L + 1)/L^L); the shape of
    ``lam``.

    In the angle φ from 0 to π/(L + 1), λ = sin^{L+1}((L + 1)φ)/(sin φ sin^L(Lφ)) falls from the edge to 0. Raises as
    :func:`fuss_catalan_moment`, and for λ that is not a number.

    >>> float(fuss_catalan_density(2.0, 1).round(9)), round(1 / (2 * math.pi), 9)
    (0.159154943, 0.159154943)
    """
    lam, L = no_nan("lam", lam), count("depth", depth)
    inside = (lam > 0) & (lam < (L + 1) ** (L + 1) / L**L)
    target = np.log(lam[inside])

    def logs(psi: Array) -> tuple[Array, Array, Array]:
        phi = math.pi / (L + 1) - psi
        return np.log(np.sin((L + 1) * psi)), np.log(np.sin(phi)), np.log(np.sin(L * phi))

    low, high = np.full_like(target, -700.0), np.full_like(target, math.log(math.pi / (L + 1)))
    for _ in range(70):  # bisection in the logarithm of ψ = π/(L + 1) - φ, with which λ rises
        middle = (low + high) / 2
        whole, first, last = logs(np.exp(middle))
        below = (L + 1) * whole - first - L * last < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    whole, first, last = logs(np.exp((low + high) / 2))
    density = np.zeros(lam.shape)
    density[inside] = np.exp(2 * first + (L - 1) * last - L * whole) / math.pi
    return density


def marchenko_pastur(x: ArrayLike, ratio: float) -> Array:
    """Density at x of the eigenvalues of XᵀX/rows, X with independent entries of variance 1 and ratio = columns/rows,
    without the atom 1 - 1/ratio at zero that there is for ratio > 1; the shape of ``x``.

    Raises ``ValueError`` for a ratio that is not positive and finite, and x that is not a number.

    >>> float(marchenko_pastur(1.0, 1.0).round(6)), float(marchenko_pastur(5.0, 1.0))
    (0.275664, 0.0)
    """
    ratio, x = number("ratio", ratio, positive), no_nan("x", x)
    left, right = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    inside = np.clip(x, left, right)
    root = np.sqrt((inside - left) * (right - inside))
    return np.where(root > 0, root / (2 * math.pi * ratio * np.where(root > 0, x, 1.0)), 0.0)


def multiply_marchenko_pastur(points: ArrayLike, weights: ArrayLike, ratio: float, z: ArrayLike) -> Complex:
    """The Stieltjes transform m(z) = ∫ dμ(x)/(x - z) of μ = law ⊠ Marchenko-Pastur: eigenvalues of
    T^{1/2} XᵀX T^{1/2}/rows, T with the law of ``points`` (n,) >= 0 and ``weights`` (n,), X as in
    :func:`marchenko_pastur`; the shape of ``z``, complex. z is any number off the support, real ones included.

    Silverstein's equation m = Σ w/(t (1 - ratio - ratio z m) - z) by Newton's method, from far above the axis down to
    z; on the real axis the solution is followed to it, and is the right one where z rises with
    v = ratio m - (1 - ratio)/z (Silverstein and Choi 1995), which no solution does on the support. The density at x is
    Im m(x + i0)/π. Raises ``ValueError`` for bad laws and ratios and for z on the support, ``RuntimeError`` where
    Newton's method fails.

    >>> m = multiply_marchenko_pastur([1.0], [1.0], 0.5, 1.0 + 1e-9j)
    >>> bool(abs(m.imag / math.pi - marchenko_pastur(1.0, 0.5)) < 1e-7)
    True
    >>> multiply_marchenko_pastur([1.0], [1.0], 0.5, [0.0, 4.5]).round(9)
    array([ 2.        +0.j, -0.30094415+0.j])
    """
    law = DerivativeLaw(real("points", points), real("weights", weights))
    z, ratio = np.asarray(plain(z), dtype=np.complex128), number("ratio", ratio, positive)
    if not np.isfinite(z).all():
        raise ValueError(f"z = {z}: finite numbers are allowed")
    flat = z.ravel()
    on_axis, below = flat.imag == 0, flat.imag < 0
    scale = np.abs(flat.real) + (1 + math.sqrt(ratio)) ** 2 * float(law.points[-1])
    above = flat.real + 1j * np.where(on_axis, 1e-7 * scale, np.abs(flat.imag))
    height = np.maximum(20 * scale, above.imag)
    start = -1 / (flat.real + 1j * height)
    v = followed(partial(_silverstein, law, ratio), start, flat.real, height, above.imag)
    m = (v + (1 - ratio) / above) / ratio
    m[below] = m[below].conj()  # m(z̄) is the conjugate of m(z)
    m[on_axis] = _on_the_real_axis(law, ratio, flat.real[on_axis], m.real[on_axis])
    return m.reshape(z.shape)


def _on_the_real_axis(law: DerivativeLaw, ratio: float, z: Array, m: Array) -> Array:
    """m(z) at real z, by Newton's method from just above; ValueError on the support."""
    t, w = law.points, law.weights
    with np.errstate(all="ignore"):
        for _ in range(60):
            inverse = 1 / (t * (1 - ratio - ratio * z * m)[:, None] - z[:, None])
            residual = m - inverse @ w
            change = residual / (1 - ratio * z * (inverse**2 @ (w * t)))
            m = m - change
            if (np.abs(change) <= 1e-14 * np.abs(m)).all():
                break
        # d z/d v > 0, with t v/(1 + t v) = 1 - z/(z + t z v), z v = ratio z m - 1 + ratio
        share = t * (ratio * z * m - 1 + ratio)[:, None] / (z[:, None] + t * (ratio * z * m - 1 + ratio)[:, None])
        rises = 1 - ratio * (share**2 @ w) > 0
        solved = np.abs(m - (1 / (t * (1 - ratio - ratio * z * m)[:, None] - z[:, None])) @ w) <= 1e-9 * np.abs(m)
        at_zero = (z == 0) & ((ratio >= 1) | (t[0] == 0))
    good = rises & solved & ~at_zero
    if not good.all():
        raise ValueError(f"z = {z[~good]}: real numbers off the support are allowed; on it, m has two values (z ± i0)")
    return m


def _silverstein(law: DerivativeLaw, ratio: float, z: Complex, v: Complex) -> Complex:
    """The transform v = ratio m - (1 - ratio)/z of X T Xᵀ/rows, near a guess: -1/v = z - ratio Σ w t/(1 + t v)."""
    t, w = law.points, law.weights
    for _ in range(100):
        inverse = 1 / (1 + t * v[:, None])
        r = z + 1 / v - ratio * (inverse @ (w * t))
        change = -r / (-1 / v**2 + ratio * (inverse**2 @ (w * t**2)))
        v = newton_step(v, change)
        if (np.abs(change) <= 1e-9 * np.abs(v)).all():
            return v
    raise RuntimeError(f"Newton's method did not converge for ratio = {ratio}")


@dataclass(frozen=True, eq=False)
class DerivativeLaw:
    """The law of D² = φ'(h)²: atoms at ``points`` (n,) >= 0 with ``weights`` (n,) that sum to 1; kept in ascending
    order, those that agree to rounding as one.

    ``exact`` is False where the points are nodes of a quadrature, and the law has a density on (0, ``top``]. The nodes
    of ``curves`` carry it as far as its values: next to one of them and at d -> 0 too.

    >>> DerivativeLaw([1.0, 0.0], [0.5, 0.5]).points.tolist()  # ReLU: half of the units are off
    [0.0, 1.0]
    """

    points: Array
    weights: Array
    exact: bool = True
    top: float = 0.0  # the largest point, where nothing else is given
    held: tuple[float, ...] = ()  # points that are atoms all the same, where ``exact`` is False
    curves: tuple[Curve, ...] = ()  # of which the other points are the nodes, where ``exact`` is False

    def __post_init__(self) -> None:
        points, weights = real("points", self.points), real("weights", self.weights)
        shapes = points.shape == weights.shape and points.ndim == 1 and len(points) > 0
        if not shapes or not np.isfinite(points).all() or (points < 0).any() or not points.any():
            raise ValueError(
                f"points of shape {points.shape}, weights of shape {weights.shape}: finite points, not negative and "
                "not all zero, and as many weights are allowed"
            )
        if (weights < 0).any() or not math.isclose(weights.sum(), 1, abs_tol=1e-9):
            raise ValueError(f"weights sum to {weights.sum()}: non-negative numbers that sum to 1 are allowed")
        order = np.argsort(points[weights > 0], kind="stable")
        points, weights = points[weights > 0][order], weights[weights > 0][order]
        if self.exact:
            points, weights = _merged(points, weights)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "top", max(self.top, float(points[-1])))

    @property
    def atoms(self) -> NDArray[np.bool_]:
        """Which of the points are atoms, (n,).

        >>> DerivativeLaw.of("elu", 1.0).atoms.sum()
        np.int64(1)
        """
        return np.full(len(self.points), True) if self.exact else np.isin(self.points, self.held)

    @cached_property
    def apart(self) -> tuple[Array, Array]:
        """Points and weights that are not nodes of a curve.

        >>> DerivativeLaw.bernoulli(0.25).apart[0].tolist(), len(DerivativeLaw.of("tanh", 1.0).apart[0])
        ([0.0, 1.0], 0)
        """
        kept = self.atoms if self.curves else np.full(len(self.points), True)
        return self.points[kept], self.weights[kept]

    def __repr__(self) -> str:
        if len(self.points) > 4:
            return f"DerivativeLaw({len(self.points)} points from {self.points[0]:.3g} to {self.points[-1]:.3g})"
        return f"DerivativeLaw({self.points.tolist()}, {self.weights.tolist()})"

    @classmethod
    def bernoulli(cls, p: float) -> DerivativeLaw:
        """1 with probability p, else 0: ReLU (p = 1/2), hard tanh (p = P(|h| < 1)).

        >>> DerivativeLaw.bernoulli(0.25).moment(1)
        0.25
        """
        p = float(p)
        if not 0 < p <= 1:
            raise ValueError(f"p = {p}: a number above 0, at most 1, is allowed")
        return cls(np.array([0.0, 1.0]), np.array([1 - p, p])) if p < 1 else cls.one()

    @classmethod
    def one(cls) -> DerivativeLaw:
        """d = 1: linear layers.

        >>> DerivativeLaw.one().moment(3)
        1.0
        """
        return cls(np.ones(1), np.ones(1))

    @classmethod
    def of(cls, activation: activations.ActivationLike, q: float) -> DerivativeLaw:
        """The law of φ'(√q z)², z standard normal: exact where φ' takes few values, else a quadrature in z between the
        kinks of φ', with atoms where φ' is constant on a part of the line.

        Raises ``ValueError`` for a variance q that is not positive and finite, an unknown activation, one whose slope
        is zero, and one whose slope the quadrature does not resolve.

        >>> law = DerivativeLaw.of("tanh", 0.05)
        >>> round(law.moment(2) / law.moment(1) ** 2 - 1, 6)
        0.01332
        """
        phi, q = activations.get(activation), number("q", q, positive)
        if isinstance(phi, activations.Homogeneous) and phi.below**2 == phi.above**2:
            return cls(np.array([phi.above**2]), np.ones(1))
        if isinstance(phi, activations.Homogeneous):
            return cls(np.array([phi.below**2, phi.above**2]), np.array([0.5, 0.5]))
        if isinstance(phi, activations.HardTanh):
            return cls.bernoulli(float(erf2(np.asarray(1 / math.sqrt(q)))))
        highest = float(np.max(np.asarray(phi.slope(np.linspace(-60, 60, 240_001))) ** 2))
        if highest == 0:
            raise ValueError(f"activation {phi!r}: a slope that is not zero is needed")
        if isinstance(phi, activations.PiecewiseActivation) and not isinstance(phi, activations.SmoothActivation):
            kinks = phi.pieces.within(_REACH * math.sqrt(q))[1] / math.sqrt(q)
            law = cls._along_curves(phi, q, kinks[np.abs(kinks) < _REACH], highest)
            if not law._resolves(phi, q):
                x, weights = phi.rule(q)
                law = cls._in_pieces(np.asarray(phi.slope(x)) ** 2, weights / weights.sum(), highest)
            return law
        law = cls._along_curves(phi, q, np.zeros(0), highest)
        if not law._resolves(phi, q):
            raise ValueError(f"activation {phi!r}, q = {q}: its slope is not resolved by {_NODES} nodes")
        return law

    def _resolves(self, phi: activations.Activation, q: float) -> bool:
        return all(
            math.isclose(self.moment(k), float(phi.slope_moment(q, 2 * k)), rel_tol=1e-8, abs_tol=1e-300)
            for k in (1, 2)
        )

    @classmethod
    def _along_curves(cls, phi: activations.Activation, q: float, kinks: Array, highest: float) -> DerivativeLaw:
        """One curve between each two kinks, in z, and an atom where the slope is constant instead."""
        ends = [-_REACH, *kinks.tolist(), _REACH]
        curves: list[Curve] = []
        held: list[tuple[float, float]] = []
        for low, high in itertools.pairwise(ends):
            z, weights = _nodes(low, high, max(9, _NODES // (len(ends) - 1)), 1 / math.sqrt(q))
            g = np.asarray(phi.slope(math.sqrt(q) * z))
            if np.ptp(g) > 1e-13 * math.sqrt(highest):
                curves.append(Curve(g, weights))
            else:
                mass = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
                held.append((float(g[len(g) // 2]) ** 2, mass))
        values, masses = _merged(*np.array(held).reshape(-1, 2).T)
        total = masses.sum() + sum(curve.weights.sum() for curve in curves)
        if not curves:
            return cls(values, masses / total)
        curves = [Curve(curve.g, curve.weights / total) for curve in curves]
        points = np.concatenate([values, *(curve.g**2 for curve in curves)])
        weights = np.concatenate([masses / total, *(curve.weights for curve in curves)])
        return cls(points, weights, False, highest, tuple(values.tolist()), tuple(curves))

    @classmethod
    def _in_pieces(cls, points: Array, weights: Array, highest: float) -> DerivativeLaw:
        """Points of a quadrature, those that agree to rounding as one: atoms, if there are 16 of them (a piece)."""
        order = np.argsort(points, kind="stable")
        points, weights = points[order], weights[order]
        first = np.flatnonzero(np.diff(points, prepend=-1.0) > 1e-13 * highest)
        count = np.diff(np.append(first, len(points)))
        values, masses = points[first], np.add.reduceat(weights, first)
        atoms = (count >= 16) & (masses > 1e-12)
        if masses[~atoms].sum() < 1e-12:
            return cls(values[atoms], masses[atoms] / masses[atoms].sum())
        return cls(values, masses, exact=False, top=highest, held=tuple(values[atoms].tolist()))

    def moment(self, k: int) -> float:
        """μ_k = E d^k.

        >>> DerivativeLaw([0.0, 2.0], [0.5, 0.5]).moment(2)
        2.0
        """
        return float(self.weights @ self.points**k)


def _merged(points: Array, weights: Array) -> tuple[Array, Array]:
    """In ascending order, points that agree to rounding as one."""
    order = np.argsort(points, kind="stable")
    points, weights = points[order], weights[order]
    first = np.flatnonzero(np.diff(points, prepend=-np.inf) > 1e-12 * points.max(initial=0.0))
    return points[first], np.add.reduceat(weights, first) if len(first) else weights


def _nodes(low: float, high: float, count: int, width: float) -> tuple[Array, Array]:
    """A trapezoid rule for normal z between ``low`` and ``high``: one that resolves a slope that varies at zero over
    ``width`` where this is all of the line, else one that resolves both ends."""
    if -low == high == _REACH:
        width = min(1.0, width)
        t = np.linspace(-1, 1, count) * math.asinh(_REACH / width)
        z, by_t = width * np.sinh(t), width * np.cosh(t)
    else:
        t = np.linspace(-3.2, 3.2, count)  # the double exponential rule
        share = 1 / (1 + np.exp(-math.pi * np.sinh(t)))
        beside = 1e-13 * max(-low, high, width)  # on this side of the kink
        z = np.clip(low + (high - low) * share, low + beside, high - beside)
        by_t = (high - low) * math.pi * np.cosh(t) * share * share[::-1]
    return z, by_t * normal(z) * (t[1] - t[0])


def moment_generating(law: DerivativeLaw, N: Any) -> tuple[Complex, Complex, Complex]:
    """m = E d/(N - d), 1 + m = E N/(N - d) without cancellation, and the derivative of m by N, at numbers N (n,).

    >>> m, more, slope = moment_generating(DerivativeLaw.one(), [3.0])
    >>> m.real.tolist(), more.real.tolist(), slope.real.tolist()
    ([0.5], [1.5], [-0.25])
    """
    N = np.asarray(N, dtype=np.complex128)
    points, weights = law.apart
    terms = 1 / (N[:, None] - points)
    m, slope = terms @ (weights * points), -(terms**2) @ (weights * points)
    more = N * (terms @ np.where(points > 0, weights, 0.0)) + weights[points == 0].sum()  # which is real
    for curve in law.curves:
        a, b, c = curve.moments(N)
        m, more, slope = m + a, more + b, slope + c
    return m, more, slope


def logarithm(law: DerivativeLaw, N: Complex) -> Complex:
    """E log(1 - d/N), at numbers N (n,) in the upper half plane.

    >>> bool(abs(logarithm(DerivativeLaw.one(), np.array([2.0 + 0j])) + math.log(2)) < 1e-15)
    True
    """
    points, weights = law.apart
    found: Complex = np.log(1 - points / N[:, None]) @ weights.astype(np.complex128)
    for curve in law.curves:
        found = found + curve.logarithm(N)
    return found
