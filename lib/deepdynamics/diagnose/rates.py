"""The learning rates that the Fisher information allows."""

from __future__ import annotations

from torch import Tensor, nn

from deepdynamics.diagnose.report import Rates
from deepdynamics.fisher import lambda_max

__all__ = ["rates_at"]

_TOL = 3e-3  # two leading eigenvalues that are close need a residual well below the one per cent that is wanted


def rates_at(model: nn.Module, X: Tensor, loss: str, memory: float) -> tuple[Rates | None, str]:
    """Largest eigenvalues for the first of the samples X and for all; None and the reason where they are not known.

    >>> import torch
    >>> rates_at(nn.Linear(2, 1, bias=False), torch.tensor([[2.0, 0.0], [0.0, 1.0]]), "mse", 1e9)[0].rate_one
    0.5
    """
    try:
        one = lambda_max(model, X[:1], loss, tol=_TOL, memory=memory)
        batch = lambda_max(model, X, loss, tol=_TOL, memory=memory) if len(X) > 1 else one
    except (ValueError, RuntimeError) as reason:
        return None, f"The Fisher information is not known: {reason}"
    return Rates(loss, one.value, one.residual, batch.value, batch.residual, len(X)), ""
