"""Does one number predict another? Rank correlations, also given third ones, with the jackknife's errors."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from deepdynamics._checks import finite

__all__ = ["jackknife", "percentiles", "rank_correlation"]


def percentiles(x: ArrayLike) -> NDArray[np.float64]:
    """The share of the other entries of x (n,) that each exceeds, ties as halves: 0 for the least, 1 for the largest.

    >>> percentiles([3.0, 1.0, 7.0]).tolist()
    [0.5, 0.0, 1.0]
    """
    values = finite("x", x)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"x of shape {values.shape}: one axis, two entries or more")
    return np.asarray((stats.rankdata(values) - 1) / (len(values) - 1))


def rank_correlation(x: ArrayLike, y: ArrayLike, *, given: ArrayLike | None = None) -> float:
    """Spearman's ρ of x and y (n,), or what is left of it when the ranks of ``given``, (n,) or (columns, n), are
    regressed out of both.

    ``ValueError`` for other shapes and for ranks without variation, before or after the regression.

    >>> z = np.arange(6.0)
    >>> x, y = z + [0, 2, 0, 2, 0, 2], z + [2, 0, 2, 0, 2, 0]  # they share z, and go against each other besides
    >>> round(rank_correlation(x, y), 2), round(rank_correlation(x, y, given=z), 2)
    (0.49, -0.95)
    """
    columns = np.array([percentiles(x), percentiles(y)])
    if given is not None:
        others = [percentiles(column) for column in np.atleast_2d(finite("given", given))]
        design = np.stack([np.ones_like(others[0]), *others], axis=1)
        columns = columns - (design @ np.linalg.lstsq(design, columns.T, rcond=None)[0]).T
    centred = columns - columns.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    if lengths.min() < 1e-9:
        raise ValueError("x or y: no variation is left")
    return float(centred[0] @ centred[1] / lengths.prod())


def jackknife(statistic: Callable[..., float], *columns: ArrayLike) -> NDArray[np.float64]:
    """The n pseudo-values of a statistic of columns (n,) or (..., n): their mean is the statistic less its bias of
    order 1/n, and their standard error is that of the statistic.

    >>> values = np.array([1.0, 2.0, 4.0])
    >>> jackknife(lambda v: float(v.mean()), values).round(9).tolist()
    [1.0, 2.0, 4.0]
    """
    arrays = [finite("columns", column) for column in columns]
    n = arrays[0].shape[-1]
    if n < 3 or any(array.shape[-1] != n for array in arrays):
        raise ValueError("columns: of equal length along their last axis, three or more")
    without = [statistic(*(np.delete(array, i, axis=-1) for array in arrays)) for i in range(n)]
    return np.asarray(n * statistic(*arrays) - (n - 1) * np.array(without))
