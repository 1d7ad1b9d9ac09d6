"""Which random networks can be trained: accuracy on MNIST over (σ_w², depth), at the best of several learning rates.

The map of schoenholz2017deep, Fig. 5: tanh networks of width 128 with σ_b² = 0.05, plain SGD on the cross-entropy,
batches of 32, 1,000 steps, each of the first 32,000 training images seen once. Eleven columns σ_w² on both sides of
the critical 1.761, eight depths (hidden layers) a factor √2 apart up to 91. Every cell is trained at five or six
learning rates a factor 4 apart; every cell has its own network and order of images, the same at every rate. Columns
in which 7 ξ_c lies within the depths have three repetitions from 3 ξ_c on; the columns next to criticality, whose
edge is deeper than 91, have one.

An accuracy is the share of right answers on the 100 mini-batches before a checkpoint, each answered before it is
learnt from: 3,200 images the network has not seen. Checkpoints are at 250, 500, 750 and 1,000 steps of one and the
same run, so that the map shows what the budget does: an edge that moves outwards with the number of steps is no
property of the random network alone. The literature's "nets train up to 6 ξ_c" is a fit, not a theorem;
`measured` gives what to set beside it.

**To draw it**, with 6 ξ_c over it::

    from deepdynamics import experiments, results
    from deepdynamics.experiments.order_and_chaos import trainability

    stored = results.load(trainability.KEY)
    accuracy = trainability.best(stored.accuracy.sel(checkpoint=1000))    # (seed, weight_var, depth)
    axes.pcolormesh(accuracy.weight_var, accuracy.depth, accuracy.mean("seed").transpose("depth", "weight_var"))
    axes.set_yscale("log")                                                # cells that are NaN were not trained
    multiples = trainability.edge_multiples(accuracy)                     # edge/ξ_c; the coordinate xi_c has ξ_c itself
    axes.plot(multiples.weight_var, 6 * multiples.xi_c)
    samples = trainability.measured(multiples).values.ravel()             # for claim(samples=..., source_says=6)

Repetitions of one column are independent networks; columns differ among themselves by more than repetitions do. What is
said of one column, or of a change within a run (twice the steps, say), has repetitions as its samples; what is said of
all columns has the eight means `measured(multiples).mean("seed")`.

**To compute a slice** (some 8 s on one thread, twice that where the core is shared; 0.7 GB)::

    live = experiments.compute(trainability.KEY, "live")                  # σ_w² = 1, four depths, 250 steps, all rates
    difference = trainability.best(live.accuracy) - trainability.best(stored.accuracy)      # xarray aligns the cells

On the machine that stored the result the difference is exactly 0. Training amplifies rounding: images multiplied by 1
+ 1e-7 ε moved the best accuracies of these four cells by up to 0.022, and those at the other rates by up to 0.09, hence
the tolerance for other processors. `live.attrs["data"]` goes under the figure.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray
from numpy.typing import ArrayLike, NDArray

from deepdynamics import data
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.meanfield import MeanField

__all__ = [
    "KEY",
    "ColumnMean",
    "best",
    "cell",
    "checks",
    "edge",
    "edge_multiples",
    "grid",
    "mean_over_columns",
    "measured",
]

KEY = "order-chaos.trainability"
ACTIVATION, BIAS_VAR, WIDTH, CLASSES = "tanh", 0.05, 128, 10
BATCH, STEPS, IMAGES = 32, 1000, 32_000  # every image is seen once
CHECKPOINTS = (250, 500, 750, 1000)
WINDOW = 100  # steps before a checkpoint whose accuracies are averaged: 3,200 images
WEIGHT_VARS = (1.0, 1.1, 1.2, 1.3, 1.5, 1.76, 2.2, 2.6, 3.0, 3.4, 4.0)
DEPTHS = (8, 11, 16, 23, 32, 45, 64, 91)
RATES = tuple(0.256 / 4**k for k in range(7))  # 0.256 down to 6.25e-5
SEEDS = (0, 1, 2)
DIMENSIONS = {"accuracy": ("seed", "weight_var", "depth", "checkpoint", "learning_rate")}
COORDINATES = {
    "seed": SEEDS,
    "weight_var": WEIGHT_VARS,
    "depth": DEPTHS,
    "checkpoint": CHECKPOINTS,
    "learning_rate": RATES,
}
PARAMETERS = {
    "activation": ACTIVATION,
    "bias_var": BIAS_VAR,
    "width": WIDTH,
    "batch": BATCH,
    "steps": STEPS,
    "images": IMAGES,
    "window": WINDOW,
    "optimiser": "sgd",
}
NEEDS = ("mnist",)
FIRST = CHECKPOINTS[:1]
# One cell of each phase to the first checkpoint, on either side of the learning rates that are tried.
checks = (
    {"seed": 0, "weight_var": 1.0, "depth": 11, "checkpoints": FIRST},
    {"seed": 2, "weight_var": 4.0, "depth": 8, "checkpoints": FIRST},
)
tolerance = {"accuracy": (0.0, 0.1)}


def grid(scale: str) -> list[Point]:
    """One column at one seed up to the first checkpoint, or all of the map."""
    live = points(seed=(0,), weight_var=(1.0,), depth=(11, 16, 23, 32), checkpoints=(FIRST,))
    return at_scale(scale, live=live, paper=points(seed=SEEDS, weight_var=WEIGHT_VARS, depth=DEPTHS))


def cell(
    seed: int, weight_var: float, depth: int, checkpoints: Sequence[int] = CHECKPOINTS
) -> dict[str, xarray.DataArray]:
    """Accuracies (checkpoint, learning_rate) of one random network, trained at each of its rates."""
    accuracy = train(weight_var, depth, seed, tuple(checkpoints))
    coords = {"checkpoint": list(checkpoints), "learning_rate": list(RATES)}
    return {"accuracy": xarray.DataArray(accuracy, coords, list(coords))}


def sources() -> data.Provenance:
    """Where the images come from."""
    return _digits()[2]


def train(weight_var: float, depth: int, seed: int, checkpoints: tuple[int, ...]) -> NDArray[np.float32]:
    """Accuracies (checkpoints, rates) of one random network of `depth` hidden layers, trained at each of its rates.

    The accuracy at a checkpoint is the share of right answers on the 100 mini-batches before it, each answered before
    the network learns from it. NaN for rates that are not tried in this phase, and where a cell is not in the map.
    """
    accuracy = np.full((len(checkpoints), len(RATES)), np.nan, dtype=np.float32)
    if not in_map(weight_var, depth, seed):
        return accuracy
    images, labels, _ = _digits()
    tried = rates_tried(weight_var)
    draw = draw_of(weight_var, depth, seed)
    ensemble = MLPEnsemble(
        len(tried),
        (images.shape[1], *(WIDTH,) * depth, CLASSES),
        ACTIVATION,
        weight_var=weight_var,
        bias_var=BIAS_VAR,
        seed=[draw] * len(tried),
    )
    rates = [RATES[k] for k in tried]
    history = ensemble.fit(images, labels, learning_rate=rates, steps=checkpoints[-1], batch=BATCH, seed=draw)
    for row, step in enumerate(checkpoints):
        accuracy[row, tried] = history.accuracy[step - WINDOW : step].mean(0).numpy()
    return accuracy


def draw_of(weight_var: float, depth: int, seed: int) -> int:
    """The integer that seeds a cell's network and order of images: different in every cell, equal at every rate."""
    return round(1000 * weight_var) * 100_000 + depth * 100 + seed


