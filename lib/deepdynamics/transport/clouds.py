"""W₂ between two clouds of points, and the way to pair them off, by the best assignment."""

from __future__ import annotations

from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from deepdynamics._checks import Array, Numbers, finite

__all__ = ["pair_clouds", "sample_w2"]


def sample_w2(x: Numbers, y: Numbers) -> float:
    """W₂ between two clouds of as many points, (n, d) each: the root of the least mean square distance over all ways to
    pair them off. About n³ operations: half a second for 1,000 points. Samples of one density have a distance that is
    not 0; compare with it. Raises ``ValueError`` for shapes that differ.

    >>> sample_w2([[0.0], [1.0]], [[3.0], [2.0]])  # 0 to 2, 1 to 3
    2.0
    """
    here, there = _clouds(x, y)
    costs = cdist(here, there, "sqeuclidean")
    return float(costs[linear_sum_assignment(costs)].mean() ** 0.5)


def pair_clouds(x: Numbers, y: Numbers) -> Array:
    """The points of ``y`` in the order in which they are the images of those of ``x``, (n, d) each, under the best
    assignment. (1 - t) x + t y runs along a geodesic of W₂. Raises ``ValueError`` as :func:`sample_w2` does.

    >>> pair_clouds([[0.0], [1.0]], [[3.0], [2.0]]).tolist()
    [[2.0], [3.0]]
    """
    here, there = _clouds(x, y)
    return there[linear_sum_assignment(cdist(here, there, "sqeuclidean"))[1]]


def _clouds(x: Numbers, y: Numbers) -> tuple[Array, Array]:
    here, there = finite("x", x), finite("y", y)
    if here.ndim != 2 or here.shape != there.shape or here.size == 0:
        raise ValueError(f"x, y of shapes {here.shape}, {there.shape}: one (n, d) for both is allowed")
    return here, there
