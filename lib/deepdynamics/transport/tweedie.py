"""The best denoiser of Gaussian noise, from the score of the noisy density (Tweedie's formula).

For x~ = x + ε with ε ~ N(0, tI), the minimiser of E |g(x~) - x|² is

    g*_t(x) = E[x | x~ = x] = x + t ∇ log p_t(x),      p_t = N(0, tI) * μ₀ = e^{(t/2)Δ} μ₀ :

noise of variance t is heat for the time t/2, which the source prints as t. For a mixture: GaussianMixture.dae.

Source: Vincent (2011); Alain & Bengio (2014); Sonoda & Murata (2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics._checks import Numbers, finite
from deepdynamics.transport.arguments import noise
from deepdynamics.transport.covariances import moments, spectrum
from deepdynamics.transport.gaussians import AffineMap

__all__ = ["dae_map", "gaussian_dae"]


def dae_map(score: Callable[[Any], Any], x: Numbers, variance: Numbers) -> Any:
    """x + variance · score(x), for the score of the density that noise of this variance has smoothed; x (…, d), tensor
    or numpy as x is, and ``variance`` (…) > 0 broadcasts against all axes but the last.

    Raises ``ValueError`` where the score has another shape than x.

    >>> dae_map(lambda x: -x / 1.5, [[3.0]], 0.5)  # N(0, 1)
    array([[2.]])
    """
    points: Any = x if isinstance(x, Tensor) else finite("x", x)
    t: Any = noise(variance)[..., None]
    if isinstance(points, Tensor):
        t = torch.as_tensor(t).to(points)
    slope = score(points)
    if np.shape(slope) != np.shape(points):
        raise ValueError(
            f"score(x) of shape {tuple(np.shape(slope))}: {tuple(np.shape(points))}, that of x, is allowed"
        )
    return points + t * slope


def gaussian_dae(mean: Numbers, cov: Numbers, variance: Numbers) -> AffineMap:
    """The best denoiser of N(mean, cov), x -> m + S (S + tI)⁻¹ (x - m), for mean (d,), cov (d, d) and one noise
    ``variance`` t > 0. It carries σ along an axis to σ³/(σ² + t).

    Raises ``ValueError`` for shapes that do not fit and a covariance that is not positive semidefinite.

    >>> gaussian_dae([0, 0], np.diag([4, 0]), 1)([[5, 1]])
    array([[4., 0.]])
    """
    m, S = moments(mean, cov)
    t = noise(variance)
    if m.ndim != 1 or S.ndim != 2 or t.ndim != 0:
        raise ValueError(f"m, S, variance of shapes {m.shape}, {S.shape}, {t.shape}: (d,), (d, d), () are allowed")
    values, vectors = spectrum("S", S)
    return AffineMap(vectors * (values / (values + t)) @ vectors.T, m, m)
