"""The one-sample bound on the learning rate, held against the failure of small convolutional and residual networks.

"cnn": four delta-orthogonal convolutions of 8 channels, hard tanh, an orthogonal readout. "resnet": ReLU, a
delta-orthogonal convolution, three residual blocks of two convolutions of 8 channels, an orthogonal readout, and no
normalisation; in each block the first convolution has weights N(0, 2/n) and the second 0, as is common. Biases begin at
0 and learn. Fashion-MNIST at 14 × 14, less the mean of the training images, scaled to ‖x‖ = 1; the loss ½‖f − e_y‖²,
one image a step, 500 steps.

For each network: the bound 2/λ_max(J Jᵀ) of its first 20 images before training (``bound``), and the rate at which
training fails (``failure``): a loss, about ½ at first, passes 1,000, or the last hundred are 0.45 in the mean, which is
what an answer that knows only the shares of the ten classes costs. (Those with ReLU do not explode.)
The rates double from a 32nd of the median bound until training fails; the last doubling is cut into four. ``layers`` L
is what the formula 2/L needs.

    stored = results.load(architectures.KEY)
    stored.failure / stored.bound.median("image")                        # (architecture, seed)
"""

import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics import data, fisher
from deepdynamics._batched import mini_batches
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.networks import CNN
from deepdynamics.networks.draws import Seed, delta_orthogonal_, generator, haar

__all__ = ["KEY", "ResNet", "cell", "checks", "fails", "grid", "images", "network"]

KEY = "fisher-isometry.architectures"
ARCHITECTURES, SEEDS = ("cnn", "resnet"), tuple(range(8))
STEPS, IMAGES, CUTS = 500, 20, 4
EXPLODED, LEARNT_NOTHING, WINDOW = 1000.0, 0.45, 100
CHANNELS, BLOCKS = 8, 3
DIMENSIONS = {
    "bound": ("architecture", "seed", "image"),
    "failure": ("architecture", "seed"),
    "layers": ("architecture", "seed"),
}
COORDINATES = {"architecture": ARCHITECTURES, "seed": SEEDS, "image": tuple(range(IMAGES))}
PARAMETERS = {
    "activations": ("hardtanh", "relu"),
    "weight_vars": (1.0, 2.0),
    "channels": CHANNELS,
    "blocks": BLOCKS,
    "steps": STEPS,
    "batch": 1,
    "side": 14,
    "norm": 1.0,
    "loss": "squared",
}
NEEDS = ("fashion-mnist",)
checks = ({"architecture": "cnn", "seed": 0}, {"architecture": "resnet", "seed": 0})
tolerance = {"bound": (1e-3, 0.0), "failure": (0.2, 0.0), "layers": (0.0, 0.0)}


def grid(scale: str) -> list[Point]:
    """One network of each kind, or eight."""
    both = points(architecture=ARCHITECTURES, seed=(0,))
    return at_scale(scale, live=both, paper=points(architecture=ARCHITECTURES, seed=SEEDS))


def cell(architecture: str, seed: int) -> dict[str, object]:
    """Bounds (image,) and the failure of one network, with its number of layers."""
    X, _ = images()
    order = torch.stack(list(_order(seed))[:IMAGES])[:, 0]
    net = network(architecture, seed)
    bound = np.array([fisher.online_learning_rate_bound(net, X[i]) for i in order])
    low = float(np.median(bound)) / 32
    while not fails(architecture, seed, 2 * low):
        low *= 2
    inside = low * 2.0 ** (np.arange(CUTS + 1) / CUTS)
    place = next((k for k in range(1, CUTS) if fails(architecture, seed, inside[k])), CUTS)
    layers = sum(parameter.ndim > 1 for parameter in net.parameters())
    return {
        "bound": bound,
        "failure": np.sqrt(inside[place - 1] * inside[place]),
        "layers": float(layers),
    }


def sources() -> data.Provenance:
    """Where the images come from."""
    return data.load("fashion-mnist", "train", n=500).provenance


class ResNet(nn.Module):
    """x ← x + conv(relu(conv(relu(x)))) for each block, between a convolution and a linear readout of all positions.

    >>> ResNet(16, 3, 14, seed=0)(torch.zeros(1, 1, 14, 14)).shape
    torch.Size([1, 10])
    """

    def __init__(self, channels: int, blocks: int, side: int, classes: int = 10, *, seed: Seed):
        super().__init__()
        conv = functools.partial(nn.Conv2d, kernel_size=3, padding=1)
        self.stem, self.readout = conv(1, channels), nn.Linear(channels * side**2, classes)
        self.inner, self.outer = (nn.ModuleList(conv(channels, channels) for _ in range(blocks)) for _ in range(2))
        draw = generator(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            delta_orthogonal_(self.stem.weight, seed=draw)
            self.readout.weight.copy_(haar(*self.readout.weight.shape, seed=draw))
            for inner in self.inner:
                inner.weight.normal_(std=(2 / (9 * channels)) ** 0.5, generator=draw)  # type: ignore[operator, union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, classes) of images (n, 1, height, width)."""
        x = self.stem(x)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x = x + outer(functional.relu(inner(functional.relu(x))))
        return self.readout(functional.relu(x).flatten(1))  # type: ignore[no-any-return]


def network(architecture: str, seed: int) -> nn.Module:
    """One untrained network, biases 0."""
    if architecture == "cnn":
        return CNN((1, 14, 14), (CHANNELS,) * 4, 10, "hardtanh", init="orthogonal", seed=seed)
    return ResNet(CHANNELS, BLOCKS, 14, seed=seed)


def fails(architecture: str, seed: int, rate: float) -> bool:
    """Whether 500 steps of one image each, at this learning rate, explode or end no better than a constant answer."""
    (X, y), net = images(), network(architecture, seed)
    targets = functional.one_hot(y, 10).float()
    weights, losses = list(net.parameters()), []
    for chosen in _order(seed):
        loss = (net(X[chosen]) - targets[chosen]).square().sum() / 2
        losses.append(loss.item())
        if not losses[-1] <= EXPLODED:
            return True
        with torch.no_grad():
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.sub_(rate * gradient)
    return sum(losses[-WINDOW:]) / WINDOW >= LEARNT_NOTHING


def _order(seed: int) -> Iterator[Tensor]:
    return mini_batches(len(images()[0]), 1, STEPS, [seed])


@functools.lru_cache(maxsize=1)
def images() -> tuple[Tensor, Tensor]:
    """500 images (n, 1, 14, 14), less their mean image, at ‖x‖ = 1; and labels."""
    X, y, _ = data.load("fashion-mnist", "train", n=500)
    small = functional.avg_pool2d(X, 2)
    small = small - small.mean(0)
    return small / small.flatten(1).norm(dim=1)[:, None, None, None], y
