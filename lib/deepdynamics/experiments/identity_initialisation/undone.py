"""What the contributions of a network that started from the identity are worth, and how linear it is.

The eight networks of `training` from the identity, after 450 steps. At 500 test images contributions of one layer are
undone; ``effect`` is the mean size of the change of the margin, ``drop`` the mean of what it loses.

    all        ``what``: all "pixels", or all "classes" (class coordinates)
    chosen     pixels in some ``order``: the "largest" changes until half of the layer's change is undone, in squares;
               as many pixels at random ("as many"); pixels at random until as much is undone ("as much"); those first
               that support the answer, to first order, until as much is undone ("support"). ``count``: how many.

Accuracies on 2,000 test images: ``network``; ``unclipped``, the same weights without the limits of hard tanh;
``slices``, the first-order sum x⁰ + Σ (Aˡ x⁰ + bˡ) with Aˡ = Wˡ - I. ``agree``: share of images at which network and
logistic regression answer alike. ``template``: correlation of the class rows of Σ Aˡ, on the pixels and less their
mean, with those of a regression ("regression") and with the mean image of the class ("means"); and of two regressions
on different batches ("two regressions").
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.identity_initialisation import training
from deepdynamics.experiments.identity_initialisation.training import CLASSES, DEPTH, accuracy, images, regression
from deepdynamics.interpretation import ClassNetwork, contributions, undo
from deepdynamics.networks import generator

__all__ = ["KEY", "cell", "checks", "chosen", "grid", "margins", "sources"]

KEY = "identity-initialisation.undone"
SEEDS, LAYERS, IMAGES = training.SEEDS, (1, 2, 3, 5, 10, 15, 20), 500
WHAT, ORDERS, AGAINST = (
    ("pixels", "classes"),
    ("largest", "as many", "as much", "support"),
    ("regression", "means", "two regressions"),
)
DIMENSIONS = {
    **dict.fromkeys(("all_effect", "all_drop"), ("seed", "layer", "what")),
    **dict.fromkeys(("effect", "drop", "count"), ("seed", "layer", "order")),
    **dict.fromkeys(("network", "unclipped", "slices", "agree"), ("seed",)),
    "template": ("seed", "against"),
}
COORDINATES = {"seed": SEEDS, "layer": LAYERS, "what": WHAT, "order": ORDERS, "against": AGAINST}
PARAMETERS = {**training.PARAMETERS, "steps": training.STEPS[0], "images": IMAGES}
NEEDS = ("mnist",)
tolerance = {
    **dict.fromkeys(("all_effect", "all_drop", "effect", "drop", "count"), (0.2, 0.02)),
    **dict.fromkeys(("network", "unclipped", "slices", "agree", "template"), (0.0, 0.03)),
}
checks: tuple[Point, ...] = ({"seed": 1},)
sources = training.sources


def grid(scale: str) -> list[Point]:
    """One network, or all."""
    return at_scale(scale, live=list(checks), paper=points(seed=SEEDS))


def cell(seed: int) -> dict[str, object]:
    """One network."""
    net, start = (training.network("identity", DEPTH, seed) for _ in range(2))
    training.train(net, training.RATE, seed, training.STEPS[0])
    x, y = images()[2][:IMAGES], images()[3][:IMAGES]
    before = margins(net(x).detach(), y)
    all_of = np.zeros((2, len(LAYERS), len(WHAT)))
    some = np.zeros((3, len(LAYERS), len(ORDERS)))
    for k, layer in enumerate(LAYERS):
        classes = torch.arange(x.shape[1] + CLASSES) >= x.shape[1]
        for j, units in enumerate((~classes, classes)):
            all_of[:, k, j] = _lost(net, x, y, layer, units, before)
        for j, order in enumerate(ORDERS):
            units = chosen(net, x, y, layer, order, seed)
            some[:, k, j] = *_lost(net, x, y, layer, units, before), float(units.sum(1).float().mean())
    names = dict(zip(("all_effect", "all_drop", "effect", "drop", "count"), (*all_of, *some), strict=True))
    return names | _linearity(net, start, seed)


def _lost(net: ClassNetwork, x: Tensor, y: Tensor, layer: int, units: Tensor, before: Tensor) -> tuple[float, float]:
    lost = before - margins(undo(net, x, layer, units), y)
    return float(lost.abs().mean()), float(lost.mean())


def margins(logits: Tensor, answers: Tensor) -> Tensor:
    """The logit of the right class less the largest other one (n,)."""
    right = logits.gather(-1, answers[:, None])[:, 0]
    return right - logits.scatter(-1, answers[:, None], -torch.inf).amax(-1)


def chosen(net: ClassNetwork, x: Tensor, y: Tensor, layer: int, order: str, seed: int) -> Tensor:
    """Pixels (n, D) of a layer in an order, as the module says."""
    change = contributions(net, x)[layer - 1]
    change[:, -CLASSES:] = 0
    score = change.abs()
    if order == "support":
        score = _support(net, x, y, layer, change)
    elif order in ("as many", "as much"):
        score = torch.rand(change.shape, generator=generator(seed))
    score[:, -CLASSES:] = -torch.inf  # class coordinates are never undone
    ranks = score.argsort(1, descending=True)
    if order == "as many":
        wanted = chosen(net, x, y, layer, "largest", seed).sum(1, keepdim=True)
        return torch.zeros_like(change, dtype=torch.bool).scatter(1, ranks, torch.arange(change.shape[1]) < wanted)
    share = change.square().gather(1, ranks).cumsum(1) / change.square().sum(1, keepdim=True)
    taken = torch.cat((torch.zeros(len(x), 1), share[:, :-1]), 1) < 0.5  # up to the pixel that reaches a half
    return torch.zeros_like(change, dtype=torch.bool).scatter(1, ranks, taken)


def _support(net: ClassNetwork, x: Tensor, y: Tensor, layer: int, change: Tensor) -> Tensor:
    """The gradient of the margin by the units of the layer, times their change."""
    state = net.states(x)[layer].requires_grad_()
    upper = state
    for part in net.layers[layer:]:
        upper = part(upper)
    margins(net.sharpness * upper[:, -CLASSES:], y).sum().backward()
    assert state.grad is not None
    return state.grad * change


def _linearity(net: ClassNetwork, start: ClassNetwork, seed: int) -> dict[str, object]:
    X, y, tested, _ = images()
    x0 = net.embed(tested)
    state, slices, added = x0, x0.clone(), torch.zeros_like(next(net.parameters()))
    with torch.no_grad():
        for layer, first in zip(net.layers, start.layers, strict=True):
            state = layer.preactivation(state)  # type: ignore[operator]
            slices += layer.preactivation(x0) - x0  # type: ignore[operator]
            added += layer.weight - first.weight  # type: ignore[operator]
    one, two = regression(seed), regression(100 + seed)
    rows = added[-CLASSES:, :-CLASSES]
    means = torch.stack([X[y == c].mean(0) for c in range(CLASSES)])
    pairs = ((rows, one.weight), (rows, means), (one.weight, two.weight))
    return {
        "network": accuracy(net(tested)),
        "unclipped": accuracy(state[:, -CLASSES:]),
        "slices": accuracy(slices[:, -CLASSES:]),
        "agree": float((net(tested).argmax(-1) == one(tested).argmax(-1)).float().mean()),
        "template": np.array([_match(ours.detach(), theirs.detach()) for ours, theirs in pairs]),
    }


def _match(ours: Tensor, theirs: Tensor) -> float:
    """Mean over classes of the correlation of two (classes, pixels), each less its mean row."""
    both: NDArray[np.float64] = np.corrcoef(ours - ours.mean(0), theirs - theirs.mean(0))
    return float(both[:CLASSES, CLASSES:].diagonal().mean())
