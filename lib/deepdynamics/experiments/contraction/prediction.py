"""Does the spectrum of the Jacobian, before training or after one epoch, tell how good a classifier will be?

Seventy-two configurations of a multilayer perceptron for each of two data sets, two seeds each: tanh or ReLU units, 1
or 4 hidden layers, width 32 or 128, weight variance a quarter, once and four times the critical one, and three learning
rates of plain SGD; six epochs, batches of 100. MNIST: 10,000 training and 5,000 test images. CIFAR-100: the first ten
classes, grey, 5,000 and 1,000 images. Images are centred and scaled by one mean and deviation a data set.

The spectrum is that of the Jacobian from the input to the last hidden layer, mean over 32 test images: the mean of the
logarithm of the Frobenius norm squared over the rank, of the largest value and of the median, and the participation
ratio over the rank.

**To draw it**::

    found = results.load("contraction.prediction")
    found.table.sel(data="mnist", quantity="accuracy")   # (activation, width, depth, weight_var, rate, seed)

**To train some of them** (about 5 s on one thread)::

    prediction.train("mnist", "tanh", 32, 1, seeds=(0,))          # (weight_var, rate, 1, quantity)
"""

import functools
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.jacobian import gram_singular_values, mlp_jacobians, participation_ratio

__all__ = ["KEY", "cell", "checks", "grid", "train"]

KEY = "contraction.prediction"
GRID = {
    "data": ("mnist", "cifar-100"),
    "activation": ("tanh", "relu"),
    "width": (32, 128),
    "depth": (1, 4),
}
CRITICAL = {"tanh": 1.0, "relu": 2.0}
WEIGHT_VARS = (0.25, 1.0, 4.0)  # times the critical one
RATES = (0.01, 0.05, 0.25)
SEEDS = (0, 1)
EPOCHS, BATCH, CLASSES, LOOKED_AT = 6, 100, 10, 32
SPECTRAL = ("log_square", "log_largest", "log_median", "participation")
QUANTITIES = (
    "accuracy",  # on test images, after the last epoch
    "accuracy_one",  # after one epoch
    "loss_one",  # mean training loss of the last 20 mini-batches of the first epoch; inf once it diverged
    "parameters",
    *(f"{name}_{when}" for when in ("start", "one") for name in SPECTRAL),
)
DIMENSIONS = {"table": ("data", "activation", "width", "depth", "weight_var", "rate", "seed", "quantity")}
COORDINATES = {**GRID, "weight_var": WEIGHT_VARS, "rate": RATES, "seed": SEEDS, "quantity": QUANTITIES}
PARAMETERS = {
    **{key: list(values) for key, values in GRID.items()},
    "weight_vars": list(WEIGHT_VARS),
    "critical": CRITICAL,
    "rates": list(RATES),
    "epochs": EPOCHS,
    "batch": BATCH,
    "looked_at": LOOKED_AT,
    "quantities": list(QUANTITIES),
    "optimiser": "sgd",
}
NEEDS = GRID["data"]
checks = (
    {"data": "mnist", "activation": "tanh", "width": 32, "depth": 1},
    {"data": "cifar-100", "activation": "relu", "width": 32, "depth": 4, "rates": RATES[:2]},
)
# Training amplifies rounding, that of another machine or of sums in another order. At the largest rate the deep ReLU
# networks are chaotic: rounding makes one of their eighteen another network, so that no check compares them.
tolerance = {"table": (0.05, 0.05)}


def grid(scale: str) -> list[Point]:
    """One shape of network, or all of them; variances, rates and seeds of one shape are trained at once."""
    return at_scale(scale, live=list(checks[:1]), paper=points(**GRID))


def cell(
    data: str, activation: str, width: int, depth: int, rates: Sequence[float] = RATES
) -> dict[str, xarray.DataArray]:
    """`QUANTITIES` (weight_var, rate, seed, quantity) of all networks of one shape, at some rates or all."""
    labels = {name: list(COORDINATES[name]) for name in DIMENSIONS["table"][4:]} | {"rate": list(rates)}
    return {"table": xarray.DataArray(train(data, activation, width, depth, rates=rates), labels, list(labels))}


def sources() -> list[data.Provenance]:
    """Where the images come from."""
    return [samples(name)[-1] for name in GRID["data"]]


