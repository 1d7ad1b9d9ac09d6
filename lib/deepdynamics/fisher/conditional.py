"""The Fisher information of one input, and the learning rate that it allows when inputs come one at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepdynamics._checks import Numbers
from deepdynamics._parametergram import parameter_gram
from deepdynamics._parametergram.model import samples

__all__ = ["conditional_dual", "online_learning_rate_bound"]


def conditional_dual(model: nn.Module, x: Numbers) -> Tensor:
    """H = J Jᵀ/M, (M, M), of a model with M outputs at one input x, without a batch axis (it is added where the model
    needs it): the non-zero spectrum of the conditional Fisher information Jᵀ J/M over all parameters. (Hayase and
    Karakida 2021, arXiv:2006.07814)

    In a perceptron without biases H_1 = q̂^0 I and H_{l+1} = q̂^l I + W D_l H_l D_l Wᵀ, q̂^l = ‖x^l‖²/M. Models as
    :func:`deepdynamics.ntk.empirical` takes them; raises ``ValueError`` as it does.

    >>> conditional_dual(nn.Linear(2, 2, bias=False), [1.0, 2.0])
    tensor([[2.5000, 0.0000],
            [0.0000, 2.5000]])
    """
    gram = _gram(model, x)
    return gram / len(gram)


def online_learning_rate_bound(model: nn.Module, x: Numbers) -> float:
    """2/λ_max(J Jᵀ): the learning rate above which gradient descent on ½‖f(x) - y‖² of this one input diverges, in its
    linear regime; ``inf`` where no parameter changes the outputs.

    ½‖f - y‖² is a sum over the M outputs; for a loss that is divided by a number, multiply by it (M/2 for torch's
    ``MSELoss``). Isometric networks of L layers with M q̂ = ‖x‖²: 2/(L ‖x‖²). Models, errors and source:
    :func:`conditional_dual`.

    >>> online_learning_rate_bound(nn.Linear(2, 2, bias=False), [1.0, 2.0])
    0.4
    """
    largest = float(torch.linalg.eigvalsh(_gram(model, x).double())[-1])
    return 2 / largest if largest > 0 else math.inf


def _gram(model: nn.Module, x: Numbers) -> Tensor:
    return parameter_gram(model, samples("x", x, model)[None]).gram
