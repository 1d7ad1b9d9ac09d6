"""The edge of trainability: the depth at which a map of accuracies falls below a threshold, in units of ξ_c.

Kept apart from the experiment that computes the map, so that reading a stored map otherwise does not make it stale.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray
from numpy.typing import ArrayLike, NDArray

from deepdynamics.meanfield import MeanField

__all__ = ["ColumnMean", "edge", "edge_multiples", "mean_over_columns", "measured"]

# Accuracies of a network that knows nothing, and of a shallow one after the budget of the map.
CHANCE, LEARNT = 0.1, 0.9
HALF_WAY = (CHANCE + LEARNT) / 2


def edge(accuracy: ArrayLike, depths: ArrayLike, threshold: float = HALF_WAY) -> NDArray[np.float64]:
    """The largest depth with an accuracy of at least `threshold`: (…, depths) -> (…).

    Between the last depth at or above the threshold and the next one, the accuracy is taken as linear in log depth. NaN
    among the accuracies marks what was not trained and is skipped. The result is inf where the deepest network trained
    is still above the threshold (the edge is beyond it), NaN where none is.

    Raises ValueError for depths that are not positive and ascending, or that do not fit the accuracies.

    >>> edge([0.9, 0.9, 0.1], [10, 20, 40])
    array(28.28427125)
    >>> edge([[0.9, 0.9, np.nan], [0.2, 0.1, 0.1]], [10, 20, 40])
    array([inf, nan])
    """
    values, grid = np.asarray(accuracy, dtype=np.float64), np.asarray(depths, dtype=np.float64)
    if grid.ndim != 1 or not grid.size or not (grid > 0).all() or not (np.diff(grid) > 0).all():
        raise ValueError(f"depths = {depths!r}: positive numbers in ascending order are needed")
    if values.shape[-1:] != grid.shape:
        raise ValueError(f"accuracy of shape {values.shape}: (…, {grid.size}) is needed, one value a depth")
    if not np.isfinite(threshold):
        raise ValueError(f"threshold = {threshold!r}: a finite number is needed")
    flat = [_edge(row, np.log(grid), threshold) for row in values.reshape(-1, grid.size)]
    return np.array(flat).reshape(values.shape[:-1])


def _edge(row: NDArray[np.float64], log_depths: NDArray[np.float64], threshold: float) -> float:
    trained = ~np.isnan(row)
    row, log_depths = row[trained], log_depths[trained]
    above = np.flatnonzero(row >= threshold)
    if not above.size:
        return np.nan
    last = above[-1]
    if last == row.size - 1:
        return np.inf
    share = (row[last] - threshold) / (row[last] - row[last + 1])
    return float(np.exp(log_depths[last] + share * (log_depths[last + 1] - log_depths[last])))


def edge_multiples(
    accuracy: xarray.DataArray, *, threshold: float = HALF_WAY, activation: str = "tanh", bias_var: float = 0.05
) -> xarray.DataArray:
    """`edge` along the dimension `depth` divided by ξ_c at each `weight_var`; ξ_c itself is the coordinate `xi_c`."""
    edges = xarray.apply_ufunc(edge, accuracy, accuracy.depth, threshold, input_core_dims=[["depth"], ["depth"], []])
    xi = np.array([float(MeanField(activation, float(value), bias_var).xi_c) for value in accuracy.weight_var.values])
    return (edges / xarray.DataArray(xi, dims="weight_var")).assign_coords(xi_c=("weight_var", xi))


@dataclass(frozen=True)
class ColumnMean:
    """A mean over columns that were chosen and networks that were drawn; unpacks as mean, standard_error, dof."""

    mean: float
    standard_error: float
    dof: int

    def __iter__(self) -> Iterator[float]:
        return iter((self.mean, self.standard_error, self.dof))


def mean_over_columns(table: xarray.DataArray) -> ColumnMean:
    """Mean of a table (weight_var, seed) with the standard error that comes from the networks alone.

    The columns are a fixed set and differ systematically; only the networks within a column are independent samples.
    With n networks in each of k columns of variances v_i the standard error is √(Σ v_i/n)/k, with k(n − 1) degrees of
    freedom. Raises ValueError for fewer than two networks a column.

    >>> mean_over_columns(xarray.DataArray([[1.0, 2.0], [11.0, 12.0]], dims=("weight_var", "seed")))
    ColumnMean(mean=6.5, standard_error=0.3535533905932738, dof=2)
    """
    values = table.transpose("weight_var", "seed").values
    columns, networks = values.shape
    if networks < 2:
        raise ValueError(f"table has {networks} network a column: at least two are needed")
    error = np.sqrt((values.var(axis=1, ddof=1) / networks).sum()) / columns
    return ColumnMean(float(values.mean()), float(error), columns * (networks - 1))


def measured(multiples: xarray.DataArray) -> xarray.DataArray:
    """The columns in which every repetition that was trained has an edge within the depths: (weight_var, seed).

    A column where some repetition trains at the largest depth is left out as a whole: to keep only those of its
    edges that can be seen would pull the mean down. Needs dimensions `weight_var` and `seed` only.
    """
    table = multiples.transpose("weight_var", "seed")
    return table.isel(weight_var=np.flatnonzero(np.isfinite(table.values).all(axis=1)))
