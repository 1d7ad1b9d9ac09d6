"""Networks for ten digits of 8 × 8 pixels in many architectures, healthy, and faults to plant into them.

Healthy: at a start that keeps signals and gradients (He, Glorot or critical variances, orthogonal or delta-orthogonal
weights; statistics of batches taken from the images), or trained. ``TABLE`` has those of the confusion table,
``CALIBRATION`` the others, on which the thresholds of the findings were fixed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import pairwise

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics.networks.draws import delta_orthogonal_, generator, haar

__all__ = [
    "CALIBRATION",
    "FAULTS",
    "MEASURES",
    "TABLE",
    "Residual",
    "digits",
    "from_weights",
    "network",
    "plant",
    "weighted",
]


@functools.lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor]:
    """The images (1797, 1, 8, 8) less their mean, at mean square 1, in a fixed random order; and classes."""
    found = load_digits()
    X = torch.from_numpy(found.images).float()[:, None]
    y = torch.from_numpy(found.target).long()
    order = torch.randperm(len(X), generator=generator(0))
    X = X - X.mean()
    return (X / X.square().mean().sqrt())[order], y[order]


class Residual(nn.Module):
    """x + scale · branch(x), or the branch alone where ``skip`` is False."""

    def __init__(self, *branch: nn.Module, scale: float = 1.0):
        super().__init__()
        self.branch, self.scale, self.skip = nn.Sequential(*branch), scale, True

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.branch(x) * self.scale if self.scale != 1 else self.branch(x)
        return x + y if self.skip else y


class Attention(nn.Module):
    """Two heads of self-attention on tokens (n, tokens, width)."""

    def __init__(self, width: int):
        super().__init__()
        self.inwards, self.outwards = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.inwards(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.outwards(y)  # type: ignore[no-any-return]


class Mixing(nn.Module):
    """A perceptron along the tokens."""

    def __init__(self, tokens: int):
        super().__init__()
        self.wide, self.narrow = nn.Linear(tokens, 2 * tokens), nn.Linear(2 * tokens, tokens)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.narrow(functional.gelu(self.wide(x.transpose(1, 2)))).transpose(1, 2)
        return y


class Patches(nn.Module):
    """Sixteen tokens of 2 × 2 pixels, with places that are learnt."""

    def __init__(self, width: int):
        super().__init__()
        self.embed, self.place = nn.Conv2d(1, width, 2, stride=2), nn.Parameter(0.1 * torch.randn(1, 16, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x).flatten(2).transpose(1, 2) + self.place  # type: ignore[no-any-return]


class Mean(nn.Module):
    """The mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def _mlp(
    depth: int, width: int, phi: Callable[[], nn.Module], norm: Callable[[int], nn.Module] | None = None
) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Flatten()]
    for layer in range(depth):
        parts.append(nn.Linear(width if layer else 64, width))
        parts.extend([norm(width)] if norm else [])
        parts.append(phi())
    return nn.Sequential(*parts, nn.Linear(width, 10))


def _cnn(
    depth: int, phi: Callable[[], nn.Module], norm: Callable[[int], nn.Module] | None = None, pool: tuple[int, ...] = ()
) -> nn.Sequential:
    parts: list[nn.Module] = []
    side = 8
    for layer in range(depth):
        parts.append(nn.Conv2d(16 if layer else 1, 16, 3, padding=1))
        parts.extend([norm(16)] if norm else [])
        parts.append(phi())
        if layer in pool:
            parts.append(nn.MaxPool2d(2))
            side //= 2
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(16 * side**2, 10))


def _conv() -> nn.Conv2d:
    return nn.Conv2d(16, 16, 3, padding=1)


def _resnet(blocks: int, *, before: bool) -> nn.Sequential:
    """Residual blocks with batch normalisation, before or behind the convolutions."""
    parts: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    norm = functools.partial(nn.BatchNorm2d, 16)
    for _ in range(blocks):
        if before:
            parts.append(Residual(norm(), nn.ReLU(), _conv(), norm(), nn.ReLU(), _conv()))
        else:
            parts += [Residual(_conv(), norm(), nn.ReLU(), _conv(), norm()), nn.ReLU()]
    return nn.Sequential(*parts, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(64, 10))


