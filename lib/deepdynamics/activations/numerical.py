r"""Activations whose Gaussian moments are computed.

:class:`PiecewiseActivation` takes any function that is smooth in pieces, with kinks and jumps where it likes, and
integrates over the pieces (:mod:`deepdynamics.activations.quadrature`). :class:`SmoothActivation` is for functions that
are analytic in a strip around the real line: there the trapezoid rule converges exponentially, and two-point functions
follow from Mehler's expansion

.. math::
    E\,\phi(u)\phi(v) = \sum_k a_k(q_a)\,a_k(q_b)\,c^k,\qquad a_k(q) = E\,\phi(\sqrt q z)\,\mathrm{He}_k(z)/\sqrt{k!},
    \qquad c = q_{ab}/\sqrt{q_a q_b},

so that one matrix of coefficients serves every correlation. Where the variance is too large for that, or the strip is
not there, it goes over the pieces as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deepdynamics._checks import Array, not_negative, real
from deepdynamics.activations import integrals as gauss
from deepdynamics.activations import quadrature as piecewise
from deepdynamics.activations.base import Activation
from deepdynamics.activations.integrals import Function
from deepdynamics.activations.interpolation import EqualVariances
from deepdynamics.activations.pieces import Pieces

__all__ = ["PiecewiseActivation", "SmoothActivation"]

_TINY = 1e-60  # a variance at which moments of the slope are the limit at 0, kinks there included


class PiecewiseActivation(Activation):
    """An activation that is smooth in pieces, between kinks and jumps that are found, and grows less than
    exponentially: ``__call__`` and ``slope``, on numpy arrays, are all it needs.

    Moments are right to 1e-10 of E |…|, with the same work for any variance up to a logarithm. ValueError where a
    function has more than 2,048 pieces, or no moments in float64.

    >>> class Shrink(PiecewiseActivation):
    ...     name = "shrink"
    ...     def __call__(self, x): return x - np.clip(x, -0.5, 0.5)
    ...     def slope(self, x): return 1.0 * (abs(x) > 0.5)
    >>> bool(abs(Shrink().slope_moment(1.0, 2) - (1 - math.erf(0.5**1.5))) < 1e-14)
    True
    """

    @cached_property
    def pieces(self) -> Pieces:
        """Where the function is smooth.

        >>> from deepdynamics import activations
        >>> activations.get("elu").pieces.within(2.0)[1].tolist()
        [0.0]
        """
        return Pieces(lambda x: np.stack([self(x), self.slope(x)]), f"activation {self.name}")

    def __getstate__(self) -> dict[str, Any]:
        """Without its tables, which are made again where they are needed: closures cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name not in ("pieces", "_equal")}

    @cached_property
    def _equal(self) -> tuple[EqualVariances, EqualVariances, EqualVariances]:
        """Of equal variances and a correlation: E phi phi, E phi' phi', and ``mean_slope``."""

        def differences(q: Array, c: Array) -> Array:
            square = piecewise.pair_mean(lambda u, v: np.asarray((self(u) - self(v)) ** 2), q, q, c, self.pieces)
            same = c == 1
            out = np.divide(square, 2 * q * (1 - c), out=np.empty_like(square), where=~same)
            out[same] = self._slope_moment(q[same], 2)
            return out

        return (
            EqualVariances(lambda q, c: self._pairs(self, q, q, c)),
            EqualVariances(self._slope_pairs),
            EqualVariances(differences),
        )

    def rule(self, q: float) -> tuple[Array, Array]:
        """Nodes x and weights w of the Gaussian law of variance q > 0, which resolve phi: E f(√q z) = Σ w f(x).

        >>> from deepdynamics import activations
        >>> x, w = activations.get("elu").rule(2.0)
        >>> round(float(w @ x**2), 12)
        2.0
        """
        return piecewise.rule(q, self.pieces)

    def mean_slope(self, q: ArrayLike) -> Callable[[ArrayLike], Array]:
        checked = not_negative("q", q)
        return lambda c: self._equal[2](checked, real("c", c))

    def _mean(self, q: Array) -> Array:
        return self._integral(self, q)

    def _second_moment(self, q: Array) -> Array:
        return self._integral(lambda x: self(x) ** 2, q)

    def _integral(self, f: Function, q: Array) -> Array:
        """E f(√q z), at q = 0 its value there."""
        positive = q > 0
        out = np.full(q.shape, float(f(np.zeros(1))[0]))
        if positive.any():
            out[positive] = piecewise.gaussian_mean(f, q[positive], self.pieces)
        return out

    def _second_moment_slope(self, q: Array) -> Array:
        # E[x phi phi']/q, whose summands cancel like √q, which bounds q from below
        q = np.maximum(q, 1e-10)
        slope = piecewise.gaussian_mean(lambda x: x * self(x) * self.slope(x), q, self.pieces) / q
        places, left, right = self._jumps(q)
        steps = (right**2 - left**2) * places * gauss.normal(places / np.sqrt(q)[..., None])
        return slope + steps.sum(-1) / (2 * q**1.5)

    def _slope_moment(self, q: Array, k: int) -> Array:
        q = np.maximum(q, _TINY)
        moment = piecewise.gaussian_mean(lambda x: self.slope(x) ** k, q, self.pieces)
        places, left, right = self._jumps(q)
        if len(places) == 0:
            return moment
        if k > 1:
            return np.full_like(q, np.inf)
        return moment + ((right - left) * gauss.normal(places / np.sqrt(q)[..., None])).sum(-1) / np.sqrt(q)

    def _jumps(self, q: Array) -> tuple[Array, Array, Array]:
        return self.pieces.jumps(piecewise.REACH * math.sqrt(q.max(initial=0.0)))

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return self._equal[0](qa, c) if qa is qb else self._pairs(self, qa, qb, c)

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        return self._equal[1](qa, c) if qa is qb else self._slope_pairs(qa, c, qb)

    def _pairs(self, f: Function, qa: Array, qb: Array, c: Array) -> Array:
        """E f(u) f(v); where a variance is 0, the limit."""
        qa, qb = np.maximum(qa, _TINY), np.maximum(qb, _TINY)
        return piecewise.pair_mean(lambda u, v: f(u) * f(v), qa, qb, c, self.pieces)

    def _slope_pairs(self, qa: Array, c: Array, qb: Array | None = None) -> Array:
        """E phi'(u) phi'(v): at a jump of phi, phi' has an atom: an integral over the line less for each."""
        qa, qb, c = np.broadcast_arrays(qa, qa if qb is None else qb, c)
        smooth = self._pairs(self.slope, qa, qb, c)
        places, left, right = self._jumps(np.maximum(qa, qb))
        if len(places) == 0:
            return smooth
        qa, qb, sine = np.maximum(qa, _TINY), np.maximum(qb, _TINY), gauss.sine(c)
        for at, jump in zip(places, right - left, strict=True):
            for one, other in ((qa, qb), (qb, qa)):
                line = jump * gauss.normal(at / np.sqrt(one)) / np.sqrt(one)
                narrow = np.maximum(other * sine**2, _TINY)
                beside = piecewise.gaussian_mean(self.slope, narrow, self.pieces, c * np.sqrt(other / one) * at)
                smooth = smooth + line * beside
            for there, step in zip(places, right - left, strict=True):
                density = gauss.normal(at / np.sqrt(qa)) / np.sqrt(qa)
                with np.errstate(divide="ignore", invalid="ignore"):
                    apart = (there / np.sqrt(qb) - c * at / np.sqrt(qa)) / sine
                    rest = gauss.normal(np.nan_to_num(apart, nan=0.0)) / (np.sqrt(qb) * sine)
                smooth = smooth + jump * step * density * np.nan_to_num(rest, nan=0.0, posinf=np.inf)
        return smooth