def rates_tried(weight_var: float) -> list[int]:
    """Places in RATES: the five largest in the ordered phase, all but the largest from criticality on."""
    return list(range(5)) if weight_var < 1.7 else list(range(1, 7))


def in_map(weight_var: float, depth: int, seed: int) -> bool:
    """Whether a cell is computed: up to the first depth beyond 10 ξ_c; repetitions only where the edge can be measured
    (7 ξ_c within the depths) and from the last depth below 3 ξ_c on."""
    xi = float(MeanField(ACTIVATION, weight_var, BIAS_VAR).xi_c)
    deepest = next((d for d in DEPTHS if d >= 10 * xi), DEPTHS[-1])
    if seed == 0:
        return depth <= deepest
    first = max((d for d in DEPTHS if d <= 3 * xi), default=DEPTHS[0])
    return 7 * xi <= DEPTHS[-1] and first <= depth <= deepest


@functools.lru_cache(maxsize=1)
def _digits() -> tuple[torch.Tensor, torch.Tensor, data.Provenance]:
    """The first 32,000 training images of MNIST (n, 784), labels, provenance; whatever there is of the stand-in."""
    images, labels, provenance = data.load("mnist", "train", flatten=True)
    used = labels[:IMAGES].clone()
    return images[:IMAGES].clone(), used, dataclasses.replace(provenance, count=len(used))


def best(accuracy: xarray.DataArray) -> xarray.DataArray:
    """The accuracy at the best learning rate of each cell, NaN where nothing was trained."""
    return accuracy.max("learning_rate", skipna=True)


# The edge -------------------------------------------------------------------------------------------------------------

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
