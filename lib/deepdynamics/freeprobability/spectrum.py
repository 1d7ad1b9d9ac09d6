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
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from deepdynamics._checks import Array, count, number, one_of, positive
from deepdynamics.freeprobability.continuation import HEIGHT, Complex, between, followed, newton_step, no_nan
from deepdynamics.freeprobability.laws import DerivativeLaw, logarithm, moment_generating

__all__ = ["JacobianSpectrum"]

_LEAST = 1e-300  # of the λ at which the equations are solved


class JacobianSpectrum:
    """The law of the eigenvalues λ of J Jᵀ, squared singular values of J = D_L W_L ... D_1 W_1, at infinite width.

    ``depth`` L counts the factors D W; the D are alike, with the ``law`` of D²; ``weights`` are "orthogonal" (σ_w times
    a random orthogonal matrix) or "gaussian" (variance σ_w²/N); ``weight_var`` is σ_w² (None: critical, 1/E d, where
    the mean of λ is 1). Pennington, Schoenholz and Ganguli (2018, AISTATS), eqs. (13) to (22).

    For a law that is exact or has curves, the density is right to 1e-10 of its size, or to 1e-11 where that is more,
    and the distribution to 1e-10; below λ = 1e-300 both are those at 1e-300. One layer with orthogonal weights has the
    law of σ_w² D², which is given.

    Raises ``ValueError`` for a depth that is no positive integer, other weights, a variance that is not positive, and a
    mean m_1 that float64 cannot hold.

    >>> spectrum = JacobianSpectrum(3, DerivativeLaw.bernoulli(0.5))
    >>> spectrum.mean, spectrum.variance, round(spectrum.lambda_max, 6), spectrum.atoms
    (1.0, 3.0, 6.75, [(0.0, 0.5)])
    """

    def __init__(
        self, depth: int, law: DerivativeLaw, weights: str = "orthogonal", weight_var: float | None = None
    ) -> None:
        self.depth, self.law = count("depth", depth), law
        self.weights = one_of("weights", weights, ("orthogonal", "gaussian"))
        self.weight_var = 1 / law.moment(1) if weight_var is None else number("weight_var", weight_var, positive)
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
            right = math.exp(self._least(between(points[-2], points[-1]), lambda m: m < -1))
        if self.law.exact and points[0] > 0 and self.weights == "orthogonal":
            if 0 in atoms:
                left = math.exp(-self._least(between(points[0], points[1]), lambda m: m > 0, sign=-1))
            else:
                left = math.exp(-self._least(between(0.0, points[0]), lambda m: m < -1, sign=-1))
        return left, right

    def density(self, lam: ArrayLike) -> Array:
        """The continuous part of the law at any real λ, 0 outside its edges; the shape of ``lam``.

        Raises ``ValueError`` for λ that is not a number, and for one layer with orthogonal weights; ``RuntimeError``
        where Newton's method fails.

        >>> JacobianSpectrum(2, DerivativeLaw.one(), "gaussian").density([-1.0, 0.0, 1.0, 7.0]).round(6)
        array([0.      , 0.      , 0.178979, 0.      ])
        """
        lam = no_nan("lam", lam)
        left, right = self.bulk
        inside = (lam > max(left, 0.0)) & (lam < right)
        found, flat = np.zeros(lam.shape), np.maximum(lam[inside], _LEAST)
        _, more, _ = moment_generating(self.law, self._on_the_axis(flat))
        density = -more.imag / (math.pi * flat)
        for place, mass in self.atoms:  # z/(z - place) at a small height
            if place > 0:
                density -= mass / math.pi * HEIGHT * place / ((flat - place) ** 2 + (HEIGHT * flat) ** 2)
        found[inside] = np.maximum(density, 0.0)
        return found

    def cdf(self, lam: ArrayLike) -> Array:
        """The share of eigenvalues up to any real λ, atoms included; the shape of ``lam``. Raises as :meth:`density`
        does.

        >>> JacobianSpectrum(3, DerivativeLaw.bernoulli(0.5)).cdf([-1.0, 0.0, math.inf]).tolist()
        [0.0, 0.5, 1.0]
        """
        lam = no_nan("lam", lam)
        positive = (lam > 0) & (lam < self.lambda_max)
        share = np.where(lam > 0, 1.0, 0.0)
        share[lam == 0] = sum(mass for place, mass in self.atoms if place == 0)
        share[positive] = self._share(np.maximum(lam[positive], _LEAST))
        return share

    def _share(self, flat: Array) -> Array:
        N, L = self._on_the_axis(flat), self.depth
        m, more, _ = moment_generating(self.law, N)
        rest = (L - 1) * np.log(more) if self.weights == "orthogonal" else L * m - np.log(more)
        potential = L * logarithm(self.law, N) + rest
        share = 1 - potential.imag / math.pi
        for place, mass in self.atoms:  # a step, not the arc tangent that it is at a small height
            smooth = 0.5 + np.arctan((flat - place) / (HEIGHT * flat)) / math.pi
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
            m, more, _ = moment_generating(self.law, N)
            good = allowed(m.real)
            return np.where(good, sign * self._log_z(N, m, more).real, np.inf)

        grid = np.linspace(-1, 1, 801)[1:-1]
        best = int(np.argmin(value(grid)))
        near = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        found = minimize_scalar(lambda t: float(value(t)[0]), bounds=near, method="bounded", options={"xatol": 1e-12})
        return float(found.fun)

    def _on_the_axis(self, lam: Array) -> Complex:
        """N just above λ on the real axis, 0 < λ < λ_max: followed along the imaginary axis, from far above, then down
        from there at each λ."""
        if self.depth == 1 and self.weights == "orthogonal":
            raise ValueError("depth = 1 with orthogonal weights is σ_w² D² itself: its law is given")
        if len(lam) == 0:
            return np.zeros(0, np.complex128)
        highest = 40 * self.lambda_max
        rung = np.floor((math.log(highest / 4) - np.log(lam)) / math.log(4)).astype(int)  # the lowest that is above 4λ
        heights = highest * 4.0 ** -np.arange(rung.max() + 1)
        N = last = np.array([1j * highest * (self.law.moment(1) / self.mean)])
        rungs = []
        for height in heights:
            N, last = self._newton(np.array([1j * height]), N * (N / last)), N
            rungs.append(N)
        return followed(self._newton, np.concatenate(rungs)[rung], lam, heights[rung], HEIGHT * lam)

    def _newton(self, z: Complex, N: Complex) -> Complex:
        """Solutions of z(N) = z, from a good guess."""
        L, todo = self.depth, np.arange(len(z))
        N = N.copy()
        for _ in range(60):
            part = N[todo]
            m, more, slope = moment_generating(self.law, part)
            r = self._log_z(part, m, more) - np.log(z[todo])
            r -= 2j * math.pi * np.round(r.imag / (2 * math.pi))
            if self.weights == "orthogonal":
                by_N = (L - 1) * slope / (m * more) + L / part
            else:
                by_N = slope / more + (L - 1) * slope / m + L / part
            N[todo] = newton_step(part, -r / by_N)
            rounding = 4e-16 * L * np.maximum(1, np.abs(np.log(part)))  # of log z
            todo = todo[np.abs(r) > 1e-12 + rounding]
            if len(todo) == 0:
                return N
        raise RuntimeError(f"Newton's method did not converge at {len(todo)} of {len(z)} points, near z = {z[todo[0]]}")
