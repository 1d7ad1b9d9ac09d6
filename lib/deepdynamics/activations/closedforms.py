"""Activations whose Gaussian moments have closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.special import erf, erfc, owens_t

from deepdynamics._checks import Array, real
from deepdynamics.activations import integrals as gauss
from deepdynamics.activations.base import Activation, backend
from deepdynamics.activations.numerical import PiecewiseActivation

__all__ = ["Erf", "Gaussian", "HardTanh", "Homogeneous", "LeakyReLU", "Linear", "ReLU", "Sine", "Step"]


class Homogeneous(Activation):
    """a min(x, 0) + b max(x, 0): linear on each side of zero, with the slopes a and b, so that phi(kx) = k phi(x) for
    k > 0, and no length sets a scale. Two-point functions: those of ReLU, the arc-cosine kernels (Cho and Saul 2009).

    >>> float(Homogeneous(-1.0, 1.0, "abs").second_moment(3.0))
    3.0
    """

    def __init__(self, below: float, above: float, name: str) -> None:
        self.below, self.above, self.name = float(below), float(above), name
        self._shared = self.below * self.above  # of E phi(u) phi(v): the part that is linear
        self._kink = (self.above - self.below) ** 2

    def __call__(self, x: Any) -> Any:
        xp, x = backend(x)
        return (self.above * xp.clip(x, 0, None) + self.below * xp.clip(x, None, 0))[()]

    def slope(self, x: Any) -> Any:
        return _step(x) * (self.above - self.below) + self.below

    def _mean(self, q: Array) -> Array:
        return (self.above - self.below) * np.sqrt(q / (2 * np.pi))

    def _second_moment(self, q: Array) -> Array:
        return q * self._slope_moment(q, 2)

    def _second_moment_slope(self, q: Array) -> Array:
        return self._slope_moment(q, 2)

    def _slope_moment(self, q: Array, k: int) -> Array:
        return np.full_like(q, (self.above**k + self.below**k) / 2)

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        kernel = (gauss.sine(c) + c * (np.pi - np.arccos(c))) / (2 * np.pi) if self._kink else 0.0
        return np.sqrt(qa * qb) * (self._shared * c + self._kink * kernel)

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        kernel = (np.pi - np.arccos(c)) / (2 * np.pi)
        return self._shared + self._kink * kernel + 0 * (qa + qb)


class Linear(Homogeneous):
    """x.

    >>> linear = Linear()
    >>> float(linear(2.0)), float(linear.slope(2.0)), float(linear.covariance(1.0, 1.0, 0.5))
    (2.0, 1.0, 0.5)
    """

    def __init__(self) -> None:
        super().__init__(1.0, 1.0, "linear")

    def __call__(self, x: Any) -> Any:
        return backend(x)[1][()]

    def slope(self, x: Any) -> Any:
        return torch.ones_like(x) if isinstance(x, torch.Tensor) else np.ones_like(real("x", x))[()]


class ReLU(Homogeneous):
    """max(x, 0).

    >>> relu = ReLU()
    >>> relu([-1.0, 2.0]).tolist(), relu.slope(2.0).item(), float(relu.second_moment(1.0))
    ([0.0, 2.0], 1.0, 0.5)
    """

    def __init__(self) -> None:
        super().__init__(0.0, 1.0, "relu")

    def __call__(self, x: Any) -> Any:
        return torch.relu(x) if isinstance(x, torch.Tensor) else np.maximum(real("x", x), 0)[()]

    def slope(self, x: Any) -> Any:
        return _step(x)


class LeakyReLU(Homogeneous):
    """x for x > 0, else ``negative_slope`` · x.

    >>> float(LeakyReLU(0.1).slope_moment(1.0, 2))
    0.505
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(
            negative_slope, 1.0, "leaky_relu" if negative_slope == 0.01 else f"leaky_relu({negative_slope:g})"
        )

    def __call__(self, x: Any) -> Any:
        xp, x = backend(x)
        return xp.where(x > 0, x, self.below * x)[()]


