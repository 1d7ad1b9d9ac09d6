"""One stack of ten layers of logistic units, trained with labels from five kinds of starts.

"pretrained": by contrastive divergence on digits, as in `experiments.rbm_pretraining.variations`. "directions drawn":
the weights of that stack with their singular values kept and their singular vectors drawn anew, biases moved so that
every unit keeps its mean input. "orthogonal" and "gaussian": weights 4/g times an orthogonal matrix, or of the variance
(4/g)²/(inputs), and biases that centre every unit on the training digits: at inputs ½ ± u the network is then a tanh
network of gain 1, at the edge of chaos. "small": what pretraining starts from, variance 10⁻⁴ and no biases.

All layers are trained with the labels of the same 12,800 digits: two epochs of Adam, at each of two learning rates. (A
third, 0.003, was tried on one orthogonal start and one with drawn directions; both learned worse there.)

**To draw it**::

    results.load("spectrum-predicts.starts").accuracy.max("rate")     # (start, seed)

**To train one** (some 7 s on one thread)::

    starts.cell("orthogonal", 0)["accuracy"]
"""

import copy
import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.rbm_pretraining import variations as pretraining
from deepdynamics.rbm import RBM, Stack, fine_tuned_accuracy

__all__ = ["KEY", "begun", "cell", "checks", "digits", "grid"]

KEY = "spectrum-predicts.starts"
STARTS = ("pretrained", "directions drawn", "orthogonal", "gaussian", "small")
SEEDS = tuple(range(8))
RATES = (3e-4, 1e-3)
EPOCHS, TESTED, IMAGES, CENTRED = 2, 5000, 8, 2000
DIMENSIONS = {"accuracy": ("start", "seed", "rate"), "leading": ("start", "seed", "rank")}
COORDINATES = {
    "start": STARTS,
    "seed": SEEDS,
    "rate": RATES,
    "rank": tuple(range(1, pretraining.LEADING + 1)),
}
PARAMETERS = {
    "starts": list(STARTS),
    "rates": list(RATES),
    "epochs": EPOCHS,
    "tested": TESTED,
    "images": IMAGES,
    "samples": pretraining.SAMPLES,
}
NEEDS = ("mnist",)
checks = ({"start": "orthogonal", "seed": 0}, {"start": "pretrained", "seed": 1})
# Training amplifies the rounding of another machine; `leading` are logarithms.
tolerance = {"accuracy": (0.05, 0.0), "leading": (0.05, 0.2)}


def grid(scale: str) -> list[Point]:
    """One orthogonal start, or all of them."""
    return at_scale(scale, live=[dict(checks[0])], paper=points(start=STARTS, seed=SEEDS))


def cell(start: str, seed: int) -> dict[str, NDArray[np.float64]]:
    """The "accuracy" (rate,) after training, and log10 of the "leading" singular values (rank,) before it, the mean
    over 8 test digits."""
    X, y, tests, labels = digits()
    stack = begun(start, seed)
    found = [
        fine_tuned_accuracy(stack, X, y, tests, labels, epochs=EPOCHS, learning_rate=rate, seed=seed) for rate in RATES
    ]
    return {"accuracy": np.array(found), "leading": pretraining.leading(stack, tests[:IMAGES]).mean(0)}


def sources() -> data.Provenance:
    """Where the images come from."""
    return pretraining.pictures("base")[-1]


@functools.lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images (12,800, pixels) and labels, test images (5,000, pixels) and labels; fewer of a stand-in."""
    X, _, _ = pretraining.pictures("base")
    _, y, _ = data.load("mnist", "train", n=len(X))
    tests, labels, _ = data.load("mnist", "test", n=TESTED if data.available("mnist") else None, flatten=True)
    return X, y, tests, labels


@functools.lru_cache(maxsize=2)
def _pretrained(seed: int) -> Stack:
    return pretraining.trained("base", seed)


def begun(kind: str, seed: int) -> Stack:
    """The stack from which training with labels begins; kind: one of `STARTS`."""
    if kind == "pretrained":
        return _pretrained(seed)
    if kind == "directions drawn":
        return redrawn(_pretrained(seed), digits()[0][:CENTRED], seed)
    X = digits()[0][:CENTRED]
    draw, machines = torch.Generator().manual_seed(seed), []
    for _ in range(pretraining.DEPTH):
        inputs, units = X.shape[1], pretraining.WIDTH
        machine = RBM(inputs, units, units="continuous", gain=pretraining.GAIN, weight_var=1e-4, seed=seed)
        normal = torch.randn(inputs, units, generator=draw)
        if kind == "small":
            machine.weights = 0.01 * normal
        else:
            W = normal / inputs**0.5 if kind == "gaussian" else _orthogonal(normal)
            machine.weights = 4 / pretraining.GAIN * W
            machine.hidden_bias = -(X @ machine.weights).mean(0)
        machines.append(machine)
        X = machine.hidden_probability(X)
    return Stack(tuple(machines))


def redrawn(stack: Stack, X: Tensor, seed: int) -> Stack:
    """Every weight matrix with its singular values and other, Haar distributed, singular vectors; biases are moved so
    that the mean input of each unit over X stays what it was in the given stack."""
    draw, machines, before = torch.Generator().manual_seed(1000 + seed), [], X
    for machine in stack.machines:
        W = machine.weights
        means = (before @ W).mean(0) + machine.hidden_bias
        before = machine.hidden_probability(before)
        left, right = (_orthogonal(torch.randn(n, W.shape[1], generator=draw)) for n in W.shape)
        other = copy.copy(machine)
        other.weights = left * torch.linalg.svdvals(W) @ right.T
        other.hidden_bias = means - (X @ other.weights).mean(0)
        machines.append(other)
        X = other.hidden_probability(X)
    return Stack(tuple(machines))


def _orthogonal(normal: Tensor) -> Tensor:
    """The Haar distributed factor of a Gaussian matrix (rows, columns), columns at most rows."""
    Q, R = torch.linalg.qr(normal)
    return Q * R.diagonal().sign()
