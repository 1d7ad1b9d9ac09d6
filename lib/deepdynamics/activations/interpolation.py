"""Functions of pairs of equal variance, by interpolation where there are many points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepdynamics._checks import Array

__all__ = ["EqualVariances"]


class EqualVariances:
    """A function f(q, c) of pairs of equal variance, smooth in log q and in the angle arccos |c|: point by point for
    few, by interpolation in both for many, to 1e-10 of its largest value; f takes flat arrays.

    >>> many = np.linspace(1.0, 1.1, 200)
    >>> found = EqualVariances(lambda q, c: np.sqrt(q) * np.arccos(c))(many, np.full(200, 0.3))
    >>> bool(np.allclose(found, np.sqrt(many) * np.arccos(0.3), rtol=1e-12))
    True
    """

    _LENGTHS, _ANGLES = 14, (32, 64, 128)  # of an interval of log q of length 1, and of the quadrant

    def __init__(self, f: Callable[[Array, Array], Array]) -> None:
        self.f = f
        self._tables: dict[tuple[int, bool], Array | None] = {}

    def __call__(self, q: Array, c: Array) -> Array:
        q, c = np.broadcast_arrays(q, c)
        shape, q, c = q.shape, q.ravel(), c.ravel()
        out, one_by_one = np.empty(q.shape), np.ones(q.shape, bool)
        cell, reflected = np.floor(np.log(np.maximum(q, 1e-300))).astype(int), c < 0
        keys, place, size = np.unique(2 * cell + reflected, return_inverse=True, return_counts=True)
        for i in np.flatnonzero(size > self._LENGTHS * self._ANGLES[0] / 4):
            here = np.flatnonzero(place == i)
            table = self._table(int(keys[i] // 2), bool(keys[i] % 2)) if q[here].min() > 1e-200 else None
            if table is not None:
                out[here] = _interpolated(table, keys[i] // 2, q[here], c[here])
                one_by_one[here] = False
        out[one_by_one] = self.f(q[one_by_one], c[one_by_one])
        return out.reshape(shape)

    def _table(self, cell: int, reflected: bool) -> Array | None:
        """Values at Chebyshev points (of log q, of the angle), as many as it takes; None where 128 are too few."""
        key = cell, reflected
        if key not in self._tables:
            self._tables[key] = None
            side = -1 if reflected else 1
            places = np.linspace(0.03, 0.97, 13)
            q, c = np.exp(cell + places[(7 * np.arange(13)) % 13]), side * np.cos(np.pi / 2 * places)
            exact = self.f(q, c)
            for angles in self._ANGLES:
                grid = np.meshgrid(
                    np.exp(cell + (_chebyshev(self._LENGTHS) + 1) / 2),
                    side * np.cos(np.pi / 4 * (_chebyshev(angles) + 1)),
                    indexing="ij",
                )
                table = self.f(*(each.ravel() for each in grid)).reshape(self._LENGTHS, angles)
                if not np.isfinite(table).all():
                    break
                if np.abs(_interpolated(table, cell, q, c) - exact).max() <= 1e-10 * np.abs(table).max():
                    self._tables[key] = table
                    break
        return self._tables[key]


def _interpolated(table: Array, cell: int, q: Array, c: Array) -> Array:
    lengths, angles = (_chebyshev(n) for n in table.shape)
    rows = _barycentric(lengths, 2 * (np.log(q) - cell) - 1) @ table
    return np.asarray((rows * _barycentric(angles, 4 / np.pi * np.arccos(np.abs(c)) - 1)).sum(1))


def _chebyshev(n: int) -> Array:
    return np.cos(np.pi * np.arange(n) / (n - 1))


def _barycentric(nodes: Array, t: Array) -> Array:
    """The matrix from values at Chebyshev points of the second kind to those at t (Berrut and Trefethen 2004)."""
    signs = (-1.0) ** np.arange(len(nodes))
    signs[[0, -1]] /= 2
    distance = t[:, None] - nodes
    exact = np.abs(distance) < 1e-15
    ratio = signs / np.where(exact, 1.0, distance)
    matrix = ratio / ratio.sum(1, keepdims=True)
    hit = exact.any(1)
    matrix[hit] = exact[hit] / exact[hit].sum(1, keepdims=True)
    return np.asarray(matrix)
