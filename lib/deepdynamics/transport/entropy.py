"""Entropy of Gaussians, its rate, and the flows that change it: heat, the continuous and the discrete denoiser.

H[μ] = -∫ μ log μ. Heat ∂_t μ = Δμ raises it at the rate of the Fisher information I = ∫ |∇ log μ|² μ; the continuous
denoising autoencoder moves each point with the score of the present distribution, v_t = ∇ log μ_t, which is heat run
backward, ∂_t μ = -Δμ, dH/dt = -I. On a Gaussian with standard deviations σ_i along its axes,

    heat: σ_i² + 2t,      continuous denoiser: σ_i² - 2t,      denoiser of noise variance τ: σ_i -> σ_i³/(σ_i² + τ).

Time t is noise variance: K denoisers of variance t/K tend to the continuous one at t, from above.

Source: Sonoda & Murata (2019, JMLR 20(2)); time has the unit of their v₀ = ∇ log μ₀.
"""

from __future__ import annotations

import math

import numpy as np

from deepdynamics._checks import Array, Numbers, count
from deepdynamics.transport.arguments import deviations, noise, times
from deepdynamics.transport.covariances import spectrum, symmetric

__all__ = [
    "dae_flow_gaussian",
    "entropy_flow_gaussian",
    "extinction_time",
    "gaussian_entropy",
    "gaussian_fisher_information",
    "heat_flow_gaussian",
]


def gaussian_entropy(cov: Numbers) -> Array:
    """H = ½ log det(2πe S) in nats, (…, d, d) -> (…); -inf for a singular S.

    >>> gaussian_entropy(np.eye(1) / (2 * np.pi * np.e))
    np.float64(0.0)
    """
    values, _ = spectrum("cov", symmetric("cov", cov))
    with np.errstate(divide="ignore"):
        return 0.5 * np.log(2 * math.pi * math.e * values).sum(-1)  # type: ignore[no-any-return]


def gaussian_fisher_information(cov: Numbers) -> Array:
    """I = E |∇ log p|² = tr S⁻¹, (…, d, d) -> (…); inf for a singular S. dH/dt of heat ∂_t p = Δp.

    >>> gaussian_fisher_information(np.diag([4, 1]))
    np.float64(1.25)
    """
    values, _ = spectrum("cov", symmetric("cov", cov))
    with np.errstate(divide="ignore"):
        return (1 / values).sum(-1)  # type: ignore[no-any-return]


def heat_flow_gaussian(sigma0: Numbers, t: Numbers) -> Array:
    """√(σ² + 2t): standard deviations after ∂_t μ = Δμ from ``sigma0`` (…, d), at t ≥ 0 that broadcasts against all of
    its axes but the last. Raises ``ValueError`` for negative t or standard deviations.

    >>> heat_flow_gaussian([2, 1], [0, 1.5])
    array([[2.        , 1.        ],
           [2.64575131, 2.        ]])
    """
    sigma0, t = deviations("sigma0", sigma0), times(t)
    return np.sqrt(sigma0**2 + _beside(2 * t, sigma0))  # type: ignore[no-any-return]


def entropy_flow_gaussian(sigma0: Numbers, t: Numbers) -> Array:
    """√(σ² - 2t): standard deviations after ∂_t μ = -Δμ, the continuous denoising autoencoder, from ``sigma0`` (…, d),
    at t ≥ 0 that broadcasts against all of its axes but the last. σ₁² - σ₂² is conserved; the mean stays, and x moves
    to m + (σ(t)/σ₀)(x - m).

    Raises ``ValueError`` past the extinction at min σ²/2, where the first standard deviation reaches 0.

    >>> entropy_flow_gaussian([2, 1], [0, 0.375])
    array([[2.        , 1.        ],
           [1.80277564, 0.5       ]])
    """
    sigma0, t = deviations("sigma0", sigma0), times(t)
    squared = sigma0**2 - _beside(2 * t, sigma0)
    if (squared < 0).any():
        raise ValueError(f"t up to {t.max():g}: the flow from sigma0 ends at {extinction_time(sigma0).min():g}")
    return np.sqrt(squared)  # type: ignore[no-any-return]


def extinction_time(sigma0: Numbers) -> Array:
    """min σ²/2 over the last axis, where the flow of :func:`entropy_flow_gaussian` ends.

    >>> extinction_time([2, 1])
    np.float64(0.5)
    """
    squared = deviations("sigma0", sigma0) ** 2 / 2
    return squared.min(-1) if squared.ndim else squared  # type: ignore[no-any-return]


def dae_flow_gaussian(sigma0: Numbers, variance: Numbers, steps: int) -> Array:
    """Standard deviations after 0, 1, …, ``steps`` exact denoisers of noise ``variance``, each trained on what the one
    before gives: σ -> σ³/(σ² + variance), (…) -> (steps + 1, …).

    Never extinct: σ ≈ σ³/variance where σ² is far below the variance. ``variance`` broadcasts against ``sigma0``.

    >>> dae_flow_gaussian([2, 1], 0.05, 8)[-1].round(3)
    array([1.793, 0.536])
    """
    sigma, variance = deviations("sigma0", sigma0), noise(variance)
    path = [sigma + np.zeros_like(variance)]
    for _ in range(count("steps", steps, least=0)):
        path.append(path[-1] * (path[-1] ** 2 / (path[-1] ** 2 + variance)))
    return np.stack(path)


def _beside(t: Array, sigma: Array) -> Array:
    return t[..., None] if sigma.ndim else t
