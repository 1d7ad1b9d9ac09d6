"""One step of Jordan, Kinderlehrer and Otto on Gaussians, in closed form: implicit Euler for a W₂ gradient flow.

    μ' = argmin_ν  W₂²(ν, μ)/(2τ) + F(ν).

From N(m, diag σ²) the minimiser is Gaussian with the same axes, and each standard deviation solves a quadratic. After
many steps of size τ the error is of first order in τ. All arguments broadcast.

Source: Jordan, Kinderlehrer & Otto (1998); the quadratics are σ'/τ - σ/τ = -∂F/∂σ' with -H = -log σ' + const.
"""

from __future__ import annotations

import numpy as np

from deepdynamics._checks import Array, Numbers, finite
from deepdynamics.transport.arguments import deviations

__all__ = ["jko_denoising", "jko_fokker_planck", "jko_heat"]


def jko_heat(sigma: Numbers, tau: Numbers) -> Array:
    """F = -H, heat ∂_t μ = Δμ: σ' = (σ + √(σ² + 4τ))/2. The exact flow is √(σ² + 2t).

    Raises ``ValueError`` for negative standard deviations and steps that are not positive, as all steps here do.

    >>> jko_heat(0, 1)
    np.float64(1.0)
    """
    sigma, tau = _checked(sigma, tau)
    return (sigma + np.sqrt(sigma**2 + 4 * tau)) / 2  # type: ignore[no-any-return]


def jko_denoising(sigma: Numbers, tau: Numbers) -> Array:
    """F = H, the continuous denoiser ∂_t μ = -Δμ: σ' = (σ + √(σ² - 4τ))/2. The exact flow is √(σ² - 2t).

    F falls without bound as σ' -> 0, so that this is a local minimiser. Raises ``ValueError`` where σ² < 4τ: there is
    none, and the step collapses.

    >>> jko_denoising(1.3, 0.3)
    np.float64(1.0)
    """
    sigma, tau = _checked(sigma, tau)
    if (sigma**2 < 4 * tau).any():
        bound = float(np.min(sigma**2)) / 4
        raise ValueError(f"tau up to {np.max(tau):g}: at most sigma²/4 = {bound:g}, beyond which the step collapses")
    return (sigma + np.sqrt(sigma**2 - 4 * tau)) / 2  # type: ignore[no-any-return]


def jko_fokker_planck(mean: Numbers, sigma: Numbers, tau: Numbers) -> tuple[Array, Array]:
    """F = KL(·|N(0, I)), Fokker–Planck ∂_t μ = Δμ + ∇·(xμ): m' = m/(1+τ), σ' = (σ + √(σ² + 4τ(1+τ)))/(2(1+τ)).

    The exact flow is m e^{-t} and σ² = 1 + (σ₀² - 1) e^{-2t}.

    >>> jko_fokker_planck(3.0, 1.0, 0.5)
    (np.float64(2.0), np.float64(1.0))
    """
    mean, (sigma, tau) = finite("mean", mean), _checked(sigma, tau)
    return mean / (1 + tau), (sigma + np.sqrt(sigma**2 + 4 * tau * (1 + tau))) / (2 * (1 + tau))


def _checked(sigma: Numbers, tau: Numbers) -> tuple[Array, Array]:
    sigma, tau = deviations("sigma", sigma), finite("tau", tau)
    if (tau <= 0).any():
        raise ValueError(f"tau = {tau}: positive steps are allowed")
    return sigma, tau
