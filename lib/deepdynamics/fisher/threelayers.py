"""One random network with two hidden layers, to set under :func:`deepdynamics.fisher.three_layer_law`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from scipy.special import erfinv

from deepdynamics._checks import Array, count, number, real
from deepdynamics.networks.draws import Seed, gaussian, generator, haar

__all__ = ["ThreeLayerSample", "three_layer_sample"]


@dataclass(frozen=True)
class ThreeLayerSample:
    """``eigenvalues`` (width,) of H_3, descending, and what its law needs: ``alpha_1`` and ``alpha_2``, the shares of
    units with slope 1 that this network has, ``q_hat`` (3,) and ``weight_vars`` (2,).

    >>> eigenvalues, *parameters = three_layer_sample(0.7, 0.6, 50, seed=0)
    >>> eigenvalues.shape, len(parameters)
    ((50,), 4)
    """

    eigenvalues: Array
    alpha_1: float
    alpha_2: float
    q_hat: Array
    weight_vars: Array

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, field.name) for field in fields(self))


def three_layer_sample(alpha_1: float, alpha_2: float, width: int, *, seed: Seed) -> ThreeLayerSample:
    """The spectrum of H_3 = J Jᵀ/width of a hard-tanh network with two hidden layers, Haar orthogonal weights and no
    biases, at one Gaussian input with ‖x‖² = width.

    The weight variances of the hidden layers are those at which a share ``alpha_1`` and ``alpha_2`` of the units lies
    between -1 and 1 as the width grows: pre-activations of variance q = 1/(2 erf⁻¹(α)²). That of the readout is 1.
    Raises ``ValueError`` for a share that is not between 0 and 1 and a width below 1.

    >>> sample = three_layer_sample(0.7, 0.6, 400, seed=0)
    >>> abs(sample.alpha_1 - 0.7) < 0.1, abs(sample.alpha_2 - 0.6) < 0.1
    (True, True)
    """
    width, draw = count("width", width), generator(seed)
    x = gaussian((width,), seed=draw)
    x *= width**0.5 / x.norm()
    H, slope = torch.zeros(width, width, dtype=x.dtype), torch.ones_like(x)
    shares, q_hat, variances = [], [], []
    for share in (_inside("alpha_1", alpha_1), _inside("alpha_2", alpha_2), None):
        q_hat.append(float(x @ x) / width)
        variances.append(1.0 if share is None else 0.5 / float(erfinv(share)) ** 2 / q_hat[-1])
        W = variances[-1] ** 0.5 * haar(width, width, seed=draw)
        H = q_hat[-1] * torch.eye(width, dtype=x.dtype) + W @ (slope[:, None] * H * slope) @ W.T
        h = W @ x
        slope = (h.abs() < 1).to(h.dtype)
        x = h.clamp(-1, 1)
        shares.append(float(slope.mean()))
    eigenvalues = torch.linalg.eigvalsh(H).flip(0).numpy()
    return ThreeLayerSample(eigenvalues, shares[0], shares[1], np.array(q_hat), np.array(variances[1:]))


def _inside(name: str, value: float) -> float:
    share = number(name, value, real)
    if not 0 < share < 1:
        raise ValueError(f"{name} = {share}: a number between 0 and 1 is allowed")
    return share
