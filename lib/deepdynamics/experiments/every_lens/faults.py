"""What `diagnose` finds in networks with planted faults, where it is silent, and where training really diverges.

Thirteen architectures for digits of 8 × 8 pixels, each healthy and with ten faults (`networks.plant`), five networks
each; 24 images, squared error against the classes' unit vectors. ``statistic``: the number that a kind of finding looks
at (`deepdynamics.diagnose.findings.statistics`; what is above the kind's threshold is a finding); NaN where the fault
cannot be planted, or the number is not known.

The thresholds were fixed on the fourteen architectures of `networks.CALIBRATION`, healthy, of which none is in the
table: one and a half times the largest statistic of their seventy networks, rounded up (changes to a whole number,
shares to a twentieth). The others are argued. "Repeated inputs" and "missing skip" are counts, and one is enough.
"Input scale", e⁷ ≈ 1,100 in mean square on either side of 1, lets images pass that have norm 1 or values from 0 to 1 or
are standardised, and stops bytes. "Learning rate": 2 times 2/λ_max, because between 2/λ_max and 4/λ_max a network with
a squared error can still catch itself, its curvature falling (Lewkowycz et al. 2020, arXiv:2003.02218).

``learnt``: the loss on 512 images after 40 steps of Adam at 10⁻³ (batches of 64) over that before: whether a fault
harms at all. ``bound``: 2/λ_max of the healthy network's 24 images, ``bound_one`` that of the first; ``growth``: the
rate at which full-batch gradient descent on them makes the loss exceed its start within 30 steps: the middle of a
bracket of factor √2, from bound/8 on; NaN where it is not below 128 bound. "rate too high" is twice ``growth``, and
the healthy networks are judged at a quarter of it. Where that is above the bound, `diagnose` makes the same descent as
a trial, so that this row, and the healthy networks' silence on rates, hold by construction.

What it misses: scales of weights that normalisation, a skip or tanh hides, and normalisation missing in a network of
moderate depth. That is not harmless: doubled weights that are missed cost accuracy (`every_lens.harm`).
Where the loss grows only at many times 2/λ_max (perceptrons with GELU, convolutions with ReLU) the bound alone, without
a trial, would be a false alarm. Whether a trial foretells that training fails: `every_lens.trial`.

    stored = results.load(faults.KEY)
    stored.statistic > xarray.DataArray(list(THRESHOLDS.values()), {"kind": list(THRESHOLDS)})
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
import xarray
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics.diagnose.examination import examined
from deepdynamics.diagnose.findings import THRESHOLDS, statistics
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.every_lens.networks import CALIBRATION, FAULTS, TABLE, digits, network, plant
from deepdynamics.networks.draws import generator

__all__ = ["KEY", "NAMES", "cell", "checks", "grid", "growth_rate", "learnt"]

KEY = "every-lens.faults"
SEEDS = tuple(range(5))
IMAGES, STEPS, TRAINING, SEEN = 24, 30, 40, 512
LOW, FACTORS = -3.0, 20  # rates bound · 2^(LOW + k/2)
KINDS = tuple(THRESHOLDS)
NAMES = {  # the kinds of finding that name a fault
    "weights × 2": ("signal", "gradient", "saturation"),
    "weights / 2": ("signal", "gradient", "merging"),
    "dead layer": ("dead units",),
    "missing skip": ("missing skip",),
    "saturated start": ("saturation",),
    "large biases": ("signal", "gradient", "merging", "saturation", "dead units"),
    "no normalisation": ("signal", "gradient"),
    "unscaled inputs": ("input scale",),
    "repeated inputs": ("repeated inputs",),
    "rate too high": ("learning rate",),
}
DIMENSIONS = {
    "statistic": ("architecture", "fault", "seed", "kind"),
    "learnt": ("architecture", "fault", "seed"),
    "bound": ("architecture", "seed"),
    "bound_one": ("architecture", "seed"),
    "growth": ("architecture", "seed"),
}
COORDINATES = {
    "architecture": (*TABLE, *CALIBRATION),
    "fault": FAULTS,
    "seed": SEEDS,
    "kind": KINDS,
}
PARAMETERS = {
    "images": IMAGES,
    "steps": STEPS,
    "training_steps": TRAINING,
    "table": tuple(TABLE),
    "calibration": tuple(CALIBRATION),
    "thresholds": tuple(THRESHOLDS.values()),
}
NEEDS: tuple[str, ...] = ()
checks = (
    {"architecture": "perceptron, tanh", "seed": 0},
    {"architecture": "perceptron, hard tanh", "seed": 0},
)
# Rounding is amplified by 40 steps of training; a growth rate is one of a grid in factors of √2.
tolerance = {
    "statistic": (1e-2, 1e-3),
    "learnt": (0.1, 0.02),
    "bound": (1e-2, 0.0),
    "bound_one": (1e-2, 0.0),
    "growth": (0.45, 0.0),
}


def grid(scale: str) -> list[Point]:
    """One healthy network of two architectures, or five of all, those of the table with every fault."""
    return at_scale(scale, live=list(checks), paper=points(architecture=(*TABLE, *CALIBRATION), seed=SEEDS))


def cell(architecture: str, seed: int) -> dict[str, object]:
    """Statistics (fault, kind), what was learnt (fault,), and rates of one network; of the calibration's, healthy."""
    X, wanted = images()
    net = network(architecture, seed)
    table = architecture in TABLE
    rates = examined(net, X, target=wanted, parts=("rates",)).rates
    assert rates is not None
    growth = growth_rate(net, X, wanted, rates.rate_batch) if table else math.nan
    numbers, after = [], []
    for fault in FAULTS if table else FAULTS[:1]:
        broken = copy.deepcopy(net)
        inputs = plant(fault, broken, X, seed)
        if inputs is None:
            numbers.append([math.nan] * len(KINDS))
            after.append(math.nan)
            continue
        factor = {"none": 0.25, "rate too high": 2.0}.get(fault, math.nan)
        rate = factor * growth if math.isfinite(factor * growth) else None
        parts = ("rates",) if rate else ()
        found = statistics(examined(broken, inputs, target=wanted, learning_rate=rate, parts=parts))
        numbers.append([found[kind] for kind in KINDS])
        scale = 255.0 if fault == "unscaled inputs" else 1.0
        after.append(learnt(broken, scale, seed)[0] if table else math.nan)
    places = {"fault": list(FAULTS[: len(numbers)])}
    return {
        "statistic": xarray.DataArray(numbers, places | {"kind": list(KINDS)}),
        "learnt": xarray.DataArray(after, places),
        "bound": rates.rate_batch,
        "bound_one": rates.rate_one,
        "growth": growth,
    }


