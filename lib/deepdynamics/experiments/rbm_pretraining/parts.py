"""Ten layers of RBMs on digits and photographs: what their small singular values are made of, and what the image has to
do with it.

Eight stacks of each kind, by the recipe of :mod:`variations`: digits, photographs, and photographs that have all been
given one brightness (mean pixel) or one contrast (standard deviation of the pixels), for training and test.

**To draw it**::

    found = results.load("rbm-pretraining.parts")
    found.slopes.sel(kind="base")          # log10 of the slopes, mean over units and test images (seed, layer)
    found.explained.sel(kind="photographs", feature="brightness")          # r² with the mean of log s (seed,)

**To measure one stack** (about 10 s on one thread)::

    parts.measure(parts.trained("photographs", seed=1), parts.pictures("photographs")[1], seed=1)
"""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.rbm_pretraining import variations
from deepdynamics.rbm import Stack, pretrain_stack

__all__ = [
    "GAINS",
    "KEY",
    "KINDS",
    "brightness",
    "cell",
    "checks",
    "contrast",
    "evenness",
    "grid",
    "log_slopes",
    "log_weights",
    "measure",
    "one_brightness",
    "one_contrast",
    "pictures",
    "random_like",
    "spectra_at_gains",
    "trained",
]

KEY = "rbm-pretraining.parts"
KINDS = ("base", "photographs", "one brightness", "one contrast")
SEEDS = tuple(range(1, 9))  # the stack of seed 0 was looked at before anything was fixed
GAINS = (0.25, 0.35, 0.5, 0.7, 0.85, 1.05, 1.25, 1.5, 2.0, 3.0, 4.0)
THRESHOLDS = (0.5, 0.1, 1e-5, 1e-9)
TURNED = 8  # images at which the gain is turned
DIMENSIONS = {
    "slopes": ("kind", "seed", "layer"),
    "weights": ("kind", "seed", "layer"),
    "above": ("kind", "seed", "threshold"),
    "explained": ("kind", "seed", "feature"),
    "left": ("kind", "seed", "levelled"),
    "order_one": ("kind", "seed", "gain"),
    "participation": ("kind", "seed", "layer"),
    "defect": ("kind", "seed", "layer"),
    "defect_random": ("kind", "seed", "layer"),
}
COORDINATES: dict[str, tuple[Any, ...]] = {
    "kind": KINDS,
    "seed": SEEDS,
    "layer": tuple(range(1, variations.DEPTH + 1)),
    "threshold": THRESHOLDS,
    "feature": ("brightness", "contrast", "mean square"),
    "levelled": ("brightness", "contrast"),
    "gain": GAINS,
}
PARAMETERS = {
    "recipe": variations.RECIPE,
    "samples": variations.SAMPLES,
    "width": variations.WIDTH,
    "depth": variations.DEPTH,
    "epochs": variations.EPOCHS,
    "images": variations.IMAGES,
    "turned": TURNED,
}
NEEDS = ("mnist", "cifar-100")
checks: tuple[Point, ...] = tuple({"kind": kind, "seed": 1} for kind in KINDS)
# Training amplifies the rounding of another machine; numbers are logarithms, counts and shares.
tolerance = {
    "slopes": (0.05, 0.05),
    "weights": (0.05, 0.05),
    "above": (0.05, 0.5),
    "explained": (0.0, 0.1),
    "left": (0.0, 0.1),
    "order_one": (0.1, 0.01),
    "participation": (0.05, 1.0),
    "defect": (0.1, 0.05),
    "defect_random": (0.0, 0.15),
}


def grid(scale: str) -> list[Point]:
    """One digit-trained stack, or eight of every kind."""
    return at_scale(scale, live=points(kind=("base",), seed=SEEDS[:1]), paper=points(kind=KINDS, seed=SEEDS))


def cell(kind: str, seed: int) -> dict[str, NDArray[np.float64]]:
    """What `measure` finds in one stack."""
    return measure(trained(kind, seed), pictures(kind)[1], seed=seed)


def sources() -> list[data.Provenance]:
    """Where the images come from."""
    return variations.sources()


# Images ---------------------------------------------------------------------------------------------------------------


def brightness(images: Tensor) -> Tensor:
    """Mean pixel, (n, pixels) -> (n,)."""
    return images.mean(1)


def contrast(images: Tensor) -> Tensor:
    """Standard deviation of the pixels, (n, pixels) -> (n,)."""
    return images.std(1, correction=0)


def one_brightness(images: Tensor, level: float | None = None) -> Tensor:
    """Each image with a constant added, so that its mean pixel is ``level`` (default: the mean of all), and cut off at
    0 and 1."""
    own = brightness(images)
    level = float(own.mean()) if level is None else level
    return (images + (level - own)[:, None]).clamp(0, 1)


def one_contrast(images: Tensor, level: float | None = None) -> Tensor:
    """Each image stretched about its mean pixel, so that its standard deviation is ``level`` (default: the mean of
    all), and cut off at 0 and 1."""
    own, centre = contrast(images), brightness(images)[:, None]
    level = float(own.mean()) if level is None else level
    return (centre + (images - centre) * (level / own.clamp_min(1e-6))[:, None]).clamp(0, 1)


