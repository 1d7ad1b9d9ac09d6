"""A hundred and sixty classifiers with drawn hyperparameters on each of two data sets: what is known of each before
training and after one epoch, and how good it is after six. (The first eighty did not decide one of the claims.)

Units, depth, width, weight variance and learning rate are drawn for each, by themselves; two networks, of two seeds,
have the same hyperparameters. Data, training and the four numbers of a spectrum are those of
`experiments.contraction.prediction`, in which the same was asked on a grid.

**To draw it**::

    results.load("spectrum-predicts.classifiers").table.sel(data="mnist", quantity="accuracy")     # (configuration,)

**To train one** (about 1 s on one thread)::

    classifiers.cell("mnist", 3)["table"]
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data as datasets
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.contraction.prediction import (
    BATCH,
    CLASSES,
    CRITICAL,
    EPOCHS,
    LOOKED_AT,
    SPECTRAL,
    samples,
    summaries,
)
from deepdynamics.jacobian import gram_singular_values, mlp_jacobians
from deepdynamics.networks import MLP

__all__ = ["KEY", "SPECTRAL", "cell", "checks", "grid", "hyperparameters"]

KEY = "spectrum-predicts.classifiers"
DATA = ("mnist", "cifar-100")
CONFIGURATIONS = SEEDS = tuple(range(160))
HYPERPARAMETERS = ("relu", "width", "depth", "weight_var", "rate")
QUANTITIES = (
    "accuracy",  # on test images, after six epochs
    "twin",  # the same of the network of the other seed
    "accuracy_one",  # after one epoch
    "loss_one",  # mean training loss of the last 20 mini-batches of the first epoch; inf once it diverged
    *(f"{name}_{when}" for when in ("start", "one") for name in SPECTRAL),
    *HYPERPARAMETERS,  # log10 of width, of weight_var over the critical one, and of rate
)
DIMENSIONS = {"table": ("data", "configuration", "quantity")}
COORDINATES = {"data": DATA, "configuration": CONFIGURATIONS, "quantity": QUANTITIES}
PARAMETERS = {
    "data": list(DATA),
    "critical": CRITICAL,
    "epochs": EPOCHS,
    "batch": BATCH,
    "looked_at": LOOKED_AT,
    "quantities": list(QUANTITIES),
    "optimiser": "sgd",
}
NEEDS = DATA
checks = ({"data": "mnist", "configuration": 3}, {"data": "cifar-100", "configuration": 5})
# Training amplifies the rounding of another machine.
tolerance = {"table": (0.05, 0.05)}


def grid(scale: str) -> list[Point]:
    """One configuration, or all of them."""
    return at_scale(scale, live=[dict(checks[0])], paper=points(data=DATA, configuration=CONFIGURATIONS))


def hyperparameters(configuration: int) -> dict[str, Any]:
    """Those of one configuration: tanh or ReLU, log-uniform width, 1 to 5 hidden layers, log-uniform weight variance
    over the critical one, log-uniform rate."""
    rng = np.random.default_rng([15, configuration])
    return {
        "activation": ("tanh", "relu")[rng.integers(2)],
        "width": round(10 ** rng.uniform(np.log10(24), np.log10(192))),
        "depth": int(rng.integers(1, 6)),
        "weight_var": float(4 ** rng.uniform(-1, 1)),
        "rate": float(10 ** rng.uniform(-2, np.log10(0.25))),
    }


def cell(data: str, configuration: int) -> dict[str, NDArray[np.float64]]:
    """`QUANTITIES` of one configuration."""
    images, labels, test_images, test_labels, _ = samples(data)
    drawn = hyperparameters(configuration)
    widths = (images.shape[1], *(drawn["width"],) * drawn["depth"], CLASSES)
    variance = drawn["weight_var"] * CRITICAL[drawn["activation"]]
    seeds = [2 * configuration, 2 * configuration + 1]
    nets = MLPEnsemble(2, widths, drawn["activation"], weight_var=variance, seed=seeds)
    start = looked(nets.network(0), test_images)
    steps = len(images) // BATCH
    options: dict[str, Any] = {"learning_rate": drawn["rate"], "batch": BATCH}
    first = nets.fit(images, labels, steps=steps, seed=seeds, **options)
    one = looked(nets.network(0), test_images)
    accuracy_one = float(nets.evaluate(test_images, test_labels)[0])
    nets.fit(images, labels, steps=(EPOCHS - 1) * steps, seed=[1000 + seed for seed in seeds], **options)
    accuracy, twin = nets.evaluate(test_images, test_labels).double().tolist()
    sizes = np.log10([drawn[name] for name in ("width", "weight_var", "rate")])
    hyper = [float(drawn["activation"] == "relu"), sizes[0], float(drawn["depth"]), sizes[1], sizes[2]]
    loss = float(first.loss[-20:, 0].double().mean())
    return {"table": np.array([accuracy, twin, accuracy_one, loss, *start, *one, *hyper])}


def looked(net: MLP, images: Tensor) -> list[float]:
    """`SPECTRAL` of the map from the input to the last hidden layer; NaN where the network has diverged."""
    J = mlp_jacobians(net, images[:LOOKED_AT], len(net.layers) - 1)
    if not bool(torch.isfinite(J).all()):
        return [np.nan] * len(SPECTRAL)
    return [float(value) for value in summaries(gram_singular_values(J))]


def sources() -> list[datasets.Provenance]:
    """Where the images come from."""
    return [samples(name)[-1] for name in DATA]