def _residual_mlp(blocks: int, width: int, norm: bool, phi: Callable[[], nn.Module]) -> nn.Sequential:
    def branch() -> Residual:
        first: list[nn.Module] = [nn.LayerNorm(width)] if norm else []
        scale = 1.0 if norm else 1 / math.sqrt(blocks)
        return Residual(*first, nn.Linear(width, 2 * width), phi(), nn.Linear(2 * width, width), scale=scale)

    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), *(branch() for _ in range(blocks)), nn.Linear(width, 10))


def _transformer(blocks: int, width: int, *, before: bool, mixing: bool = False) -> nn.Sequential:
    parts: list[nn.Module] = [Patches(width)]
    for _ in range(blocks):
        tokens = Mixing(16) if mixing else Attention(width)
        channels = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        if before:
            parts += [Residual(nn.LayerNorm(width), tokens), Residual(nn.LayerNorm(width), *channels)]
        else:
            parts += [Residual(tokens), nn.LayerNorm(width), Residual(*channels), nn.LayerNorm(width)]
    return nn.Sequential(*parts, nn.LayerNorm(width), Mean(), nn.Linear(width, 10))


def _convnext(blocks: int) -> nn.Sequential:
    def block() -> Residual:
        depthwise = nn.Conv2d(16, 16, 5, padding=2, groups=16)
        return Residual(depthwise, nn.GroupNorm(1, 16), nn.Conv2d(16, 32, 1), nn.GELU(), nn.Conv2d(32, 16, 1))

    stem = nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(1, 16)
    return nn.Sequential(*stem, *(block() for _ in range(blocks)), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(64, 10))


Build = tuple[Callable[[], nn.Sequential], float, str]  # the network, σ_w² of its hidden layers, how they are drawn
TABLE: dict[str, Build] = {
    "perceptron, ReLU": (lambda: _mlp(8, 100, nn.ReLU), 2.0, "gaussian"),
    "perceptron, tanh": (lambda: _mlp(10, 100, nn.Tanh), 1.0, "orthogonal"),
    "perceptron, logistic": (lambda: _mlp(6, 100, nn.Sigmoid), 16.0, "centred"),
    "perceptron, GELU": (lambda: _mlp(8, 100, nn.GELU), 2.3, "gaussian"),
    "perceptron, ELU, layer norm": (lambda: _mlp(8, 100, nn.ELU, nn.LayerNorm), 1.5, "gaussian"),
    "convolutions, ReLU": (lambda: _cnn(6, nn.ReLU, pool=(1, 3)), 2.0, "gaussian"),
    "convolutions, tanh": (lambda: _cnn(8, nn.Tanh), 1.0, "orthogonal"),
    "convolutions, batch norm": (lambda: _cnn(6, nn.ReLU, nn.BatchNorm2d, pool=(2,)), 2.0, "gaussian"),
    "residual, batch norm": (lambda: _resnet(8, before=False), 2.0, "gaussian"),
    "residual, layer norm": (lambda: _residual_mlp(8, 64, True, nn.ReLU), 2.0, "gaussian"),
    "transformer": (lambda: _transformer(4, 32, before=True), 1.0, "gaussian"),
    "mixer": (lambda: _transformer(4, 32, before=True, mixing=True), 1.0, "gaussian"),
    "ConvNeXt": (lambda: _convnext(6), 1.0, "gaussian"),
}
CALIBRATION: dict[str, Build] = {
    "perceptron, leaky ReLU": (lambda: _mlp(12, 80, nn.LeakyReLU), 2.0, "gaussian"),
    "perceptron, ReLU, deep": (lambda: _mlp(20, 200, nn.ReLU), 2.0, "gaussian"),
    "perceptron, hard tanh": (lambda: _mlp(8, 80, nn.Hardtanh), 1.0, "orthogonal"),
    "perceptron, SELU": (lambda: _mlp(16, 100, nn.SELU), 1.0, "gaussian"),
    "perceptron, SiLU": (lambda: _mlp(6, 120, nn.SiLU), 2.8, "gaussian"),
    "convolutions, SELU": (lambda: _cnn(5, nn.SELU, pool=(2,)), 1.0, "gaussian"),
    "convolutions, hard tanh": (lambda: _cnn(6, nn.Hardtanh), 1.0, "orthogonal"),
    "convolutions, group norm": (
        lambda: _cnn(8, nn.ReLU, functools.partial(nn.GroupNorm, 4), pool=(3,)),
        2.0,
        "gaussian",
    ),
    "residual, norm before": (lambda: _resnet(6, before=True), 2.0, "gaussian"),
    "residual, scaled": (lambda: _residual_mlp(10, 64, False, nn.ReLU), 2.0, "gaussian"),
    "transformer, norm behind": (lambda: _transformer(4, 32, before=False), 1.0, "gaussian"),
    "trained perceptron": (lambda: _mlp(4, 100, nn.ReLU), 2.0, "gaussian"),
    "trained perceptron, tanh": (lambda: _mlp(5, 100, nn.Tanh), 1.0, "gaussian"),
    "trained convolutions": (lambda: _cnn(4, nn.ReLU, pool=(1,)), 2.0, "gaussian"),
}


