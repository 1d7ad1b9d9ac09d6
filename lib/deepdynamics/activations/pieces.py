r"""The pieces of a function between its kinks and jumps, found by bisection.

:class:`Pieces` finds the edges between which a function and its derivative are resolved by 16 Gauss-Legendre nodes:
bisection, which closes in on kinks and jumps; these become edges themselves, with no grading needed towards them. A
function that needs more than ``MOST`` pieces is :class:`Unresolved`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepdynamics._checks import Array
from deepdynamics.activations.integrals import Function

__all__ = ["NODES", "ORDER", "WEIGHTS", "Pieces", "Unresolved"]

ORDER = 16
MOST = 2048
NODES, WEIGHTS = np.polynomial.legendre.leggauss(ORDER)
_RESOLVED = 1e-9  # of the interpolation; the quadrature is right to about the square of it
_TO_ROUNDING = 1e-13
_RADII = np.concatenate([2 * 4.0 ** np.arange(5), 512 * 64.0 ** np.arange(1, 25)])  # up to which pieces are looked for


class Unresolved(ValueError):
    """A function whose Gaussian integral is not resolved, or does not exist in float64."""


def _interpolation(x: Array) -> Array:
    """The matrix from values at the nodes to those of the interpolating polynomial at x (in units of the piece)."""
    return np.asarray(np.polynomial.legendre.legvander(x, ORDER - 1) @ _TO_SERIES)


_TO_SERIES = np.linalg.inv(np.polynomial.legendre.legvander(NODES, ORDER - 1))
_ENDS = _interpolation(np.array([-1.0, 1.0]))


def _places(low: Array, high: Array) -> Array:
    return np.asarray((low + high)[:, None] / 2 + (high - low)[:, None] / 2 * NODES)


class Pieces:
    """The pieces of a function on which it is smooth. ``sample(x)`` returns its values and those of its derivative,
    stacked; ``name`` is for the errors.

    >>> pieces = Pieces(lambda x: np.stack([abs(x - 1 / 3), np.sign(x - 1 / 3)]), "distance")
    >>> edges, kinks = pieces.within(4.0)
    >>> kinks.round(9).tolist(), edges.round(9).tolist()
    ([0.333333333], [-8.0, 0.333333333, 8.0])
    """

    def __init__(self, sample: Function, name: str) -> None:
        self.sample, self.name = sample, name
        x = np.linspace(-1, 1, 101)
        self._size = np.abs(self._values(np.append(x, 30 * x))).max(-1)  # below its 1e-9th part nothing is resolved
        self._known: list[Array] = []
        self._broken: list[Array] = []

    def within(self, radius: float) -> tuple[Array, Array]:
        """Edges of the pieces from -R to R, the first of R = 2, 8, …, 512, 512 · 64, … that is at least ``radius``, and
        those of them that are kinks or jumps.

        >>> Pieces(lambda x: np.stack([x, np.ones_like(x)]), "line").within(5.0)[0].tolist()
        [-8.0, 8.0]
        """
        count = int(np.searchsorted(_RADII, radius))
        if count == len(_RADII):
            raise self._unresolved(radius)
        while len(self._known) <= count:
            high = _RADII[len(self._known)]
            inside = self._known[-1] if self._known else np.zeros(1)
            octaves = round(np.log2(high / inside[-1])) if len(inside) > 1 else 4
            start = np.concatenate([inside[-1:], high * 0.5 ** np.arange(octaves - 1, -1, -1)])
            edges = np.concatenate([self._resolve(-start[::-1])[:-1], inside, self._resolve(start)[1:]])
            if len(edges) > MOST:
                raise self._unresolved(high)
            kinks = edges[self._kinks(edges)]
            self._known.append(self._merge(edges, kinks))
            self._broken.append(kinks)
        return self._known[count], self._broken[count]

    def jumps(self, radius: float) -> tuple[Array, Array, Array]:
        """Where the function jumps, and its values on the left and on the right.

        >>> [each.round(9).tolist() for each in Pieces(lambda x: np.stack([np.sign(x), 0 * x]), "sign").jumps(1.0)]
        [[0.0], [-1.0], [1.0]]
        """
        edges, _ = self.within(radius)
        at = edges[1:-1]
        beside = 1e-13 * np.maximum(np.abs(at), 1)  # more than what bisection leaves
        left, right = self._values(at - beside)[0], self._values(at + beside)[0]
        jump = np.abs(right - left) > 1e-6 * self._scale(np.maximum(np.abs(left), np.abs(right)), 0)
        # The polynomials of two pieces part, and the function does not: it is too steep for their nodes.
        nodes = self._at(edges[:-1], edges[1:])[0]
        ends, size = nodes @ _ENDS.T, self._scale(np.abs(nodes).max(1), 0)
        parted = np.abs(ends[1:, 0] - ends[:-1, 1]) > 1e-6 * np.maximum(size[1:], size[:-1])
        if (parted & ~jump).any():
            raise Unresolved(f"{self.name} is too steep at x = {at[parted & ~jump][0]:g} to be told from a jump")
        return at[jump], left[jump], right[jump]

    def _resolve(self, start: Array) -> Array:
        """The edges between these: bisection to the kinks, then again between them."""
        _, kinks = self._bisect(start)
        apart = np.diff(kinks, prepend=-np.inf) > 1e-12 * np.maximum(np.abs(kinks), 1)
        edges, rest = self._bisect(np.unique(np.concatenate([start, kinks[apart]])))
        if len(rest) > 2 * len(kinks):  # each may be missed by rounding, on one side
            raise self._unresolved(float(np.abs(start).max()))
        return edges

    def _bisect(self, edges: Array) -> tuple[Array, Array]:
        """Edges between which the function is resolved, and the places on which they close in."""
        low, high, found, kinks = edges[:-1], edges[1:], [edges], []
        while len(low):
            middle = (low + high) / 2
            bad = ~self._one(low, middle, high, _RESOLVED)
            low, middle, high = low[bad], middle[bad], high[bad]
            tiny = high - low < 4e-14 * np.maximum(np.abs(middle), 1)
            kinks.append(middle[tiny])
            found.append(middle[~tiny])
            low, middle, high = low[~tiny], middle[~tiny], high[~tiny]
            low, high = np.append(low, middle), np.append(middle, high)
            if len(low) + sum(map(len, found)) > 2 * MOST:
                raise self._unresolved(float(np.abs(edges).max()))
        return np.unique(np.concatenate(found)), np.sort(np.concatenate(kinks))

    def _merge(self, edges: Array, kinks: Array) -> Array:
        """Without the edges that are not needed, between pieces that are one to rounding."""
        idle, offset = 0, 2
        while idle < 2:
            offset = 3 - offset
            inner = edges[offset:-1:2]
            low, high = edges[offset - 1 : -2 : 2], edges[offset + 1 :: 2]
            free = ~np.isin(inner, kinks)
            free[free] = self._one(low[free], inner[free], high[free], _TO_ROUNDING)
            idle = 0 if free.any() else idle + 1
            edges = np.setdiff1d(edges, inner[free])
        return edges

    def _one(self, low: Array, middle: Array, high: Array, tolerance: float) -> NDArray[np.bool_]:
        """Whether the polynomial through the nodes of a piece goes through those of its two parts."""
        if len(low) == 0:
            return np.zeros(0, bool)
        parts = [self._at(low, middle), self._at(middle, high)]
        there = np.concatenate(parts, axis=-1)
        places = np.concatenate([_places(low, middle), _places(middle, high)], axis=-1)
        matrix = _interpolation(2 * (places - low[:, None]) / (high - low)[:, None] - 1)
        error = np.abs(np.einsum("ipn,fin->fip", matrix, self._at(low, high)) - there).max(-1)
        scale = np.stack([self._scale(np.abs(there[i]).max(-1), i) for i in (0, 1)])
        return np.asarray((error <= tolerance * scale).all(0))

    def _kinks(self, edges: Array) -> NDArray[np.bool_]:
        """Edges a little beyond which the polynomial of one side does not go on as the function does."""
        low, middle, high = edges[:-2], edges[1:-1], edges[2:]
        step = 0.05 * np.minimum(middle - low, high - middle)
        broken = np.zeros(len(edges), bool)
        for start, end, side in ((low, middle, 1), (middle, high, -1)):
            beyond = (middle + side * step)[:, None]
            matrix = _interpolation(2 * (beyond - start[:, None]) / (end - start)[:, None] - 1)
            there = self._values(beyond)
            error = np.abs(np.einsum("ipn,fin->fip", matrix, self._at(start, end)) - there).max(-1)
            scale = np.stack([self._scale(np.abs(there[i]).max(-1), i) for i in (0, 1)])
            broken[1:-1] |= (error > 1e-6 * scale).any(0)
        return broken

    def _scale(self, size: Array, i: int) -> Array:
        return np.maximum(size, self._size[i])

    def _at(self, low: Array, high: Array) -> Array:
        return self._values(_places(low, high))

    def _values(self, x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.asarray(self.sample(x), float)
        if x.size and not np.isfinite(values).all():
            at = x[~np.isfinite(values).all(0)]
            raise Unresolved(f"{self.name} or its slope is not finite at x = {at.flat[np.abs(at).argmin()]:g}")
        return values

    def _unresolved(self, radius: float) -> Unresolved:
        return Unresolved(f"{self.name} is not smooth in {MOST} pieces on [-{radius:g}, {radius:g}]")
