"""How a loss weighs the outputs: the factor S, Q = S Sᵀ, between the Jacobian and the Fisher information."""

from __future__ import annotations

import torch
from torch import Tensor

from deepdynamics._checks import one_of

__all__ = ["LOSSES", "Weighing"]

LOSSES = ("mse", "cross_entropy")


class Weighing:
    """F = (1/T) Jᵀ W Wᵀ J with W = Π S: at each sample Q = S Sᵀ, the Hessian of the ``loss`` by the outputs (T, C), and
    Π, which takes the mean over samples away from each output where ``mean_subtracted``.

    Q = I for "mse"; Q = diag(g) - g gᵀ for "cross_entropy", g = softmax(outputs), with S = diag(√g) - g √gᵀ.

    >>> weighing = Weighing(torch.zeros(1, 2), "cross_entropy", False)
    >>> weighing.back(weighing(torch.tensor([[[1.0], [-1.0]]]))).flatten()  # Q has the eigenvalues 1/2 and 0
    tensor([ 0.5000, -0.5000])
    """

    def __init__(self, outputs: Tensor, loss: str, mean_subtracted: bool):
        one_of("loss", loss, LOSSES)
        self.centred, self.g = mean_subtracted, None
        if loss == "cross_entropy":
            if outputs.shape[1] == 1:
                raise ValueError("a model with one output: cross entropy needs two at least")
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
