"""Random Gaussian fields on R^N with covariance N exp(−|x − y|²/2N), and the law of their Hessian.

The energy ε of a point is the field there over N. Given ε, the Hessian is −ε I plus a Gaussian matrix, so that its
eigenvalues follow a semicircle of radius 2 about −ε (bray2007statistics, with f(u) = exp(−u)).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CosineField", "field_hessian", "field_index", "field_semicircle"]


def field_semicircle(eigenvalue: ArrayLike, energy: float) -> NDArray[np.float64]:
    """Density of the Hessian's eigenvalues at a point of energy ε, for large N: √(4 − (λ + ε)²)/2π.

    >>> float(field_semicircle(1.0, energy=-1.0)) * np.pi
    1.0
    """
    place = np.asarray(eigenvalue, dtype=np.float64) + energy
    return np.sqrt(np.clip(4 - place**2, 0, None)) / (2 * np.pi)


def field_index(energy: ArrayLike) -> NDArray[np.float64]:
    """Share of negative eigenvalues at energy ε, for large N: ½ + (u√(1 − u²) + arcsin u)/π with u = ε/2.

    0 for ε ≤ −2, where all points are minima in curvature, and 1 for ε ≥ 2.

    >>> field_index([-3.0, 0.0, 2.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    u = np.clip(np.asarray(energy, dtype=np.float64) / 2, -1, 1)
    return 0.5 + (u * np.sqrt(1 - u**2) + np.arcsin(u)) / np.pi


def field_hessian(energy: float, dimension: int, seed: int | np.random.Generator) -> NDArray[np.float64]:
    """The Hessian (N, N) at a point of energy ε, drawn from its exact law at finite N.

    Off the diagonal variance 1/N, on it 2/N, about −ε. (A common shift of variance f''(0) − f'(0)²/f(0) vanishes for
    f(u) = exp(−u).)

    >>> field_hessian(0.0, 3, seed=0).shape
    (3, 3)
    """
    entries = np.random.default_rng(seed).normal(size=(dimension, dimension))
    return (entries + entries.T) / np.sqrt(2 * dimension) - energy * np.eye(dimension)


class CosineField:
    """One field on R^N as a sum of K random cosines, √(2N/K) Σ cos(w_k·x + b_k), w ~ N(0, I/N), b uniform.

    Its covariance is N exp(−|x − y|²/2N) exactly, and it is Gaussian up to terms of order 1/K.
    """

    def __init__(self, dimension: int, terms: int, seed: int | np.random.Generator) -> None:
        generator = np.random.default_rng(seed)
        self.frequencies = generator.normal(size=(terms, dimension)) / np.sqrt(dimension)
        self.phases = generator.uniform(0, 2 * np.pi, terms)
        self.amplitude = np.sqrt(2 * dimension / terms)

    def __call__(self, x: ArrayLike) -> float:
        """The field at a point x (N,)."""
        return float(self.amplitude * np.cos(self.frequencies @ np.asarray(x) + self.phases).sum())

    def gradient(self, x: ArrayLike) -> NDArray[np.float64]:
        """Gradient (N,)."""
        return np.asarray(-self.amplitude * np.sin(self.frequencies @ np.asarray(x) + self.phases) @ self.frequencies)

    def hessian(self, x: ArrayLike) -> NDArray[np.float64]:
        """Hessian (N, N)."""
        weights = -self.amplitude * np.cos(self.frequencies @ np.asarray(x) + self.phases)
        return np.asarray((self.frequencies.T * weights) @ self.frequencies)

    def critical_point(
        self, start: ArrayLike, *, iterations: int = 100, tolerance: float = 1e-8
    ) -> tuple[NDArray[np.float64], float]:
        """A point where the gradient vanishes, near ``start``, and the norm of the gradient there.

        Levenberg's steps on ½|∇φ|²: (H² + μ)⁻¹ H ∇φ, with μ halved where a step helps and quadrupled where not. They
        may end in a minimum of the norm that is no critical point; the norm says so.
        """
        x, damping = np.array(start, dtype=np.float64), 1e-2
        slope = self.gradient(x)
        for _ in range(iterations):
            if np.linalg.norm(slope) < tolerance:
                break
            H = self.hessian(x)
            moved = x - np.linalg.solve(H @ H + damping * np.eye(len(x)), H @ slope)
            tried = self.gradient(moved)
            better = np.linalg.norm(tried) < np.linalg.norm(slope)
            damping *= 0.5 if better else 4.0
            if better:
                x, slope = moved, tried
        return x, float(np.linalg.norm(slope))
