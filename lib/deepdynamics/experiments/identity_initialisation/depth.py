"""How far the layers of a network move until its loss is .35, against depth.

Networks of `training`, at depths 5 to 40, on 500 images a seed; SGD with momentum .9 on the cross-entropy of the logits
less those of the untrained network, which only random starts have. One rate for all depths, in four ways (``how``):

    whole      all images at each step, rate .0005
    slower     the same at half of the rate
    faster     the same at the rate .0025
    batches    batches of 64, rate .0025

The loss on all 500 images is asked after each step, and training ends when it is first at most .35 (or after 2,000
steps: NaN). ``deviation``: the mean over layers of ‖W - W₀‖_F/‖W₀‖_F; ``spectral``: that of the largest singular value
of W - W₀ over that of W₀; ``steps``.

    stored = results.load(depth.KEY)
    stored.deviation.sel(start="identity", how="whole").mean("seed")                      # over depth
"""

import numpy as np
import torch
from torch.nn import functional

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.identity_initialisation.training import images, network
from deepdynamics.interpretation import deviation
from deepdynamics.networks import generator

__all__ = ["KEY", "cell", "checks", "grid", "sources"]

KEY = "identity-initialisation.depth"
STARTS, DEPTHS, HOW, SEEDS = (
    ("identity", "loop", "haar", "gaussian"),
    (5, 10, 20, 40),
    ("whole", "slower", "faster", "batches"),
    range(1, 9),
)
IMAGES, BATCH, LOSS, STEPS = 500, 64, 0.35, 2000
RATES = {"whole": 0.0005, "slower": 0.00025, "faster": 0.0025, "batches": 0.0025}
RUN = ("start", "how", "depth", "seed")
DIMENSIONS = {"deviation": RUN, "spectral": RUN, "steps": RUN}
COORDINATES = {"start": STARTS, "how": HOW, "depth": DEPTHS, "seed": tuple(SEEDS)}
PARAMETERS = {"images": IMAGES, "batch": BATCH, "loss": LOSS, "rates": list(RATES.values()), "optimiser": "momentum"}
NEEDS = ("mnist",)
tolerance = {"deviation": (0.05, 0.0), "spectral": (0.05, 0.0), "steps": (0.1, 1.0)}
checks: tuple[Point, ...] = (
    {"start": "identity", "how": "whole", "depth": 20, "seed": 1},
    {"start": "loop", "how": "whole", "depth": 10, "seed": 1},
    {"start": "identity", "how": "batches", "depth": 5, "seed": 1},
)


def grid(scale: str) -> list[Point]:
    """One network of two starts, or all: other starts than the identity with all images at each step."""
    paper = points(start=STARTS[:1], how=HOW, depth=DEPTHS, seed=SEEDS)
    return at_scale(
        scale, live=list(checks), paper=paper + points(start=STARTS[1:], how=HOW[:1], depth=DEPTHS, seed=SEEDS)
    )


def sources() -> data.Provenance:
    """Where the images come from."""
    return data.load("mnist", "train", n=1).provenance


def cell(start: str, how: str, depth: int, seed: int) -> dict[str, float]:
    """One network, trained until its loss is at most .35."""
    X, y, _, _ = images()
    draw = generator(2000 + seed)
    chosen = torch.randperm(len(X), generator=draw)[:IMAGES]
    X, y = X[chosen], y[chosen]
    net, first = network(start, depth, seed), network(start, depth, seed)
    untrained = first(X).detach()
    optimiser = torch.optim.SGD(net.parameters(), lr=RATES[how], momentum=0.9)
    for step in range(STEPS):
        loss = functional.cross_entropy(net(X) - untrained, y)
        if float(loss.detach()) <= LOSS:
            return {"deviation": float(deviation(net, first).mean()), "spectral": _spectral(net, first), "steps": step}
        if how == "batches":
            batch = torch.randint(IMAGES, (BATCH,), generator=draw)
            loss = functional.cross_entropy(net(X[batch]) - untrained[batch], y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return dict.fromkeys(DIMENSIONS, np.nan)


def _spectral(net: torch.nn.Module, first: torch.nn.Module) -> float:
    """The mean over layers of ‖W - W₀‖₂/‖W₀‖₂."""
    pairs = [
        (w.detach(), w0.detach()) for w, w0 in zip(net.parameters(), first.parameters(), strict=True) if w.ndim == 2
    ]
    norm = lambda matrix: float(torch.linalg.matrix_norm(matrix, 2))  # noqa: E731
    return float(np.mean([norm(w - w0) / norm(w0) for w, w0 in pairs]))
