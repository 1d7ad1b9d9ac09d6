"""The Fisher information of wide random networks: statistics of its spectrum that only two numbers decide (Karakida,
Akaho and Amari 2019, arXiv:1806.01316)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from deepdynamics import activations
from deepdynamics._checks import count, not_negative, number, positive
from deepdynamics.activations import ActivationLike
from deepdynamics.fisher.recursion import gradient_products

__all__ = ["UniversalStatistics", "universal_statistics"]


@dataclass(frozen=True)
class UniversalStatistics:
    """What is known of the eigenvalues of F (P × P, P = (L - 1) M² to leading order): ``mean`` and ``second_moment``
    over all P, the C largest (``lambda_max``), the C (T - 1) others that are not zero (``bulk``), and the
    ``learning_rate`` 2/λ_max. ``kappa_1`` and ``kappa_2`` are what the products of gradients at one and at two samples
    come to, over α M.

    >>> kappa_1, kappa_2, *rest = universal_statistics("relu", 2.0, 0.1, 3, 1000, 100, 4)
    >>> round(kappa_1, 3), round(kappa_2, 6), len(rest)
    (1.575, 0.401494, 5)
    """

    kappa_1: float
    kappa_2: float
    mean: float
    second_moment: float
    lambda_max: float
    bulk: float
    learning_rate: float

    def __iter__(self) -> Iterator[float]:
        return (getattr(self, field.name) for field in fields(self))


def universal_statistics(
    activation: ActivationLike,
    weight_var: float,
    bias_var: float,
    depth: int,
    width: int,
    samples: int,
    outputs: int,
) -> UniversalStatistics:
    """Leading order, for large width M, of the spectrum of F = (1/T) Σ_t Σ_k ∇f_k(t) ∇f_k(t)ᵀ of a random perceptron
    with L = ``depth`` weight layers, of which the last is linear, M inputs N(0, 1) and hidden units, C = ``outputs``
    and T = ``samples``, in the standard parametrisation. With α = L - 1

        m_λ = κ1 C/M,   s_λ = α ((T - 1)/T κ2² + κ1²/T) C,   λ_max = α ((T - 1)/T κ2 + κ1/T) M   (C times),

    and the bulk, C (T - 1) eigenvalues, near α M (κ1 - κ2)/T; κ_i = Σ_l q̃_i^l q̂_i^{l-1} / α, with i = 1 for a sample
    and itself and i = 2 for two of them, forward by the covariances of activations, backward by those of slopes (a sum
    over units). Relative corrections are of order 1/√M: at M = 1000, L = 3 and T = 100, 1 to 5 %.

    Raises ``ValueError`` for a variance that is negative, a weight_var of 0, a depth below 2, a count below 1, an
    unknown activation, or one whose slope has no second moment (the step function, whose κ is infinite).

    >>> round(universal_statistics("tanh", 3.0, 0.64, depth=3, width=1000, samples=100, outputs=4).lambda_max, 2)
    253.97
    """
    phi = activations.get(activation)
    weight_var, bias_var = number("weight_var", weight_var, positive), number("bias_var", bias_var, not_negative)
    L, M = count("depth", depth, least=2), count("width", width)
    T, C = count("samples", samples), count("outputs", outputs)
    alpha = L - 1
    k1, k2 = (gradient_products(phi, np.eye(2), weight_var, bias_var, (1,) * L, 0.0)[0] / alpha).tolist()
    top = alpha * ((T - 1) / T * k2 + k1 / T) * M
    second = alpha * ((T - 1) / T * k2**2 + k1**2 / T) * C
    return UniversalStatistics(k1, k2, k1 * C / M, second, top, alpha * M * (k1 - k2) / T, 2 / top)
