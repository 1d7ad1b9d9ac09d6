"""A convolutional network as people write it, that plain descent does not train: what is found, what mends are worth.

Ten convolutions of 16 channels with ReLU and torch's own start (weights of variance 1/(3 n_in), a sixth of what ReLU
needs), digits as bytes from 0 to 255, plain descent. ``variant``: "as found"; "inputs", which are centred and of mean
square 1; "both", with weights times √6, so that n_in · var W = 2, and no biases.

``statistic``: what the findings look at, at the rate 0.1 (24 images, squared error against the classes' unit vectors);
``accuracy`` on 500 other images after 100 steps of plain descent on batches of 32, at two rates and at 2/λ_max of the
24 images (``bound``), and after 100 and 300 steps of Adam at 3 · 10⁻³; as found at the first rate only.

    stored = results.load(mended.KEY)
    stored.accuracy.sel(variant="both", rate="0.1")
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import xarray
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics.diagnose.examination import examined
from deepdynamics.diagnose.findings import statistics
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.every_lens.faults import IMAGES, KINDS
from deepdynamics.experiments.every_lens.networks import digits
from deepdynamics.networks.draws import generator

__all__ = ["KEY", "as_bytes", "cell", "checks", "descend", "grid", "learn", "mend", "theirs"]

KEY = "every-lens.mended"
SEEDS = tuple(range(8))
VARIANTS, RATES = ("as found", "inputs", "both"), ("0.1", "1", "2/λ", "Adam, 100", "Adam, 300")
ADAM = {"Adam, 100": 100, "Adam, 300": 300}  # steps at the rate ADAM_RATE
ADAM_RATE = 3e-3
STEPS, BATCH, TRAINED = 100, 32, 1000
DIMENSIONS = {
    "statistic": ("variant", "seed", "kind"),
    "bound": ("variant", "seed"),
    "accuracy": ("variant", "seed", "rate"),
}
COORDINATES = {"variant": VARIANTS, "seed": SEEDS, "kind": KINDS, "rate": RATES}
PARAMETERS = {"steps": STEPS, "batch": BATCH, "trained": TRAINED, "images": IMAGES, "adam_rate": ADAM_RATE}
NEEDS: tuple[str, ...] = ()
checks = ({"variant": "inputs", "seed": 0}, {"variant": "both", "seed": 1})
tolerance = {"statistic": (1e-2, 1e-3), "bound": (1e-2, 0.0), "accuracy": (0.0, 0.1)}


def grid(scale: str) -> list[Point]:
    """Two networks, or eight of each variant."""
    return at_scale(scale, live=list(checks), paper=points(variant=VARIANTS, seed=SEEDS))


def cell(variant: str, seed: int) -> dict[str, object]:
    """Statistics (kind,), bound and accuracies (rate,) of one network."""
    net, (X, y) = theirs(seed), digits()
    if variant == "as found":
        X = as_bytes(X)
    if variant == "both":
        mend(net)
    wanted = functional.one_hot(y, 10).float()
    report = examined(net, X[:IMAGES], target=wanted[:IMAGES], learning_rate=0.1, parts=("rates",))
    assert report.rates is not None
    found, bound = statistics(report), report.rates.rate_batch
    right = []
    for rate in RATES[:1] if variant == "as found" else RATES:
        moving = copy.deepcopy(net)
        if rate in ADAM:
            descent: torch.optim.Optimizer = torch.optim.Adam(moving.parameters(), lr=ADAM_RATE)
        else:
            descent = torch.optim.SGD(moving.parameters(), lr=bound if rate == "2/λ" else float(rate))
        right.append(descend(moving, X, y, descent, seed, ADAM.get(rate, STEPS))[-1])
    return {
        "statistic": xarray.DataArray([found[kind] for kind in KINDS], {"kind": list(KINDS)}),
        "bound": bound,
        "accuracy": xarray.DataArray(right, {"rate": list(RATES[: len(right)])}),
    }


def sources() -> dict[str, Any]:
    """None: the digits come with scikit-learn."""
    return {}


def theirs(seed: int) -> nn.Sequential:
    """The network, as torch starts it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        for layer in range(10):
            parts += [nn.Conv2d(16 if layer else 1, 16, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*parts, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 10))


def as_bytes(X: Tensor) -> Tensor:
    """Images from 0 to 255."""
    return 255 * (X - X.min()) / (X.max() - X.min())


def mend(net: nn.Sequential) -> None:
    """Convolutions times √6, from n_in · var W = 1/3 to 2, without biases; in place."""
    with torch.no_grad():
        for module in net:
            if isinstance(module, nn.Conv2d):
                assert module.bias is not None
                module.weight.mul_(6**0.5), module.bias.zero_()


def learn(net: nn.Module, X: Tensor, y: Tensor, rate: float, seed: int, steps: int = STEPS) -> list[float]:
    """`descend` by plain descent at a rate."""
    return descend(net, X, y, torch.optim.SGD(net.parameters(), lr=rate), seed, steps)


def descend(
    net: nn.Module, X: Tensor, y: Tensor, optimiser: torch.optim.Optimizer, seed: int, steps: int
) -> list[float]:
    """Steps on batches of the first thousand images, in place: the loss of each step's batch, as long as it is finite,
    and at the end the accuracy on the next five hundred. ``optimiser``: of the net's parameters."""
    wanted, draw = functional.one_hot(y, 10).float(), generator(4000 + seed)
    found = []
    for _ in range(steps):
        chosen = torch.randint(TRAINED, (BATCH,), generator=draw)
        loss = (net(X[chosen]) - wanted[chosen]).square().sum(1).mean() / 2
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        found.append(loss.item())
        if not math.isfinite(found[-1]):
            break
    with torch.no_grad():
        right = net(X[TRAINED : TRAINED + 500]).argmax(1) == y[TRAINED : TRAINED + 500]
    return [*found, float(right.float().mean())]
