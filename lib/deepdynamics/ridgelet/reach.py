"""A network of finite reach: the transform of a function and its inverse, on a grid that is chosen for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdynamics._checks import Numbers
from deepdynamics.ridgelet.bumps import GaussianBumps
from deepdynamics.ridgelet.grids import midpoints, polar_grid, positive
from deepdynamics.ridgelet.pairs import AdmissiblePair
from deepdynamics.ridgelet.reconstruction import reconstruct
from deepdynamics.ridgelet.transforms import polygon_transform, transform

Array = NDArray[np.float64]

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

    What it misses is :func:`truncation`, and what the grid adds, of order 2 in its cells for relu and of order 1 for
    the step. Raises ``ValueError`` for dimensions above 2, and where the routines that it calls do.

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
    a, areas = (midpoints(reach, first), None) if m == 1 else polar_grid(reach, positive("cells", first), _ANGLES)
    if isinstance(f, GaussianBumps):
        gamma = f.transform(pair, a, b)
    else:
        gamma = transform(f, pair, a, b) if callable(f) else polygon_transform(pair, *f, a, b)
    return reconstruct(gamma, pair, a, b, x, areas=areas)
