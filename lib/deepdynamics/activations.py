r"""Activations: value, derivative and Gaussian moments.

With :math:`z \sim N(0, 1)` and :math:`(u, v)` Gaussian of variances :math:`q_a, q_b` and covariance :math:`q_{ab}`, an
:class:`Activation` knows

.. math::
    E\,\phi(\sqrt q z),\quad E\,\phi(\sqrt q z)^2,\quad E\,\phi'(\sqrt q z)^k,\quad E\,\phi(u)\phi(v),\quad
    E\,\phi'(u)\phi'(v).

Most activations have closed forms. The others (tanh, sigmoid, softplus) are analytic in a strip around the real line:
there the trapezoid rule converges exponentially, and two-point functions follow from Mehler's expansion

.. math::
    E\,\phi(u)\phi(v) = \sum_k a_k(q_a)\,a_k(q_b)\,c^k,\qquad a_k(q) = E\,\phi(\sqrt q z)\,\mathrm{He}_k(z)/\sqrt{k!},
    \qquad c = q_{ab}/\sqrt{q_a q_b},

so that one matrix of coefficients serves every correlation. Values and derivatives act on numpy arrays and on torch
tensors (device and dtype are kept); moments take and return numpy float64 and broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf, erfc, expit, owens_t

from deepdynamics import gaussianintegrals as gauss

Array = NDArray[np.float64]
Function = Callable[[Any], Any]


class Activation:
    """A function phi, its derivative and its Gaussian moments; see :func:`get` for the ones that have a name.

    Subclasses give ``__call__``, ``slope`` and the closed forms. All moments raise ValueError for a negative or
    non-finite variance, and the two-point functions for a covariance that no pair of variables has.
    """

    name: str = ""
    growth: float = 0.0  # limit of E phi(√q z)²/q as q -> ∞

    def __call__(self, x: Any) -> Any:
        """phi(x), elementwise, of a torch tensor or of anything numpy takes."""
        raise NotImplementedError

    def slope(self, x: Any) -> Any:
        """phi'(x), elementwise; at a kink the derivative that torch's autograd takes."""
        raise NotImplementedError

    def mean(self, q: ArrayLike) -> Any:
        """E phi(√q z).

        >>> float(get("relu").mean(2 * np.pi))
        1.0
        """
        return self._mean(_variance("q", q))[()]

    def second_moment(self, q: ArrayLike) -> Any:
        """E phi(√q z)².

        >>> float(get("relu").second_moment(3.0))
        1.5
        """
        return self._second_moment(_variance("q", q))[()]

    def second_moment_slope(self, q: ArrayLike) -> Any:
        """d/dq E phi(√q z)² = E [phi'² + phi phi''](√q z) (Stein's lemma): the slope of a length map with weight
        variance 1.

        >>> float(get("relu").second_moment_slope(3.0))
        0.5
        """
        return self._second_moment_slope(_variance("q", q))[()]

    def slope_moment(self, q: ArrayLike, k: int) -> Any:
        """E phi'(√q z)^k for a positive integer k. (The step function's derivative is Dirac's delta: inf for k > 1.)

        >>> float(get("relu").slope_moment(3.0, 4))
        0.5
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"k = {k!r}: a positive integer is allowed")
        return self._slope_moment(_variance("q", q), int(k))[()]

    def covariance(self, qa: ArrayLike, qb: ArrayLike, qab: ArrayLike) -> Any:
        """E phi(u) phi(v), with (u, v) Gaussian of variances qa, qb and covariance (not correlation) qab.

        >>> round(float(get("relu").covariance(1.0, 1.0, 0.0)), 12) == round(1 / (2 * np.pi), 12)
        True
        """
        return self._covariance(*_pair(qa, qb, qab))[()]

    def slope_covariance(self, qa: ArrayLike, qb: ArrayLike, qab: ArrayLike) -> Any:
        """E phi'(u) phi'(v), with (u, v) as in :meth:`covariance`; it is d/dqab of it (Price's theorem).

        >>> float(get("relu").slope_covariance(1.0, 1.0, 0.0))
        0.25
        """
        return self._slope_covariance(*_pair(qa, qb, qab))[()]

    def mean_slope(self, q: ArrayLike) -> Callable[[ArrayLike], Array]:
        r"""The function :math:`c \mapsto [E\phi(u)^2 - E\phi(u)\phi(v)]/(q(1-c))` of a correlation in [0, 1], for
        u, v of variance q > 0: the mean of :math:`E\phi'(u)\phi'(v)` over the correlations from c to 1.

        It has no cancellation at c -> 1, where its value is E phi'². ``q`` and c are arrays of the same shape.

        >>> float(get("linear").mean_slope(2.0)(0.3))
        1.0
        """
        variance = _variance("q", q)
        second = self._second_moment(variance)
        # 1 - (1 - c)s² removes the square-root singularity that kinks have at c = 1.
        nodes, weights = np.polynomial.legendre.leggauss(16)
        s, w = (nodes + 1) / 2, weights * (nodes + 1) / 2

        def evaluate(c: ArrayLike) -> Array:
            correlation = np.asarray(c, float)
            out = np.empty(np.broadcast_shapes(variance.shape, correlation.shape))
            far = correlation < 0.9
            v, r = variance[far], correlation[far]
            out[far] = (second[far] - self._covariance(v, v, r)) / (v * (1 - r))
            v, r = variance[~far][:, None], correlation[~far][:, None]
            out[~far] = self._slope_covariance(v, v, 1 - (1 - r) * s**2) @ w
            return out

        return evaluate

    # The moments, for checked input. c is the correlation.
    def _mean(self, q: Array) -> Array:
        raise NotImplementedError

    def _second_moment(self, q: Array) -> Array:
        raise NotImplementedError

    def _second_moment_slope(self, q: Array) -> Array:
        raise NotImplementedError

    def _slope_moment(self, q: Array, k: int) -> Array:
        raise NotImplementedError

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        raise NotImplementedError

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<activation {self.name}>"


