"""The continuity equation ∂_t p + ∇·(p v) = 0: whether a velocity field moves a Gaussian as it is said to move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepdynamics._checks import Numbers, finite
from deepdynamics.transport.covariances import moments, symmetric

__all__ = ["gaussian_continuity_residual"]


def gaussian_continuity_residual(
    x: Numbers, mean: Numbers, cov: Numbers, rates: tuple[Numbers, Numbers], velocity: tuple[Numbers, Numbers]
) -> NDArray[np.float64]:
    """(∂_t p + ∇·(p v))/p at x (n, d), for p = N(mean, cov) that changes at ``rates`` = (ṁ, Ṡ) in a velocity field
    v(x) = a + B (x - mean), ``velocity`` = (a, B). 0 everywhere exactly where ṁ = a and Ṡ = BS + SBᵀ.

    With y = S⁻¹(x - m): tr B - ½ tr S⁻¹Ṡ + ½ yᵀṠy - yᵀBSy + (ṁ - a)ᵀy. Returns (n,). Raises ``ValueError`` for shapes
    that do not fit and a covariance that is not positive definite.

    >>> S = np.diag([4.0, 1.0])  # the continuous denoiser: v = ∇ log p = -S⁻¹x, Ṡ = -2I
    >>> gaussian_continuity_residual([[1, 2]], [0, 0], S, ([0, 0], -2 * np.eye(2)), ([0, 0], -np.linalg.inv(S)))
    array([0.])
    """
    m, S = moments(mean, cov)
    d = len(m) if m.ndim == 1 else 0
    drift, gradient = finite("velocity[0]", velocity[0]), finite("velocity[1]", velocity[1])
    moved, spread = finite("rates[0]", rates[0]), symmetric("rates[1]", rates[1])
    x = finite("x", x)
    shapes = (x.shape[1:], m.shape, S.shape, moved.shape, spread.shape, drift.shape, gradient.shape)
    if x.ndim != 2 or shapes != ((d,), (d,), (d, d), (d,), (d, d), (d,), (d, d)):
        raise ValueError(f"x, mean, cov, rates, velocity of shapes {shapes}: (n, d), and (d,), (d, d) are allowed")
    values = np.linalg.eigvalsh(S)
    if not values[0] > 0:
        raise ValueError(f"cov has an eigenvalue {values[0]:.6g}: positive definite ones are allowed")
    y = np.linalg.solve(S, (x - m).T).T
    constant = np.trace(gradient) - 0.5 * np.trace(np.linalg.solve(S, spread))
    quadratic = np.einsum("ni,ij,nj->n", y, 0.5 * spread - gradient @ S, y)
    return constant + quadratic + y @ (moved - drift)  # type: ignore[no-any-return]