class Sine(Activation):
    """sin x.

    >>> sine = Sine()
    >>> float(sine(0.0)), sine.slope(0.0).item()
    (0.0, 1.0)
    """

    name = "sin"

    def __call__(self, x: Any) -> Any:
        xp, x = backend(x)
        return xp.sin(x)

    def slope(self, x: Any) -> Any:
        xp, x = backend(x)
        return xp.cos(x)

    def _mean(self, q: Array) -> Array:
        return 0 * q

    def _second_moment(self, q: Array) -> Array:
        return -np.expm1(-2 * q) / 2

    def _second_moment_slope(self, q: Array) -> Array:
        return np.exp(-2 * q)

    def _slope_moment(self, q: Array, k: int) -> Array:
        terms = (math.comb(k, j) * np.exp(-q * (k - 2 * j) ** 2 / 2) for j in range(k + 1))
        return np.asarray(sum(terms) / 2**k)

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        together = np.sqrt(qa * qb) * c
        near, far = self._exponentials(qa, qb, together)
        # sinh t exp(-(qa + qb)/2), where neither cancels nor overflows
        small = np.exp(-(qa + qb) / 2) * np.sinh(np.clip(together, -1, 1))
        return np.where(np.abs(together) < 1, small, (near - far) / 2)

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        near, far = self._exponentials(qa, qb, np.sqrt(qa * qb) * c)
        return (near + far) / 2

    @staticmethod
    def _exponentials(qa: Array, qb: Array, together: Array) -> tuple[Array, Array]:
        return np.exp(-(qa + qb) / 2 + together), np.exp(-(qa + qb) / 2 - together)


class Step(Activation):
    """1 for x > 0, else 0: the derivative of ReLU. ``slope`` is 0, its value almost everywhere; the moments of the
    derivative are those of Dirac's delta, so that d/dqab of ``covariance`` is ``slope_covariance``.

    >>> step = Step()
    >>> step([-1.0, 2.0]).tolist(), step.slope([-1.0, 2.0]).tolist(), float(step.mean(1.0))
    ([0.0, 1.0], [0.0, 0.0], 0.5)
    """

    name = "step"

    def __call__(self, x: Any) -> Any:
        return _step(x)

    def slope(self, x: Any) -> Any:
        return torch.zeros_like(x) if isinstance(x, torch.Tensor) else np.zeros_like(real("x", x))[()]

    def _mean(self, q: Array) -> Array:
        return np.full_like(q, 0.5)

    def _second_moment(self, q: Array) -> Array:
        return np.full_like(q, 0.5)

    def _second_moment_slope(self, q: Array) -> Array:
        return np.zeros_like(q)

    def _slope_moment(self, q: Array, k: int) -> Array:
        return np.full_like(q, np.inf) if k > 1 else gauss.inverse(np.sqrt(2 * np.pi * q))

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return (np.pi - np.arccos(c)) / (2 * np.pi) + 0 * (qa + qb)

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return gauss.inverse(2 * np.pi * np.sqrt(qa * qb) * gauss.sine(c))


class Erf(Activation):
    """The error function (2/√π) ∫_0^x exp(-t²) dt; two-point functions: Williams (1997).

    >>> erf = Erf()
    >>> float(erf(0.0)), round(float(erf.slope(0.0)), 6)
    (0.0, 1.128379)
    """

    name = "erf"

    def __call__(self, x: Any) -> Any:
        return torch.special.erf(x) if isinstance(x, torch.Tensor) else erf(real("x", x))

    def slope(self, x: Any) -> Any:
        xp, x = backend(x)
        return 2 / math.sqrt(math.pi) * xp.exp(-(x**2))

    def _mean(self, q: Array) -> Array:
        return 0 * q

    def _second_moment(self, q: Array) -> Array:
        return 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q))

    def _second_moment_slope(self, q: Array) -> Array:
        return 4 / (np.pi * (1 + 2 * q) * np.sqrt(1 + 4 * q))

    def _slope_moment(self, q: Array, k: int) -> Array:
        return (4 / np.pi) ** (k / 2) / np.sqrt(1 + 2 * k * q)

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return 2 / np.pi * np.arcsin(2 * np.sqrt(qa * qb) * c / np.sqrt((1 + 2 * qa) * (1 + 2 * qb)))

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return 4 / np.pi / np.sqrt(1 + 2 * qa + 2 * qb + 4 * qa * qb * gauss.sine(c) ** 2)


