"""How many steps a deep network needs, against how widely the singular values of its Jacobian spread at the start.

Fifty layers of 256 tanh units and a linear readout, on MNIST at 28 × 28: less the mean image, its 256 leading principal
components, scaled so that every layer's pre-activations have the mean square q. Weights are orthogonal or Gaussian,
weights and biases have the variances of the critical network with that q (``weight_var``, ``bias_var``). So the mean of
the squared singular values λ is 1 at infinite width, and their variance over their mean squared, ``predicted``, is L
times what the slopes and the weights give to one layer: two numbers of q and of the kind of weights, by which an
orthogonal network can have the spread of a Gaussian one.

Plain SGD on the cross-entropy, batches of 64. For each start seven learning rates, a factor two apart, are tried on
seed 0 for 64 steps: the rate with the highest mean test accuracy over those steps (``tuning``) is ``rate``. Eight other
seeds, which draw the network and the order of the images, are then trained with it for 280 steps; 400 test images are
asked every four. ``steps`` is the step at which their accuracy is first at the target (.8 and .9, fixed in advance);
NaN where it is not within the 280. ``accuracy`` is the whole course. ``spread`` and ``mean``: variance over mean
squared, and mean, of the λ of the fifty layers before training, at four test images.

    stored = results.load(training.KEY)
    stored.steps.sel(target=0.8).median("seed")                          # (weights, q)
"""

from collections.abc import Sequence

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.dynamical_isometry.critical import (
    ACTIVATION,
    best_rate,
    critical_variances,
    first_at,
    images,
    on_the_line,
    sources,
    train,
)
from deepdynamics.freeprobability import DerivativeLaw, JacobianSpectrum
from deepdynamics.jacobian import mlp_jacobians
from deepdynamics.networks import MLP

__all__ = ["KEY", "cell", "checks", "ensemble", "grid", "sources", "squared_singular_values", "starts"]

KEY = "dynamical-isometry.training"
WEIGHTS, QS = ("orthogonal", "gaussian"), (0.05, 0.4, 1.0, 2.0, 2.5)
SIDE, WIDTH, DEPTH, CLASSES, BATCH = 28, 256, 50, 10, 64
STEPS, TUNING, EVERY, TARGETS = 280, 64, 4, (0.8, 0.9)
SEEDS, RATES = tuple(range(1, 9)), tuple(2.0**k for k in range(-10, -3))
TESTS, IMAGES = tuple(range(EVERY, STEPS + 1, EVERY)), 4
START = ("weights", "q")
DIMENSIONS = {
    "steps": (*START, "seed", "target"),
    "accuracy": (*START, "seed", "step"),
    "spread": (*START, "seed", "image"),
    "mean": (*START, "seed", "image"),
    "predicted": START,
    "weight_var": START,
    "bias_var": START,
    "rate": START,
    "tuning": (*START, "learning_rate"),
}
COORDINATES = {
    "weights": WEIGHTS,
    "q": QS,
    "seed": SEEDS,
    "target": TARGETS,
    "step": TESTS,
    "image": tuple(range(IMAGES)),
    "learning_rate": RATES,
}
PARAMETERS = {
    "activation": ACTIVATION,
    "width": WIDTH,
    "layers": DEPTH,
    "loss": "cross-entropy",
    "optimiser": "sgd",
    "batch": BATCH,
    "steps": STEPS,
    "tuning_seed": 0,
    "tuning_steps": TUNING,
    "tested": 400,
}
NEEDS = ("mnist",)
# A network beside others is rounded in another order, which training amplifies: near the largest rates that it stands,
# courses part after some hundred steps, and the step at which one network is at a target moves by a fifth. So the first
# steps are compared.
tolerance = {
    "accuracy": (0.0, 0.05),
    "spread": (1e-3, 0.0),
    "mean": (1e-3, 0.0),
    "predicted": (1e-6, 0.0),
    "weight_var": (1e-6, 0.0),
    "bias_var": (1e-6, 0.0),
    "rate": (0.0, 0.0),
    "tuning": (0.0, 0.03),
}
only_whole = ("steps",)  # not compared: a check trains for some steps only
checks: tuple[Point, ...] = (
    {"weights": "orthogonal", "q": 0.05, "seeds": (1,), "rates": (2.0**-5,), "limit": 64},
    {"weights": "gaussian", "q": 0.05, "seeds": (1,), "rates": (2.0**-6,), "limit": 64},
)


def starts() -> list[Point]:
    """Orthogonal weights at every q, Gaussian ones at three. At 2 and 2.5 orthogonal networks spread as Gaussian ones
    at 0.05 and 0.4."""
    return points(weights=WEIGHTS[:1], q=QS) + points(weights=WEIGHTS[1:], q=QS[:3])


def grid(scale: str) -> list[Point]:
    """One seed and one rate of two starts, or all."""
    return at_scale(scale, live=list(checks), paper=starts())


def cell(
    weights: str, q: float, seeds: Sequence[int] = SEEDS, rates: Sequence[float] = RATES, limit: int = STEPS
) -> dict[str, object]:
    """One start: its rate, chosen from ``rates``, and what becomes of ``seeds`` in ``limit`` steps."""
    law, (weight_var, bias_var) = DerivativeLaw.of(ACTIVATION, q), critical_variances(q)
    zeros = [0] * len(rates)
    shown = on_the_line(images(SIDE, WIDTH), q)
    tuning, _ = train(ensemble(weights, q, zeros), shown, rates, zeros, steps=TUNING, every=EVERY, batch=BATCH)
    rate = best_rate(rates, tuning)
    nets = ensemble(weights, q, seeds)
    spectra = [squared_singular_values(nets.network(run), shown[2][:IMAGES]) for run in range(len(seeds))]
    mean, variance = np.mean(spectra, 2), np.var(spectra, 2)
    accuracy, _ = train(nets, shown, [rate] * len(seeds), seeds, steps=limit, every=EVERY, batch=BATCH)
    places = {"seed": list(seeds)}
    result: dict[str, object] = {
        "accuracy": xarray.DataArray(accuracy, places | {"step": list(TESTS[: limit // EVERY])}),
        "spread": xarray.DataArray(variance / mean**2, places | {"image": list(range(IMAGES))}),
        "mean": xarray.DataArray(mean, places | {"image": list(range(IMAGES))}),
        "predicted": JacobianSpectrum(DEPTH, law, weights).variance,
        "weight_var": weight_var,
        "bias_var": bias_var,
        "rate": rate,
        "tuning": xarray.DataArray(tuning.mean(1), {"learning_rate": list(rates)}),
    }
    if limit == STEPS:
        steps = np.stack([first_at(accuracy, target, EVERY) for target in TARGETS], 1)
        result["steps"] = xarray.DataArray(steps, places | {"target": list(TARGETS)})
    return result


def ensemble(weights: str, q: float, seeds: Sequence[int]) -> MLPEnsemble:
    """Untrained networks of one start; seeds that are equal draw the same network."""
    weight_var, bias_var = critical_variances(q)
    widths = (WIDTH,) * (DEPTH + 1) + (CLASSES,)
    return MLPEnsemble(
        len(seeds), widths, ACTIVATION, weight_var=weight_var, bias_var=bias_var, init=weights, seed=list(seeds)
    )


def squared_singular_values(net: MLP, X: Tensor) -> NDArray[np.float64]:
    """The eigenvalues of J Jᵀ (n, width) of the fifty tanh layers at images X (n, width), in float64."""
    J = mlp_jacobians(net.double(), X.double(), DEPTH).detach()
    return torch.linalg.svdvals(J).square().numpy()
