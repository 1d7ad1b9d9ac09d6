"""Ten thousand fully connected layers: two hundred steps of training from orthogonal and from Gaussian weights.

Layers of 32 tanh units and a linear readout, on MNIST at 7 × 7: less the mean image, its 32 leading principal
components. Weights and biases have the variances of the critical network with q = 0.0025; biases stay as drawn.

Plain SGD on the cross-entropy, batches of 16, every image new, 200 steps. Five learning rates, a factor two apart (for
Gaussian weights a factor eight), are tried on seed 0: the one with the largest share of right answers in the last
hundred steps (``tuning``, of batches before each was learnt from) is ``rate``; eight other seeds, which draw the
network and the order of the images, are trained with it. ``loss`` and ``online``: mean loss, and share of right
answers, of ten batches before each was learnt from, up to ``step``. ``accuracy``: at the end, on 1,000 test images.
``linear``: there, of a ridge regression from the 32 numbers of as many training images as a network sees.

No rate of the five, 1/64 to 64, teaches the Gaussian networks anything; which of them is ``rate`` is chance, and their
losses are far above ln 10. A first run chose rates by forty steps: larger ones, at which orthogonal networks learnt
faster and had lost a third of it after 200.

    stored = results.load(thousands.KEY)
    stored.online.sel(step=200)                                          # (weights, seed)
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray
from torch import Tensor

from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.dynamical_isometry.course import (
    CLASSES,
    EVERY,
    LEARNING_RATES,
    RATES,
    SEEDS,
    STEP,
    STEPS,
    TESTED,
    TRAINED,
    WEIGHTS,
)
from deepdynamics.experiments.dynamical_isometry.critical import (
    ACTIVATION,
    Values,
    binned,
    critical_variances,
    images,
    on_the_line,
    sources,
)
from deepdynamics.linearprobe import ridge_accuracy

__all__ = ["KEY", "cell", "checks", "ensemble", "grid", "sources"]

KEY = "dynamical-isometry.thousands"
DEPTH, WIDTH, SIDE, Q = 10_000, 32, 7, 0.0025
BATCH, CHUNK = 16, 40
DIMENSIONS: dict[str, tuple[str, ...]] = TRAINED | {"linear": ()}
COORDINATES = {
    "weights": WEIGHTS,
    "seed": SEEDS,
    "step": STEP,
    "learning_rate": LEARNING_RATES,
}
PARAMETERS = {
    "activation": ACTIVATION,
    "layers": DEPTH,
    "width": WIDTH,
    "q": Q,
    "loss": "cross-entropy",
    "optimiser": "sgd",
    "batch": BATCH,
    "steps": STEPS,
    "tuning_seed": 0,
    "tested": TESTED,
}
NEEDS = ("mnist",)
checks: tuple[Point, ...] = (
    {"part": "training", "rates": {"orthogonal": (2.0**-11,)}, "seeds": (11,), "steps": 10},
    {"part": "linear"},
)
# Rounding is amplified by ten thousand layers, and by training.
tolerance = {
    "loss": (0.0, 0.3),
    "online": (0.0, 0.2),
    "rate": (0.0, 0.0),
    "linear": (0.0, 0.02),
}
only_whole = ("accuracy", "tuning")  # not compared: a check trains for some steps only


def grid(scale: str) -> list[Point]:
    """Ten steps of one orthogonal network, or all."""
    return at_scale(scale, live=list(checks[:1]), paper=points(part=("training", "linear")))


def cell(
    part: str,
    rates: Mapping[str, Sequence[float]] | None = None,
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
) -> dict[str, object]:
    """ "training": of ``seeds`` for ``steps``, from each kind of weights at the best of its ``rates``, or at the only
    one; "linear": the control."""
    X, y, tested, answers = on_the_line(images(SIDE, WIDTH), Q)
    tested, answers = tested[:TESTED], answers[:TESTED]
    if part == "linear":
        seen = STEPS * BATCH
        return {"linear": ridge_accuracy(X[None, :seen], y[:seen], tested[None], answers).item()}
    tried = RATES if rates is None else rates
    kinds, result = list(tried), dict[str, object]()
    best = {kind: float(tried[kind][0]) for kind in kinds}
    if max(map(len, tried.values())) > 1:
        tuning = _tuning(X, y, tried)
        result["tuning"] = tuning
        best = {kind: float(tuning.sel(weights=kind).idxmax("learning_rate")) for kind in kinds}
    runs = [(kind, seed) for kind in kinds for seed in seeds]
    nets = ensemble([kind for kind, _ in runs], [seed for _, seed in runs])
    loss, online = train(nets, X, y, [best[kind] for kind, _ in runs], [seed for _, seed in runs], steps)
    places = {"weights": kinds, "seed": list(seeds)}
    course, shape = places | {"step": list(STEP[: steps // EVERY])}, (len(kinds), len(seeds))
    result |= {
        "rate": xarray.DataArray(list(best.values()), {"weights": kinds}),
        "loss": xarray.DataArray(binned(loss, EVERY).reshape(*shape, -1), course),
        "online": xarray.DataArray(binned(online, EVERY).reshape(*shape, -1), course),
    }
    if steps == STEPS:
        few = zip(tested.split(CHUNK), answers.split(CHUNK), strict=True)
        accuracy = torch.stack([nets.evaluate(*chosen) for chosen in few]).mean(0)
        result["accuracy"] = xarray.DataArray(accuracy.reshape(shape).numpy(), places)
    return result


def _tuning(X: Tensor, y: Tensor, rates: Mapping[str, Sequence[float]]) -> xarray.DataArray:
    """Right answers in the second half of the trials (weights, learning_rate), NaN where a rate is not tried."""
    runs = [(kind, rate) for kind, tried in rates.items() for rate in tried]
    nets, zeros = ensemble([kind for kind, _ in runs], [0] * len(runs)), [0] * len(runs)
    _, right = train(nets, X, y, [rate for _, rate in runs], zeros, STEPS)
    grid = sorted({rate for _, rate in runs})
    found = np.full((len(rates), len(grid)), np.nan)
    for (kind, rate), share in zip(runs, right[STEPS // 2 :].mean(0), strict=True):
        found[list(rates).index(kind), grid.index(rate)] = share
    return xarray.DataArray(found, {"weights": list(rates), "learning_rate": grid})


def ensemble(weights: Sequence[str], seeds: Sequence[int]) -> MLPEnsemble:
    """Untrained networks, one a seed; seeds that are equal draw the same network."""
    weight_var, bias_var = critical_variances(Q)
    widths = (WIDTH,) * (DEPTH + 1) + (CLASSES,)
    return MLPEnsemble(
        len(seeds), widths, ACTIVATION, weight_var=weight_var, bias_var=bias_var, init=list(weights), seed=list(seeds)
    )


def train(
    nets: MLPEnsemble, X: Tensor, y: Tensor, rates: Sequence[float], seeds: Sequence[int], steps: int
) -> tuple[Values, Values]:
    """Losses and shares of right answers (steps, runs) of every batch before its step; inf and 0 after divergence."""
    loss, right, _ = nets.fit(
        X, y, learning_rate=list(rates), steps=steps, batch=BATCH, seed=list(seeds), fixed_biases=True
    )
    return loss.numpy(), right.numpy()
