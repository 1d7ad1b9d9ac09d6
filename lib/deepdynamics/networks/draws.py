"""Every random draw of weights in the library: Gaussian, Haar, identity, delta-orthogonal.

Parameters are drawn in float64 and rounded to the dtype asked for, so that a float32 network is its float64 twin up to
rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Seed", "delta_orthogonal_", "generator", "haar"]


Seed = int | np.random.Generator | torch.Generator


def generator(seed: Seed) -> torch.Generator:
    """A torch generator on the CPU from an integer (always the same one) or from a numpy or torch generator (which
    advances).

    >>> torch.rand(2, generator=generator(3)).equal(torch.rand(2, generator=generator(3)))
    True
    """
    if isinstance(seed, torch.Generator):
        return seed
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**63))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed = {seed!r}: a non-negative integer, a numpy Generator or a torch Generator is allowed")
    return torch.Generator().manual_seed(int(seed))


def haar(rows: int, columns: int, *, seed: Seed) -> Tensor:
    """A (rows, columns) matrix H in float64, drawn from the Haar measure on matrices with HᵀH = I (HHᵀ = I where rows <
    columns).

    QR of a Gaussian matrix, with the signs of diag R moved into Q: without them the law is not Haar (Mezzadri 2007).

    >>> H = haar(5, 3, seed=0)
    >>> torch.allclose(H.T @ H, torch.eye(3, dtype=H.dtype))
    True
    """
    tall, thin = max(rows, columns), min(rows, columns)
    q, r = torch.linalg.qr(torch.randn(tall, thin, generator=generator(seed), dtype=torch.float64))
    q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
    return q if rows >= columns else q.T


def delta_orthogonal_(kernel: Any, *, weight_var: float = 1.0, seed: Seed) -> Any:
    """Fill a convolution's weight (out, in, k, k), in place, with √weight_var H in the middle of the kernel and 0
    elsewhere; H Haar, HᵀH = I.

    With stride 1, zero or circular padding and weight_var = 1 the convolution keeps every norm exactly (Xiao et al.
    2018, section 2.3); k must be odd. A tensor or a numpy array; returns it. Raises ``ValueError`` where out < in,
    where no isometry exists, and for an even k.

    >>> kernel = delta_orthogonal_(torch.empty(8, 4, 3, 3), seed=0)
    >>> round(float(kernel.square().sum()), 5)
    4.0
    """
    check_variances(weight_var, 0.0)
    if isinstance(kernel, np.ndarray):
        delta_orthogonal_(torch.from_numpy(kernel), weight_var=weight_var, seed=seed)
        return kernel
    if not isinstance(kernel, Tensor):
        raise ValueError(f"kernel of type {type(kernel).__name__}: a tensor or a numpy array is filled in place")
    if kernel.ndim != 4:
        raise ValueError(f"kernel of shape {tuple(kernel.shape)}: a convolution's weight, (out, in, k, k), is allowed")
    if not kernel.is_floating_point():
        raise ValueError(f"kernel of type {kernel.dtype}: a floating point tensor is allowed")
    with torch.no_grad():
        return kernel.copy_(_centred(tuple(kernel.shape), "orthogonal", generator(seed)) * math.sqrt(weight_var))


def layer_parameters(
    shape: tuple[int, ...],
    init: str,
    parametrisation: str,
    weight_var: float,
    bias_var: float,
    draw: torch.Generator,
    dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor, tuple[float, float]]:
    """Weight, bias and the factors by which the layer multiplies them."""
    dtype = dtype or torch.get_default_dtype()
    root_fan = math.sqrt(math.prod(shape[1:]))
    if init == "gaussian":
        weight = torch.randn(shape, generator=draw, dtype=torch.float64) / root_fan
    elif len(shape) == 2:
        weight = haar(*shape, seed=draw) if init == "orthogonal" else torch.eye(*shape, dtype=torch.float64)
    else:
        weight = _centred(shape, init, draw)
    bias = torch.randn(shape[0], generator=draw, dtype=torch.float64)
    deviations = math.sqrt(weight_var), math.sqrt(bias_var)
    if parametrisation == "standard":
        return (weight * deviations[0]).to(dtype), (bias * deviations[1]).to(dtype), (1.0, 1.0)
    return (weight * root_fan).to(dtype), bias.to(dtype), (deviations[0] / root_fan, deviations[1])


def _centred(shape: tuple[int, ...], init: str, draw: torch.Generator) -> Tensor:
    """A kernel that is an orthogonal or identity matrix in its middle and empty elsewhere."""
    out, channels, *size = shape
    if any(side % 2 == 0 for side in size):
        raise ValueError(f"kernel of shape {shape}: odd sizes are allowed, an even kernel has no middle")
    if init == "orthogonal" and out < channels:
        raise ValueError(f"kernel of shape {shape}: an orthogonal convolution cannot reduce the number of channels")
    weight = torch.zeros(shape, dtype=torch.float64)
    weight[..., size[0] // 2, size[1] // 2] = (
        haar(out, channels, seed=draw) if init == "orthogonal" else torch.eye(out, channels, dtype=torch.float64)
    )
    return weight


def check_variances(weight_var: float, bias_var: float) -> None:
    for name, value in (("weight_var", weight_var), ("bias_var", bias_var)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} = {value}: a finite variance, not negative, is allowed")
