"""Which learning rates a ReLU network survives, over its width and its normalisation, on MNIST.

The two maps of the slides, "training loss after one epoch": L = 4 layers of weights, σ_w² = 2, σ_b² = 0.1, plain SGD on
the squared loss, an epoch of 4,000 digits in mini-batches of 100. The slides print neither the variances nor the batch.
Images have mean 0 and mean square 1 over all pixels, targets mean 0 and variance 1 for each class, so that outputs with
batch normalisation can fit them. No normalisation has a gain or a shift of its own.

`loss` is the mean loss of the last five mini-batches, each before its update; inf where it was not finite or beyond
1e12. `start` is the loss of the first mini-batch. `largest` is λ_max of the Fisher information at the start, on the
first 300 digits. A width of 4,096 has λ_max only, and normalisations that are beside the story have three seeds.

`edges` gives the rate at which training ends: the geometric mean of the first rate that ends above its start, and the
one before.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray

from deepdynamics import data
from deepdynamics.ensembles import NORMALISATIONS, NormalisedMLPs
from deepdynamics.experiments._experiment import Point, at_scale, points

__all__ = ["KEY", "RATES", "cell", "checks", "digits", "edges", "grid", "networks"]

KEY = "fisher-wide.rates"
ACTIVATION, WEIGHT_VAR, BIAS_VAR, DEPTH = "relu", 2.0, 0.1, 4
IMAGES, BATCH, FOR_LARGEST, WINDOW = 4000, 100, 300, 5
WIDTHS = (64, 128, 256, 512, 1024, 4096)
RATES = tuple(float(2 ** (-k / 2)) for k in range(18, -1, -1))  # 2⁻⁹ to 1
SEEDS = (0, 1, 2, 3, 4, 5)
DIMENSIONS = {
    "loss": ("normalisation", "width", "seed", "learning_rate"),
    "start": ("normalisation", "width", "seed"),
    "largest": ("normalisation", "width", "seed"),
}
COORDINATES = {"normalisation": NORMALISATIONS, "width": WIDTHS, "seed": SEEDS, "learning_rate": RATES}
PARAMETERS = {
    "activation": ACTIVATION,
    "weight_var": WEIGHT_VAR,
    "bias_var": BIAS_VAR,
    "depth": DEPTH,
    "images": IMAGES,
    "batch": BATCH,
    "images_for_largest": FOR_LARGEST,
}
NEEDS = ("mnist",)
# Far below the edge, where training does not amplify rounding.
checks = tuple({"normalisation": kind, "width": 64, "seed": 0, "rates": RATES[:6]} for kind in NORMALISATIONS)
tolerance = {"loss": (1e-2, 1e-2), "start": (1e-3, 1e-4), "largest": (1e-3, 1e-2)}


def grid(scale: str) -> list[Point]:
    """Two normalisations at the smallest width and one seed, or all of the map."""
    live = points(normalisation=("none", "mean, last"), width=(64,), seed=(0,), rates=(RATES[:6],))
    two = points(normalisation=NORMALISATIONS[:2], width=WIDTHS, seed=SEEDS)
    rest = points(normalisation=NORMALISATIONS[2:], width=(64, 256, 1024), seed=SEEDS[:3])
    return at_scale(scale, live=live, paper=two + rest)


def cell(normalisation: str, width: int, seed: int, rates: Sequence[float] = RATES) -> dict[str, xarray.DataArray]:
    """λ_max of one network, and its loss after an epoch at each rate (none at a width of 4,096)."""
    images, targets, _ = digits()
    found: dict[str, Any] = {
        "largest": float(networks(normalisation, width, [seed]).leading(images[:FOR_LARGEST])[0, 0])
    }
    if width < WIDTHS[-1]:
        runs = networks(normalisation, width, [seed] * len(rates))
        steps = len(images) // BATCH
        losses = runs.fit(images, targets, learning_rate=list(rates), steps=steps, batch=BATCH, seed=seed).double()
        found["start"] = float(losses[0, 0])
        axis = {"learning_rate": list(rates)}
        found["loss"] = xarray.DataArray(losses[-WINDOW:].mean(0).numpy(), axis, list(axis))
    return {name: xarray.DataArray(value) for name, value in found.items()}


def networks(normalisation: str, width: int, seeds: list[int]) -> NormalisedMLPs:
    """The networks of the map, one for each seed; equal seeds are the same draw."""
    shape = (784, *(width,) * (DEPTH - 1), 10)
    return NormalisedMLPs(
        len(seeds),
        shape,
        ACTIVATION,
        normalisation=normalisation,
        weight_var=WEIGHT_VAR,
        bias_var=BIAS_VAR,
        seed=seeds,
    )


def sources() -> data.Provenance:
    """Where the images come from."""
    return digits()[2]


@functools.lru_cache(maxsize=1)
def digits() -> tuple[torch.Tensor, torch.Tensor, data.Provenance]:
    """The first 4,000 training images of MNIST, scaled, (n, 784); targets (n, 10); provenance."""
    images, labels, provenance = data.load("mnist", "train", n=IMAGES, flatten=True)
    images = (images - images.mean()) / images.std()
    targets = torch.nn.functional.one_hot(torch.as_tensor(labels), 10).float()
    return images, (targets - 0.1) / 0.3, provenance


def edges(stored: xarray.Dataset) -> xarray.DataArray:
    """The rate at which training ends, (normalisation, width, seed): the geometric mean of the first rate whose loss
    after the epoch is above its start, and the one before; NaN where no rate of the grid is, where the first one is
    already, and where nothing was trained.

    >>> loss = xarray.DataArray([[1.0, 0.5, np.inf]], {"learning_rate": [1, 2, 8]}, ["seed", "learning_rate"])
    >>> float(edges(xarray.Dataset({"loss": loss, "start": ("seed", [2.0])}))[0])
    4.0
    """
    rates = stored.learning_rate.values

    def last(losses: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
        ended = losses > start[..., None]
        first = ended.argmax(-1)
        found = np.sqrt(rates[first] * rates[np.maximum(first - 1, 0)])
        return np.where(ended.any(-1) & (first > 0), found, np.nan)

    return xarray.apply_ufunc(last, stored.loss, stored.start, input_core_dims=[["learning_rate"], []])
