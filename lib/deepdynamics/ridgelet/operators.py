r"""The integral representation S on a grid of parameters, its adjoint, and the optimum of least squares with decay.

S maps coefficients γ of G to functions of F,

.. math:: (S\gamma)(x) = \sum_{a, b} \gamma(a, b)\, \sigma(a \cdot x - b)\, \Delta a \Delta b, \qquad
    \|\gamma\|_G^2 = \sum_{a, b} \gamma^2\, \Delta a \Delta b, \qquad \|h\|_F^2 = \frac 1n \sum_x h(x)^2 ,

with the adjoint (S* h)(a, b) = (1/n) Σ_x h(x) σ(a·x - b). There are many more parameters than points, so all that is
solved is solved with S S*, an (n, n) matrix, through a triangular R with RᵀR = S S*.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from deepdynamics import activations
from deepdynamics._checks import Array, Numbers, count, finite
from deepdynamics.activations import ActivationLike
from deepdynamics.ridgelet.grids import cell_areas, coefficients, line, samples, spacing, vectors
from deepdynamics.ridgelet.sums import over_parameters, over_points, triangle


class IntegralOperator:
    """S for an activation (name, module, callable), points ``x`` (n,) or (n, m) and a grid of midpoints ``a``, ``b``;
    ``areas`` as in :func:`reconstruct`. ``S(gamma)`` is its value at the points.

    γ is (len(a), len(b)), functions are (n,); both may have outputs as a last axis. Raises ``ValueError`` for empty
    samples, a grid that is not ascending by equal steps, and shapes that do not fit.

    >>> from deepdynamics.ridgelet import midpoints
    >>> S = IntegralOperator("tanh", [-1.0, 0.0, 1.0], midpoints(4.0, 8), midpoints(4.0, 6))
    >>> y = np.array([1.0, 0.0, 2.0])
    >>> gamma = S.ridge(y, beta=1e-3)
    >>> gamma.shape, S(gamma).round(2).tolist(), len(S.eigenvalues)
    ((8, 6), [1.0, 0.0, 2.0], 3)
    """

    def __init__(
        self, activation: ActivationLike, x: Numbers, a: Numbers, b: Numbers, *, areas: Numbers | None = None
    ) -> None:
        self.sigma = activations.get(activation)
        self.x = vectors("x", x)
        self.a, self.b = vectors("a", a, self.x.shape[1]), line("b", b)
        self.areas = cell_areas(self.a, areas) * spacing("b", self.b)

    def __call__(self, gamma: Numbers) -> Array:
        array = finite("gamma", gamma)
        weighted = coefficients(array, self.a, self.b) * self.areas[:, None, None]
        found = over_parameters(self.sigma, self.a, self.b, self.x, weighted)
        return found if array.ndim == 3 else found[:, 0]

    def adjoint(self, h: Numbers) -> Array:
        """S* h = (1/n) Σ_x h(x) σ(a·x - b): (len(a), len(b)), and the outputs of h.

        >>> IntegralOperator("relu", [1.0, 3.0], [0.0, 1.0], [-1.0, 0.0]).adjoint([1.0, 1.0]).tolist()
        [[1.0, 0.0], [3.0, 2.0]]
        """
        array = finite("h", h)
        values = samples("h", array, len(self.x))
        found = over_points(self.sigma, self.a, self.b, self.x, values / len(self.x))
        return found if array.ndim == 2 else found[..., 0]

    def norm(self, gamma: Numbers) -> float:
        """The norm of γ in G, √(Σ γ² Δa Δb), over all outputs.

        >>> IntegralOperator("relu", [1.0], [0.0, 0.5], [0.0, 2.0]).norm(np.ones((2, 2)))
        2.0
        """
        squares = (coefficients(gamma, self.a, self.b) ** 2).sum((1, 2))
        return math.sqrt(float(squares @ self.areas))

    @property
    def eigenvalues(self) -> Array:
        """Those of S S* in F, (n,), descending; their roots are exact to 1e-15 of the largest root."""
        return self._modes[0]

    @cached_property
    def _modes(self) -> tuple[Array, Array]:
        """Eigenvalues and eigenvectors (columns) of S S*."""
        R = triangle(self.sigma, self.a, self.b, self.x, self.areas / len(self.x))
        singular, modes = np.linalg.svd(R)[1:]
        return np.append(singular**2, np.zeros(len(self.x) - len(singular))), modes.T

    def ridge(self, y: Numbers, beta: float) -> Array:
        """The minimum of ‖y - S γ‖²_F + β ‖γ‖²_G: γ = (β + S*S)⁻¹ S* y = S* (β + S S*)⁻¹ y.

        Raises ``ValueError`` unless β > 0; without decay the minimum is :meth:`project` of any γ that fits.

        >>> S = IntegralOperator("step", [1.0], [0.0, 1.0], [-1.0, 0.0])
        >>> S.ridge([1.0], 1.0).round(12).tolist()
        [[0.25, 0.0], [0.25, 0.25]]
        """
        return self._filtered(y, 1 / (self.eigenvalues + _decay(beta)))

    def descent_factors(self, beta: float) -> Array:
        """What one step of gradient descent leaves of each mode's error, 1 - (λ + β)/(λ_1 + β), (n,) in the order of
        ``eigenvalues``.

        The step is γ ← γ + (S*(y - S γ) - β γ)/(λ_1 + β), the fastest that no mode overshoots. β = 0 is allowed.

        >>> IntegralOperator("step", [1.0, -1.0], [0.0, 1.0], [-1.0, 0.0]).descent_factors(1.0).round(3).tolist()
        [0.0, 0.522]
        """
        decay, values = _decay(beta, zero=True), self.eigenvalues
        return np.asarray((values[0] - values) / (values[0] + decay))

    def descent(self, y: Numbers, beta: float, steps: int) -> Array:
        """γ after ``steps`` >= 1 of gradient descent from 0, as :meth:`descent_factors` has it, without taking them.

        >>> S = IntegralOperator("tanh", [-1.0, 1.0], [0.0, 1.0], [-1.0, 0.0])
        >>> bool(np.allclose(S.descent([1.0, 2.0], 0.1, 1000), S.ridge([1.0, 2.0], 0.1)))
        True
        """
        decay, values = _decay(beta, zero=True), self.eigenvalues
        stiffness = np.maximum(values + decay, 1e-200)  # at 0 the value is the limit, steps/(λ_1 + β)
        with np.errstate(divide="ignore"):
            left = np.log1p(-np.minimum(stiffness / (values[0] + decay), 1))
        return self._filtered(y, -np.expm1(count("steps", steps) * left) / stiffness)

    def project(self, gamma: Numbers) -> Array:
        """P γ = S⁺ S γ, the orthogonal projection of γ on the complement of the kernel of S: what the network sees of
        γ, the shortest coefficients with the same values at the points. γ - P γ is a ghost.

        Modes with eigenvalues below 1e-16 λ_1 count as the kernel: P P = P and S P = S to some 1e-8.

        >>> S = IntegralOperator("relu", [-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0])
        >>> bool(np.allclose(S(S.project(np.eye(2))), S(np.eye(2))))
        True
        """
        values = self.eigenvalues
        seen = values > 1e-16 * values[0]
        return self._filtered(self(gamma), np.where(seen, 1 / np.where(seen, values, 1.0), 0.0))

    def _filtered(self, y: Numbers, factors: Array) -> Array:
        """S* V diag(factors) Vᵀ y."""
        array, modes = finite("y", y), self._modes[1]
        found = self.adjoint(modes @ (factors[:, None] * (modes.T @ samples("y", array, len(self.x)))))
        return found if array.ndim == 2 else found[..., 0]


def ridge_optimum(
    x: Numbers,
    y: Numbers,
    activation: ActivationLike,
    a: Numbers,
    b: Numbers,
    beta: float,
    *,
    areas: Numbers | None = None,
) -> Array:
    """γ* = (β + S*S)⁻¹ S* y, the coefficients that minimise (1/n) Σ (y - S[γ](x))² + β Σ γ² Δa Δb: (len(a), len(b)),
    and the outputs of y. Arguments and errors are those of :class:`IntegralOperator`, which keeps what it has computed.

    >>> from deepdynamics.ridgelet import midpoints
    >>> x = np.linspace(-1, 1, 21)
    >>> ridge_optimum(x, np.sin(2 * np.pi * x), "tanh", midpoints(8.0, 20), midpoints(8.0, 20), beta=0.01).shape
    (20, 20)
    """
    return IntegralOperator(activation, x, a, b, areas=areas).ridge(y, beta)


def _decay(beta: Any, zero: bool = False) -> float:
    if not ((beta > 0 or (zero and beta == 0)) and beta < math.inf):
        raise ValueError(
            f"beta = {beta}: a {'' if zero else 'positive '}finite number{' >= 0' if zero else ''} is allowed"
        )
    return float(beta)
