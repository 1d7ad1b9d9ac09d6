"""How a loss weighs the outputs: the factor S, Q = S Sᵀ, between the Jacobian and the Fisher information."""

from __future__ import annotations

import torch
from torch import Tensor

from deepdynamics._checks import one_of
from deepdynamics._parametergram.model import Network, graph_bytes

__all__ = ["LOSSES", "Weighing", "weighing"]

LOSSES = ("mse", "cross_entropy")


class Weighing:
    """F = (1/T) Jᵀ W Wᵀ J with W = Π S: at each sample Q = S Sᵀ is the Hessian of the loss by the outputs, and Π
    subtracts from each output its mean over the samples, where ``mean_subtracted``.

    Without ``outputs`` Q = I, as for "mse". With ``outputs`` (T, C) Q = diag(g) - g gᵀ, g = softmax(outputs), as for
    "cross_entropy"; S = diag(√g) - g √gᵀ.

    >>> weighing = Weighing(torch.zeros(1, 2), False)
    >>> weighing.back(weighing(torch.tensor([[[1.0], [-1.0]]]))).flatten()  # Q has the eigenvalues 1/2 and 0
    tensor([ 0.5000, -0.5000])
    """

    def __init__(self, outputs: Tensor | None, mean_subtracted: bool):
        self.centred, self.g = mean_subtracted, None
        if outputs is not None:
            seen = outputs - outputs.mean(0) if mean_subtracted else outputs
            self.g = torch.softmax(seen, 1)[..., None]

    def __call__(self, u: Tensor) -> Tensor:
        """W u of columns u (T, C, k)."""
        if self.g is not None:
            root = self.g.sqrt()
            u = root * u - self.g * (root * u).sum(1, keepdim=True)
        return u - u.mean(0) if self.centred else u

    def back(self, v: Tensor) -> Tensor:
        """Wᵀ v of columns v (T, C, k)."""
        v = v - v.mean(0) if self.centred else v
        if self.g is None:
            return v
        root = self.g.sqrt()
        return root * (v - (self.g * v).sum(1, keepdim=True))


def weighing(network: Network, X: Tensor, loss: str, mean_subtracted: bool, memory: float) -> Weighing:
    """How ``loss`` weighs the outputs of ``network`` at samples X (T, …). Only cross entropy needs their values: the
    network is evaluated in blocks of ``memory`` bytes, of one sample at least.

    Raises ``ValueError`` for an unknown loss and cross entropy of one output.

    >>> from deepdynamics._parametergram.model import opened
    >>> X = torch.ones(3, 2)
    >>> weighing(opened(torch.nn.Linear(2, 4), X), X, "cross_entropy", False, 1e9).g.shape
    torch.Size([3, 4, 1])
    """
    if one_of("loss", loss, LOSSES) == "mse":
        return Weighing(None, mean_subtracted)
    if network.outputs == 1:
        raise ValueError("a model with one output: cross entropy needs two at least")
    block = max(1, int(memory // graph_bytes(network, X[:1])))
    with torch.no_grad():
        return Weighing(torch.cat([network(part) for part in X.split(block)]), mean_subtracted)