def pictures(kind: str) -> tuple[Tensor, Tensor, data.Provenance]:
    """Training images (12,800, pixels) and test images (1000, pixels) of a kind, and the provenance of the data."""
    if kind not in ("one brightness", "one contrast"):
        return variations.pictures(kind)
    X, T, provenance = variations.pictures("photographs")
    change, own = (one_brightness, brightness) if kind == "one brightness" else (one_contrast, contrast)
    level = float(own(X).mean())
    return change(X, level), change(T, level), provenance


def trained(kind: str, seed: int) -> Stack:
    """The stack of a kind and seed."""
    X = pictures(kind)[0]
    momentum = [0.5 if epoch < 2 else 0.9 for epoch in range(variations.EPOCHS)]
    widths = (X.shape[1], *[variations.WIDTH] * variations.DEPTH)
    return pretrain_stack(widths, X, seed=seed, epochs=variations.EPOCHS, momentum=momentum, **variations.RECIPE)


# Measurements ---------------------------------------------------------------------------------------------------------


def log_slopes(stack: Stack, X: Tensor) -> NDArray[np.float64]:
    """log10 of the slopes g h (1 - h) of a plain stack, mean over the units of a layer, (layers, n)."""
    X = X.double()
    found = []
    for machine, x in zip(stack.machines, stack.states(X), strict=False):
        u = machine.gain * (x @ machine.weights.double() + machine.hidden_bias.double())
        logs = torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u)
        found.append(logs.mean(1) + float(np.log(machine.gain)))
    return torch.stack(found).numpy() / np.log(10)


def log_weights(stack: Stack) -> NDArray[np.float64]:
    """log10 of the singular values of the weights, mean over each layer, (layers,)."""
    return np.array([float(torch.linalg.svdvals(m.weights.double()).log10().mean()) for m in stack.machines])


def evenness(weights: Tensor) -> tuple[float, float]:
    """How many directions a matrix uses, k, and how even it is on them.

    k is the participation ratio (Σσ²)²/Σσ⁴ of the squared singular values, and the defect is the standard deviation
    over the mean of the round(k) largest σ². A multiple of a partial isometry has its rank and 0.

    >>> evenness(torch.diag(torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0])))
    (3.0, 0.0)
    """
    squares = torch.linalg.svdvals(weights.double()).square()
    used = float(squares.sum() ** 2 / squares.square().sum())
    top = squares[: max(1, round(used))]
    return used, float(top.std(correction=0) / top.mean())


def random_like(weights: Tensor, draw: torch.Generator) -> Tensor:
    """A Gaussian matrix with the same number of columns, and as many rows as it needs to use as many directions: k =
    r/(1 + r/n) for r rows and n columns."""
    n, used = max(weights.shape), evenness(weights)[0]
    return torch.randn(round(used / (1 - used / n)), n, generator=draw, dtype=torch.float64)


def spectra_at_gains(stack: Stack, images: Tensor, gains: tuple[float, ...] = GAINS) -> NDArray[np.float64]:
    """log10 of the singular values (gain, image, rank) with the gain of all units turned and the weights fixed; NaN
    below 1e-7 of the largest, where the eigenvalues of J Jᵀ are rounding."""
    found = []
    for gain in gains:
        machines = [copy.copy(machine) for machine in stack.machines]
        for machine in machines:
            machine.gain = float(gain)
        turned = Stack(tuple(machines))
        jacobians = [torch.linalg.multi_dot(turned.factors(x)[::-1]) for x in images]
        squares = torch.stack([torch.linalg.eigvalsh(J @ J.T).flip(0) for J in jacobians])
        squares[squares < 1e-14 * squares[:, :1]] = torch.nan
        found.append(squares.log10().numpy() / 2)
    return np.stack(found)


def measure(stack: Stack, tests: Tensor, *, seed: int) -> dict[str, NDArray[np.float64]]:
    """All arrays of the result for one stack."""
    weights, slopes = log_weights(stack), log_slopes(stack, tests)
    total = slopes.sum(0) + weights.sum()  # the mean of log10 s at each image
    features = (brightness(tests), contrast(tests), tests.square().mean(1))
    levelled = (one_brightness(tests), one_contrast(tests))
    spectra = variations.leading(stack, tests[: variations.IMAGES])
    turned = spectra_at_gains(stack, tests[:TURNED])
    draw = torch.Generator().manual_seed(seed)
    even = np.array([evenness(m.weights) for m in stack.machines])
    even_random = np.array([evenness(random_like(m.weights, draw))[1] for m in stack.machines])
    return {
        "slopes": slopes.mean(1),
        "weights": weights,
        "above": np.array([(spectra > np.log10(bound)).sum(1).mean() for bound in THRESHOLDS]),
        "explained": np.array([_square(total, feature.double().numpy()) for feature in features]),
        "left": np.array([log_slopes(stack, images).sum(0).std() / total.std() for images in levelled]),
        "order_one": (np.abs(turned) <= 1).sum(-1).mean(-1) / min(stack.machines[-1].weights.shape),
        "participation": even[:, 0],
        "defect": even[:, 1],
        "defect_random": even_random,
    }


def _square(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """r² of two lists, 0 where one is constant."""
    return float(np.corrcoef(a, b)[0, 1] ** 2) if a.std() > 0 and b.std() > 1e-6 else 0.0
