"""Laws along a curve: what the trapezoid rule for E d/(N - d) misses where N is next to values of d."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy.special import spence, zeta

from deepdynamics._checks import Array

__all__ = ["Curve"]

Complex = NDArray[np.complex128]
Indices = NDArray[np.intp]

_HALF = 4  # nodes on either side from which a function is interpolated
_FAR = 4.0  # steps from the axis: the trapezoid rule is right to e^{-2π 4} there
_CLOSE = 0.25  # steps from a node: its term and the pole's are taken together
_BORDER = 1e-6  # steps about the middle between two nodes
_COTANGENT = Polynomial([2 * zeta(2 * k) for k in range(1, 12)])  # 1/u - π cot πu = u times this in u²
_TO_TAYLOR = np.rint(40320 * np.linalg.inv(np.vander(np.arange(-_HALF, _HALF + 1.0), increasing=True)).T) / 40320  # 8!


class _Poles(NamedTuple):
    """Solutions of g(u) = s = ±√N next to the real axis."""

    row: Indices  # of N
    at: Indices  # the node
    s: Complex
    u: Complex  # from that node
    side: Array  # of the axis


@dataclass(frozen=True, eq=False)
class Curve:
    """d = g² at the nodes of a trapezoid rule of step 1: values ``g`` (n,) of a smooth real function and ``weights``
    (n,) that vanish towards both ends.

    The rule is right beyond all powers of the step unless a pole, g(u) = ±√N, is within some steps of the real axis. A
    pole at u with residue R adds -R (π cot πu + iπ sign Im u) (Trefethen and Weideman 2014), which is taken
    away: u and R are those of the polynomials through nine nodes, where these resolve g.

    >>> g = np.linspace(-8, 8, 161)
    >>> curve = Curve(g, np.exp(-(g**2) / 2) / math.sqrt(2 * math.pi) / 10)  # d: the square of a normal variable
    >>> density = math.exp(-1.21 / 2) / math.sqrt(2 * math.pi) / 1.1  # at 1.21
    >>> bool(abs(curve.moments(np.array([1.21 + 1e-12j]))[1].imag / 1.21 + math.pi * density) < 1e-8)
    True
    """

    g: Array
    weights: Array

    @cached_property
    def _polynomials(self) -> tuple[Array, Array]:
        return _taylor(self.g), _taylor(self.weights)

    @cached_property
    def _reach(self) -> Array:
        """About |g(u) - g(node)| for u up to ``_FAR`` steps from each node; 0 where polynomials do not resolve g."""
        g = np.abs(self._polynomials[0])
        return np.where(g[:, -1] <= 1e-6 * (g[:, 1] + g[:, 2]), _FAR * (g[:, 1] + _FAR * g[:, 2]), 0.0)

    def moments(self, N: Complex) -> tuple[Complex, Complex, Complex]:
        """E d/(N - d), E N/(N - d) and the derivative of the first by N, at N (n,) just above the real axis or higher.

        >>> m, more, slope = Curve(np.ones(9), np.full(9, 1 / 9)).moments(np.array([3 + 0j]))
        >>> m.real.round(9).tolist(), more.real.round(9).tolist(), slope.real.round(9).tolist()
        ([0.5], [1.5], [-0.25])
        """
        row, at, s, u, side = self._near(N)
        g_at, w_at = (each[at] for each in self._polynomials)
        (_, g1, g2), (w, w1, _) = _values(g_at, u), _values(w_at, u)
        p1, p2 = 2 * s * g1, 2 * (g1**2 + s * g2)  # derivatives of p = g²
        turn = 2j * math.pi * side
        e, less = np.exp(turn * u), -np.expm1(turn * np.where(u == 0, 1e-300, u))
        kernel, by_u = -turn * e / less, -(turn**2) * e / less**2  # π cot πu + iπ side, and its derivative
        # Close to a node its term and the pole's are large and cancel: what is left, with p = p(node) + u r
        (dg, dg1, dg2), (dw, dw1, _) = _values(g_at[:, 1:], u), _values(w_at[:, 1:], u)
        double = s + g_at[:, 0]
        r, r1, r2 = dg * double, dg1 * double + dg * g1, dg2 * double + 2 * dg1 * g1 + dg * g2
        close = (np.abs(u) < _CLOSE) & (np.abs(r - p1) < 0.2 * np.abs(p1))
        top, below = w_at[:, 0] * r1 - dw * r, np.where(close, r * p1, 1)
        rest = np.where(close, top / below, 0)
        rest1 = np.where(close, (w_at[:, 0] * r2 - dw1 * r - dw * r1 - rest * (r1 * p1 + r * p2)) / below, 0)
        kernel = np.where(close, turn / 2 - _COTANGENT(u**2) * u, kernel)
        by_u = np.where(close, -_COTANGENT(u**2) - 2 * u**2 * _COTANGENT.deriv()(u**2), by_u)

        terms = 1 / (N[:, None] - self.g**2)
        terms[row[close], at[close]] = 0
        weighted = self.weights * self.g**2
        m, more, slope = terms @ weighted, terms @ self.weights, -(terms**2) @ weighted
        poles = rest - w / p1 * kernel
        np.add.at(m, row, N[row] * poles - np.where(close, self.weights[at], 0))
        np.add.at(more, row, poles)
        change = rest1 - (w1 * p1 - w * p2) / p1**2 * kernel - w / p1 * by_u
        np.add.at(slope, row, poles + N[row] * change / p1)
        return m, N * more, slope

    def logarithm(self, N: Complex) -> Complex:
        """E log(1 - d/N), at N (n,) as for :meth:`moments`.

        >>> Curve(np.ones(9), np.full(9, 1 / 9)).logarithm(np.array([2 + 1e-9j])).real.round(6).tolist()
        [-0.693147]
        """
        found: Complex = np.log(1 - self.g**2 / N[:, None]) @ self.weights.astype(np.complex128)
        row, at, _, u, side = self._near(N)
        w, w1, _ = _values(self._polynomials[1][at], u)
        turn = 2j * math.pi * side
        less = -np.expm1(turn * np.where(u == 0, 1e-300, u))
        np.add.at(found, row, -w * np.log(less) - w1 * spence(less) / turn)  # ∫ w (π cot πu + iπ side) du by parts
        return found

    def _near(self, N: Complex) -> _Poles:
        root = np.sqrt(N)
        near = np.flatnonzero(root.imag <= self._reach.max())
        s = np.concatenate([root[near], -root[near]])
        which, at, u = self._solutions(s)
        s = s[which]
        turns = (s * _values(self._polynomials[0][at], u)[1]).real  # the sign of Im u, where N comes from above
        side = np.sign(np.where(np.abs(u.imag) < 1e-9, turns, u.imag))
        return _Poles(np.tile(near, 2)[which], at, s, u, side)

    def _solutions(self, s: Complex) -> tuple[Indices, Indices, Complex]:
        """Of g(u) = s, up to half a step from a node along the axis and ``_FAR`` steps from the axis: the index of s,
        that of the node, and u from there."""
        polynomials, nodes = self._polynomials[0], np.flatnonzero(self._reach)
        low, high = polynomials[nodes, 0] - self._reach[nodes], polynomials[nodes, 0] + self._reach[nodes]
        row, at = np.nonzero((s.real[:, None] >= low) & (s.real[:, None] <= high))
        at = nodes[at]
        kept = np.abs(s[row].imag) <= self._reach[at]
        row, at = np.tile(row[kept], 2), np.tile(at[kept], 2)
        c0, c1, c2 = polynomials[at, :3].T
        with np.errstate(all="ignore"):  # both solutions of the first three terms
            root = np.sqrt(c1**2 + 4 * c2 * (s[row] - c0))
            root = np.where(root.real * c1 < 0, -root, root)
            half = len(root) // 2
            u = np.append(2 * (s[row] - c0)[:half] / (c1 + root)[:half], -((c1 + root) / (2 * c2))[half:])
        good = np.isfinite(u) & (np.abs(u.real) <= 0.8) & (np.abs(u.imag) <= _FAR + 1)
        row, at, u = row[good], at[good], u[good]
        for _ in range(6):
            g, g1, _ = _values(polynomials[at], u)
            u = u - np.where(g == s[row], 0, (g - s[row]) / np.where(g1 == 0, 1, g1))
            u = np.where(np.abs(u) < 2 * _FAR, u, 2 * _FAR)
        good = (np.abs(u.real) <= 0.5 + _BORDER) & (np.abs(u.imag) <= _FAR)
        row, at, u = row[good], at[good], u[good]
        # half a step from two nodes it may have been found from both
        border = np.flatnonzero(np.abs(u.real) >= 0.5 - _BORDER)
        places = np.stack([row[border], at[border] + (u.real[border] > 0)])
        twice = np.setdiff1d(border, border[np.unique(places, axis=1, return_index=True)[1]])
        return np.delete(row, twice), np.delete(at, twice), np.delete(u, twice)


def _taylor(values: Array) -> Array:
    """Coefficients (n, 9) of the polynomials through nine nodes, at the one in the middle; 0 next to the ends."""
    coefficients = np.zeros((len(values), 2 * _HALF + 1))
    if len(values) > 2 * _HALF:
        coefficients[_HALF:-_HALF] = np.lib.stride_tricks.sliding_window_view(values, 2 * _HALF + 1) @ _TO_TAYLOR
    return coefficients


def _values(coefficients: Array, u: Complex) -> tuple[Complex, Complex, Complex]:
    """The polynomials with these coefficients (n, k) at u (n,), and two derivatives."""
    value, first, second = (np.zeros_like(u) for _ in range(3))
    for c in coefficients.T[::-1]:
        second = second * u + 2 * first
        first = first * u + value
        value = value * u + c
    return value, first, second