class SmoothActivation(Activation):
    r"""An activation that is analytic in the strip :math:`|\mathrm{Im}\,x| < s` and grows at most linearly: its moments
    come from ``__call__`` and ``slope`` alone, by the trapezoid rule and by Mehler's expansion.

    ``strip`` is s, and sets step and number of terms; ``parity`` is -1 for odd, 1 for even functions and 0 otherwise,
    and saves half of the nodes and terms. A subclass with these two and the two functions is a new activation:

    >>> class Sine(SmoothActivation):
    ...     name, parity = "sine", -1
    ...     def __call__(self, x): return np.sin(x)
    ...     def slope(self, x): return np.cos(x)
    >>> bool(abs(Sine().second_moment(1.0) - (1 - np.exp(-2)) / 2) < 1e-14)
    True
    """

    strip: float = 1.0
    parity: int = 0

    def _mean(self, q: Array) -> Array:
        return gauss.gaussian_mean(self, q, self.strip, self.parity)

    def _second_moment(self, q: Array) -> Array:
        return gauss.gaussian_mean(lambda x: self(x) ** 2, q, self.strip, self.parity**2)

    def _second_moment_slope(self, q: Array) -> Array:
        # E[x phi phi']/q. Without a parity the summands cancel like √q, which bounds q from below.
        q = np.maximum(q, 1e-100 if self.parity else 1e-10)
        return gauss.gaussian_mean(lambda x: x * self(x) * self.slope(x), q, self.strip, self.parity**2) / q

    def _slope_moment(self, q: Array, k: int) -> Array:
        return gauss.gaussian_mean(
            lambda x: self.slope(x) ** k, q, self.strip, (-self.parity) ** k if self.parity else 0
        )

    def hermite_coefficients(self, q: ArrayLike) -> Array:
        """a_0(q), a_1(q), …, stacked on a new first axis, as many as the largest q needs.

        >>> a = get("tanh").hermite_coefficients(1.0)
        >>> bool(abs((a**2).sum() - get("tanh").second_moment(1.0)) < 1e-13)
        True
        """
        variance = _variance("q", q)
        coefficients, ks = gauss.hermite_coefficients(
            self, variance, self.strip, self.parity, gauss.mehler_terms(variance, self.strip)
        )
        full = np.zeros((ks[-1] + 1, *variance.shape))
        full[ks] = coefficients
        return full

    def mean_slope(self, q: ArrayLike) -> Callable[[ArrayLike], Array]:
        variance = _variance("q", q)
        squares = self.hermite_coefficients(variance) ** 2
        tails = np.cumsum(squares[:0:-1], axis=0)[::-1] / variance  # sum of a_k² over k > j

        def evaluate(c: ArrayLike) -> Array:
            return gauss.horner(tails, np.asarray(c, float))

        return evaluate

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return self._two_point(self, self.parity, qa, qb, c)

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return self._two_point(self.slope, -self.parity, qa, qb, c)

    def _two_point(self, f: Function, parity: int, qa: Array, qb: Array, c: Array) -> Array:
        """Mehler's series of E f(u) f(v)."""
        dimensions = max(qa.ndim, qb.ndim, c.ndim)
        qa, qb = (q.reshape((1,) * (dimensions - q.ndim) + q.shape) for q in (qa, qb))
        terms = gauss.mehler_terms(np.append(qa, qb), self.strip)
        a, ks = gauss.hermite_coefficients(f, qa, self.strip, parity, terms)
        b = a if qb is qa else gauss.hermite_coefficients(f, qb, self.strip, parity, terms)[0]
        stride = ks[1] - ks[0]
        return gauss.horner(a * b, c**stride) * c ** ks[0]


