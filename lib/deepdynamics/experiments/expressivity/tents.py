"""What Adam learns of the k-fold tent map: six layers of 16 units, one layer of as many units, one of as many numbers.

The target T^k has 2^k pieces on [0, 1]; 256 points of it are learned with the mean squared error, in full batches, with
the input scaled to [-1, 1]. Weights are drawn with variance 2/(inputs of the unit), biases uniformly between ±1 over
the root of the same number, the last layer too. Twenty networks of each kind are one batched program. The share is that
of the variance of the target that the network leaves; the pieces are those of the trained network on [0, 1].

All kinds learn three to five folds for 600 steps at the lower of two rates, and four folds at both. The deep ones also
learn two and six folds. Six layers and one of as many numbers go on for 5,000 steps at four folds, six layers at six
folds too. Pieces are counted in deep ones.

**To draw it**::

    found = results.load("expressivity.tents").share.sel(steps=600)
    found.sel(network="deep", rate=0.003).mean("seed")       # over the folds

**To compute a slice** (some 10 s on one thread): ``experiments.compute("expressivity.tents", "live")``. Training
amplifies rounding, hence the tolerance.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import xarray
from torch import Tensor, nn

from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.landscapes import linear_regions, tent

__all__ = ["KEY", "cell", "checks", "drawn", "grid", "module", "outputs", "tolerance"]

KEY = "expressivity.tents"
WIDTHS = {"deep": (1, *[16] * 6, 1), "shallow": (1, 96, 1), "wide": (1, 496, 1)}
FOLDS, RATES, STEPS = (2, 3, 4, 5, 6), (0.003, 0.01), (600, 2000, 5000)
POINTS, SEEDS = 256, tuple(range(100, 120))
DIMENSIONS = {name: ("folds", "network", "rate", "steps", "seed") for name in ("share", "pieces")}
COORDINATES = {"folds": FOLDS, "network": tuple(WIDTHS), "rate": RATES, "steps": STEPS, "seed": SEEDS}
PARAMETERS = {"optimiser": "adam", "batch": POINTS, "deep": WIDTHS["deep"], "shallow": (1, 96, 1), "wide": (1, 496, 1)}
NEEDS = ()
LONG = ((4, "deep"), (4, "wide"), (6, "deep"))
checks = ({"folds": 3, "network": "deep", "rate": 0.003}, {"folds": 3, "network": "wide", "rate": 0.003})
# A single network of a chaotic training may differ wholly between machines; what the page uses are means of twenty.
tolerance = {"share": (0.0, 0.3), "pieces": (0.5, 10.0)}


def grid(scale: str) -> list[Point]:
    """Two kinds of networks and one target, or all."""
    live = points(folds=(4,), network=("deep", "shallow"), rate=(0.003,))
    lower = points(folds=(3, 5), network=tuple(WIDTHS), rate=(0.003,))
    deep = points(folds=(2, 6), network=("deep",), rate=(0.003,))
    return at_scale(scale, live=live, paper=points(folds=(4,), network=tuple(WIDTHS), rate=RATES) + lower + deep)


def sources() -> None:
    """No data: the target is a formula."""


def cell(folds: int, network: str, rate: float) -> dict[str, xarray.DataArray]:
    """Shares and pieces (steps, seed) after 600 steps; in the cells that go on, after more."""
    stops = STEPS if (folds, network) in LONG else STEPS[:1]
    t = torch.linspace(0, 1, POINTS)[:, None]
    with torch.no_grad():
        target = tent(folds)(t.double()).float()
    parameters = drawn(WIDTHS[network], SEEDS)
    adam = torch.optim.Adam(parameters, lr=rate, fused=True)
    shares, pieces = [], []  # of each stop
    for step in range(1, stops[-1] + 1):
        adam.zero_grad()
        loss = (outputs(parameters, 2 * t - 1) - target).square().mean((1, 2))
        loss.sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
        if step in stops:
            shares.append((loss.detach() / target.var()).numpy())
            if network == "deep":
                nets = [module(parameters, s) for s in range(len(SEEDS))]
                pieces.append([float(len(linear_regions(net, [-1.0], [1.0])) + 1) for net in nets])
    found = {"share": shares} | ({"pieces": pieces} if pieces else {})
    return {
        name: xarray.DataArray(np.array(v), {"steps": list(stops), "seed": list(SEEDS)}) for name, v in found.items()
    }


def drawn(widths: Sequence[int], seeds: Sequence[int]) -> list[Tensor]:
    """Weights (seeds, inputs, units) and biases (seeds, 1, units) of each layer, in turn."""
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    parameters = []
    for n_in, n_out in pairwise(widths):
        weights = [(2 / n_in) ** 0.5 * torch.randn(n_in, n_out, generator=draw) for draw in draws]
        biases = [(2 * torch.rand(1, n_out, generator=draw) - 1) / n_in**0.5 for draw in draws]
        parameters += [torch.stack(weights).requires_grad_(), torch.stack(biases).requires_grad_()]
    return parameters


def outputs(parameters: Sequence[Tensor], x: Tensor) -> Tensor:
    """Outputs (seeds, n, 1) of all networks at the inputs (n, 1)."""
    h = x.expand(len(parameters[0]), -1, -1)
    for k in range(0, len(parameters), 2):
        h = torch.baddbmm(parameters[k + 1], torch.relu(h) if k else h, parameters[k])
    return h


def module(parameters: Sequence[Tensor], place: int) -> nn.Sequential:
    """The network of the seed number ``place`` as a module, in float64."""
    layers: list[nn.Module] = []
    for weights, biases in zip(parameters[::2], parameters[1::2], strict=True):
        layer = nn.Linear(weights.shape[1], weights.shape[2], dtype=torch.float64)
        layer.weight.data, layer.bias.data = weights[place].detach().T.double(), biases[place, 0].detach().double()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