def network(architecture: str, seed: int) -> nn.Sequential:
    """A healthy network of one of the two lists, in evaluation mode."""
    build, weight_var, law = (TABLE | CALIBRATION)[architecture]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build()
    draw = generator(1000 + seed)
    with torch.no_grad():
        for module in weighted(net):
            var = weight_var if module is not net[-1] else 1.0
            _draw(module, var, law, draw)
    X, y = digits()
    if any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
        _take_statistics(net, X[:500])
    if architecture.startswith("trained"):
        _train(net, X[:500], y[:500], seed)
    return net.eval()


def weighted(net: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """The layers that have weights, the readout last."""
    return [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


MEASURES = ("variance", "norms", "biases")
WANTED: dict[type[nn.Module], float] = {  # σ_w² behind an activation, at which a signal of mean square 1 keeps it
    nn.ReLU: 2.0,
    nn.LeakyReLU: 2.0,
    nn.Tanh: 1.0,
    nn.Hardtanh: 1.0,
    nn.Sigmoid: 16.0,
    nn.GELU: 2.3,
    nn.SiLU: 2.8,
    nn.ELU: 1.5,
    nn.SELU: 1.0,
}


def from_weights(net: nn.Sequential) -> list[float]:
    """What hidden layers say without any input: the largest |log(σ_w² / wanted)| behind the first layer, with the value
    that the activation before the layer wants (1 without one), |Σ log ‖W‖₂|, and the largest log(1 + σ_b²); layers of
    zeros count as ones of 10⁻¹²."""
    variance, wanted = [0.0], 1.0
    norms: list[float] = []
    biases: list[float] = []
    for module in net.modules():
        wanted = WANTED.get(type(module), wanted)
        if not isinstance(module, nn.Linear | nn.Conv2d) or module is net[-1]:
            continue
        W, b = module.weight.detach().double(), module.bias
        assert b is not None
        if norms:
            variance.append(abs(math.log(max(W[0].numel() * float(W.square().mean()), 1e-12) / wanted)))
        norms.append(math.log(max(float(torch.linalg.matrix_norm(W.flatten(1), 2)), 1e-12)))
        biases.append(math.log1p(float(b.detach().square().mean())))
        wanted = 1.0
    return [max(variance), abs(sum(norms)), max(biases)]


def _draw(module: nn.Linear | nn.Conv2d, weight_var: float, law: str, draw: torch.Generator) -> None:
    weight, bias = module.weight, module.bias
    assert bias is not None
    bias.zero_()
    if law == "orthogonal" and weight.ndim == 4:
        delta_orthogonal_(weight, weight_var=weight_var, seed=draw)
    elif law == "orthogonal":
        weight.copy_(math.sqrt(weight_var) * haar(*weight.shape, seed=draw))
    else:
        fan_in = weight[0].numel()
        weight.normal_(generator=draw).mul_(math.sqrt(weight_var / fan_in))
    if law == "centred" and module.in_features != 64:  # units have the mean 1/2
        bias.copy_(-weight.sum(1) / 2)


def _take_statistics(net: nn.Module, X: Tensor) -> None:
    """Those of batch normalisation, of all of X, layer after layer."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over calls, of which there is one
    net.train()
    with torch.no_grad():
        net(X)


def _train(net: nn.Module, X: Tensor, y: Tensor, seed: int, steps: int = 150) -> None:
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    draw = generator(seed)
    for _ in range(steps):
        chosen = torch.randint(len(X), (64,), generator=draw)
        optimiser.zero_grad()
        functional.cross_entropy(net(X[chosen]), y[chosen]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    optimiser.zero_grad()


FAULTS = (
    "none",
    "weights × 2",
    "weights / 2",
    "dead layer",
    "missing skip",
    "saturated start",
    "large biases",
    "no normalisation",
    "unscaled inputs",
    "repeated inputs",
    "rate too high",
)
_NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def plant(fault: str, net: nn.Sequential, X: Tensor, seed: int) -> Tensor | None:
    """Plant a fault into a network, in place, and give the inputs that go with it, from X; None where there is no such
    fault for this architecture ("rate too high" is the caller's).

    Weights: of all layers but the readout. Dead layer: a weight layer in the middle is 0. Missing skip: of the block in
    the middle. Saturated start: biases ±10 before tanh and logistic units. Large biases: N(0, 9). Unscaled inputs:
    times 255. Repeated inputs: four of them equal the first.
    """
    hidden = [module for module in weighted(net) if module is not net[-1]]
    draw = generator(2000 + seed)
    with torch.no_grad():
        if fault in ("weights × 2", "weights / 2"):
            for module in hidden:
                module.weight.mul_(2.0 if fault == "weights × 2" else 0.5)
        elif fault == "dead layer":
            middle = _before_activation(net)
            for parameter in middle.parameters():
                parameter.zero_()
        elif fault == "missing skip":
            blocks = [module for module in net.modules() if isinstance(module, Residual)]
            if not blocks:
                return None
            blocks[len(blocks) // 2].skip = False
        elif fault in ("saturated start", "large biases"):
            flat = any(isinstance(module, nn.Tanh | nn.Sigmoid) for module in net)
            if fault == "saturated start" and not flat:
                return None
            for module in hidden:
                bias = module.bias
                assert bias is not None
                noise = torch.randn(bias.shape, generator=draw)
                bias.copy_(10 * noise.sign() if fault == "saturated start" else 3 * noise)
        elif fault == "no normalisation":
            found = [
                (part, name)
                for part in net.modules()
                for name, child in part.named_children()
                if isinstance(child, _NORMS)
            ]
            if not found:
                return None
            for part, name in found:
                setattr(part, name, nn.Identity())
        elif fault == "unscaled inputs":
            return 255 * X
        elif fault == "repeated inputs":
            return torch.cat([X[:-4], X[:1].expand(4, -1, -1, -1)])
    return X


def _before_activation(net: nn.Module) -> nn.Linear | nn.Conv2d:
    """The middle one of the weight layers behind which, at once or behind a normalisation, an activation comes."""
    found = []
    for part in net.modules():
        if isinstance(part, nn.Sequential):
            children = [child for child in part if not isinstance(child, _NORMS)]
            for first, second in pairwise(children):
                if isinstance(first, nn.Linear | nn.Conv2d) and not isinstance(
                    second, nn.Linear | nn.Flatten | Residual
                ):
                    found.append(first)
    return found[len(found) // 2]
