"""A network of finite reach: the transform of a function and its inverse, on a grid that is chosen for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdynamics._checks import Array, Numbers, count
from deepdynamics.ridgelet.bumps import GaussianBumps
from deepdynamics.ridgelet.grids import midpoints, polar_grid, vectors
from deepdynamics.ridgelet.pairs import AdmissiblePair
from deepdynamics.ridgelet.reconstruction import reconstruct, truncation
from deepdynamics.ridgelet.transforms import corners, polygon_transform, transform

_BEYOND = 9.0  # scales of ρ beyond |a| · radius, where its tails are below 1e-12
_ANGLES = 48


def rebuild(
    f: GaussianBumps | Callable[[Array], Any] | tuple[Numbers, Numbers],
    pair: AdmissiblePair,
    reach: float,
    x: Numbers,
    *,
    radius: float = 1.0,
    cells: Sequence[int] | None = None,
) -> Array:
    """What a network of all hidden units with \\|a\\| <= ``reach`` makes of f at the points ``x``: R[f] on a grid, then
    :func:`reconstruct`. (n,), or (n, outputs) as f has them.

    ``f``: :class:`GaussianBumps`, or (points, values), a polygon (dimension 1): exact transforms; or a function, by
    :func:`transform`. f and the points lie within ``radius`` of the origin. ``cells`` are how many of a (dimension 2:
    of \\|a\\|, times 48 angles) and of b; by default 12 and 40 for a unit of reach (3 and 5 in dimension 2), which
    leaves relative errors of 1e-4 for relu (1e-2 in dimension 2).

    Without the grid's error it is :func:`low_pass`; that error is of order 2 in the size of the cells for relu, and at
    worst of order 1 for the step. Raises ``ValueError`` for dimensions above 2, and where what it calls does.

    >>> f = GaussianBumps([1.0], [0.0], [0.09])
    >>> rebuild(f, AdmissiblePair.get("relu"), 10.0, [0.0, 0.3], radius=1.2).round(3).tolist()
    [0.948, 0.605]
    """
    m = pair.dimension
    if m > 2:
        raise ValueError(f"a pair of dimension {m}: 1 or 2 is allowed; a grid of more has too many cells")
    if not (0 < reach < math.inf and 0 < radius < math.inf):
        raise ValueError(f"reach = {reach}, radius = {radius}: positive finite numbers are allowed")
    numbers = ((12, 40), (3, 5))[m - 1]
    first, second = (max(48, math.ceil(n * reach)) for n in numbers) if cells is None else cells
    b = midpoints(reach * radius + _BEYOND * getattr(pair.rho, "scale", 1.0), second)
    a, areas = (midpoints(reach, first), None) if m == 1 else polar_grid(reach, count("cells", first), _ANGLES)
    if isinstance(f, GaussianBumps):
        gamma = f.transform(pair, a, b)
    else:
        gamma = transform(f, pair, a, b) if callable(f) else polygon_transform(pair, *f, a, b)
    return reconstruct(gamma, pair, a, b, x, areas=areas)


def low_pass(
    f: GaussianBumps | tuple[Numbers, Numbers], pair: AdmissiblePair, reach: float, x: Numbers, *, radius: float = 1.0
) -> Array:
    r"""What the integral over \|a\| <= ``reach`` makes of f on the line: f with every frequency w multiplied by
    M(\|w\|/A) of :func:`truncation`; (n,), or (n, outputs).

    .. math:: f_A(x) = \frac1\pi \int_0^\infty \mathrm{Re}\left[\hat f(w)\, e^{iwx}\right] M(w/A)\, dw .

    ``f``: :class:`GaussianBumps` or a polygon (points, values), within ``radius`` of the origin. The trapezoid rule,
    to 1e-6 of f. Raises ``ValueError`` for other dimensions than 1, and for shapes as :func:`polygon_transform`.

    >>> f, relu = GaussianBumps([1.0], [0.0], [0.09]), AdmissiblePair.get("relu")
    >>> bool(np.allclose(low_pass(f, relu, 10.0, [0.2], radius=1.2), f.smoothed(0.01)([0.2]), atol=1e-9))
    True
    """
    if pair.dimension != 1:
        raise ValueError(f"a pair of dimension {pair.dimension}: one of dimension 1 is allowed")
    if not (0 < reach < math.inf and 0 < radius < math.inf):
        raise ValueError(f"reach = {reach}, radius = {radius}: positive finite numbers are allowed")
    points = vectors("x", x, 1)[:, 0]
    period = 2 * (radius + np.abs(points).max()) + 40 / reach  # of the trapezoid rule: no image comes near
    step = 2 * math.pi / period
    w = step * np.arange(math.ceil(12 * reach / step))
    hat = _hat(f, w) * (truncation(pair, w / reach) * np.where(w == 0, 0.5, 1.0))[:, None]
    found = np.real(np.exp(1j * np.outer(points, w)) @ hat) * step / math.pi
    return np.asarray(found if not isinstance(f, GaussianBumps) and np.ndim(f[1]) == 2 else found[:, 0])


def _hat(f: GaussianBumps | tuple[Numbers, Numbers], w: Array) -> NDArray[np.complex128]:
    """The Fourier transform at w >= 0, ascending, (len(w), outputs)."""
    if isinstance(f, GaussianBumps):
        heights, variances, centres = (np.asarray(v) for v in (f.heights, f.variances, f.centres))
        bells = heights * np.sqrt(2 * math.pi * variances) * np.exp(-np.outer(w**2, variances) / 2)
        return np.asarray((bells * np.exp(-1j * np.outer(w, centres[:, 0]))).sum(1, keepdims=True))
    x, y, bends, jumps = corners(*f)
    waves, moving = np.exp(-1j * np.outer(w, x)), np.where(w == 0, 1.0, w)[:, None]
    found = waves @ jumps / (1j * moving) - waves @ bends / moving**2
    area = (np.diff(x)[:, None] * (y[1:] + y[:-1]) / 2).sum(0)
    return np.where(w[:, None] == 0, area, found)
