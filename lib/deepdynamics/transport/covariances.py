"""Covariances as functions take them: checked, and as roots L with L Lᵀ = S.

Everything that is optimal between Gaussians can be computed with any two roots and the rotation that aligns them, so
that a singular covariance needs neither an inverse nor the square root of a rounding error below zero.
"""

from __future__ import annotations

import numpy as np

from deepdynamics._checks import Array, Numbers, finite

__all__ = ["moments", "range_root", "root", "spectrum", "symmetric"]


# Of the largest entry: what an asymmetry or a negative eigenvalue may have, so that covariances computed in single
# precision are welcome; and, times d, what a positive eigenvalue has that is a rounding error.
_ROUNDING, _NOTHING = 1e-6, 1e-15


def moments(mean: Numbers, cov: Numbers, suffix: str = "") -> tuple[Array, Array]:
    """A mean (…, d) and a symmetric (…, d, d) beside it, in float64; ``ValueError`` for anything else. Whether the
    matrix is positive semidefinite is seen by :func:`root`.

    >>> moments([0, 0], [[1, 0], [0, 0]])[1].dtype
    dtype('float64')
    """
    m, S = finite(f"m{suffix}", mean), symmetric(f"S{suffix}", cov)
    if m.ndim == 0 or m.shape[-1] != S.shape[-1]:
        wanted = f"(…, {S.shape[-1]}) is allowed beside S{suffix} of shape {S.shape}"
        raise ValueError(f"m{suffix} of shape {m.shape}: {wanted}")
    return m, S


def root(name: str, S: Array) -> Array:
    """L (…, d, d) with L Lᵀ = S: Cholesky's where S is safely positive definite, else √λ times the eigenvectors.

    Raises ``ValueError`` where S has an eigenvalue below zero, rounding aside.

    >>> L = root("S", np.array([[1.0, 1.0], [1.0, 1.0]]))
    >>> np.allclose(L @ L.T, 1)
    True
    """
    try:
        L = np.asarray(np.linalg.cholesky(S), dtype=np.float64)
        pivots = np.diagonal(L, axis1=-2, axis2=-1) ** 2
        if (pivots.min(-1) > _NOTHING * S.shape[-1] * pivots.max(-1)).all():
            return L
    except np.linalg.LinAlgError:
        pass
    values, vectors = spectrum(name, S)
    return vectors * np.sqrt(values)[..., None, :]


def range_root(name: str, S: Array) -> Array:
    """L (d, r) with L Lᵀ = S, r = rank S, and orthogonal columns.

    >>> range_root("S", np.array([[1.0, 1.0], [1.0, 1.0]])).shape
    (2, 1)
    """
    values, vectors = spectrum(name, S)
    kept = values > 0
    return vectors[:, kept] * np.sqrt(values[kept])


def spectrum(name: str, S: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending and not negative, and eigenvectors as columns. What is below d · 1e-15 of the largest is a
    rounding error of 0, and is 0. Raises ``ValueError`` as :func:`root` does.

    >>> spectrum("S", np.array([[1.0, 1.0], [1.0, 1.0]]))[0].round(12) + 0
    array([0., 2.])
    """
    values, vectors = np.linalg.eigh(S)
    if (values[..., 0] < -_ROUNDING * np.abs(S).max((-2, -1))).any():
        raise ValueError(f"{name} has an eigenvalue {values.min():.6g}: positive semidefinite ones are allowed")
    return np.where(values > _NOTHING * S.shape[-1] * values[..., -1:], values, 0), vectors


def symmetric(name: str, value: Numbers) -> Array:
    """Symmetric matrices (…, d, d) in float64, made exactly so; else ``ValueError``.

    >>> symmetric("S", [[2, 1], [1, 2]]).dtype
    dtype('float64')
    """
    S = finite(name, value)
    if S.ndim < 2 or S.shape[-1] != S.shape[-2] or S.shape[-1] == 0:
        raise ValueError(f"{name} of shape {S.shape}: (…, d, d) is allowed")
    if (np.swapaxes(S, -1, -2) == S).all():
        return S
    gap = np.abs(S - np.swapaxes(S, -1, -2)).max()
    if gap > _ROUNDING * np.abs(S).max():
        raise ValueError(f"{name} differs from its transpose by {gap:.3g}: symmetric matrices are allowed")
    return (S + np.swapaxes(S, -1, -2)) / 2  # type: ignore[no-any-return]