def sources() -> dict[str, Any]:
    """None: the digits come with scikit-learn."""
    return {}


def images() -> tuple[Tensor, Tensor]:
    """The images (n, 1, 8, 8) that are looked at, and unit vectors (n, 10) of their classes."""
    X, y = digits()
    return X[:IMAGES], functional.one_hot(y[:IMAGES], 10).float()


def growth_rate(net: nn.Module, X: Tensor, wanted: Tensor, bound: float) -> float:
    """The rate at which descent makes the loss exceed its start: the geometric middle of the last rate of the grid
    that does not and the first that does; NaN where none does.
    """
    for k in range(FACTORS + 1):
        rate = bound * 2 ** (LOW + k / 2)
        if _grows(net, X, wanted, rate):
            return rate / 2**0.25
    return math.nan


def _grows(net: nn.Module, X: Tensor, wanted: Tensor, rate: float) -> bool:
    moving = copy.deepcopy(net)
    weights = list(moving.parameters())
    start = math.inf
    for step in range(STEPS + 1):
        loss = (moving(X) - wanted).square().sum() / (2 * len(X))
        if step == 0:
            start = loss.item()
        elif not loss.item() <= start:
            return True
        if step < STEPS:
            with torch.no_grad():
                for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                    weight.sub_(rate * gradient)
    return False


def learnt(net: nn.Module, scale: float, seed: int) -> tuple[float, float]:
    """The loss after training over that before, and the accuracy on other images; the net is trained in place.
    ``scale``: of the images."""
    X, y = digits()
    X, wanted = scale * X[: 2 * SEEN], functional.one_hot(y[:SEEN], 10).float()
    draw = generator(3000 + seed)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss(chosen: Tensor | slice) -> Tensor:
        return (net(X[chosen]) - wanted[chosen]).square().sum(1).mean() / 2

    with torch.no_grad():
        before = loss(slice(SEEN)).item()
    for _ in range(TRAINING):
        optimiser.zero_grad()
        loss(torch.randint(SEEN, (64,), generator=draw)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        after = loss(slice(SEEN)).item()
        right = float((net(X[SEEN:]).argmax(1) == y[SEEN : 2 * SEEN]).float().mean())
    return float(np.clip(after / before, 0, 1e6)) if math.isfinite(after) else 1e6, right
