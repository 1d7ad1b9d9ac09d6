"""The Fisher information's dual: the matrix over samples and outputs that has its non-zero spectrum."""

from __future__ import annotations

from torch import Tensor, nn

from deepdynamics._checks import Numbers, number, positive
from deepdynamics._parametergram import parameter_gram
from deepdynamics._parametergram.model import opened, samples
from deepdynamics.fisher.losses import weighing

__all__ = ["dual"]


def dual(
    model: nn.Module, X: Numbers, loss: str = "mse", mean_subtracted: bool = False, *, memory: float = 1e9
) -> Tensor:
    """F* = Wᵀ J Jᵀ W / T, (T·C, T·C), of a model with C outputs at samples X (T, …): the non-zero spectrum of the
    Fisher information F = Jᵀ W Wᵀ J / T over all parameters. Row t·C + k.

    ``loss``: "mse", W = I, so that F* = J Jᵀ/T and F belongs to (1/2T) Σ_t ‖f - y‖²; "cross_entropy", the mean over
    samples, W Wᵀ = diag(g) - g gᵀ at each of them, g the softmax of its outputs. ``mean_subtracted``: of the outputs
    less their means over the samples, f - (1/T) Σ_t f, as batch normalisation makes them (Karakida, Akaho and Amari
    2019, arXiv:1906.02926; cross entropy: arXiv:1910.05992). For torch's ``MSELoss``, a mean over outputs as well,
    multiply by 2/C.

    ``memory`` and the models that are allowed: :func:`deepdynamics.ntk.empirical`, which this is over T for "mse".
    Raises ``ValueError`` as it does, and for an unknown loss or cross entropy of one output.

    >>> dual(nn.Linear(2, 1), [[1.0, 0.0], [2.0, 1.0]])
    tensor([[1.0000, 1.5000],
            [1.5000, 3.0000]])
    """
    X = samples("X", X, model)
    network = opened(model, X)
    weigh = weighing(network, X, loss, mean_subtracted, number("memory", memory, positive))
    gram = parameter_gram(model, X, memory=memory).gram.div_(len(X))
    T, C = len(X), network.outputs
    for _ in range(2):
        gram = weigh.back(gram.view(T, C, T * C)).view(T * C, T * C).T
    return gram.contiguous()
