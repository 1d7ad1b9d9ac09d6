"""A step of natural gradient descent with a metric of choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from deepdynamics._checks import Numbers, not_negative, number, one_of, positive, tensor
from deepdynamics._parametergram.model import opened, samples
from deepdynamics.naturalgradient.blocks import Block, Layer, layers, whole
from deepdynamics.naturalgradient.metrics import (
    Kronecker,
    Units,
    block_coefficients,
    gram_rounding,
    rounding,
    tridiagonal_coefficients,
)

__all__ = ["KINDS", "Move", "NaturalGradient", "moves"]

KINDS = ("exact", "layerwise", "tridiagonal", "kfac", "unitwise")


@dataclass(frozen=True)
class NaturalGradient:
    """θ <- θ - η (G + ρ)⁻¹ ∇E, E = Σ‖f - y‖²/(2N), with the Fisher metric of squared error or a part of it:

    - "exact": G = JᵀJ/N, over all parameters;
    - "layerwise": its diagonal blocks, one for each module with parameters of its own;
    - "tridiagonal": the blocks of neighbouring layers as well;
    - "kfac": a Kronecker product for each layer (:class:`deepdynamics.naturalgradient.metrics.Kronecker`);
    - "unitwise": a block for each unit, its incoming weights and bias.

    ``damping`` is ρ; at 0 all inverses are pseudo-inverses. Nothing of the size of P × P is made: the solves are those
    of matrices (N·C, N·C), for each layer or unit (Karakida & Osawa 2020); "tridiagonal" solves one of L times that
    size. "exact", "layerwise" and "tridiagonal" take every network, the others those whose parameters are weight
    matrices that are used once a sample, and their biases. Solves are in float64; of a float32 network "exact" leaves
    out what lies below the rounding of its Gram matrix.

    Raises ``ValueError`` for another kind and a negative damping.

    >>> model = nn.Linear(2, 1).double()
    >>> X, y = torch.eye(2, dtype=torch.float64), torch.tensor([1.0, -1.0])
    >>> NaturalGradient("exact").step(model, X, y, 1.0)(X).detach().round(decimals=9)  # linear: one step arrives
    tensor([[ 1.],
            [-1.]], dtype=torch.float64)
    """

    kind: str
    damping: float = 0.0

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        object.__setattr__(self, "damping", number("damping", self.damping, not_negative))

    def step(self, model: nn.Module, X: Numbers, y: Numbers, learning_rate: float) -> nn.Module:
        """One step on all samples ``X`` (N, …) towards the targets ``y``, of the shape of the outputs (N, C), or (N,)
        where C = 1. Changes the parameters of ``model`` that have ``requires_grad`` in place and returns it.

        Raises ``ValueError`` for a model in training mode with dropout or batch statistics, targets of another shape,
        and layers that the kind does not take, by name.

        >>> net = nn.Sequential(nn.Linear(3, 50), nn.Tanh(), nn.Linear(50, 1)).double()
        >>> X, y = torch.eye(3, dtype=torch.float64), torch.zeros(3, 1)
        >>> before = net(X).norm()
        >>> bool(NaturalGradient("layerwise", 1e-6).step(net, X, y, 0.25)(X).norm() < 0.6 * before)  # 1 - 2 η = 0.5
        True
        """
        rate = number("learning_rate", learning_rate, positive)
        found = self.direction(model, X, y)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if name in found:
                    p.sub_(rate * found[name].to(p))
        return model

    def direction(self, model: nn.Module, X: Numbers, y: Numbers) -> dict[str, Tensor]:
        """(G + ρ)⁻¹ ∇E as a tensor for each parameter that is trained, by name; ``model`` stays as it is. A step is
        -learning_rate times this.

        Raises ``ValueError`` as :meth:`step` does.

        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = model.weight.data.zero_()
        >>> NaturalGradient("exact").direction(model, torch.eye(2), [1.0, -1.0])["weight"].round(decimals=6)
        tensor([[-1.,  1.]])
        """
        X = samples("X", X, model)
        with torch.no_grad():
            f = opened(model, X)(X).double()
        residuals = (f - _targets(y, f)).reshape(-1, 1)
        found: dict[str, Tensor] = {}
        for move in moves(self.kind, model, X, residuals, self.damping):
            found |= move.parameters()
        return found

    def linearised(self, model: nn.Module, X: Numbers, y: Numbers, X_new: Numbers, learning_rate: float) -> Tensor:
        """f(x) - η J(x)(G + ρ)⁻¹∇E: the outputs (m, C) at samples ``X_new`` (m, …) after a step of the network that is
        linearised at its parameters; ``model`` stays as it is. In the NTK regime this is the network after a step, and
        with η = 1/α and an isotropic metric it is the network at the end of training:

            f(x) + (1/α) J(x) G⁺ J(X)ᵀ (y - f(X))/N ,

        for the exact metric kernel regression, f(x) + Θ(x, X) Θ(X, X)⁻¹ (y - f(X)).

        Raises ``ValueError`` as :meth:`step` does.

        >>> model, X = nn.Linear(2, 1).double(), torch.eye(2, dtype=torch.float64)
        >>> NaturalGradient("exact").linearised(model, X, [1.0, -1.0], X, 1.0).round(decimals=9)
        tensor([[ 1.],
                [-1.]], dtype=torch.float64)
        """
        rate = number("learning_rate", learning_rate, positive)
        found = self.direction(model, X, y)
        X_new = samples("X_new", X_new, model)
        network = opened(model, X_new)
        at = {name: network.parameters[name].detach() for name in found}
        tangent = {name: -rate * found[name].to(at[name]) for name in found}

        def outputs(parameters: dict[str, Tensor]) -> Tensor:
            call = partial(torch.func.functional_call, model, parameters)
            f = call((X_new,)) if network.together else torch.stack([call((x,)) for x in X_new])
            return cast(Tensor, f).reshape(len(X_new), network.outputs)

        f, change = cast(tuple[Tensor, Tensor], torch.func.jvp(outputs, (at,), (tangent,)))
        return (f + change).detach()


@dataclass(frozen=True)
class Move:
    """The part of a direction that a block of parameters takes: ``gain()``, what the outputs gain by it (N·C, m), and
    ``parameters()``, the direction of the first of m columns, by name.

    >>> (move,) = moves("exact", nn.Linear(2, 1), torch.eye(2), torch.ones(2, 1, dtype=torch.float64), 0.0)
    >>> move.gain().flatten().round(decimals=5).tolist(), sorted(move.parameters())
    ([1.0, 1.0], ['bias', 'weight'])
    """

    gain: Callable[[], Tensor]
    parameters: Callable[[], dict[str, Tensor]]


def moves(kind: str, model: nn.Module, X: Tensor, r: Tensor, damping: float) -> Iterator[Move]:
    """(G + ρ)⁻¹ Jᵀr/N at samples X (N, …), block by block, for residuals r (N·C, m) in float64.

    >>> r = torch.ones(2, 1, dtype=torch.float64)
    >>> len(list(moves("kfac", nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), torch.eye(2), r, 0.0)))
    2
    """
    N, n, dtype = len(X), len(r), next(p.dtype for p in model.parameters() if p.is_floating_point())
    if kind == "exact":
        block = whole(model, X)
        cutoff = 10 * n**0.5 * torch.finfo(dtype).eps
        yield _move(block, block.gram, block_coefficients(block.gram, r, N, damping, cutoff), N)
        return
    own, cutoff = layers(model, X), gram_rounding(n, dtype)
    if kind == "tridiagonal":
        grams = [layer.gram for layer in own]
        solved = tridiagonal_coefficients(grams, r, N, damping, cutoff)
        for layer, gram, a in zip(own, grams, solved, strict=True):
            yield _move(layer, gram, a, N)
        return
    for layer in own:
        if kind == "layerwise" or layer.silent:
            gram = layer.gram
            yield _move(layer, gram, block_coefficients(gram, r, N, damping, cutoff), N)
        else:
            metric = {"kfac": _kronecker, "unitwise": _units}[kind]
            yield metric(layer, r, N, damping, rounding(n, dtype))


def _move(block: Block, gram: Tensor, a: Tensor, N: int) -> Move:
    return Move(lambda: gram @ a, partial(block.pulled, a[:, 0].reshape(N, -1)))


def _kronecker(layer: Layer, r: Tensor, N: int, damping: float, cutoff: float) -> Move:
    metric = Kronecker(layer.factors("kfac"), N, damping, cutoff)
    return Move(partial(metric.gain, r), lambda: layer.split(metric.direction(r[:, 0].reshape(N, -1))))


def _units(layer: Layer, r: Tensor, N: int, damping: float, cutoff: float) -> Move:
    metric = Units(layer.factors("unitwise"), r, damping, cutoff)
    return Move(lambda: metric.gain, lambda: layer.split(metric.direction))


def _targets(y: Numbers, f: Tensor) -> Tensor:
    """``y`` as a tensor of the shape of the outputs f (N, C)."""
    targets = tensor("y", y, like=f).to(f)
    if targets.shape not in (f.shape, f.shape[:1]) or targets.numel() != f.numel() or not torch.isfinite(targets).all():
        raise ValueError(f"y of shape {tuple(targets.shape)}: finite targets of shape {tuple(f.shape)} are allowed")
    return targets.reshape(f.shape)