@functools.lru_cache(maxsize=2)
def samples(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor, data.Provenance]:
    """Training images (n, pixels) and labels, test images and labels, of ten classes, standardised; provenance."""
    sets = []
    for split, count in (("train", 10_000), ("test", 5_000)):
        if name == "mnist":
            images, labels, provenance = data.load(name, split, flatten=True)
            images, labels = images[:count].clone(), labels[:count].clone()
        else:
            images, labels, provenance = data.load(name, split)
            kept = labels < CLASSES
            images, labels = images[kept].mean(1).flatten(1), labels[kept]
        sets += [images, labels]
    mean, deviation = sets[0].mean(), sets[0].std()
    return (sets[0] - mean) / deviation, sets[1], (sets[2] - mean) / deviation, sets[3], provenance


def train(
    name: str, activation: str, width: int, depth: int, seeds: Sequence[int] = SEEDS, rates: Sequence[float] = RATES
) -> NDArray[np.float64]:
    """`QUANTITIES` (weight_var, rate, seed, quantity) of all networks of one shape."""
    images, labels, test_images, test_labels, _ = samples(name)
    axes = np.array(WEIGHT_VARS) * CRITICAL[activation], rates, seeds
    variances, etas, draws = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    widths = (images.shape[1], *(width,) * depth, CLASSES)
    seeds_of = [int(1000 * seed + 10 * depth + (activation == "relu")) for seed in draws]
    nets = MLPEnsemble(len(etas), widths, activation, weight_var=variances.tolist(), seed=seeds_of)
    steps = len(images) // BATCH
    columns = {"parameters": np.full(len(etas), float(sum((a + 1) * b for a, b in pairwise(widths))))}
    _look(nets, test_images, columns, "start")
    first = nets.fit(
        images, labels, learning_rate=etas.tolist(), steps=steps, batch=BATCH, seed=[int(s) for s in draws]
    )
    columns["loss_one"] = first.loss[-20:].mean(0).double().numpy()
    columns["accuracy_one"] = nets.evaluate(test_images, test_labels).double().numpy()
    _look(nets, test_images, columns, "one")
    nets.fit(
        images,
        labels,
        learning_rate=etas.tolist(),
        steps=(EPOCHS - 1) * steps,
        batch=BATCH,
        seed=[100 + int(s) for s in draws],
    )
    columns["accuracy"] = nets.evaluate(test_images, test_labels).double().numpy()
    table = np.stack([columns[quantity] for quantity in QUANTITIES], axis=-1)
    return table.reshape(len(WEIGHT_VARS), len(rates), len(seeds), len(QUANTITIES))


def _look(nets: MLPEnsemble, images: Tensor, columns: dict[str, NDArray[np.float64]], when: str) -> None:
    """Add what the spectra of all networks are, input to last hidden layer; NaN where a network has diverged."""
    rows = []
    for run in range(nets.runs):
        net = nets.network(run)
        J = mlp_jacobians(net, images[:LOOKED_AT], len(net.layers) - 1)
        if not bool(torch.isfinite(J).all()):
            rows.append([np.nan] * len(SPECTRAL))
            continue
        s = gram_singular_values(J)
        rows.append([float(value) for value in summaries(s)])
    for name, column in zip(SPECTRAL, np.array(rows).T, strict=True):
        columns[f"{name}_{when}"] = column


def summaries(s: Tensor) -> tuple[Tensor, ...]:
    """`SPECTRAL` of singular values (images, k): means over images of log10 of ‖J‖²/k, of the largest value and of the
    median, and of the participation ratio over k. Values below 1e-6 of the largest, which are rounding, count as that;
    without any at all, the ratio is 0.

    >>> [round(float(value), 3) for value in summaries(torch.tensor([[10.0, 1.0, 0.1]]))]
    [1.527, 1.0, 0.0, 0.34]
    """
    alive = s.amax(1) > 1e-12
    ratio = torch.zeros_like(s[:, 0])
    ratio[alive] = participation_ratio(s[alive]) / s.shape[1] if bool(alive.any()) else 0.0
    floor = s.clamp(min=1e-12).maximum(1e-6 * s.amax(1, keepdim=True))
    means = (floor.square().mean(1), floor.amax(1), floor.median(1).values)
    return (*(value.log10().mean() for value in means), ratio.mean())