class SmoothActivation(PiecewiseActivation):
    r"""An activation that is analytic in the strip :math:`|\mathrm{Im}\,x| < s` and grows at most linearly: its moments
    come from ``__call__`` and ``slope`` alone, by the trapezoid rule and by Mehler's expansion.

    ``strip`` is s, and sets step and number of terms; ``parity`` is -1 for odd, 1 for even functions and 0 otherwise,
    and saves half of the nodes and terms. A subclass with these two and the two functions is a new activation. What it
    says of itself is checked at the first use; where it is not so (a kink, another parity), and for variances whose
    series would be too long, the integrals are those of :class:`PiecewiseActivation`.

    >>> class Sine(SmoothActivation):
    ...     name, parity = "sine", -1
    ...     def __call__(self, x): return np.sin(x)
    ...     def slope(self, x): return np.cos(x)
    >>> bool(abs(Sine().second_moment(1.0) - (1 - np.exp(-2)) / 2) < 1e-14)
    True
    """

    strip: float = 1.0
    parity: int = 0

    @cached_property
    def _longest(self) -> float:
        """The largest variance at which the series is used: 0 where the function is not what it says. The classes of
        the library say ``_known``: the tests hold them against quadrature.
        """
        limit = 40 * (2 * self.strip / math.pi) ** 2
        if "_known" in vars(type(self)):
            return limit
        for q in np.array([0.05, 1.0, 0.7 * limit])[:, None]:
            half = q / 2
            for strip, pieces in (
                (self._strip_mean(self, q, self.parity), super()._mean(q)),
                (self._strip_mean(lambda x: self(x) ** 2, q, self.parity**2), super()._second_moment(q)),
                (self._mehler(self, self.parity, q, q, half / q), super()._covariance(q, q, half / q)),
                (self._mehler(self.slope, -self.parity, q, q, 2 * half / q), super()._slope_moment(q, 2)),
            ):
                if not np.allclose(strip, pieces, rtol=1e-9, atol=1e-10 * float(np.abs(self(np.sqrt(q))).max())):
                    return 0.0
        return limit

    def _either(self, series: Callable[..., Array], pieces: Callable[..., Array], *q: Array, rest: Any = ()) -> Array:
        """By the series where the variances allow it, over the pieces elsewhere."""
        most = max(float(each.max(initial=0.0)) for each in q)
        if most <= self._longest:
            return series(*q, *rest)
        if len(q) == 1 and not rest and (small := q[0] <= self._longest).any():
            out = np.empty(q[0].shape)
            out[small], out[~small] = series(q[0][small]), pieces(q[0][~small])
            return out
        return pieces(*q, *rest)

    def _strip_mean(self, f: Function, q: Array, parity: int) -> Array:
        return gauss.gaussian_mean(f, q, self.strip, parity)

    def _mean(self, q: Array) -> Array:
        return self._either(lambda q: self._strip_mean(self, q, self.parity), super()._mean, q)

    def _second_moment(self, q: Array) -> Array:
        series = lambda q: self._strip_mean(lambda x: self(x) ** 2, q, self.parity**2)  # noqa: E731
        return self._either(series, super()._second_moment, q)

    def _second_moment_slope(self, q: Array) -> Array:
        def series(q: Array) -> Array:
            # E[x phi phi']/q. Without a parity the summands cancel like √q, which bounds q from below.
            q = np.maximum(q, 1e-100 if self.parity else 1e-10)
            return self._strip_mean(lambda x: x * self(x) * self.slope(x), q, self.parity**2) / q

        return self._either(series, super()._second_moment_slope, q)

    def _slope_moment(self, q: Array, k: int) -> Array:
        parity = (-self.parity) ** k if self.parity else 0
        series = lambda q: self._strip_mean(lambda x: self.slope(x) ** k, q, parity)  # noqa: E731
        pieces = super()._slope_moment
        return self._either(series, lambda q: pieces(q, k), q)

    def hermite_coefficients(self, q: ArrayLike) -> Array:
        """a_0(q), a_1(q), …, stacked on a new first axis, as many as the largest q needs. ValueError for a q whose
        series is too long.

        >>> from deepdynamics import activations
        >>> a = activations.get("tanh").hermite_coefficients(1.0)
        >>> bool(abs((a**2).sum() - activations.get("tanh").second_moment(1.0)) < 1e-13)
        True
        """
        checked = not_negative("q", q)
        if (checked > self._longest).any():
            raise ValueError(
                f"q = {checked}: at most {self._longest:g} is allowed for {self.name}, whose series is short"
            )
        coefficients, ks = gauss.hermite_coefficients(
            self, checked, self.strip, self.parity, gauss.mehler_terms(checked, self.strip)
        )
        full = np.zeros((ks[-1] + 1, *checked.shape))
        full[ks] = coefficients
        return full

    def mean_slope(self, q: ArrayLike) -> Callable[[ArrayLike], Array]:
        checked = not_negative("q", q)
        if checked.max(initial=0.0) > self._longest:
            return super().mean_slope(checked)
        squares = self.hermite_coefficients(checked) ** 2
        tails = np.cumsum(squares[:0:-1], axis=0)[::-1] / checked  # sum of a_k² over k > j

        def evaluate(c: ArrayLike) -> Array:
            return gauss.horner(tails, real("c", c))

        return evaluate

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        series = lambda qa, qb, c: self._mehler(self, self.parity, qa, qb, c)  # noqa: E731
        return self._either(series, super()._covariance, qa, qb, rest=(c,))

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        series = lambda qa, qb, c: self._mehler(self.slope, -self.parity, qa, qb, c)  # noqa: E731
        return self._either(series, super()._slope_covariance, qa, qb, rest=(c,))

    def _mehler(self, f: Function, parity: int, qa: Array, qb: Array, c: Array) -> Array:
        """Mehler's series of E f(u) f(v)."""
        dimensions = max(qa.ndim, qb.ndim, c.ndim)
        qa, qb = (q.reshape((1,) * (dimensions - q.ndim) + q.shape) for q in (qa, qb))
        terms = gauss.mehler_terms(np.append(qa, qb), self.strip)
        a, ks = gauss.hermite_coefficients(f, qa, self.strip, parity, terms)
        b = a if qb is qa else gauss.hermite_coefficients(f, qb, self.strip, parity, terms)[0]
        stride = ks[1] - ks[0]
        return gauss.horner(a * b, c**stride) * c ** ks[0]
