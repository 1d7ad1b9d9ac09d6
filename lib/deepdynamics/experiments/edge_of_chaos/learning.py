"""Learning at each gain: tanh networks of fifty layers on digits, orthogonal and Gaussian weights, best of five rates.

Hidden layers of width 64 at nine gains g (the standard deviation of the weights, the readout's as well), images of mean
square 1, plain SGD on the cross-entropy, 200 mini-batches of 30. Biases start at 0 and are learned. Every repetition
has 6,000 images of its own, each seen once, and its own networks: one of each kind of weights, the same draw at every
gain and rate. An accuracy is the share of right answers on the last 50 mini-batches, each answered before it is learnt
from.

**To draw it**::

    found = results.load("edge-of-chaos.learning")
    best = learning.best(found.accuracy)                          # (weights, gain, seed), each at its best rate

**To compute a slice** (about 2 s on one thread)::

    learning.cell("orthogonal", 0, gains=(1.05,))["accuracy"]     # (gain, learning_rate)
"""

from collections.abc import Sequence

import numpy as np
import xarray

from deepdynamics import data
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.meanfield.gain import WEIGHTS

__all__ = ["KEY", "best", "cell", "checks", "grid"]

KEY = "edge-of-chaos.learning"
ACTIVATION, WIDTH, DEPTH, CLASSES = "tanh", 64, 50, 10
BATCH, STEPS, WINDOW = 30, 200, 50
GAINS = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3, 1.5)
RATES = tuple(1e-3 * 10 ** (k / 2) for k in range(5))
SEEDS = tuple(range(10))
DIMENSIONS = {"accuracy": ("weights", "seed", "gain", "learning_rate")}
COORDINATES = {"weights": WEIGHTS, "seed": SEEDS, "gain": GAINS, "learning_rate": RATES}
PARAMETERS = {
    "activation": ACTIVATION,
    "width": WIDTH,
    "depth": DEPTH,
    "batch": BATCH,
    "steps": STEPS,
    "window": WINDOW,
    "optimiser": "sgd",
    "weights": list(WEIGHTS),
}
NEEDS = ("mnist",)
# At slow rates, from the ordered phase to a little beyond the edge. Fast training, and any far in the chaotic phase,
# amplifies the rounding of another machine until nothing of a run is left to compare.
_SLOW: dict[str, tuple[float, ...]] = {"gains": (0.8, 1.0, 1.05, 1.2), "rates": RATES[:3]}
checks = ({"weights": "orthogonal", "seed": 3, **_SLOW}, {"weights": "gaussian", "seed": 7, **_SLOW})
tolerance = {"accuracy": (0.0, 0.1)}


def grid(scale: str) -> list[Point]:
    """One gain of one repetition, or ten repetitions of each kind of weights at all gains."""
    live = points(weights=("orthogonal",), seed=(0,), gains=((1.05,),))
    return at_scale(scale, live=live, paper=points(weights=WEIGHTS, seed=SEEDS))


def cell(
    weights: str, seed: int, gains: Sequence[float] = GAINS, rates: Sequence[float] = RATES
) -> dict[str, xarray.DataArray]:
    """Accuracies (gain, learning_rate) of one network, trained at each gain and rate on its own images."""
    images, labels, _ = _digits()
    own = slice(seed * BATCH * STEPS, (seed + 1) * BATCH * STEPS)
    x, y = images[own], labels[own]
    x = x / x.square().mean(1, keepdim=True).sqrt()
    runs = [(gain, rate) for gain in gains for rate in rates]
    ensemble = MLPEnsemble(
        len(runs),
        (x.shape[1], *(WIDTH,) * DEPTH, CLASSES),
        ACTIVATION,
        weight_var=[gain**2 for gain, _ in runs],
        init=weights,
        seed=[seed] * len(runs),
    )
    history = ensemble.fit(x, y, learning_rate=[rate for _, rate in runs], steps=STEPS, batch=BATCH, seed=seed)
    accuracy = history.accuracy[-WINDOW:].mean(0).numpy().reshape(len(gains), len(rates)).astype(np.float32)
    coords = {"gain": list(gains), "learning_rate": list(rates)}
    return {"accuracy": xarray.DataArray(accuracy, coords, list(coords))}


def sources() -> data.Provenance:
    """Where the images come from."""
    return _digits().provenance


def best(accuracy: xarray.DataArray) -> xarray.DataArray:
    """The accuracy at the best learning rate of each (weights, gain, seed).

    >>> best(xarray.DataArray([[0.1, 0.4]], dims=("seed", "learning_rate"))).values.tolist()
    [0.4]
    """
    return accuracy.max("learning_rate")


def _digits() -> data.Dataset:
    return data.load("mnist", "train", flatten=True)  # all 60,000 of them are used
