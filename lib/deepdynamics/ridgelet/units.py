r"""How well the hidden units of networks lie where a spectrum is large.

The units of finite networks are a sum of point masses, Σ_j c_j δ(a_j, b_j), the measure whose integral representation
they are. It is brought to a grid, with the symmetry of the spectrum, and smoothed as the spectrum is; then the two are
correlated over the cells.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from deepdynamics._checks import Array, Numbers, finite, not_negative, number
from deepdynamics.ridgelet.grids import coefficients, line, spacing


def unit_density(a: Numbers, b: Numbers, weights: Numbers, grid_a: Numbers, grid_b: Numbers, *, parity: int) -> Array:
    r"""The measure Σ_j w_j δ(a_j, b_j) over the cells of a grid, symmetrised: (len(grid_a), len(grid_b)).

    ``a``, ``b`` and ``weights`` w have one shape, (count, units) say; units outside the grid are left out. A unit of
    an odd activation is also one at (-a, -b) with weight -w: ``parity`` -1. A unit of relu is one there with weight w,
    but for an affine function, relu(z) = relu(-z) + z: ``parity`` 1. It is the parity of ρ in the pair of that
    activation, so that the measure has the symmetry of R[f]; sizes \|w\| have parity 1 everywhere. The grids are
    midpoints of equal cells, symmetric about 0.

    >>> unit_density([1.0], [1.0], [2.0], [-1.0, 1.0], [-1.0, 1.0], parity=-1).tolist()
    [[-1.0, 0.0], [0.0, 1.0]]
    """
    if parity not in (1, -1):
        raise ValueError(f"parity = {parity!r}: 1 or -1 is allowed")
    points = [finite(name, value) for name, value in (("a", a), ("b", b), ("weights", weights))]
    if len({each.shape for each in points}) != 1:
        raise ValueError(f"a, b, weights of shapes {[each.shape for each in points]}: one shape is allowed")
    edges = []
    for name, value in (("grid_a", grid_a), ("grid_b", grid_b)):
        axis = line(name, value)
        step = spacing(name, axis)
        if not np.allclose(axis, -axis[::-1], atol=1e-9 * step):
            raise ValueError(f"{name} from {axis[0]:g} to {axis[-1]:g}: a grid that is symmetric about 0 is allowed")
        edges.append(np.append(axis - step / 2, axis[-1] + step / 2))
    alpha, beta, w = (each.ravel() for each in points)
    found = np.histogram2d(alpha, beta, bins=edges, weights=w)[0]
    return np.asarray((found + parity * found[::-1, ::-1]) / 2)


def blurred(gamma: Numbers, a: Numbers, b: Numbers, width: float) -> Array:
    """γ (len(a), len(b)) averaged with a Gaussian of standard deviation ``width`` in a and in b; 0 beyond the grid.

    >>> blurred(np.ones((3, 3)), [0.0, 1.0, 2.0], [0.0, 1.0, 2.0], 0.0).tolist() == np.ones((3, 3)).tolist()
    True
    """
    a, b = line("a", a), line("b", b)
    values = coefficients(gamma, a[:, None], b)
    sd = number("width", width, not_negative)
    return np.asarray(
        ndimage.gaussian_filter(values[..., 0], (sd / spacing("a", a), sd / spacing("b", b)), mode="constant")
    )


def unit_agreement(
    a: Numbers,
    b: Numbers,
    c: Numbers,
    spectrum: Numbers,
    grid_a: Numbers,
    grid_b: Numbers,
    *,
    groups: int,
    signed: bool = True,
    width: float = 1.0,
) -> Array:
    """The :func:`agreement` of the hidden units of networks with a spectrum, in ``groups`` of networks: (groups,); with
    several spectra (..., len(grid_a), len(grid_b)), each group with each of them: (..., groups).

    ``a``, ``b``, ``c`` (count, units) are dealt to the groups in their order; as many groups as networks are allowed.
    The parity is that of the spectra, one for all. Not ``signed``, it is the sizes of c that are compared with those of
    the spectrum.

    >>> grid, units = [-1.0, 1.0], ([[1.0], [-1.0]], [[1.0], [-1.0]])
    >>> c, R = [[2.0], [-2.0]], [[-1.0, 0.0], [0.0, 1.0]]
    >>> unit_agreement(*units, c, R, grid, grid, groups=2, width=0.1).round(9).tolist()
    [1.0, 1.0]
    """
    R = finite("spectrum", spectrum)
    if R.ndim < 2:
        raise ValueError(f"spectrum of shape {R.shape}: (..., len(grid_a), len(grid_b)) is allowed")
    parity = 1 if not signed or float((R * R[..., ::-1, ::-1]).sum()) >= 0 else -1
    values = [finite(name, value) for name, value in (("a", a), ("b", b), ("c", c))]
    if values[0].ndim != 2 or not 1 <= groups <= len(values[0]):
        raise ValueError(f"a of shape {values[0].shape} in groups = {groups}: (count, units) in 1 to count is allowed")
    sizes = (R if signed else np.abs(R)).reshape(-1, *R.shape[-2:])
    wanted = np.stack([_standard("spectrum", blurred(each, grid_a, grid_b, width)) for each in sizes])
    found = np.empty((len(wanted), groups))
    for k, rows in enumerate(np.array_split(np.arange(len(values[0])), groups)):
        alpha, beta, w = (value[rows] for value in values)
        measure = unit_density(alpha, beta, w if signed else np.abs(w), grid_a, grid_b, parity=parity)
        found[:, k] = wanted @ _standard("the units", blurred(measure, grid_a, grid_b, width))
    return np.clip(found, -1, 1).reshape(*R.shape[:-2], groups)


def top_share(
    a: Numbers,
    b: Numbers,
    spectrum: Numbers,
    grid_a: Numbers,
    grid_b: Numbers,
    *,
    groups: int,
    fraction: float = 0.2,
    weights: Numbers | None = None,
) -> Array:
    r"""The share of the hidden units inside a grid that lie where \|spectrum\| is largest, in the top ``fraction`` of
    its cells, in ``groups`` of networks: (groups,); with several spectra (..., len(grid_a), len(grid_b)),
    (..., groups).

    ``a``, ``b`` (count, units) are dealt to the groups in their order; ``weights`` >= 0 of the same shape, sizes of
    output weights say, count some units more. Units that are even over the grid have the share ``fraction``. Raises
    ``ValueError`` where all units of a group are outside the grid.

    >>> grid, R = [-1.5, -0.5, 0.5, 1.5], np.diag([4.0, 1.0, 1.0, 3.0])
    >>> top_share([[-1.4, 0.6]], [[-1.2, 9.0]], R, grid, grid, groups=1, fraction=0.125).tolist()
    [1.0]
    """
    R = np.abs(finite("spectrum", spectrum))
    axes = [line(name, value) for name, value in (("grid_a", grid_a), ("grid_b", grid_b))]
    if R.shape[-2:] != tuple(len(axis) for axis in axes):
        raise ValueError(f"spectrum of shape {R.shape}: (..., {len(axes[0])}, {len(axes[1])}) is allowed")
    if not 0 < fraction < 1:
        raise ValueError(f"fraction = {fraction}: a number between 0 and 1 is allowed")
    points = [finite("a", a), finite("b", b)]
    w = np.ones(points[0].shape) if weights is None else not_negative("weights", finite("weights", weights))
    if points[0].ndim != 2 or {points[1].shape, np.shape(w)} != {points[0].shape}:
        raise ValueError(f"a, b of shapes {points[0].shape}, {points[1].shape}: one shape (count, units) is allowed")
    if not 1 <= groups <= len(w):
        raise ValueError(f"groups = {groups}: 1 to {len(w)} is allowed")
    cells = [
        np.floor((point - axis[0]) / spacing(name, axis) + 0.5).astype(int)
        for name, point, axis in zip(("grid_a", "grid_b"), points, axes, strict=True)
    ]
    inside = np.all([(cell >= 0) & (cell < len(axis)) for cell, axis in zip(cells, axes, strict=True)], axis=0)
    counted = np.where(inside, w, 0.0)
    top = np.quantile(R, 1 - fraction, axis=(-2, -1), keepdims=True) <= R
    hits = counted * top[..., np.where(inside, cells[0], 0), np.where(inside, cells[1], 0)]
    dealt = np.array_split(np.arange(len(w)), groups)
    totals = np.array([counted[rows].sum() for rows in dealt])
    if not (totals > 0).all():
        raise ValueError("all units of a group are outside the grid, or have no weight: some inside it are allowed")
    return np.asarray(np.stack([hits[..., rows, :].sum((-2, -1)) for rows in dealt], -1) / totals)


def agreement(density: Numbers, spectrum: Numbers, a: Numbers, b: Numbers, *, width: float = 1.0) -> float:
    """The correlation over the cells of two functions on a grid, both :func:`blurred`: from -1 to 1.

    Raises ``ValueError`` where one of them is constant.

    >>> one = np.outer([1.0, -1.0], [1.0, -1.0])
    >>> agreement(one, -3 * one, [-1.0, 1.0], [-1.0, 1.0], width=0.1)
    -1.0
    """
    parts = [_standard(name, blurred(g, a, b, width)) for name, g in (("density", density), ("spectrum", spectrum))]
    return float(np.clip(parts[0] @ parts[1], -1, 1))


def _standard(name: str, values: Array) -> Array:
    """All cells in a row, of mean 0 and norm 1."""
    centred = values.ravel() - values.mean()
    norm = float(np.linalg.norm(centred))
    if not norm > 0 or not np.ptp(values) > 0:
        raise ValueError(f"{name} is constant: what varies over the cells is allowed")
    return np.asarray(centred / norm)
