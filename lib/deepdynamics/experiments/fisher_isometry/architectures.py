"""The one-sample bound on the learning rate, held against the failure of small convolutional and residual networks.

"cnn": four delta-orthogonal convolutions of 8 channels, hard tanh, an orthogonal readout. "resnet": ReLU, a
delta-orthogonal convolution, three residual blocks of two convolutions of 8 channels, an orthogonal readout, and no
normalisation; in each block the first convolution has weights N(0, 2/n) and the second 0, as is common. Biases begin at
0. Fashion-MNIST at 14 × 14, less the mean of the training images, scaled to ‖x‖ = 1; the loss ½‖f − e_y‖²,
one image a step, 500 steps.

Each network is trained twice from the same start, with biases that learn and with biases that stay 0 (``biases``). For
both: the bound 2/λ_max(J Jᵀ) over what learns, of its first 20 images before training (``bound``); the mean of the last
hundred losses at ``multiple`` times the *all-parameter* bound, median over images, which is the same rate in both arms
(``loss``; 1,000 where a loss, about ½ at first, passes that: training explodes); and the rate at which training fails
(``failure``): it explodes, or the last hundred losses are 0.45 in the mean, which is what an answer that knows only the
shares of the ten classes costs. (Those with ReLU do not explode.) The bracket between the first multiple that fails and
the one before is halved twice. ``layers`` L, the number of weight arrays, is what the formula 2/L needs.

    stored = results.load(architectures.KEY)
    stored.failure / stored.bound.median("image")                        # (architecture, biases, seed)
"""

import functools
from collections.abc import Iterator

import numpy as np
import torch
import xarray
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics import data
from deepdynamics._batched import mini_batches
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.networks import CNN
from deepdynamics.networks.draws import Seed, delta_orthogonal_, generator, haar

__all__ = ["KEY", "ResNet", "cell", "checks", "final_loss", "grid", "images", "network", "rate_bound"]

KEY = "fisher-isometry.architectures"
ARCHITECTURES, SEEDS = ("cnn", "resnet"), tuple(range(8))
STEPS, IMAGES, HALVINGS = 500, 20, 2
EXPLODED, LEARNT_NOTHING, WINDOW = 1000.0, 0.45, 100
CHANNELS, BLOCKS = 8, 3
BIASES = ("learn", "fixed")
MULTIPLES = {"cnn": tuple(2.0**k for k in range(-4, 5)), "resnet": tuple(2.0**k for k in range(-4, 3))}
DIMENSIONS = {
    "bound": ("architecture", "biases", "seed", "image"),
    "loss": ("architecture", "biases", "seed", "multiple"),
    "failure": ("architecture", "biases", "seed"),
    "layers": ("architecture", "seed"),
}
COORDINATES = {
    "architecture": ARCHITECTURES,
    "biases": BIASES,
    "seed": SEEDS,
    "image": tuple(range(IMAGES)),
    "multiple": MULTIPLES["cnn"],
}
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
# Near failure training amplifies rounding, and a mean loss jumps from below 1 to the cap.
tolerance = {"bound": (1e-3, 0.0), "failure": (0.2, 0.0), "layers": (0.0, 0.0), "loss": (0.2, 0.05)}


def grid(scale: str) -> list[Point]:
    """One network of each kind, or eight."""
    both = points(architecture=ARCHITECTURES, seed=(0,))
    return at_scale(scale, live=both, paper=points(architecture=ARCHITECTURES, seed=SEEDS))


def cell(architecture: str, seed: int) -> dict[str, object]:
    """Bounds (biases, image), losses (biases, multiple) and failures (biases,) of one network, and its layers."""
    X, _ = images()
    order = torch.stack(list(_order(seed))[:IMAGES])[:, 0]
    net = network(architecture, seed)
    bound = np.array([[rate_bound(net, X[i], biases) for i in order] for biases in BIASES])
    multiples, unit = MULTIPLES[architecture], float(np.median(bound[0]))
    losses = [[final_loss(architecture, seed, m * unit, biases) for m in multiples] for biases in BIASES]
    failure = [_failure(architecture, seed, unit, biases, found) for biases, found in zip(BIASES, losses, strict=True)]
    places = {"biases": list(BIASES), "multiple": list(multiples)}
    return {
        "bound": bound,
        "loss": xarray.DataArray(losses, places),
        "failure": np.array(failure),
        "layers": float(sum(parameter.ndim > 1 for parameter in net.parameters())),
    }


def _failure(architecture: str, seed: int, unit: float, biases: str, losses: list[float]) -> float:
    """The middle of the bracket of the first failure on the grid, halved twice; NaN where there is none."""
    multiples = MULTIPLES[architecture]
    first = next((k for k, loss in enumerate(losses) if loss >= LEARNT_NOTHING), 0)
    if first == 0:
        return float("nan")
    low, high = unit * multiples[first - 1], unit * multiples[first]
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        if final_loss(architecture, seed, middle, biases) >= LEARNT_NOTHING:
            high = middle
        else:
            low = middle
    return (low * high) ** 0.5


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


def learning(net: nn.Module, biases: str) -> dict[str, Tensor]:
    """The parameters that learn, by name: all of them, or all but the biases."""
    return {name: p for name, p in net.named_parameters() if biases == "learn" or p.ndim > 1}


def rate_bound(net: nn.Module, x: Tensor, biases: str) -> float:
    """2/λ_max(J Jᵀ) at one image (1, height, width), over the parameters that learn."""
    weights = {name: p.detach() for name, p in learning(net, biases).items()}
    rows = torch.func.jacrev(lambda w: torch.func.functional_call(net, w, (x[None],))[0])(weights)
    gram = sum(J.detach().flatten(1).double() @ J.detach().flatten(1).double().T for J in rows.values())
    return 2 / float(torch.linalg.eigvalsh(gram)[-1])


def final_loss(architecture: str, seed: int, rate: float, biases: str) -> float:
    """The mean loss of the last hundred of 500 steps of one image each; ``EXPLODED`` where one was larger than that."""
    (X, y), net = images(), network(architecture, seed)
    targets = functional.one_hot(y, 10).float()
    weights, losses = list(learning(net, biases).values()), []
    for chosen in _order(seed):
        loss = (net(X[chosen]) - targets[chosen]).square().sum() / 2
        losses.append(loss.item())
        if not losses[-1] <= EXPLODED:
            return EXPLODED
        with torch.no_grad():
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.sub_(rate * gradient)
    return sum(losses[-WINDOW:]) / WINDOW


def _order(seed: int) -> Iterator[Tensor]:
    return mini_batches(len(images()[0]), 1, STEPS, [seed])


@functools.lru_cache(maxsize=1)
def images() -> tuple[Tensor, Tensor]:
    """500 images (n, 1, 14, 14), less their mean image, at ‖x‖ = 1; and labels."""
    X, y, _ = data.load("fashion-mnist", "train", n=500)
    small = functional.avg_pool2d(X, 2)
    small = small - small.mean(0)
    return small / small.flatten(1).norm(dim=1)[:, None, None, None], y
