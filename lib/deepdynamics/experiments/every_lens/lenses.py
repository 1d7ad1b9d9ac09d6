"""One trained residual network for digits of 8 × 8 pixels, and what carries through its layers.

x⁰ = W⁰ x + b⁰ with 64 coordinates, then ten blocks of 128 units with ReLU, and a linear readout of ten outputs:

    x^{l+1} = x^l + s (V φ(h^l) + c),   h^l = W x^l + b,   s = 1/√10    (each layer with its own W, b, V, c)
    B^l = ∂x^{l+1}/∂x^l = I + s V D^l W,   D^l = diag φ'(h^l)

As drawn it is "residual, scaled" of `networks.CALIBRATION` (σ_w² = 2), with V times 0.3 and a readout times 0.1, so
that it starts quietly; it is trained by Adam on squared error, with a rate that falls to 0.

    net = lenses.trained(seed=0)
    lenses.path(net, X)[-1]                         # what the readout sees, (n, 64)
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics import ridgelet
from deepdynamics.experiments.every_lens.networks import Residual, digits, network
from deepdynamics.networks.draws import generator

__all__ = [
    "affine",
    "block_jacobians",
    "blocks",
    "gradient_gram",
    "mistakes",
    "own_units",
    "path",
    "rebuilding_error",
    "right",
    "shifted",
    "trained",
    "without",
]

LEARNT, TESTED = slice(0, 1000), slice(1000, 1797)  # of the digits
STEPS, BATCH, RATE = 200, 64, 3e-3


def flat_digits() -> tuple[Tensor, Tensor, Tensor]:
    """The images (1797, 64), classes, and their unit vectors (1797, 10)."""
    X, y = digits()
    return X.flatten(1), y, functional.one_hot(y, 10).float()


def trained(seed: int, steps: int = STEPS, scale: float = 0.3) -> nn.Sequential:
    """The network after ``steps`` of Adam on batches of the first thousand digits; 0 steps: as it starts, with V times
    ``scale``."""
    X, _, wanted = flat_digits()
    net, draw = network("residual, scaled", seed), generator(4000 + seed)
    with torch.no_grad():
        for module, factor in [*((block.branch[2], scale) for block in blocks(net)), (net[-1], 0.1)]:
            assert isinstance(module, nn.Linear)
            module.weight.mul_(factor)
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / steps)
        chosen = torch.randint(LEARNT.stop, (BATCH,), generator=draw)
        loss = (net(X[chosen]) - wanted[chosen]).square().sum(1).mean() / 2
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    optimiser.zero_grad()
    return net


def shifted(X: Tensor) -> Tensor:
    """Digits (n, 64) one pixel to the right, with a background at the left."""
    images = X.unflatten(1, (8, 8))
    return torch.cat([torch.full_like(images[..., :1], float(X.min())), images[..., :-1]], dim=2).flatten(1)


def right(net: nn.Module, X: Tensor, chosen: Tensor | slice = TESTED) -> float:
    """The share of the ``chosen`` ones of all digits X, as they are or shifted, that a network names."""
    with torch.no_grad():
        found = net(X[chosen]).argmax(1) == flat_digits()[1][chosen]
    return float(found.float().mean())


def mistakes(net: nn.Module, X: Tensor, count: int = 24) -> Tensor:
    """Places of the first ``count`` test digits of X that it names wrongly."""
    with torch.no_grad():
        wrong = torch.where(net(X[TESTED]).argmax(1) != flat_digits()[1][TESTED])[0]
    return wrong[:count] + LEARNT.stop


def blocks(net: nn.Sequential) -> list[Residual]:
    """The ten blocks."""
    return [module for module in net if isinstance(module, Residual)]


def _parts(block: Residual) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W (128, 64), b (128,), and s V (64, 128), s c (64,) of a block, in float64."""
    first, last = block.branch[0], block.branch[2]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    found = first.weight, first.bias, block.scale * last.weight, block.scale * last.bias
    W, b, V, c = (part.detach().double() for part in found)
    return W, b, V, c


def path(net: nn.Sequential, X: Tensor) -> Tensor:
    """x⁰ … x^L of inputs X (n, 64): (L + 1, n, 64)."""
    with torch.no_grad():
        states = [net[1](net[0](X))]
        for block in blocks(net):
            states.append(block(states[-1]))
    return torch.stack(states)


