"""Affine pieces between two digits for 384 ReLU units in one to twelve layers, before and after training.

Networks without biases at the start, weights of variance 2 over the inputs of the unit, learn 2,000 MNIST digits for
300 steps of Adam in batches of 64. The digits have the mean digit taken off and a mean norm of 28. Each of 24 networks
of a depth has four segments of its own, each between two of the digits: the pieces are means of the four.

**To draw it**::

    found = results.load("expressivity.digits")
    axes.errorbar(found.depth, found.untrained.mean("network"))

**To compute a slice** (some 30 s on one thread): ``experiments.compute("expressivity.digits", "live")``, four layers.
Training amplifies rounding, and a piece may be smaller than it: hence the tolerance.
"""

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics import data
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.landscapes import linear_regions

__all__ = ["KEY", "cell", "checks", "digits", "drawn", "grid", "pieces", "tolerance"]

KEY = "expressivity.digits"
UNITS, DEPTHS, NETWORKS, SEGMENTS = 384, (1, 2, 4, 8, 12), 24, 4
SEEDS = tuple(range(NETWORKS))
DIMENSIONS = {name: ("depth", "network") for name in ("untrained", "trained", "accuracy")}
COORDINATES = {"depth": DEPTHS, "network": SEEDS}
PARAMETERS: dict[str, Any] = {
    "units": UNITS,
    "weight_var": 2.0,
    "bias_var": 0.0,
    "optimiser": "adam",
    "rate": 0.001,
    "batch": 64,
}
PARAMETERS |= {"steps": 300, "digits": 2000, "norm": 28, "segments": SEGMENTS}
NEEDS = ("mnist",)
checks = ({"depth": 4},)
# Digits on which the answer hangs by a hair, and pieces at the end of a training, differ between machines.
tolerance = {"untrained": (0.01, 1.0), "trained": (0.15, 10.0), "accuracy": (0.0, 0.02)}


def grid(scale: str) -> list[Point]:
    """Four layers, or all depths."""
    return at_scale(scale, live=points(depth=(4,)), paper=points(depth=DEPTHS))


def sources() -> data.Provenance:
    """Where the digits come from."""
    return data.load("mnist", "train", n=1).provenance


@functools.lru_cache(maxsize=1)
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The first digits (2000, 784) without their mean, of mean norm 28, and labels (2000,); fewer where there are."""
    pixels, labels, _ = data.load("mnist", "train")
    X = pixels[:2000].flatten(1)
    X = X - X.mean(0)
    return 28 * X / X.norm(dim=1).mean(), labels[:2000]


def drawn(depth: int, networks: int = NETWORKS) -> MLPEnsemble:
    """Networks of ``depth`` hidden layers that have 384 units together, as drawn."""
    widths, seeds = (784, *[UNITS // depth] * depth, 10), [11_000 + 100 * depth + s for s in range(networks)]
    return MLPEnsemble(networks, widths, "relu", weight_var=2.0, seed=seeds)


def pieces(ensemble: MLPEnsemble) -> NDArray[np.float64]:
    """Mean number of pieces (networks,) of each network on its four segments."""
    X, _ = digits()
    ends = X[: 2 * SEGMENTS * ensemble.runs].reshape(ensemble.runs, SEGMENTS, 2, -1)
    nets = [ensemble.network(s) for s in range(ensemble.runs)]
    counts = [[1.0 + len(linear_regions(net, a, b)) for a, b in mine] for net, mine in zip(nets, ends, strict=True)]
    return np.mean(counts, axis=1)  # type: ignore[no-any-return]


def cell(depth: int) -> dict[str, NDArray[np.float64]]:
    """Pieces before and after training, and the share of the digits that is learned, (network,) each."""
    X, y = digits()
    ensemble = drawn(depth)
    untrained = pieces(ensemble)
    ensemble.fit(X, y, learning_rate=0.001, steps=300, batch=64, optimiser="adam")
    return {"untrained": untrained, "trained": pieces(ensemble), "accuracy": ensemble.evaluate(X, y).double().numpy()}
