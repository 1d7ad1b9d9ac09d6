"""Every random draw of weights in the library: Gaussian, Haar, identity, delta-orthogonal.

Weights are drawn in float64 and rounded to the dtype asked for, so that a float32 network is its float64 twin up to
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics._checks import not_negative, number, one_of, sizes

__all__ = [
    "INITS",
    "PARAMETRISATIONS",
    "Seed",
    "delta_orthogonal_",
    "gaussian",
    "gaussian_",
    "generator",
    "haar",
    "initial_weight",
    "layer_parameters",
    "weight_matrices",
]

Seed = int | np.random.Generator | torch.Generator
Kernel = TypeVar("Kernel", Tensor, NDArray[Any])

INITS = ("gaussian", "orthogonal", "identity")
PARAMETRISATIONS = ("standard", "ntk")


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


def gaussian(shape: Sequence[int], *, seed: Seed, dtype: torch.dtype = torch.float64) -> Tensor:
    """Independent N(0, 1) entries, on the CPU.

    >>> gaussian((2, 3), seed=0).shape
    torch.Size([2, 3])
    """
    return gaussian_(torch.empty(tuple(shape), dtype=dtype), seed=seed)


def gaussian_(values: Tensor, *, seed: Seed) -> Tensor:
    """Fill a tensor on the CPU with independent N(0, 1) entries, in place; returns it.

    >>> bool(gaussian_(torch.empty(3), seed=0).equal(gaussian((3,), seed=0, dtype=torch.float32)))
    True
    """
    return values.normal_(generator=generator(seed))


def haar(rows: int, columns: int, *, seed: Seed) -> Tensor:
    """A (rows, columns) matrix H in float64, drawn from the Haar measure on matrices with HᵀH = I (HHᵀ = I where rows <
    columns).

    QR of a Gaussian matrix, with the signs of diag R moved into Q: without them the law is not Haar (Mezzadri 2007).

    >>> H = haar(5, 3, seed=0)
    >>> torch.allclose(H.T @ H, torch.eye(3, dtype=H.dtype))
    True
    """
    tall, thin = max(rows, columns), min(rows, columns)
    q, r = torch.linalg.qr(gaussian((tall, thin), seed=seed))
    q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
    return q if rows >= columns else q.T


def delta_orthogonal_(kernel: Kernel, *, weight_var: float = 1.0, seed: Seed) -> Kernel:
    """Fill a convolution's weight (out, in, k, k), in place, with √weight_var H in the middle of the kernel and 0
    elsewhere; H Haar, HᵀH = I.

    With stride 1, zero or circular padding and weight_var = 1 the convolution keeps every norm exactly (Xiao et al.
    2018, section 2.3); k must be odd. A tensor or a numpy array; returns it. Raises ``ValueError`` where out < in,
    where no isometry exists, and for an even k.

    >>> kernel = delta_orthogonal_(torch.empty(8, 4, 3, 3), seed=0)
    >>> round(float(kernel.square().sum()), 5)
    4.0
    """
    weight_var = number("weight_var", weight_var, not_negative)
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
        return kernel.copy_(initial_weight("orthogonal", tuple(kernel.shape), seed=seed) * math.sqrt(weight_var))


def initial_weight(init: str, shape: Sequence[int], *, seed: Seed) -> Tensor:
    """A matrix (out, in) or a convolution's kernel (out, in, k, k) in float64, by the name of its initialisation.

    "gaussian": independent N(0, 1/n), n the fan-in (k² in for a kernel). "orthogonal": Haar, with orthonormal columns,
    or rows where out < in. "identity": the identity, cut to the shape. A kernel has the matrix in its middle and is 0
    elsewhere. ``ValueError`` for another name, an even k, and an orthogonal kernel with out < in.

    >>> W = initial_weight("orthogonal", (3, 2), seed=0)
    >>> torch.allclose(W.T @ W, torch.eye(2, dtype=W.dtype))
    True
    """
    one_of("init", init, INITS)
    out, channels, *kernel = shape
    if init == "gaussian":
        return gaussian(shape, seed=seed) / math.sqrt(math.prod(shape[1:]))
    if any(side % 2 == 0 for side in kernel):
        raise ValueError(f"kernel of shape {tuple(shape)}: odd sizes are allowed, an even kernel has no middle")
    if kernel and init == "orthogonal" and out < channels:
        raise ValueError(
            f"kernel of shape {tuple(shape)}: an orthogonal convolution cannot reduce the number of channels"
        )
    matrix = haar(out, channels, seed=seed) if init == "orthogonal" else torch.eye(out, channels, dtype=torch.float64)
    if not kernel:
        return matrix
    weight = torch.zeros(tuple(shape), dtype=torch.float64)
    weight[..., kernel[0] // 2, kernel[1] // 2] = matrix
    return weight


def weight_matrices(init: str, widths: Sequence[int], *, seed: Seed) -> list[Tensor]:
    """The matrices of a network with ``widths`` = (input, …, output), first layer first, each (out, in) and drawn by
    :func:`initial_weight`. ``ValueError`` for fewer than two widths, a width below 1 and an unknown name.

    >>> [tuple(W.shape) for W in weight_matrices("orthogonal", (5, 3, 3), seed=0)]
    [(3, 5), (3, 3)]
    """
    draw = generator(seed)
    return [
        initial_weight(init, (n_out, n_in), seed=draw) for n_in, n_out in pairwise(sizes("widths", widths, fewest=2))
    ]


def layer_parameters(
    shape: Sequence[int],
    init: str,
    parametrisation: str,
    weight_var: float,
    bias_var: float,
    *,
    seed: Seed,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, tuple[float, float]]:
    """Weight, bias and the factors by which the layer multiplies them: variances ``weight_var``/n and ``bias_var``
    (:class:`deepdynamics.networks.MLP`).

    >>> weight, bias, factors = layer_parameters((3, 4), "gaussian", "ntk", 2.0, 0.5, seed=0)
    >>> weight.shape, bias.shape, round(factors[0] ** 2, 12), round(factors[1] ** 2, 12)
    (torch.Size([3, 4]), torch.Size([3]), 0.5, 0.5)
    """
    dtype, draw = dtype or torch.get_default_dtype(), generator(seed)
    weight, bias = initial_weight(init, shape, seed=draw), gaussian(shape[:1], seed=draw)
    deviations, root_fan = (math.sqrt(weight_var), math.sqrt(bias_var)), math.sqrt(math.prod(shape[1:]))
    if parametrisation == "standard":
        return (weight * deviations[0]).to(dtype), (bias * deviations[1]).to(dtype), (1.0, 1.0)
    return (weight * root_fan).to(dtype), bias.to(dtype), (deviations[0] / root_fan, deviations[1])
