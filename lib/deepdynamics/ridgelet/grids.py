"""Grids of parameters (a, b): midpoints of equal cells, polar grids of the plane, and what a grid must be."""

from __future__ import annotations

import math

import numpy as np

from deepdynamics._checks import Array, Numbers, count, finite


def midpoints(bound: float, cells: int) -> Array:
    """Midpoints of ``cells`` equal cells of [-bound, bound], ascending.

    >>> midpoints(2.0, 4).tolist()
    [-1.5, -0.5, 0.5, 1.5]
    """
    if not 0 < bound < math.inf:
        raise ValueError(f"bound = {bound}: a positive finite number is allowed")
    cells = count("cells", cells)
    return np.asarray(bound * (2 * np.arange(cells) + 1 - cells) / cells)


def polar_grid(bound: float, radii: int, angles: int) -> tuple[Array, Array]:
    """Points a (radii · angles, 2) of the disc \\|a\\| <= ``bound``, and the areas of their cells (radii · angles,).

    Midpoints of equal cells in radius and in angle; the area of a cell is r Δr Δθ, exactly.

    >>> a, areas = polar_grid(2.0, 10, 16)
    >>> a.shape, bool(np.isclose(areas.sum(), 4 * np.pi))
    ((160, 2), True)
    """
    if not 0 < bound < math.inf:
        raise ValueError(f"bound = {bound}: a positive finite number is allowed")
    radii, angles = count("radii", radii), count("angles", angles)
    r = bound * (np.arange(radii) + 0.5) / radii
    theta = 2 * math.pi * (np.arange(angles) + 0.5) / angles
    points = r[:, None, None] * np.stack([np.cos(theta), np.sin(theta)], axis=-1)
    areas = np.repeat(r * (bound / radii) * (2 * math.pi / angles), angles)
    return points.reshape(-1, 2), areas


def spacing(name: str, axis: Array) -> float:
    """The distance of the points of a grid, ascending and equally far apart: else ValueError.

    >>> spacing("b", np.array([0.0, 0.5, 1.0]))
    0.5
    """
    steps = np.diff(axis)
    if len(steps) == 0 or not (steps > 0).all() or np.ptp(steps) > 1e-6 * steps.mean():
        what = f"steps from {steps.min():.6g} to {steps.max():.6g}" if len(steps) else f"{len(axis)} point"
        raise ValueError(f"{name} has {what}: two or more points, ascending by equal steps, are allowed")
    return float(axis[-1] - axis[0]) / len(steps)


def cell_areas(a: Array, areas: Numbers | None) -> Array:
    """Areas of the cells of a (n, m): those given, else the spacing where m = 1.

    >>> cell_areas(np.array([[0.0], [0.5]]), None).tolist()
    [0.5, 0.5]
    """
    if areas is None:
        if a.shape[1] > 1:
            raise ValueError(f"a of shape {a.shape} has no one spacing: areas of its cells are needed (polar_grid)")
        return np.full(len(a), spacing("a", a[:, 0]))
    checked = finite("areas", areas)
    if checked.shape != (len(a),) or not (checked > 0).all():
        raise ValueError(f"areas of shape {checked.shape}: {len(a)} positive numbers, one for each a, are allowed")
    return checked


def vectors(name: str, value: Numbers, dimension: int | None = None) -> Array:
    """(n,) or (n, m) as (n, m), finite and not empty; of the ``dimension`` m, where it is given.

    >>> vectors("a", [1.0, 2.0], 1).tolist()
    [[1.0], [2.0]]
    """
    array = finite(name, value)
    rows = array[:, None] if array.ndim == 1 else array
    if rows.ndim != 2 or rows.size == 0 or dimension not in (None, rows.shape[1]):
        allowed = "(n,)" if dimension == 1 else f"(n, {'m' if dimension is None else dimension})"
        raise ValueError(f"{name} of shape {array.shape}: one or more points, {allowed}, are allowed")
    return rows


def line(name: str, value: Numbers) -> Array:
    """(n,), finite and not empty.

    >>> line("b", [1, 2]).tolist()
    [1.0, 2.0]
    """
    return vectors(name, value, 1)[:, 0]


def coefficients(gamma: Numbers, a: Array, b: Array) -> Array:
    """γ (len(a), len(b)) or (len(a), len(b), outputs), finite, with its last axis.

    >>> coefficients([[1.0, 2.0]], np.zeros((1, 1)), np.zeros(2)).shape
    (1, 2, 1)
    """
    array = finite("gamma", gamma)
    full = array[..., None] if array.ndim == 2 else array
    if full.ndim != 3 or full.shape[:2] != (len(a), len(b)):
        raise ValueError(
            f"gamma of shape {array.shape}: ({len(a)}, {len(b)}) or ({len(a)}, {len(b)}, outputs), as a and b are, "
            "is allowed"
        )
    return full


def samples(name: str, value: Numbers, count: int) -> Array:
    """(count,) or (count, outputs), finite, with its last axis.

    >>> samples("y", [1.0, 2.0], 2).shape
    (2, 1)
    """
    array = finite(name, value)
    if array.ndim not in (1, 2) or len(array) != count or array.size == 0:
        raise ValueError(f"{name} of shape {array.shape}: ({count},) or ({count}, outputs) is allowed")
    return array.reshape(count, -1)