class Linear(Activation):
    name, growth = "linear", 1.0

    def __call__(self, x: Any) -> Any:
        return x if isinstance(x, torch.Tensor) else np.asarray(x, float)[()]

    def slope(self, x: Any) -> Any:
        return torch.ones_like(x) if isinstance(x, torch.Tensor) else np.ones_like(x, float)[()]

    def _mean(self, q: Array) -> Array:
        return 0 * q

    def _second_moment(self, q: Array) -> Array:
        return 1.0 * q

    def _second_moment_slope(self, q: Array) -> Array:
        return np.ones_like(q)

    def _slope_moment(self, q: Array, k: int) -> Array:
        return np.ones_like(q)

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return np.sqrt(qa * qb) * c

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return np.ones(np.broadcast_shapes(qa.shape, qb.shape, c.shape))


class ReLU(Activation):
    """max(x, 0); two-point functions: the arc-cosine kernels (Cho and Saul 2009)."""

    name, growth = "relu", 0.5

    def __call__(self, x: Any) -> Any:
        return torch.relu(x) if isinstance(x, torch.Tensor) else np.maximum(np.asarray(x, float), 0)[()]

    def slope(self, x: Any) -> Any:
        return _step(x)

    def _mean(self, q: Array) -> Array:
        return np.sqrt(q / (2 * np.pi))

    def _second_moment(self, q: Array) -> Array:
        return q / 2

    def _second_moment_slope(self, q: Array) -> Array:
        return np.full_like(q, 0.5)

    def _slope_moment(self, q: Array, k: int) -> Array:
        return np.full_like(q, 0.5)

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return np.sqrt(qa * qb) * (gauss.sine(c) + c * (np.pi - np.arccos(c))) / (2 * np.pi)

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return (np.pi - np.arccos(c)) / (2 * np.pi) + 0 * (qa + qb)


class Step(Activation):
    """1 for x > 0, else 0: the derivative of ReLU. ``slope`` is 0, its value almost everywhere; the moments of the
    derivative are those of Dirac's delta, so that d/dqab of ``covariance`` is ``slope_covariance``.
    """

    name = "step"

    def __call__(self, x: Any) -> Any:
        return _step(x)

    def slope(self, x: Any) -> Any:
        return torch.zeros_like(x) if isinstance(x, torch.Tensor) else np.zeros_like(x, float)[()]

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
    """The error function (2/√π) ∫_0^x exp(-t²) dt; two-point functions: Williams (1997)."""

    name = "erf"

    def __call__(self, x: Any) -> Any:
        return torch.special.erf(x) if isinstance(x, torch.Tensor) else erf(np.asarray(x, float))

    def slope(self, x: Any) -> Any:
        xp, x = _backend(x)
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
    """exp(-x²/2)."""

    name = "gaussian"

    def __call__(self, x: Any) -> Any:
        xp, x = _backend(x)
        return xp.exp(-(x**2) / 2)

    def slope(self, x: Any) -> Any:
        return -x * self(x) if isinstance(x, torch.Tensor) else -np.asarray(x, float) * self(x)

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


