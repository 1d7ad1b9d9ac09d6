"""Whether a trial on 24 images foretells that training at a learning rate fails.

Five networks of each of the thirteen architectures, none of them in `every_lens.faults`, with the squared error against
the classes' unit vectors. ``bound``: 2/λ_max of the 24 images; rates are bound · 2^octave.

``grew``: whether `diagnose`'s trial at a rate, thirty steps of full-batch descent on the 24 images, made the loss
exceed its start; tried at every rate, below the bound too. ``end``: the loss on 500 held-out images after 100 steps of
descent at this rate on batches of 32 of a thousand images, over that before; 10⁶ where it is larger or not finite. The
24 images are in neither of these. Training fails where ``end`` is above 1.

    stored = results.load(trial.KEY)
    (stored.grew == (stored.end > 1)).mean()
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import xarray
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics.diagnose.rates import rates_at, trial_at
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.every_lens.faults import IMAGES
from deepdynamics.experiments.every_lens.networks import TABLE, digits, network
from deepdynamics.networks.draws import generator

__all__ = ["KEY", "cell", "checks", "grid", "trained"]

KEY = "every-lens.trial"
SEEDS = tuple(range(30, 35))
OCTAVES = tuple(range(-2, 6))
STEPS, BATCH, TRAINED, HELD = 100, 32, 1000, 500
LARGEST = 1e6
DIMENSIONS = {
    "bound": ("architecture", "seed"),
    "grew": ("architecture", "seed", "octave"),
    "end": ("architecture", "seed", "octave"),
}
COORDINATES = {"architecture": tuple(TABLE), "seed": SEEDS, "octave": OCTAVES}
PARAMETERS = {"images": IMAGES, "steps": STEPS, "batch": BATCH, "trained": TRAINED, "held_out": HELD}
NEEDS: tuple[str, ...] = ()
checks = ({"architecture": "perceptron, tanh", "seed": 30}, {"architecture": "perceptron, ReLU", "seed": 31})
# Rounding is amplified by 100 steps, most where they nearly fail: the loss at the end may be another within a factor
# that leaves 10⁶ and 0.1 apart.
tolerance = {"bound": (1e-2, 0.0), "grew": (0.0, 0.0), "end": (0.5, 0.05)}


def grid(scale: str) -> list[Point]:
    """Two networks, or five of each architecture."""
    return at_scale(scale, live=list(checks), paper=points(architecture=tuple(TABLE), seed=SEEDS))


def cell(architecture: str, seed: int) -> dict[str, object]:
    """The bound of one network, and whether its trial and its training grew, at each rate (octave,)."""
    net, (X, y) = network(architecture, seed), digits()
    wanted = functional.one_hot(y, 10).float()
    few = slice(TRAINED + HELD, TRAINED + HELD + IMAGES)
    rates, reason = rates_at(net, X[few], "mse", 1e9)
    assert rates is not None, reason
    grew, end = [], []
    for octave in OCTAVES:
        rate = rates.rate_batch * 2.0**octave
        tried, reason = trial_at(net, X[few], "mse", wanted[few], rate, 1e9)
        assert tried is not None, reason
        grew.append(float(tried.grew))
        end.append(trained(copy.deepcopy(net), X, wanted, rate, seed))
    places = {"octave": list(OCTAVES)}
    return {
        "bound": rates.rate_batch,
        "grew": xarray.DataArray(grew, places),
        "end": xarray.DataArray(end, places),
    }


def sources() -> dict[str, Any]:
    """None: the digits come with scikit-learn."""
    return {}


def trained(net: nn.Module, X: Tensor, wanted: Tensor, rate: float, seed: int) -> float:
    """The loss on held-out images after descent over that before, in place; at most 10⁶."""
    held = slice(TRAINED, TRAINED + HELD)
    optimiser, draw = torch.optim.SGD(net.parameters(), lr=rate), generator(5000 + seed)

    def loss(chosen: Tensor | slice) -> Tensor:
        return (net(X[chosen]) - wanted[chosen]).square().sum(1).mean() / 2

    with torch.no_grad():
        before = float(loss(held))
    for _ in range(STEPS):
        value = loss(torch.randint(TRAINED, (BATCH,), generator=draw))
        if not math.isfinite(value.item()):
            return LARGEST
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        ratio = float(loss(held)) / before
    return min(ratio, LARGEST) if math.isfinite(ratio) else LARGEST
