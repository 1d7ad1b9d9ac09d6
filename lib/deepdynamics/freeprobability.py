r"""Free probability for deep networks: the law of the squared singular values of a Jacobian at infinite width.

For J = D_L W_L ... D_1 W_1 with independent Gaussian weights, or orthogonal ones, the matrices are asymptotically free
(Pennington, Schoenholz and Ganguli 2018), so that S-transforms multiply. With d = φ'(h)² and the moment generating
function M(z) = Σ_k m_k z^{-k} = z G(z) - 1 this says, with N such that m = E d/(N - d),

    z = σ_w^{2L} (1 + m)/m · (m N/(1 + m))^L  (orthogonal),      z = σ_w^{2L} (1 + m)/m · (m N)^L  (Gaussian),

where m = M(z) is that of J Jᵀ. No root has to be chosen: N ~ z is known for large z, and is followed down to the real
axis by Newton's method. The logarithmic potential has a closed form in N and m,

    ∫ log(z - λ) dμ = log z + L E log(1 - d/N) + (L - 1) log(1 + m)  (orthogonal),  ... + L m - log(1 + m)  (Gaussian),

and its imaginary part on the axis is π times the mass above: the distribution function needs no integration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from torch import Tensor

from deepdynamics import activations
from deepdynamics.arrays import plain, real, tensor
from deepdynamics.gaussianintegrals import erf2, normal

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_NODES, _REACH = 600, 9.5  # of the trapezoid rule for smooth activations, on half an axis
_DOWN = (4.0, 1.5, 1.1)  # factors between two heights above the real axis: the next where one fails
_HEIGHT = 1e-11  # of the last one, relative to λ


@dataclass(frozen=True, eq=False)
class DerivativeLaw:
    """The law of D² = φ'(h)²: atoms at ``points`` (n,) >= 0 with ``weights`` (n,) that sum to 1; kept in ascending
    order, those that agree to rounding as one.

    ``exact`` is False where the points are nodes of a quadrature, and the law has a density on (0, ``top``].

    >>> DerivativeLaw([1.0, 0.0], [0.5, 0.5]).points.tolist()  # ReLU: half of the units are off
    [0.0, 1.0]
    """

    points: Array
    weights: Array
    exact: bool = True
    top: float = 0.0  # the largest point, where nothing else is given
    held: tuple[float, ...] = ()  # points that are atoms all the same, where ``exact`` is False

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
        if self.exact:  # points that agree to rounding are one
            first = np.concatenate(([True], np.diff(points) > 1e-12 * points[-1]))
            points, weights = points[first], np.add.reduceat(weights, np.flatnonzero(first))
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
        """The law of φ'(√q z)², z standard normal: exact where φ' takes few values, a quadrature in z otherwise, with
        atoms where φ' is constant on a part of the line.

        Raises ``ValueError`` for a variance q that is not positive and finite, an unknown activation, one whose slope
        is zero, and one whose slope the quadrature does not resolve.

        >>> law = DerivativeLaw.of("tanh", 0.05)
        >>> round(law.moment(2) / law.moment(1) ** 2 - 1, 6)
        0.01332
        """
        if not 0 < q < math.inf:
            raise ValueError(f"q = {q}: a positive finite variance is allowed")
        phi, q = activations.get(activation), float(q)
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
            x, weights = phi.rule(q)
            return cls._in_pieces(np.asarray(phi.slope(x)) ** 2, weights / weights.sum(), highest)
        # sinh(t) resolves a slope of width 1/√q at zero as well as the Gaussian
        width = min(1.0, 1 / math.sqrt(q))
        t = np.linspace(-1, 1, 2 * _NODES + 1) * math.asinh(_REACH / width)
        z, weights = width * np.sinh(t), width * np.cosh(t)
        weights *= normal(z)
        law = cls(np.asarray(phi.slope(math.sqrt(q) * z)) ** 2, weights / weights.sum(), exact=False, top=highest)
        for k in (1, 2):
            if not math.isclose(law.moment(k), float(phi.slope_moment(q, 2 * k)), rel_tol=1e-8):
                raise ValueError(f"activation {phi!r}, q = {q}: its slope is not resolved by {2 * _NODES + 1} nodes")
        return law

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


class JacobianSpectrum:
    """The law of the eigenvalues λ of J Jᵀ, squared singular values of J = D_L W_L ... D_1 W_1, at infinite width.

    ``depth`` L counts the factors D W; the D are alike, with the ``law`` of D²; ``weights`` are "orthogonal" (σ_w times
    a random orthogonal matrix) or "gaussian" (variance σ_w²/N); ``weight_var`` is σ_w² (None: critical, 1/E d, where
    the mean of λ is 1). Pennington, Schoenholz and Ganguli (2018, AISTATS), eqs. (13) to (22).

    Of smooth laws, density and distribution are those of a quadrature where it resolves them: not for λ below some
    1e-5. One layer with orthogonal weights has the law of σ_w² D², which is given.

    Raises ``ValueError`` for a depth that is no positive integer, other weights, a variance that is not positive, and a
    mean m_1 that float64 cannot hold.

    >>> spectrum = JacobianSpectrum(3, DerivativeLaw.bernoulli(0.5))
    >>> spectrum.mean, spectrum.variance, round(spectrum.lambda_max, 6), spectrum.atoms
    (1.0, 3.0, 6.75, [(0.0, 0.5)])
    """

    def __init__(
        self, depth: int, law: DerivativeLaw, weights: str = "orthogonal", weight_var: float | None = None
    ) -> None:
        if weights not in ("orthogonal", "gaussian"):
            raise ValueError(f'weights = {weights!r}: "orthogonal" or "gaussian" is allowed')
        if weight_var is not None and not 0 < weight_var < math.inf:
            raise ValueError(f"weight_var = {weight_var}: a positive finite number is allowed")
        self.depth, self.law, self.weights = _depth(depth), law, weights
        self.weight_var = 1 / law.moment(1) if weight_var is None else float(weight_var)
        if not abs(self.depth * math.log(self.weight_var * law.moment(1))) < 600:
            raise ValueError(f"depth = {depth}, weight_var = {weight_var}: the mean of λ is out of range")

    def __repr__(self) -> str:
        return f"JacobianSpectrum({self.depth}, {self.law}, {self.weights!r}, {self.weight_var})"

    @property
    def mean(self) -> float:
        """m_1 = (σ_w² E d)^L.

        >>> JacobianSpectrum(3, DerivativeLaw.one(), weight_var=2.0).mean
        8.0
        """
        return (self.weight_var * self.law.moment(1)) ** self.depth

    @property
    def variance(self) -> float:
        """m_1² L (E d²/(E d)² - 1 - s_1), s_1 = 0 for orthogonal weights, -1 for Gaussian ones (eq. 22).

        >>> JacobianSpectrum(3, DerivativeLaw.one(), "gaussian").variance
        3.0
        """
        spread = self.law.moment(2) / self.law.moment(1) ** 2 - 1 + (self.weights == "gaussian")
        return self.mean**2 * self.depth * spread

    @property
    def atoms(self) -> list[tuple[float, float]]:
        """(location, mass) of each, ascending. Of L free factors with an atom of mass w their product has one of mass
        L w - (L - 1), where that is positive (Belinschi 2003); at zero the mass is that of one factor.

        >>> JacobianSpectrum(3, DerivativeLaw.bernoulli(0.5)).atoms
        [(0.0, 0.5)]
        """
        points, weights = self.law.points, self.law.weights
        at_zero = [(0.0, float(weights[0]))] if self.law.atoms[0] and points[0] == 0 else []
        return at_zero + [(self._place(points[i]), mass) for i, mass in self._positive_atoms().items()]

    @property
    def lambda_max(self) -> float:
        """The top of the support, atoms included.

        >>> round(JacobianSpectrum(3, DerivativeLaw.bernoulli(0.5)).lambda_max, 6)
        6.75
        """
        if len(self.law.points) - 1 in self._positive_atoms():
            return self._place(self.law.points[-1])
        return math.exp(self._least(lambda t: self.law.top * (1 + np.exp(30 * t)), lambda m: m > 0))

    @property
    def bulk(self) -> tuple[float, float]:
        """Outermost edges, left and right, of the continuous part (it may have gaps); NaN where there is none.

        An edge is where z(N) turns on the real axis outside of the values of d: beyond the largest one, or next to it
        where the largest one makes an atom, and the same on the left, where d = 0 has no part in it.

        >>> JacobianSpectrum(1, DerivativeLaw.one(), "gaussian").bulk
        (0.0, 4.0)
        """
        if sum(mass for _, mass in self.atoms) > 1 - 1e-12:
            return math.nan, math.nan
        points, atoms = self.law.points, self._positive_atoms()
        left, right = 0.0, self.lambda_max
        if len(points) - 1 in atoms:
            right = math.exp(self._least(_between(points[-2], points[-1]), lambda m: m < -1))
        if self.law.exact and points[0] > 0 and self.weights == "orthogonal":
            if 0 in atoms:
                left = math.exp(-self._least(_between(points[0], points[1]), lambda m: m > 0, sign=-1))
            else:
                left = math.exp(-self._least(_between(0.0, points[0]), lambda m: m < -1, sign=-1))
        return left, right

    def density(self, lam: ArrayLike) -> Array:
        """The continuous part of the law at any real λ, 0 outside its edges; the shape of ``lam``.

        Raises ``ValueError`` for λ that is not a number, and for one layer with orthogonal weights; ``RuntimeError``
        where Newton's method fails.

        >>> JacobianSpectrum(2, DerivativeLaw.one(), "gaussian").density([-1.0, 0.0, 1.0, 7.0]).round(6)
        array([0.      , 0.      , 0.178979, 0.      ])
        """
        lam = _numbers("lam", lam)
        left, right = self.bulk
        inside = (lam > max(left, 0.0)) & (lam < right)
        found, flat = np.zeros(lam.shape), lam[inside]
        _, more, _ = _mean(self.law, self._on_the_axis(flat))
        density = -more.imag / (math.pi * flat)
        for place, mass in self.atoms:  # at a small height they are Lorentzians
            density -= mass / math.pi * _HEIGHT * flat / ((flat - place) ** 2 + (_HEIGHT * flat) ** 2)
        found[inside] = np.maximum(density, 0.0)
        return found

    def cdf(self, lam: ArrayLike) -> Array:
        """The share of eigenvalues up to any real λ, atoms included; the shape of ``lam``. Raises as :meth:`density`
        does.

        >>> JacobianSpectrum(3, DerivativeLaw.bernoulli(0.5)).cdf([-1.0, 0.0, math.inf]).tolist()
        [0.0, 0.5, 1.0]
        """
        lam = _numbers("lam", lam)
        positive = (lam > 0) & np.isfinite(lam)
        share = np.where(lam > 0, 1.0, 0.0)
        share[lam == 0] = sum(mass for place, mass in self.atoms if place == 0)
        share[positive] = self._share(lam[positive])
        return share

    def _share(self, flat: Array) -> Array:
        N, L = self._on_the_axis(flat), self.depth
        m, more, _ = _mean(self.law, N)
        rest = (L - 1) * np.log(more) if self.weights == "orthogonal" else L * m - np.log(more)
        potential = L * (np.log(1 - self.law.points / N[:, None]) @ self.law.weights) + rest
        share = 1 - potential.imag / math.pi
        for place, mass in self.atoms:  # a step, not the arc tangent that it is at a small height
            smooth = 0.5 + np.arctan((flat - place) / (_HEIGHT * flat)) / math.pi
            share += mass * ((flat >= place * (1 - 1e-12)) - smooth)
        return np.clip(share, 0.0, 1.0)

    def _positive_atoms(self) -> dict[int, float]:
        """Masses of the atoms of λ that are not at zero, by the index of the value of d."""
        if self.weights == "gaussian":
            return {}
        masses = 1 - self.depth * (1 - self.law.weights)
        held = (masses > 1e-12) & (self.law.points > 0) & self.law.atoms
        return {i: float(masses[i]) for i in np.flatnonzero(held).tolist()}

    def _place(self, d: float) -> float:
        return math.exp(self.depth * math.log(self.weight_var * float(d)))

    def _log_z(self, N: Any, m: Any, more: Any) -> Any:
        """log z(N), with more = 1 + m."""
        L, log = self.depth, np.log
        rest = (1 - L) * log(more / m) if self.weights == "orthogonal" else log(more) + (L - 1) * log(m)
        return L * math.log(self.weight_var) + rest + L * log(N)

    def _least(self, N_of: Callable[[Any], Any], allowed: Callable[[Any], Any], sign: int = 1) -> float:
        """Least value of sign · log z(N) over N = N_of(t), -1 < t < 1, where ``allowed(m)``: a grid, then its cell."""

        def value(t: Any) -> Any:
            N = np.atleast_1d(N_of(np.asarray(t)))
            m, more, _ = _mean(self.law, N)
            good = allowed(m.real)
            return np.where(good, sign * self._log_z(N, m, more).real, np.inf)

        grid = np.linspace(-1, 1, 801)[1:-1]
        best = int(np.argmin(value(grid)))
        near = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        found = minimize_scalar(lambda t: float(value(t)[0]), bounds=near, method="bounded", options={"xatol": 1e-12})
        return float(found.fun)

    def _on_the_axis(self, lam: Array) -> Complex:
        """N just above λ on the real axis, followed down from far above it."""
        if self.depth == 1 and self.weights == "orthogonal":
            raise ValueError("depth = 1 with orthogonal weights is σ_w² D² itself: its law is given")
        if len(lam) == 0:
            return np.zeros(0, np.complex128)
        height = 20 * (lam + self.lambda_max)
        start = (lam + 1j * height) * (self.law.moment(1) / self.mean)
        return _followed(self._newton, start.astype(np.complex128), lam, height, _HEIGHT * lam)

    def _newton(self, z: Complex, N: Complex) -> Complex:
        """Solutions of z(N) = z, from a good guess."""
        L, todo = self.depth, np.arange(len(z))
        N = N.copy()
        for _ in range(60):
            part = N[todo]
            m, more, slope = _mean(self.law, part)
            r = self._log_z(part, m, more) - np.log(z[todo])
            r -= 2j * math.pi * np.round(r.imag / (2 * math.pi))
            if self.weights == "orthogonal":
                by_N = (L - 1) * slope / (m * more) + L / part
            else:
                by_N = slope / more + (L - 1) * slope / m + L / part
            N[todo] = _step(part, -r / by_N)
            rounding = 4e-16 * L * np.maximum(1, np.abs(np.log(part)))  # of log z
            todo = todo[np.abs(r) > 1e-12 + rounding]
            if len(todo) == 0:
                return N
        raise RuntimeError(f"Newton's method did not converge at {len(todo)} of {len(z)} points, near z = {z[todo[0]]}")


def fuss_catalan_moment(k: ArrayLike, depth: int) -> Array:
    """E λ^k of J Jᵀ for J the product of ``depth`` Gaussian matrices of variance 1/N: binom((L + 1) k, k)/(L k + 1).

    ``k`` >= 0 of any shape. Raises ``ValueError`` for a negative k and a depth that is no positive integer.

    >>> fuss_catalan_moment([1, 2, 3], 4).round(6)
    array([ 1.,  5., 35.])
    """
    k, L = real("k", k), _depth(depth)
    if not (k >= 0).all():
        raise ValueError("k: numbers that are not negative are allowed")
    return np.asarray(np.exp(gammaln((L + 1) * k + 1) - gammaln(k + 1) - gammaln(L * k + 1)) / (L * k + 1))


def fuss_catalan_density(lam: ArrayLike, depth: int) -> Array:
    """The density whose moments are :func:`fuss_catalan_moment`, 0 outside of (0, (L + 1)^(L + 1)/L^L); the shape of
    ``lam``.

    In the angle φ from 0 to π/(L + 1), λ = sin^{L+1}((L + 1)φ)/(sin φ sin^L(Lφ)) falls from the edge to 0. Raises as
    :func:`fuss_catalan_moment`, and for λ that is not a number.

    >>> float(fuss_catalan_density(2.0, 1).round(9)), round(1 / (2 * math.pi), 9)
    (0.159154943, 0.159154943)
    """
    lam, L = _numbers("lam", lam), _depth(depth)
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
    if not 0 < ratio < math.inf:
        raise ValueError(f"ratio = {ratio}: a positive finite number is allowed")
    x = _numbers("x", x)
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
    if not 0 < ratio < math.inf:
        raise ValueError(f"ratio = {ratio}: a positive finite number is allowed")
    z, ratio = np.asarray(plain(z), dtype=np.complex128), float(ratio)
    if not np.isfinite(z).all():
        raise ValueError(f"z = {z}: finite numbers are allowed")
    flat = z.ravel()
    on_axis, below = flat.imag == 0, flat.imag < 0
    scale = np.abs(flat.real) + (1 + math.sqrt(ratio)) ** 2 * float(law.points[-1])
    above = flat.real + 1j * np.where(on_axis, 1e-7 * scale, np.abs(flat.imag))
    height = np.maximum(20 * scale, above.imag)
    start = -1 / (flat.real + 1j * height)
    v = _followed(partial(_silverstein, law, ratio), start, flat.real, height, above.imag)
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
        v = _step(v, change)
        if (np.abs(change) <= 1e-9 * np.abs(v)).all():
            return v
    raise RuntimeError(f"Newton's method did not converge for ratio = {ratio}")


def freeness_defects(matrices: Sequence[Tensor | ArrayLike]) -> dict[tuple[int, ...], float]:
    """tr X°_i X°_j and tr X°_i X°_j X°_i X°_j for all i < j, by the words (i, j) and (i, j, i, j), with X° = X - tr X
    and tr the trace over N: free matrices have zeros, of order 1/N where N is finite.

    Square matrices (N, N) of one size. Raises ``ValueError`` for fewer than two, other shapes, entries that are complex
    or not finite.

    >>> import torch
    >>> A, B = torch.diag(torch.tensor([1.0, -1.0])), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> freeness_defects([A, B])
    {(0, 1): 0.0, (0, 1, 0, 1): -1.0}
    """
    checked = [tensor("matrices", X, like=torch.empty(0, dtype=torch.float64)) for X in matrices]
    if len(checked) < 2 or any(X.ndim != 2 or X.shape != (len(checked[0]),) * 2 for X in checked):
        raise ValueError(f"matrices of shapes {[tuple(X.shape) for X in checked]}: two or more (N, N) are allowed")
    if not all(bool(X.isfinite().all()) and not X.is_complex() for X in checked):
        raise ValueError("matrices: finite real entries are allowed")
    centred = []
    for X in checked:
        X = X.double().clone()
        X.diagonal().sub_(X.diagonal().mean())
        centred.append(X)
    defects: dict[tuple[int, ...], float] = {}
    for i, A in enumerate(centred):
        for j in range(i + 1, len(centred)):
            AB = A @ centred[j]
            defects[i, j] = float(AB.diagonal().mean())
            defects[i, j, i, j] = float((AB * AB.T).sum()) / len(AB)
    return defects


def _depth(depth: int) -> int:
    if isinstance(depth, bool) or not isinstance(depth, Integral) or depth < 1:
        raise ValueError(f"depth = {depth!r}: a positive integer is allowed")
    return int(depth)


def _between(low: float, high: float) -> Callable[[Any], Any]:
    """The interval as an image of (-1, 1) that resolves its ends."""
    return lambda t: low + (high - low) / (1 + np.exp(-30 * t))


def _followed(
    solve: Callable[[Complex, Complex], Complex], x: Complex, real: Array, high: Array, low: Array
) -> Complex:
    """The solution x of an equation at z = real + i high, followed down to real + i low by ``solve(z, guess)``."""
    start, far = x, math.log(float((high / low).max()))
    for factor in _DOWN:
        steps, x = max(1, math.ceil(far / math.log(factor))), start
        try:
            for step in range(steps + 1):
                x = solve(real + 1j * high * (low / high) ** (step / steps), x)
            return x
        except RuntimeError:
            if factor == _DOWN[-1]:
                raise
    raise AssertionError


def _step(x: Complex, change: Complex) -> Complex:
    """x + change, shortened to a third of x, and so that x stays in the upper half plane."""
    room = np.where(change.imag < 0, 0.8 * x.imag / np.maximum(-change.imag, 1e-300), 1.0)
    return x + change * np.minimum(np.minimum(1, room), np.abs(x) / np.maximum(3 * np.abs(change), 1e-300))


def _numbers(name: str, value: ArrayLike) -> Array:
    array = real(name, value)
    if np.isnan(array).any():
        raise ValueError(f"{name} = {array}: real numbers are allowed")
    return array


def _mean(law: DerivativeLaw, N: Any) -> tuple[Complex, Complex, Complex]:
    """m = E d/(N - d), 1 + m = E N/(N - d) without cancellation, and the derivative of m by N."""
    N = np.asarray(N, dtype=np.complex128)
    inverse = 1 / (N[:, None] - law.points)
    weighted = law.weights * law.points
    return inverse @ weighted, N * (inverse @ law.weights), -(inverse**2) @ weighted
