"""The neural tangent kernel of a network as it is, at any width, with all its parameters."""

from __future__ import annotations

from torch import Tensor, nn

from deepdynamics._checks import Numbers
from deepdynamics._parametergram import parameter_gram, ways

__all__ = ["empirical", "ways"]


def empirical(model: nn.Module, X: Numbers, Y: Numbers | None = None, *, memory: float = 1e9) -> Tensor:
    """Θ(X, Y) = J(X) J(Y)ᵀ, (n·C, m·C), with J = ∂f/∂θ over all parameters of ``model`` (frozen ones too) in their own
    parametrisation; Y = X where it is None. Row n·C + k belongs to output k of sample n. A sum over parameters and no
    mean over anything: Θ of one pair of samples does not depend on the others. (Jacot et al. 2018, arXiv:1806.07572)

    X (n, …) and Y (m, …): samples as the model takes them, or one at a time without a batch axis where it wants none;
    its outputs (n, …) are flattened. Type and device are the model's. Linear maps, convolutions, embeddings,
    normalisations in evaluation mode and shared weights have rules; anything else is differentiated row by row:
    :func:`ways` says which.

    ``memory``, in bytes, is for derivatives and evaluations (of one sample of each of X and Y at least); what does not
    fit is computed again, block by block. Copies in passing come on top, less than as much again in the networks that
    are measured. Raises ``ValueError`` for a model that is in training mode with dropout or batch statistics, or has no
    real parameters, for samples that it does not take or does not treat as separate, and for a memory that is not
    positive.

    >>> empirical(nn.Linear(2, 1), [[1.0, 0.0], [2.0, 1.0]])
    tensor([[2., 3.],
            [3., 6.]])
    """
    return parameter_gram(model, X, Y, memory=memory).gram
