"""Lyapunov exponents of random tanh networks, and two mean rates that theory knows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import digamma

from deepdynamics import activations, jacobian
from deepdynamics.meanfield import MeanField
from deepdynamics.networks import MLP

__all__ = ["mean_rate", "random_exponents", "rms_rate"]


def random_exponents(field: MeanField, *, width: int, depth: int, seed: int) -> NDArray[np.float64]:
    """Finite-time exponents (depth, width) of one square random network of the field's activation and variances, at a
    random input of the length that the field keeps."""
    net = MLP(
        (width,) * (depth + 1),
        field.activation,
        weight_var=field.weight_var,
        bias_var=field.bias_var,
        readout="activated",
        seed=seed,
        dtype=torch.float64,
    )
    x = torch.randn(width, dtype=torch.float64, generator=torch.Generator().manual_seed(1000 + seed))
    length = np.sqrt(width * (field.q_star - field.bias_var) / field.weight_var)
    return jacobian.lyapunov_exponents(net.layers, x * length / x.norm()).numpy()


def rms_rate(field: MeanField) -> float:
    """½ log χ₁: the rate of the root mean square singular value at infinite width."""
    return float(0.5 * np.log(field.chi_1))


def mean_rate(field: MeanField, width: int) -> float:
    """The mean Lyapunov exponent of square Gaussian layers of this width whose slopes do not depend on the weights:
    E log|φ'| + ½ log(2σ_w²/N) + 1/(2N) Σ_k ψ(k/2)."""
    z = np.linspace(-10, 10, 8001)
    gauss = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()
    slopes = np.log(activations.get(field.activation).slope(np.sqrt(field.q_star) * z))
    volume = digamma(np.arange(1, width + 1) / 2).mean() / 2
    return float(gauss @ slopes + 0.5 * np.log(2 * field.weight_var / width) + volume)
