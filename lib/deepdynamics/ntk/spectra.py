r"""Spectra of the conjugate and the neural tangent kernel of wide networks on as many samples as units.

X_0 (d_0, n) has nearly orthonormal columns, X_l = φ(W_l X_{l-1})/√d_l with standard normal W_l, and n/d_l → γ_l; φ is
scaled to E φ(ξ)² = 1, with E φ(ξ) = 0, b = E φ'(ξ), a = E φ'(ξ)² (ξ standard normal). Then (Fan & Wang 2020) the
conjugate kernel X_LᵀX_L and the NTK of wᵀX_L have the limit laws of

.. math::
    r I + \sum_{l=0}^L q_l X_l^\top X_l:\qquad \text{CK: } r = 0,\ q = (0, …, 0, 1);\qquad
    \text{NTK: } q_l = b^{2(L-l)},\ r = \sum_{l<L} (a^{L-l} - q_l).

Their Stieltjes transforms follow from a recursion: for z = (z_{-1}, z_0, …, z_l) and w alike,

.. math::
    t_l(z, w) = \lim \tfrac1n \mathrm{Tr}\,\Big(z_{-1} + \sum_k z_k X_k^\top X_k\Big)^{-1}
    \Big(w_{-1} + \sum_k w_k X_k^\top X_k\Big) = \frac{w_l}{z_l} + t_{l-1}(z', w'),\qquad
    s_l = \frac1{z_l} + \gamma_l\,t_{l-1}\big(z', (1 - b^2, 0, …, 0, b^2)\big),

z' = (z_{-1} + (1 - b²)/s_l, z_0, …, z_{l-2}, z_{l-1} + b²/s_l), w' = (w_{-1}, …, w_{l-1}) - (w_l/z_l)(z_{-1}, …,
z_{l-1}). The numbers s_1, …, s_L are the unknowns: Newton's method for all of them at once, followed from far above
the real axis down to z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deepdynamics import activations
from deepdynamics._checks import Array, Numbers, finite, plain, positive
from deepdynamics.activations import ActivationLike
from deepdynamics.freeprobability.continuation import Complex, followed, newton_step
from deepdynamics.freeprobability.laws import DerivativeLaw

__all__ = ["conjugate_kernel_stieltjes", "deep_ntk_stieltjes"]

_STEPS, _CONVERGED, _SOLVED = 60, 1e-8, 1e-8  # of Newton's method: the last change of s, and the residual after it
_ABOVE = 1e-7  # height above the real axis, over the size of the support, from which a real z is reached


def conjugate_kernel_stieltjes(
    z: ArrayLike, ratios: Numbers, activation: ActivationLike, input_law: tuple[Numbers, Numbers]
) -> Complex:
    """m(z) = ∫ dμ(x)/(x - z) of the conjugate kernel X_LᵀX_L: μ_l = MP_{γ_l} ⊠ ((1 - b²) + b² μ_{l-1}); the shape of
    ``z``, complex. z is any number off the support, real ones included; the density at x is Im m(x + i0)/π.

    ``ratios`` (L,) are γ_l = n/d_l, first layer first; ``input_law`` = (points, weights), both (k,), is the law μ_0 of
    the eigenvalues of X_0ᵀX_0. The ``activation`` is scaled to E φ² = 1 inside. Residuals of the equations are below
    1e-8 of their terms.

    Raises ``ValueError`` for E φ ≠ 0 (subtract the mean), bad ratios and laws, and a real z on the support;
    ``RuntimeError`` where Newton's method fails.

    >>> conjugate_kernel_stieltjes(-1.0, [0.5], "linear", ([1.0], [1.0])).round(6)  # Marchenko and Pastur's law
    np.complex128(0.561553+0j)
    """
    _, b = _moments(activation)
    gamma, law = _arguments(ratios, input_law)
    if b == 0:
        return _stieltjes(_of_independent(gamma), z)
    q = np.zeros(len(gamma) + 1)
    q[-1] = 1
    return _stieltjes(_Equations(gamma, b**2, q, law), z)


def deep_ntk_stieltjes(
    z: ArrayLike, ratios: Numbers, activation: ActivationLike, input_law: tuple[Numbers, Numbers]
) -> Complex:
    """m(z) = ∫ dμ(x)/(x - z) of the neural tangent kernel of wᵀX_L, with respect to all weights and w, in the NTK
    parametrisation: Fan & Wang (2020). Arguments and shapes as for :func:`conjugate_kernel_stieltjes`.

    Raises ``ValueError`` as that does, and for an activation whose slope has no second moment; ``RuntimeError`` where
    Newton's method fails.

    At finite width the kernel's scale fluctuates like n^{-1/2}, with |w|².

    >>> deep_ntk_stieltjes(-1.0, [0.5], "linear", ([1.0], [1.0])).round(6)  # x + 1, x as above: m_CK(-2)
    np.complex128(0.350781+0j)
    """
    a, b = _moments(activation)
    gamma, law = _arguments(ratios, input_law)
    if not np.isfinite(a):
        raise ValueError(f"activation {activation!r}: a slope whose second moment is finite is needed")
    powers = np.arange(len(gamma), -1, -1.0)
    q = b ** (2 * powers)
    r = float((a ** powers[:-1] - q[:-1]).sum())
    if b == 0:
        return _stieltjes(_of_independent(gamma), z, r)
    return _stieltjes(_Equations(gamma, b**2, q, law), z, r)


@dataclass(frozen=True)
class _Equations:
    """s_1, …, s_L of Σ q_l X_lᵀX_l at z, as rows of s (L, len(z)), and what follows from them."""

    gamma: Array
    b2: float
    q: Array
    law: DerivativeLaw

    def residuals(self, z: Complex, s: Complex) -> Complex:
        """s_l - 1/z_l - γ_l t_{l-1}, (L, len(z))."""
        first, entries, resolvents = self._state(z, s)
        found = np.empty_like(s)
        for below in range(len(s)):
            w = np.zeros((below + 2, *z.shape), dtype=np.complex128)
            w[0], w[-1] = 1 - self.b2, self.b2
            trace = self._trace(w, first, entries, resolvents)
            found[below] = s[below] - 1 / entries[below + 1] - self.gamma[below] * trace
        return found

    def stieltjes(self, z: Complex, s: Complex) -> Complex:
        """m = t_L(z, (1, 0, …, 0))."""
        first, entries, resolvents = self._state(z, s)
        w = np.zeros((len(s) + 2, *z.shape), dtype=np.complex128)
        w[0] = 1
        return self._trace(w, first, entries, resolvents)

    def _state(self, z: Complex, s: Complex) -> tuple[Complex, Complex, tuple[Complex, Complex]]:
        """z_{-1} and z_l as t_l meets them, l = 0, …, L, and ∫ (1, x)/(z_{-1} + z_0 x) dμ_0 as t_0 does."""
        inverse = 1 / s
        entries = np.asarray(self.q[:, None] + self.b2 * np.concatenate([inverse, np.zeros_like(inverse[:1])]), complex)
        later = np.concatenate([np.cumsum(inverse[::-1], axis=0)[::-1], np.zeros_like(inverse[:1])])
        first = (1 - self.b2) * later - z
        resolvent = 1 / (first[0][:, None] + entries[0][:, None] * self.law.points)
        weights = self.law.weights
        return first, entries, (np.asarray(resolvent @ weights), np.asarray(resolvent @ (weights * self.law.points)))

    def _trace(self, w: Complex, first: Complex, entries: Complex, resolvents: tuple[Complex, Complex]) -> Complex:
        """t_l(z, w) for w = (w_{-1}, w_0, …, w_l); the z_k below the top are still q_k."""
        total = np.zeros_like(first[0])
        for layer in range(len(w) - 2, 0, -1):
            share = w[-1] / entries[layer]
            total = total + share
            lower = np.broadcast_to(self.q[:layer, None], (layer, len(share)))
            w = w[:-1] - share * np.concatenate([first[layer][None], lower])
        return total + w[0] * resolvents[0] + w[1] * resolvents[1]

    def newton(self, z: Complex, s: Complex, *, real: bool = False) -> Complex:
        """The solution near s; the derivative is a difference. RuntimeError where it is not reached."""
        for _ in range(_STEPS):
            r = self.residuals(z, s)
            slopes = np.empty((len(s), *s.shape), dtype=np.complex128)
            for k in range(len(s)):
                moved, step = s.copy(), 1e-7 * np.abs(s[k])
                moved[k] += step
                slopes[k] = (self.residuals(z, moved) - r) / step
            matrices = np.moveaxis(slopes, (0, 1, 2), (2, 1, 0))
            change = -np.asarray(np.linalg.solve(matrices, r.T[..., None]), complex)[..., 0].T
            with np.errstate(over="ignore"):  # of a change that is as good as none
                s = s + change if real else newton_step(s, change)
            settled = (np.abs(change) <= _CONVERGED * np.abs(s)).all()
            if settled and (np.abs(self.residuals(z, s)) <= _SOLVED * np.abs(s)).all():
                return s
        raise RuntimeError(f"Newton's method did not converge for ratios = {self.gamma}")


def _of_independent(gamma: Array) -> _Equations:
    """The conjugate kernel where b = 0: what enters the last layer is as good as orthonormal."""
    return _Equations(gamma[-1:], 1.0, np.array([0.0, 1.0]), DerivativeLaw.one())


def _stieltjes(equations: _Equations, z: ArrayLike, shift: float = 0.0) -> Complex:
    """The transform of the law moved by ``shift``."""
    z = np.asarray(plain(z), dtype=np.complex128)
    if not np.isfinite(z).all():
        raise ValueError(f"z = {z}: finite numbers are allowed")
    flat = z.ravel() - shift
    size = float(equations.q.sum() * equations.law.points[-1] * np.prod((1 + np.sqrt(equations.gamma)) ** 2))
    scale = np.abs(flat.real) + size
    on_axis = flat.imag == 0
    low = np.where(on_axis, _ABOVE * scale, np.abs(flat.imag))
    high = np.maximum(20 * scale, low)
    s = followed(equations.newton, _far(equations, flat.real + 1j * high), flat.real, high, low)
    m = equations.stieltjes(flat.real + 1j * low, s)
    m[flat.imag < 0] = m[flat.imag < 0].conj()  # m(z̄) is the conjugate of m(z)
    if on_axis.any():
        m[on_axis] = _on_the_real_axis(equations, flat[on_axis], s[:, on_axis], shift)
    return np.asarray(m.reshape(z.shape))[()]


def _on_the_real_axis(equations: _Equations, z: Complex, above: Complex, shift: float) -> Complex:
    """m at real z, from the solution just above; ValueError on the support, where this is not real to rounding."""
    inside = np.asarray((np.abs(above.imag) > 1e-3 * np.abs(above)).any(0))
    if not inside.any():
        try:
            return equations.stieltjes(z, equations.newton(z, above.real.astype(np.complex128), real=True))
        except RuntimeError:  # an atom
            inside[:] = True
    places = z[inside].real + shift
    raise ValueError(f"z = {places}: real numbers off the support are allowed; on it, m has two values (z ± i0)")


def _far(equations: _Equations, z: Complex) -> Complex:
    """s far from the support, where the iteration of its equations contracts."""
    s = np.full((len(equations.gamma), len(z)), 1 + 1j)
    for _ in range(40):
        s = (s + (s - equations.residuals(z, s))) / 2
    return s


def _moments(activation: ActivationLike) -> tuple[float, float]:
    """a = E φ'² and b = E φ' of the activation scaled to E φ² = 1; b is 0 where it is so to rounding."""
    phi = activations.get(activation)
    size = math.sqrt(float(phi.second_moment(1.0)))
    mean = float(phi.mean(1.0))
    if size == 0 or abs(mean) > 1e-9 * size:
        raise ValueError(f"activation {phi!r} with E φ = {mean:.6g}: one of mean zero under N(0, 1) is allowed")
    a, b = float(phi.slope_moment(1.0, 2)) / size**2, float(phi.slope_moment(1.0, 1)) / size
    return a, b if abs(b) > 1e-6 else 0.0


def _arguments(ratios: Numbers, input_law: Sequence[Numbers]) -> tuple[Array, DerivativeLaw]:
    gamma = np.atleast_1d(positive("ratios", ratios))
    if gamma.ndim != 1 or not len(gamma):
        raise ValueError(f"ratios of shape {gamma.shape}: one for each layer is allowed")
    try:
        points, weights = input_law
    except (TypeError, ValueError):
        raise ValueError(f"input_law = {input_law!r}: (points, weights) is allowed") from None
    try:
        return gamma, DerivativeLaw(finite("points", points), finite("weights", weights))
    except ValueError as reason:
        raise ValueError(f"input_law: {reason}") from reason
