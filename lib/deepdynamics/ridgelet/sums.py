"""Sums of φ(a·x - b) over points or parameters, block by block: the whole array, a × b × points, is never there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from deepdynamics._checks import Array

Ridge = Callable[[Array], Any]

_BLOCK = 2**15  # numbers at a time: they stay in the cache


def blocks(phi: Ridge, a: Array, b: Array, x: Array) -> Iterator[tuple[slice, slice, Array]]:
    """Slices of a (na, m) and of b (nb,), with φ(a·x - b) there, as a matrix (a, b in the order of a; points n).

    >>> [values.shape for _, _, values in blocks(np.tanh, np.ones((3, 1)), np.ones(2), np.ones((5, 1)))]
    [(6, 5)]
    """
    width = min(len(b), max(1, _BLOCK // len(x)))
    height = max(1, _BLOCK // (len(x) * width))
    for i in range(0, len(a), height):
        rows = slice(i, i + height)
        projections = a[rows] @ x.T
        for j in range(0, len(b), width):
            columns = slice(j, j + width)
            values = np.asarray(phi(projections[:, None] - b[columns, None]))
            yield rows, columns, values.reshape(-1, len(x))


def over_points(phi: Ridge, a: Array, b: Array, x: Array, weighted: Array) -> Array:
    """Σ_n φ(a·x_n - b) w_n for w (n, outputs): (na, nb, outputs).

    >>> over_points(np.abs, np.ones((1, 1)), np.zeros(1), np.array([[1.0], [-2.0]]), np.ones((2, 1))).tolist()
    [[[3.0]]]
    """
    out = np.empty((len(a), len(b), weighted.shape[1]))
    for rows, columns, values in blocks(phi, a, b, x):
        part = out[rows, columns]
        part[...] = (values @ weighted).reshape(part.shape)
    return out


def over_parameters(phi: Ridge, a: Array, b: Array, x: Array, weighted: Array) -> Array:
    """Σ_ab φ(a·x - b) γ_ab for γ (na, nb, outputs): (n, outputs).

    >>> over_parameters(np.abs, np.ones((1, 1)), np.zeros(2), np.array([[1.0], [-2.0]]), np.ones((1, 2, 1))).tolist()
    [[2.0], [4.0]]
    """
    out = np.zeros((len(x), weighted.shape[2]))
    for rows, columns, values in blocks(phi, a, b, x):
        out += values.T @ weighted[rows, columns].reshape(len(values), -1)
    return out


def triangle(phi: Ridge, a: Array, b: Array, x: Array, areas: Array) -> Array:
    """R (at most n, n) with RᵀR = Σ_ab φ(a·x - b) φ(a·x' - b) areas_a, by a QR factorisation of slice upon slice.

    Its singular values are exact to ε of the largest one; those of the sum itself would be so only to √ε.

    >>> R = triangle(np.abs, np.ones((1, 1)), np.zeros(1), np.array([[1.0], [-2.0]]), np.ones(1))
    >>> (R.T @ R).round(12).tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    upper = np.zeros((0, len(x)))
    waiting: list[Array] = []
    for rows, _, values in blocks(phi, a, b, x):
        waiting.append(values * np.sqrt(np.repeat(areas[rows], len(values) // len(areas[rows])))[:, None])
        if sum(map(len, waiting)) > 4 * len(x):
            upper, waiting = _triangular([upper, *waiting]), []
    return _triangular([upper, *waiting])


def _triangular(slices: list[Array]) -> Array:
    factor: Any = np.linalg.qr(np.concatenate(slices), mode="r")
    return np.asarray(factor)
