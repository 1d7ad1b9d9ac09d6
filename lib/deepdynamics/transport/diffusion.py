"""From noise back to data with the denoisers of many noise levels: the probability-flow equation of diffusion models.

In σ = √t, t the variance of the noise, the points of p_t = N(0, tI) * μ₀ move by

    dx/dσ = -σ ∇ log p_t(x) = (x - g*_t(x))/σ,

backwards from a large σ to 0. One step of Euler's method from t to t' is x' = g + √(t'/t) (x - g), g = g*_t(x): the
denoised point, with part of the noise put back. Source: Song et al. (2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics._checks import Numbers, finite
from deepdynamics.transport.arguments import noise

__all__ = ["probability_flow"]


def probability_flow(denoisers: Sequence[Callable[[Any], Any]], levels: Numbers, x: Numbers) -> Any:
    """The path (len(levels) + 1, …, d) from points x (…, d) of p_t at the first of the falling noise ``levels`` to the
    data: at each level t its denoiser, g*_t or a trained one, and after the last the denoised point itself.

    Raises ``ValueError`` for levels that are not positive and falling, and where there is not one denoiser a level.

    >>> gaussian = [lambda x: x / 2, lambda x: x / 1.25]  # of N(0, 1), for noise of variance 1 and 1/4
    >>> probability_flow(gaussian, [1.0, 0.25], [[2.0]])[:, 0, 0]
    array([2. , 1.5, 1.2])
    """
    t = noise(levels)
    if t.ndim != 1 or len(t) != len(denoisers) or not (np.diff(t) < 0).all():
        raise ValueError(f"levels of shape {t.shape}: {len(denoisers)} falling ones, one a denoiser, are allowed")
    path: list[Any] = [x if isinstance(x, Tensor) else finite("x", x)]
    for denoise, now, following in zip(denoisers, t, [*t[1:], 0.0], strict=True):
        clean = denoise(path[-1])
        path.append(clean + math.sqrt(following / now) * (path[-1] - clean))
    return torch.stack(path) if isinstance(path[0], Tensor) else np.stack(path)
