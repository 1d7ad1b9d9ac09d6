"""Where the tail of data begins: the threshold of least Kolmogorov-Smirnov distance, without looking at every point of
every tail."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["least_distant", "spread"]

_BLOCK = 50_000  # entries of a block of distances between candidates and data
_FIRST, _FACTOR = 16, 4  # points of a tail that are looked at first, and how many times more at each round


def spread(sizes: NDArray[np.int64], points: int) -> NDArray[np.int64]:
    """Ranks (len(sizes), points) that are spread evenly over tails of these sizes, both ends among them, and all of
    them where ``points`` is at least the size.

    >>> spread(np.array([3, 9]), 5)
    array([[0, 0, 1, 1, 2],
           [0, 2, 4, 6, 8]])
    """
    return np.arange(points) * (sizes[:, None] - 1) // (points - 1)


def least_distant(
    distances: Callable[[NDArray[np.int64], int], NDArray[np.float64]], sizes: NDArray[np.int64]
) -> tuple[int, float]:
    """Index and distance of the candidate with the least distance, the first of equals, among tails of ``sizes`` ≥ 2.

    ``distances(chosen, points)``: the largest deviations of the candidates ``chosen`` at the ranks ``spread(sizes,
    points)`` of their tails. On some points that is a lower bound: a candidate is out once its bound is above the
    distance of another. So a few points decide about most candidates, and all points are needed for a few, the most
    promising first. The cost is that of sorting where distances differ, and at worst the naive one.

    >>> deviations = [np.array([0.1, 0.4, 0.2]), np.array([0.1, 0.3])]
    >>> def distances(chosen, points):
    ...     sizes = np.array([len(deviations[i]) for i in chosen])
    ...     return np.array([deviations[i][r].max() for i, r in zip(chosen, spread(sizes, points))])
    >>> least_distant(distances, np.array([3, 2]))
    (1, 0.3)
    """
    chosen, bounds, most, points, least = np.arange(len(sizes)), np.zeros(len(sizes)), int(sizes.max()), _FIRST, np.inf

    def exactly(some: NDArray[np.int64]) -> NDArray[np.float64]:
        return distances(some, int(sizes[some].max()))

    while points < most and len(chosen) > 1:
        rows = max(1, _BLOCK // points)
        blocks = [distances(chosen[i : i + rows], points) for i in range(0, len(chosen), rows)]
        bounds = np.concatenate(blocks)
        least = min(least, float(exactly(chosen[[bounds.argmin()]])[0]))
        left = bounds <= least
        chosen, bounds, points = chosen[left], bounds[left], _FACTOR * points
    best, rows = (np.inf, -1), max(1, _BLOCK // most)
    order = np.argsort(bounds, kind="stable")
    for i in range(0, len(order), rows):
        block = order[i : i + rows]
        if bounds[block[0]] > best[0]:
            break
        found = exactly(chosen[block])
        lowest = chosen[block[found == found.min()]].min()
        best = min(best, (float(found.min()), int(lowest)))
    return best[1], best[0]