def block_jacobians(net: nn.Sequential, x: Tensor) -> list[Tensor]:
    """B⁰ … B^{L-1} at one input x (64,), in float64."""
    found = []
    for block, state in zip(blocks(net), path(net, x[None])[:, 0].double(), strict=False):
        W, b, V, _ = _parts(block)
        found.append(torch.eye(len(state), dtype=torch.float64) + V * (W @ state + b > 0) @ W)
    return found


def gradient_gram(net: nn.Sequential, x: Tensor) -> Tensor:
    """J_θ J_θᵀ (10, 10) at one input x (64,), by one recursion along the layers, in float64.

    G⁰ = (‖x‖² + 1) I;  G^{l+1} = s²(‖φ(h^l)‖² + 1) I + s²(‖x^l‖² + 1) V D D Vᵀ + B^l G^l (B^l)ᵀ; and for the readout
    f = A x^L + a: (‖x^L‖² + 1) I + A G^L Aᵀ. The ones are the biases'.
    """
    states = path(net, x[None])[:, 0].double()
    eye = torch.eye(states.shape[1], dtype=torch.float64)
    G = (x.double().square().sum() + 1) * eye
    for block, state, B in zip(blocks(net), states, block_jacobians(net, x), strict=False):
        W, b, V, _ = _parts(block)
        h = W @ state + b
        own = block.scale**2 * (h.clamp(min=0).square().sum() + 1) * eye
        G = own + (state.square().sum() + 1) * (V * (h > 0)) @ V.T + B @ G @ B.T
    readout = net[-1]
    assert isinstance(readout, nn.Linear)
    A = readout.weight.detach().double()
    return (states[-1].square().sum() + 1) * torch.eye(len(A), dtype=torch.float64) + A @ G @ A.T


def affine(net: nn.Sequential) -> nn.Sequential:
    """The network with every block replaced by the affine map that fits it best on the digits it has learnt."""
    X, _, _ = flat_digits()
    states, found = path(net, X)[:, LEARNT], list(net)
    for layer, (x, after) in enumerate(pairwise(states)):
        line = nn.Linear(x.shape[1], x.shape[1])
        weights = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], dim=1).double(), after.double()).solution
        with torch.no_grad():
            line.weight.copy_(weights[:-1].T), line.bias.copy_(weights[-1])
        found[layer + 2] = line
    return nn.Sequential(*found)


def without(net: nn.Sequential, layer: int) -> nn.Sequential:
    """The network without one of its blocks."""
    return nn.Sequential(*(module for place, module in enumerate(net) if place != layer + 2))


Units = tuple[NDArray[np.float64], NDArray[np.float64]]  # a (k, 64), b (k,) of φ(a·x − b)


def own_units(net: nn.Sequential, layer: int, count: int, seed: int) -> Units:
    """``count`` different hidden units of a block, each drawn with a chance as its ‖v_j‖ ‖w_j‖."""
    W, b, V, _ = (part.numpy() for part in _parts(blocks(net)[layer]))
    size = np.linalg.norm(V, axis=0) * np.linalg.norm(W, axis=1)
    chosen = np.random.default_rng(seed).choice(len(W), count, replace=False, p=size / size.sum())
    return W[chosen], -b[chosen]


def rebuilding_error(net: nn.Sequential, layer: int, units: Units | None) -> tuple[float, float]:
    """A block's velocity on digits rebuilt from ``units`` with output weights that are fitted on the digits it has
    learnt, or (None) by an affine map without any: the relative error on test digits, and the network's accuracy then.
    """
    X, y, _ = flat_digits()
    states = path(net, X)
    x, v = states[layer].double().numpy(), (states[layer + 1] - states[layer]).double().numpy()
    if units is None:
        rows = np.column_stack([x, np.ones(len(x))])
        rebuilt = rows @ np.linalg.lstsq(rows[LEARNT], v[LEARNT])[0]
    else:
        c = _parts(blocks(net)[layer])[3].numpy()
        weights = ridgelet.output_weights(x[LEARNT], v[LEARNT] - c, "relu", *units, decay=1e-6)
        rebuilt = ridgelet.evaluate("relu", *units, weights, x) + c
    error = np.sqrt(((rebuilt - v)[TESTED] ** 2).mean() / (v[TESTED] ** 2).mean())
    with torch.no_grad():
        answers = net[layer + 3 :](torch.from_numpy((x + rebuilt)[TESTED]).float())
    return float(error), float((answers.argmax(1) == y[TESTED]).float().mean())
