"""Optimal transport between Gaussians in closed form: distance, map, geodesic.

With roots L₀L₀ᵀ = S₀, L₁L₁ᵀ = S₁, and the orthogonal Q = U Vᵀ of the singular value decomposition L₁ᵀL₀ = U Σ Vᵀ (the
polar factor, which solves the Procrustes problem), x₀ = m₀ + L₀ z and x₁ = m₁ + L₁Q z with z ~ N(0, I) are an optimal
coupling:

    W₂² = |m₀ - m₁|² + ‖L₀ - L₁Q‖² = |m₀ - m₁|² + tr S₀ + tr S₁ - 2 tr Σ,     tr Σ = tr (S₀^½ S₁ S₀^½)^½ .

Source: Bures–Wasserstein distance, Peyré & Cuturi (2019), remark 2.31; the map is Brenier's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from deepdynamics._checks import Array, Numbers, finite
from deepdynamics.transport.covariances import moments, range_root, root

__all__ = ["AffineMap", "gaussian_geodesic", "gaussian_map", "gaussian_w2"]


@dataclass(frozen=True)
class AffineMap:
    """x -> image + matrix (x - centre), for x (…, d).

    >>> AffineMap(matrix=np.diag([2.0, 1.0]), centre=np.zeros(2), image=np.ones(2))([[1, 1]])
    array([[3., 2.]])
    """

    matrix: Array
    centre: Array
    image: Array

    def __call__(self, x: Numbers) -> Array:
        x = finite("x", x)
        if x.ndim == 0 or x.shape[-1] != len(self.centre):
            raise ValueError(f"x of shape {x.shape}: (…, {len(self.centre)}) is allowed")
        return self.image + (x - self.centre) @ self.matrix.T


def gaussian_w2(m0: Numbers, S0: Numbers, m1: Numbers, S1: Numbers) -> Array:
    """W₂ between N(m0, S0) and N(m1, S1), not its square: means (…, d), covariances (…, d, d) -> (…).

    Singular covariances are allowed. Equal Gaussians have a distance of a rounding error, not of its square root:
    where the traces nearly cancel, or singular values are small, ‖L₀ - L₁Q‖ is computed instead of their difference.

    Raises ``ValueError`` for shapes that do not fit and covariances that are not positive semidefinite.

    >>> gaussian_w2([0, 0], np.diag([4, 1]), [3, 0], np.diag([1, 1]))  # √(3² + (2 - 1)²)
    np.float64(3.1622776601683795)
    """
    (m0, S0), (m1, S1) = _pair(m0, S0, m1, S1)
    return np.hypot(np.linalg.norm(m0 - m1, axis=-1), _covariance_distance(S0, S1))  # type: ignore[no-any-return]


def gaussian_map(m0: Numbers, S0: Numbers, m1: Numbers, S1: Numbers) -> AffineMap:
    """The optimal map T(x) = m1 + A (x - m0) from N(m0, S0) to N(m1, S1), for means (d,) and covariances (d, d).

    T carries S0 to S1 = A S0 Aᵀ. Where S0 is regular, A = S0^-½ (S0^½ S1 S0^½)^½ S0^-½ is the symmetric matrix of
    Brenier's theorem. Where S0 is singular, the map is determined on the support m0 + range S0 only; outside, x is
    first projected onto the support. Where S1 has directions that S0 lacks, not even the plan is unique: this is one of
    the optimal maps.

    Raises ``ValueError`` as :func:`gaussian_w2` does, and where rank S1 > rank S0: no linear map exists, as mass would
    have to split.

    >>> gaussian_map([0, 0], np.diag([4, 1]), [3, 0], np.diag([1, 1]))([[2, 1]])
    array([[4., 1.]])
    """
    (m0, S0), (m1, S1) = _pair(m0, S0, m1, S1)
    if m0.ndim != 1 or S0.ndim != 2 or m1.ndim != 1 or S1.ndim != 2:
        raise ValueError(f"S0 of shape {S0.shape}, S1 of shape {S1.shape}: one pair, (d,) and (d, d), is allowed")
    L0, L1 = range_root("S0", S0), range_root("S1", S1)
    before, after = L0.shape[1], L1.shape[1]
    if after > before:
        raise ValueError(f"S1 of rank {after}: rank S0 = {before} or less is allowed, a linear map cannot raise it")
    U, _, Vh = np.linalg.svd(L1.T @ L0, full_matrices=False)
    inverse = L0.T / (L0**2).sum(0)[:, None]  # L0 = vectors · √values, so that its columns are orthogonal
    return AffineMap(L1 @ U @ (Vh @ inverse), m0, m1)


def gaussian_geodesic(m0: Numbers, S0: Numbers, m1: Numbers, S1: Numbers, t: Numbers) -> tuple[Array, Array]:
    """Mean (…, d) and covariance (…, d, d) at time t of the W₂ geodesic from N(m0, S0) to N(m1, S1).

    μ_t is the law of (1-t) x₀ + t x₁ in the optimal coupling, so that W₂(μ_s, μ_t) = |t - s| W₂(μ₀, μ₁); with A of
    :func:`gaussian_map`, S_t = ((1-t) I + tA) S0 ((1-t) I + tA). ``t`` in [0, 1] broadcasts against the leading axes
    of the Gaussians. Singular covariances are allowed, of any ranks.

    Raises ``ValueError`` as :func:`gaussian_w2` does, and for t outside [0, 1].

    >>> mean, cov = gaussian_geodesic([0, 0], np.diag([4, 0]), [3, 0], np.diag([0, 1]), [0, 0.5, 1])
    >>> mean[:, 0], cov[:, 0, 0], cov[:, 1, 1]
    (array([0. , 1.5, 3. ]), array([4., 1., 0.]), array([0.  , 0.25, 1.  ]))
    """
    (m0, S0), (m1, S1) = _pair(m0, S0, m1, S1)
    t = finite("t", t)
    if (t < 0).any() or (t > 1).any():
        raise ValueError(f"t = {t}: 0 to 1 are allowed, the geodesic ends there")
    L0, L1 = root("S0", S0), root("S1", S1)
    L = (1 - t)[..., None, None] * L0 + t[..., None, None] * (L1 @ _alignment(L0, L1))
    return (1 - t)[..., None] * m0 + t[..., None] * m1, L @ np.swapaxes(L, -1, -2)


def _pair(m0: Numbers, S0: Numbers, m1: Numbers, S1: Numbers) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    first, second = moments(m0, S0, "0"), moments(m1, S1, "1")
    if first[1].shape[-1] != second[1].shape[-1]:
        raise ValueError(f"S0 of shape {first[1].shape}, S1 of shape {second[1].shape}: equal dimensions are allowed")
    try:
        np.broadcast_shapes(first[0].shape[:-1], first[1].shape[:-2], second[0].shape[:-1], second[1].shape[:-2])
    except ValueError as error:
        raise ValueError(f"means and covariances: leading axes that broadcast are allowed ({error})") from error
    return first, second


def _alignment(L0: Array, L1: Array) -> Array:
    U, _, Vh = np.linalg.svd(np.swapaxes(L1, -1, -2) @ L0)
    return np.asarray(U @ Vh)


def _covariance_distance(S0: Array, S1: Array) -> Array:
    """‖L₀ - L₁Q‖ (…)."""
    if S0.ndim == S1.ndim == 2 and (quick := _by_eigenvalues(S0, S1)) is not None:
        return np.asarray(quick)
    L0, L1 = root("S0", S0), root("S1", S1)
    return np.asarray(np.linalg.norm(L0 - L1 @ _alignment(L0, L1), axis=(-2, -1)))


def _by_eigenvalues(S0: Array, S1: Array) -> float | None:
    """The same from tr Σ, in a fourth of the time: the squares of Σ are the eigenvalues λ of S₁S₀, a symmetric problem
    with S₀ as its metric. The error is known, ε λ_max Σ 1/√λ besides that of the difference; ``None`` where it is not
    small, or S₀ is singular.
    """
    try:
        eigenvalues = scipy.linalg.eigh(S1, S0, type=2, eigvals_only=True, driver="gv", check_finite=False)
    except np.linalg.LinAlgError:
        return None
    if eigenvalues[0] <= 0:
        return None
    singular, total = np.sqrt(eigenvalues), np.trace(S0) + np.trace(S1)
    squared = total - 2 * singular.sum()
    error = 1e-15 * (total + eigenvalues[-1] * (1 / singular).sum())
    return float(np.sqrt(squared)) if error < 1e-11 * squared else None
