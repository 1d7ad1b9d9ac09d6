"""The learning rates that the Fisher information allows, and a trial of one that it does not."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics._parametergram.model import Network, graph_bytes, opened
from deepdynamics._progress import bar
from deepdynamics.diagnose.report import Rates, Trial
from deepdynamics.fisher import lambda_max

__all__ = ["rates_at", "trial_at"]

_TOL = 3e-3  # two leading eigenvalues that are close need a residual well below the one per cent that is wanted
_STEPS = 30


def rates_at(model: nn.Module, X: Tensor, loss: str, memory: float) -> tuple[Rates | None, str]:
    """Largest eigenvalues for the first of the samples X and for all; None and the reason where they are not known.

    >>> rates_at(nn.Linear(2, 1, bias=False), torch.tensor([[2.0, 0.0], [0.0, 1.0]]), "mse", 1e9)[0].rate_one
    0.5
    """
    try:
        one = lambda_max(model, X[:1], loss, tol=_TOL, memory=memory)
        batch = lambda_max(model, X, loss, tol=_TOL, memory=memory) if len(X) > 1 else one
    except (ValueError, RuntimeError) as reason:
        return None, f"The Fisher information is not known: {reason}"
    return Rates(loss, one.value, one.residual, batch.value, batch.residual, len(X)), ""


def trial_at(
    model: nn.Module, X: Tensor, loss: str, wanted: Tensor | None, rate: float, memory: float
) -> tuple[Trial | None, str]:
    """At most 30 steps of descent from all of the samples X (n, …) on a copy of ``model``, every parameter moving,
    until the loss exceeds its start or is no number; None and the reason where that cannot be tried. Samples are taken
    in blocks where what autograd keeps of all of them would exceed ``memory`` bytes.

    >>> line, x = nn.Linear(1, 1, bias=False), torch.ones(1, 1)  # λ_max = 1: stable up to the rate 2
    >>> [trial_at(line, x, "mse", torch.zeros(1, 1), rate, 1e9)[0].grew for rate in (1.98, 2.02)]
    [False, True]
    """
    if wanted is None:
        return None, "The learning rate was not tried: that needs a target."
    try:
        network = opened(copy.deepcopy(model), X)
        block = max(1, int(memory // max(1, 2 * graph_bytes(network, X[:1]))))
        with bar(_STEPS, "trial", leave=False) as shown, network.recording():
            start = _step(network, X, loss, wanted, rate, block)
            if not math.isfinite(start):
                return None, "The learning rate was not tried: the loss is not finite."
            for steps in range(1, _STEPS + 1):
                shown.update()
                if not _step(network, X, loss, wanted, rate, block) <= start:
                    return Trial(steps, True), ""
    except (ValueError, RuntimeError) as reason:
        return None, f"The learning rate was not tried: {reason}"
    return Trial(_STEPS, False), ""


def _step(network: Network, X: Tensor, loss: str, wanted: Tensor, rate: float, block: int) -> float:
    """The loss, in the mean over samples; its parameters then make one step."""
    parameters = list(network.parameters.values())
    total, slopes = 0.0, [torch.zeros_like(p) for p in parameters]
    for chosen, target in zip(X.split(block), wanted.split(block), strict=True):
        outputs = network(chosen)
        if loss == "cross_entropy":
            part = functional.cross_entropy(outputs, target, reduction="sum") / len(X)
        else:
            part = (outputs - target).square().sum() / (2 * len(X))
        total += float(part.detach())
        for slope, found in zip(slopes, torch.autograd.grad(part, parameters, allow_unused=True), strict=True):
            if found is not None:
                slope += found
    with torch.no_grad():
        for p, slope in zip(parameters, slopes, strict=True):
            p.sub_(rate * slope)
    return total
