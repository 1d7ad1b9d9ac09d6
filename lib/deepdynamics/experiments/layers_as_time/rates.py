"""Lyapunov exponents of random tanh networks, and two mean rates that theory knows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import digamma

from deepdynamics import activations, jacobian
from deepdynamics.meanfield import MeanField
from deepdynamics.networks import MLP

__all__ = ["displacement_rates", "mean_rate", "random_exponents", "rms_rate"]

_NODES = np.linspace(-10, 10, 8001)
_GAUSS = np.exp(-_NODES * _NODES / 2) / np.exp(-_NODES * _NODES / 2).sum()


def random_exponents(field: MeanField, *, width: int, depth: int, seed: int) -> NDArray[np.float64]:
    """Finite-time exponents (depth, width) of one square random network of the field's activation and variances, at a
    random input of the length that the field keeps."""
    net, x = _network(field, width, depth, seed)
    return jacobian.lyapunov_exponents(net.layers, x).numpy()


@torch.no_grad()
def displacement_rates(
    field: MeanField, *, width: int, depth: int, seed: int, directions: int = 50
) -> NDArray[np.float64]:
    """log(|J v| / |v|) / l for random steps v, (depth, directions), in the network and at the input of
    :func:`random_exponents`."""
    net, x = _network(field, width, depth, seed)
    v = torch.randn(directions, width, dtype=torch.float64, generator=torch.Generator().manual_seed(2000 + seed))
    start, x, rates = v.norm(dim=1), x.repeat(directions, 1), []
    for number, layer in enumerate(net.layers, start=1):
        x, v = torch.func.jvp(layer, (x,), (v,))  # type: ignore[misc]
        rates.append(((v.norm(dim=1) / start).log() / number).numpy())
    return np.stack(rates)


def rms_rate(field: MeanField) -> float:
    """½ log χ₁: the rate of a random step, and of the root mean square singular value, at infinite width."""
    return float(0.5 * np.log(field.chi_1))


def mean_rate(field: MeanField, width: int) -> float:
    """The mean Lyapunov exponent of square Gaussian layers of this width whose slopes do not depend on the weights:
    E log|φ'| + ½ log(2σ_w²/N) + 1/(2N) Σ_k ψ(k/2)."""
    slopes = np.log(activations.get(field.activation).slope(np.sqrt(field.q_star) * _NODES))
    volume = digamma(np.arange(1, width + 1) / 2).mean() / 2
    return float(_GAUSS @ slopes + 0.5 * np.log(2 * field.weight_var / width) + volume)


def _network(field: MeanField, width: int, depth: int, seed: int) -> tuple[MLP, torch.Tensor]:
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
    return net, x * np.sqrt(width * (field.q_star - field.bias_var) / field.weight_var) / x.norm()
