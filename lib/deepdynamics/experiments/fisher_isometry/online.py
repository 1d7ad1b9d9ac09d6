"""Online learning over depth and learning rate: the accuracy after 500 steps, and the rate at which training diverges.

The map of hayase2021spectrum: hard-tanh networks of L weight matrices without biases, Haar orthogonal at σ_w = 1, on
Fashion-MNIST, the loss ½‖f − e_y‖² with the sum over the ten outputs, batches of one image, 500 steps, each of 500
training images seen once. What the text that we have does not say is chosen here: images lose the mean image, are
turned by one fixed orthonormal map into as many numbers as a layer has units, and are scaled to ‖x‖ = 1, so that the
largest eigenvalue of J Jᵀ is L and the bound 2/L.

Eight depths, ten rates a factor 2 apart, eight seeds: a seed draws the network and the order of the images, the same at
every rate. The networks of one depth are one batched program. A run has diverged when its loss is no longer finite; the
bracket between the last rate that has not and the first that has is then cut into eight. The same is asked of networks
that see one image 500 times, each seed another one, at rates a factor 2^¼ apart. Accuracies are on 400 test
images, 0 where training has diverged. At the width 784 nothing is projected away; two seeds, depths 2 and 4.

**To draw it**::

    stored = results.load(online.KEY)
    part = stored.sel(width=128)
    axes.pcolormesh(part.depth, part.learning_rate, part.accuracy.mean("seed").transpose("learning_rate", "depth"))

**To compute a slice** (some 10 s on one thread): ``experiments.compute(online.KEY, "live")``, depths 2 and 8 at two
seeds. Training amplifies rounding where it is close to divergence, hence the tolerance.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
import xarray
from numpy.typing import ArrayLike, NDArray

from deepdynamics import data
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.networks.draws import haar

__all__ = ["KEY", "best_rate", "cell", "checks", "grid", "images", "train"]

KEY = "fisher-isometry.online"
ACTIVATION, CLASSES, STEPS = "hardtanh", 10, 500
WIDTHS = (128, 784)
DEPTHS = (2, 3, 4, 6, 8, 12, 16, 32)
RATES = tuple(2.0 ** (k - 8) for k in range(10))  # 1/256 to 2
SEEDS = tuple(range(8))
CUTS = 7  # rates inside the bracket of the divergence
REPEATED = 2.0 ** np.arange(-0.25, 2.75, 0.25)  # rates for one image repeated, in units of 2/L
CHUNK = 2**26  # weights that lie in memory together
DIMENSIONS = {"accuracy": ("width", "depth", "seed", "learning_rate"), "divergence": ("width", "depth", "seed")}
DIMENSIONS["repeated"] = DIMENSIONS["divergence"]
COORDINATES = {"width": WIDTHS, "depth": DEPTHS, "seed": SEEDS, "learning_rate": RATES}
PARAMETERS = {
    "activation": ACTIVATION,
    "init": "orthogonal",
    "weight_var": 1.0,
    "bias_var": 0.0,
    "loss": "squared",
    "batch": 1,
    "steps": STEPS,
    "images": 500,
    "tested": 400,
    "norm": 1.0,
}
NEEDS = ("fashion-mnist",)
checks = ({"width": 128, "depth": 2, "seeds": (0, 1)}, {"width": 128, "depth": 6, "seeds": (1,)})
tolerance = {"accuracy": (0.0, 0.1), "divergence": (0.1, 0.0), "repeated": (0.2, 0.0)}


def grid(scale: str) -> list[Point]:
    """Two depths at two seeds, or the map and its part at full width."""
    live = points(width=(128,), depth=(2, 8), seeds=((0, 1),))
    full = points(width=(784,), depth=(2, 4), seeds=((0, 1),))
    return at_scale(scale, live=live, paper=points(width=(128,), depth=DEPTHS, seeds=(SEEDS,)) + full)


def cell(width: int, depth: int, seeds: Sequence[int] = SEEDS) -> dict[str, xarray.DataArray]:
    """Accuracies (seed, learning_rate) and rates at which training diverges (seed,) of the networks of one depth."""
    places = {"seed": list(seeds)}
    accuracy, failed = train(width, depth, seeds, [RATES] * len(seeds))
    low = RATES[0] * 2.0 ** np.maximum(failed.argmax(1) - 1, 0)
    inside = low[:, None] * 2.0 ** (np.arange(CUTS + 2) / (CUTS + 1))
    _, cut = train(width, depth, seeds, inside[:, 1:-1])
    found = {
        "accuracy": xarray.DataArray(accuracy, places | {"learning_rate": list(RATES)}),
        "divergence": xarray.DataArray(_between(inside, cut, known=failed.any(1) & ~failed[:, 0]), places),
    }
    if width == WIDTHS[0]:
        tried = np.tile(2 / depth * REPEATED, (len(seeds), 1))
        _, cut = train(width, depth, seeds, tried[:, :-1], repeat=True)
        known = cut.any(1) & ~cut[:, 0]
        found["repeated"] = xarray.DataArray(_between(tried, cut[:, 1:], known), places)
    return found


def _between(rates: NDArray[np.float64], failed: NDArray[np.bool_], known: ArrayLike) -> NDArray[np.float64]:
    """The middle, on a logarithmic scale, of the last rate that has not failed and the next: ``failed`` lacks the first
    rate, which has not, and the last, which is taken to have. NaN where it is not ``known`` that they are so."""
    place = np.where(failed.any(1), failed.argmax(1), failed.shape[1])[:, None]
    ends = np.take_along_axis(rates, np.concatenate([place, place + 1], 1), 1)
    return np.where(known, np.sqrt(ends.prod(1)), np.nan)


def sources() -> data.Provenance:
    """Where the images come from."""
    return data.load("fashion-mnist", "train", n=500).provenance


def train(
    width: int, depth: int, seeds: Sequence[int], rates: ArrayLike, *, repeat: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Test accuracies and whether training has diverged, (seeds, rates) both, for ``rates`` (seeds, k).

    ``repeat``: one image again and again, of the number of the seed, instead of all.
    """
    X, y, tested, answers = images(width)
    table = np.asarray(rates, dtype=np.float64)
    accuracy, failed = np.empty(table.shape, np.float32), np.empty(table.shape, bool)
    together = 1 if repeat else max(1, CHUNK // (table.shape[1] * width**2 * depth))
    for start in range(0, len(seeds), together):
        rows = slice(start, start + together)
        each = np.repeat(seeds[rows], table.shape[1]).tolist()
        widths = (width,) * depth + (CLASSES,)
        nets = MLPEnsemble(len(each), widths, ACTIVATION, init="orthogonal", seed=[100 * depth + s for s in each])
        chosen = slice(seeds[start], seeds[start] + 1) if repeat else slice(None)
        history = nets.fit(
            X[chosen],
            y[chosen],
            learning_rate=table[rows].ravel().tolist(),
            steps=STEPS,
            batch=1,
            loss="squared",
            fixed_biases=True,
            seed=each,
        )
        accuracy[rows] = nets.evaluate(tested, answers).numpy().reshape(-1, table.shape[1])
        failed[rows] = history.diverged.numpy().reshape(-1, table.shape[1])
    return accuracy, failed


@functools.lru_cache(maxsize=4)
def images(width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """500 images (n, width) with labels to learn from and 400 to test, less the mean image, through one orthonormal map
    of 784 pixels onto ``width`` numbers, at ‖x‖ = 1."""
    X, y, _ = data.load("fashion-mnist", "train", n=500, flatten=True)
    tested, answers, _ = data.load("fashion-mnist", "test", flatten=True)
    tested, answers = tested[:400], answers[:400]  # of the stand-in there are fewer
    turn = haar(width, X.shape[1], seed=0).float()
    inputs, others = ((images - X.mean(0)) @ turn.T for images in (X, tested))
    X, tested = (x / x.norm(dim=1, keepdim=True) for x in (inputs, others))
    return X, y, tested, answers


def best_rate(accuracy: xarray.DataArray) -> xarray.DataArray:
    """The rate of highest accuracy: the top of the parabola, over the logarithm of the rate, through the best rate of
    the grid and its two neighbours. The dimension ``learning_rate`` goes.

    >>> rates = [0.25, 0.5, 1.0, 2.0]
    >>> round(float(best_rate(xarray.DataArray([0.2, 0.6, 0.6, 0.2], {"learning_rate": rates}))) ** 2, 9)
    0.5
    """
    values = accuracy.transpose(..., "learning_rate")
    place = values.argmax("learning_rate").clip(1, values.sizes["learning_rate"] - 2)
    before, top, after = (values.isel(learning_rate=place + k) for k in (-1, 0, 1))
    bend = before - 2 * top + after
    shift = (0.5 * (before - after) / bend.where(bend < 0)).fillna(0).clip(-1, 1)
    steps = np.log2(values.learning_rate)
    spacing = float(steps[1] - steps[0])
    return 2.0 ** (steps[0] + spacing * (place + shift)).drop_vars("learning_rate", errors="ignore")
