"""A step of natural gradient descent with a metric of choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepdynamics._checks import Numbers, not_negative, number, one_of, positive, tensor
from deepdynamics._parametergram.model import opened, samples
from deepdynamics.naturalgradient.blocks import Block, layers, whole
from deepdynamics.naturalgradient.metrics import (
    Kronecker,
    block_coefficients,
    rounding,
    tridiagonal_coefficients,
    unit_coefficients,
)

__all__ = ["KINDS", "NaturalGradient"]

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
    matrices that are used once a sample, and their biases. A float32 network's Gram matrix over all parameters has
    float32 rounding, and "exact" leaves out eigenvalues below it.

    Raises ``ValueError`` for another kind and a negative damping.

    >>> model = nn.Linear(2, 1).double()
    >>> X, y = torch.eye(2, dtype=torch.float64), torch.tensor([1.0, -1.0])
    >>> NaturalGradient("exact").step(model, X, y, 1.0)(X).round(decimals=9)  # linear: one step of η = 1 arrives
    tensor([[ 1.],
            [-1.]], dtype=torch.float64, grad_fn=<RoundBackward1>)
    """

    kind: str
    damping: float = 0.0

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        object.__setattr__(self, "damping", number("damping", self.damping, not_negative))

    def step(self, model: nn.Module, X: Numbers, y: Numbers, learning_rate: float) -> nn.Module:
        """One step from all of the samples ``X`` (N, …) to the targets ``y``, of the shape of the outputs (N, C), or
        (N,) where C = 1. Changes the parameters of ``model`` that have ``requires_grad`` in place and returns it.

        Raises ``ValueError`` for a model in training mode with dropout or batch statistics, targets of another shape,
        and layers that the kind does not take, by name.

        >>> net = nn.Sequential(nn.Linear(3, 50), nn.Tanh(), nn.Linear(50, 1)).double()
        >>> X, y = torch.eye(3, dtype=torch.float64), torch.zeros(3, 1)
        >>> before = net(X).norm()
        >>> bool(NaturalGradient("layerwise", 1e-6).step(net, X, y, 0.25)(X).norm() < 0.6 * before)  # 1 - 2 η = 0.5
        True
        """
        rate = number("learning_rate", learning_rate, positive)
        X = samples("X", X, model)
        with torch.no_grad():
            f = opened(model, X)(X).double()
        found = self._direction(model, X, f - _targets(y, f))
        with torch.no_grad():
            for name, p in model.named_parameters():
                if name in found:
                    p.sub_(rate * found[name].to(p))
        return model

    def _direction(self, model: nn.Module, X: Tensor, r: Tensor) -> dict[str, Tensor]:
        """(G + ρ)⁻¹ ∇E for residuals r (N, C), by name."""
        N, flat = len(r), r.reshape(-1, 1)
        if self.kind == "exact":
            block = whole(model, X)
            cutoff = gram_rounding(block.gram, model)
            return block.pulled(block_coefficients(block.gram, flat, N, self.damping, cutoff).view_as(r))
        blocks, cutoff = layers(model, X), rounding(len(flat), _dtype(model))
        found: dict[str, Tensor] = {}
        if self.kind == "kfac":
            for block in blocks:
                metric = Kronecker(block.factors(self.kind), N, self.damping, cutoff)
                found |= block.split(metric.direction(r))
        elif self.kind == "unitwise":
            for block in blocks:
                part = block.factors(self.kind)
                combination, _ = unit_coefficients(part, flat, N, self.damping, cutoff)
                found |= block.split(combination[0] @ part.inputs[:, 0])
        elif self.kind == "layerwise":
            for block in blocks:
                found |= block.pulled(block_coefficients(block.gram, flat, N, self.damping, cutoff).view_as(r))
        else:
            solved = tridiagonal_coefficients([block.gram for block in blocks], flat, N, self.damping, cutoff)
            for block, a in zip(blocks, solved, strict=True):
                found |= block.pulled(a.view_as(r))
        return found