class Gaussian(Activation):
    """exp(-x²/2).

    >>> bell = Gaussian()
    >>> float(bell(0.0)), float(bell.slope(0.0)), float(bell.mean(3.0))
    (1.0, -0.0, 0.5)
    """

    name = "gaussian"

    def __call__(self, x: Any) -> Any:
        xp, x = backend(x)
        return xp.exp(-(x**2) / 2)

    def slope(self, x: Any) -> Any:
        return -x * self(x) if isinstance(x, torch.Tensor) else -real("x", x) * self(x)

    def _mean(self, q: Array) -> Array:
        return (1 + q) ** -0.5

    def _second_moment(self, q: Array) -> Array:
        return (1 + 2 * q) ** -0.5

    def _second_moment_slope(self, q: Array) -> Array:
        return -((1 + 2 * q) ** -1.5)

    def _slope_moment(self, q: Array, k: int) -> Array:
        if k % 2:
            return 0 * q
        return math.prod(range(1, k, 2)) * (q / (1 + k * q)) ** (k // 2) / np.sqrt(1 + k * q)

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return (1 + qa + qb + qa * qb * gauss.sine(c) ** 2) ** -0.5

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return np.sqrt(qa * qb) * c * (1 + qa + qb + qa * qb * gauss.sine(c) ** 2) ** -1.5


class HardTanh(PiecewiseActivation):
    r"""clip(x, -1, 1). The two-point functions reduce to :math:`P(|u|<1, |v|<1)` and truncated moments of a bivariate
    normal law (Rosenbaum 1961), hence to Owen's T function; where its terms cancel (variances above 10^4, correlations
    within 10^-6 of ±1), the integrals are those over the pieces.

    >>> clip = HardTanh()
    >>> clip([-3.0, 0.5]).tolist(), clip.slope([-3.0, 0.5]).tolist()
    ([-1.0, 0.5], [0.0, 1.0])
    """

    name = "hardtanh"
    mean_slope = Activation.mean_slope

    def __call__(self, x: Any) -> Any:
        return torch.nn.functional.hardtanh(x) if isinstance(x, torch.Tensor) else np.clip(real("x", x), -1, 1)

    def slope(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return (x.abs() < 1).to(x.dtype)
        return np.where(np.abs(real("x", x)) < 1, 1.0, 0.0)[()]

    def _mean(self, q: Array) -> Array:
        return 0 * q

    def _second_moment(self, q: Array) -> Array:
        return q * self._second_moment_slope(q) + erfc(gauss.inverse(np.sqrt(2 * q)))

    def _second_moment_slope(self, q: Array) -> Array:
        edge = gauss.inverse(np.sqrt(q))
        with np.errstate(invalid="ignore"):  # inf · 0 at q = 0
            lost = math.sqrt(2 / np.pi) * edge * np.exp(-(edge**2) / 2)
        return self._slope_moment(q, 1) - np.where(q > 0, lost, 0.0)

    def _slope_moment(self, q: Array, k: int) -> Array:
        return np.asarray(erf(gauss.inverse(np.sqrt(2 * q))))

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        cancels = (np.maximum(qa, qb) > 1e4) | (np.abs(c) > 1 - 1e-6)
        out = np.asarray(self._owen(qa, qb, c))
        if cancels.any():
            cancels, qa, qb, c = np.broadcast_arrays(cancels, qa, qb, c)
            out[cancels] = self._pairs(self, qa[cancels], qb[cancels], c[cancels])
        return out

    def _owen(self, qa: Array, qb: Array, c: Array) -> Array:
        # below a variance of 0.01 no unit is clipped (the edge is 10 standard deviations away): E u phi(v) = qab E phi'
        never = np.minimum(qa, qb) < 0.01
        sa, sb = (np.sqrt(np.maximum(q, 0.01)) for q in (qa, qb))
        h, k, sine = 1 / sa, 1 / sb, gauss.sine(c)
        lower_h, upper_h, lower_k, upper_k = gauss.owen_slopes(h, k, c)
        # P(u > 1, v > 1) - P(u > 1, v < -1), then the contributions of the lines |u| = 1, |v| = 1 and of the corners
        saturated = owens_t(h, upper_h) - owens_t(h, lower_h)
        saturated = 2 * saturated if qa is qb else saturated + owens_t(k, upper_k) - owens_t(k, lower_k)
        edges = sa * gauss.normal(h) * (gauss.erf2(h * upper_h) - gauss.erf2(h * lower_h))
        edges = edges + sb * gauss.normal(k) * (gauss.erf2(k * upper_k) - gauss.erf2(k * lower_k))
        corners = sa * sb * sine * gauss.normal(h) * (gauss.normal(h * lower_h) - gauss.normal(h * upper_h))
        clipped = sa * sb * c * self._slope_covariance(qa, qb, c) + 2 * (saturated + corners) - edges
        linear = np.sqrt(qa * qb) * c * self._slope_moment(np.maximum(qa, qb), 1)
        return np.where(never, linear, clipped)

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        h, k = (1 / np.sqrt(np.maximum(q, 1e-4)) for q in (qa, qb))  # beyond 100 standard deviations nothing is lost
        lower_h, upper_h, lower_k, upper_k = gauss.owen_slopes(h, k, c)
        outside = owens_t(h, lower_h) + owens_t(h, upper_h)
        outside = 2 * outside if qa is qb else outside + owens_t(k, lower_k) + owens_t(k, upper_k)
        return np.asarray(1 - 2 * outside)


def _step(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return (x > 0).to(x.dtype)
    return np.where(real("x", x) > 0, 1.0, 0.0)[()]