class HardTanh(Activation):
    r"""clip(x, -1, 1). The two-point functions reduce to :math:`P(|u|<1, |v|<1)` and truncated moments of a bivariate
    normal law (Rosenbaum 1961), hence to Owen's T function.
    """

    name = "hardtanh"

    def __call__(self, x: Any) -> Any:
        return torch.nn.functional.hardtanh(x) if isinstance(x, torch.Tensor) else np.clip(np.asarray(x, float), -1, 1)

    def slope(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return (x.abs() < 1).to(x.dtype)
        return np.where(np.abs(np.asarray(x, float)) < 1, 1.0, 0.0)[()]

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


class Tanh(SmoothActivation):
    name, strip, parity = "tanh", math.pi / 2, -1

    def __call__(self, x: Any) -> Any:
        xp, x = _backend(x)
        return xp.tanh(x)

    def slope(self, x: Any) -> Any:
        return 1 - self(x) ** 2


class Sigmoid(SmoothActivation):
    """1/(1 + exp(-x))."""

    name, strip = "sigmoid", math.pi

    def __call__(self, x: Any) -> Any:
        return torch.sigmoid(x) if isinstance(x, torch.Tensor) else expit(np.asarray(x, float))

    def slope(self, x: Any) -> Any:
        return self(x) * self(-x)

    def _mean(self, q: Array) -> Array:
        return np.full_like(q, 0.5)


class Softplus(SmoothActivation):
    """log(1 + exp(x))."""

    name, strip, growth = "softplus", math.pi, 0.5

    def __call__(self, x: Any) -> Any:
        xp, x = _backend(x)
        return xp.logaddexp(x, 0 * x)

    def slope(self, x: Any) -> Any:
        return torch.sigmoid(x) if isinstance(x, torch.Tensor) else expit(np.asarray(x, float))


_NAMED = {kind.name: kind() for kind in (Linear, ReLU, Tanh, Erf, Sigmoid, HardTanh, Softplus, Step, Gaussian)}


def get(name: str | Activation) -> Activation:
    """The activation of this name: linear relu tanh erf sigmoid hardtanh softplus step gaussian.

    An :class:`Activation` is handed through, so that a new one can be used wherever a name can. ValueError for an
    unknown name.

    >>> float(get("tanh")(0.0)), float(get("relu").slope_moment(1.0, 2))
    (0.0, 0.5)
    """
    if isinstance(name, Activation):
        return name
    if name not in _NAMED:
        raise ValueError(f"activation = {name!r} is unknown; allowed are {', '.join(_NAMED)}")
    return _NAMED[name]


def _backend(x: Any) -> tuple[Any, Any]:
    return (torch, x) if isinstance(x, torch.Tensor) else (np, np.asarray(x, float))


def _step(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return (x > 0).to(x.dtype)
    return np.where(np.asarray(x, float) > 0, 1.0, 0.0)[()]


def _variance(name: str, q: ArrayLike) -> Array:
    array = np.asarray(q, float)
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{name} = {array}: a variance is finite and not negative")
    return array


def _pair(qa: ArrayLike, qb: ArrayLike, qab: ArrayLike) -> tuple[Array, Array, Array]:
    """Checked variances and the correlation; 0 where a variance is 0."""
    va, vb, covariance = _variance("qa", qa), _variance("qb", qb), np.asarray(qab, float)
    scale = np.sqrt(va * vb)
    c = np.divide(covariance, scale, out=np.zeros(np.broadcast(covariance, scale).shape), where=scale > 0)
    # √(qa qb) is rounded, so a correlation of 1 may come out a few units in the last place above it
    if not (np.isfinite(covariance).all() and (np.abs(covariance) <= scale * (1 + 1e-12)).all()):
        raise ValueError(f"qab = {covariance}: with qa = {va}, qb = {vb} it is at most √(qa qb) = {scale} in size")
    return va, vb, np.clip(c, -1, 1)
