"""Products of the gradients of one output at two inputs, in wide random perceptrons, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepdynamics._checks import Array
from deepdynamics.activations import Activation

__all__ = ["gradient_products"]


def gradient_products(
    phi: Activation, q_hat: Array, weight_var: float, bias_var: float, units: Sequence[float], biases: float
) -> Array:
    """Σ_l q̃^l (N_{l-1} q̂^{l-1} + b), (T, T), over the layers of weights, from ``q_hat`` = q̂^0 (T, T), the mean over
    units of products of inputs; ``units`` = (N_0, …, N_{L-1}), what each layer of weights has as inputs, and ``biases``
    = b, 1 or, where they are left out, 0.

    Forward, with (u, v) Gaussian of covariances σ_w² q̂^{l-1} + σ_b²: q̂^l = E φ(u)φ(v), and what is there of the sum
    is passed on times σ_w² E φ'(u)φ'(v). Source: Karakida, Akaho and Amari (2019, arXiv:1806.01316).

    Raises ``ValueError`` where E φ'² is infinite (the step function).

    >>> from deepdynamics import activations
    >>> gradient_products(activations.get("linear"), np.eye(2), 1.0, 0.0, (2, 8), 1.0)
    array([[12.,  2.],
           [ 2., 12.]])
    """
    total = units[0] * q_hat + biases
    for width in units[1:]:
        covariance = weight_var * q_hat + bias_var
        own = np.diag(covariance)
        squares = np.asarray(phi.slope_moment(own, 2))
        if not np.isfinite(squares).all():
            raise ValueError(f"activation {phi!r}: a slope whose second moment is finite is needed")
        a, b = own[:, None], own[None]
        slopes, q_hat = (np.array(each(a, b, covariance)) for each in (phi.slope_covariance, phi.covariance))
        np.fill_diagonal(slopes, squares)
        np.fill_diagonal(q_hat, phi.second_moment(own))
        total = width * q_hat + biases + weight_var * slopes * total
    return total
