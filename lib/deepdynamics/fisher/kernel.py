"""Products of gradients of wide networks on given inputs, in the standard parametrisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepdynamics import activations
from deepdynamics._checks import Array, Numbers, finite, not_negative, number, positive, sizes
from deepdynamics.activations import ActivationLike

__all__ = ["gradient_kernel"]


def gradient_kernel(
    X: Numbers, widths: Sequence[int], activation: ActivationLike, weight_var: float, bias_var: float
) -> Array:
    """∇f_k(x_a)·∇f_k(x_b) over all parameters, (T, T), of a wide random perceptron with ``widths`` = (input, hidden …,
    outputs), for inputs X (T, input); the same for each output k, and 0 between two of them, to leading order.

        K_ab = Σ_l q̃^l_ab (N_{l-1} q̂^{l-1}_ab + 1),   q̂^0_ab = x_a·x_b/N_0,

    forward by the covariances of activations and backward by those of slopes, as in
    :func:`~deepdynamics.fisher.universal_statistics`, which this is where q̂^0_ab = δ_ab, all widths are equal and the
    biases (the 1) are left out. The eigenvalues of K/T are those of the Fisher information, each C times; those of
    K/T with rows and columns centred, where the outputs lose their means over the samples.

    Raises ``ValueError`` for inputs that do not fit, fewer than two layers, a variance that is negative and an unknown
    activation.

    >>> gradient_kernel([[1.0, 1.0], [1.0, -1.0]], (2, 8, 1), "linear", 1.0, 0.0)
    array([[12.,  2.],
           [ 2., 12.]])
    """
    phi = activations.get(activation)
    shape = sizes("widths", widths, fewest=3)
    weight_var, bias_var = number("weight_var", weight_var, positive), number("bias_var", bias_var, not_negative)
    inputs = finite("X", X)
    if inputs.ndim != 2 or inputs.shape[1] != shape[0]:
        raise ValueError(f"X of shape {inputs.shape}: (T, {shape[0]}) is needed")
    states, slopes = [inputs @ inputs.T / shape[0]], []
    for _ in shape[1:-1]:
        covariance = weight_var * states[-1] + bias_var
        a, b = np.diag(covariance)[:, None], np.diag(covariance)[None]
        states.append(np.asarray(phi.covariance(a, b, covariance)))
        slopes.append(np.asarray(phi.slope_covariance(a, b, covariance)))
    back, total = np.ones_like(states[0]), shape[-2] * states[-1] + 1
    for units, state, slope in zip(shape[-3::-1], states[-2::-1], slopes[::-1], strict=True):
        back = weight_var * back * slope
        total = total + back * (units * state + 1)
    return total
