"""From ridgelet coefficients back to the function, and what the largest \\|a\\| of a grid leaves of it."""

from __future__ import annotations

import math

import numpy as np

from deepdynamics import activations
from deepdynamics._checks import Array, Numbers, finite
from deepdynamics.activations import ActivationLike
from deepdynamics.ridgelet.admissibility import density, half_line
from deepdynamics.ridgelet.grids import cell_areas, coefficients, line, spacing, vectors
from deepdynamics.ridgelet.pairs import AdmissiblePair
from deepdynamics.ridgelet.sums import over_parameters


def reconstruct(
    gamma: Numbers,
    pair: AdmissiblePair | ActivationLike,
    a: Numbers,
    b: Numbers,
    x: Numbers,
    *,
    areas: Numbers | None = None,
) -> Array:
    """S[γ](x)/K = (1/K) Σ γ(a, b) σ(a·x - b) Δa Δb: (n,), or (n, outputs) as γ has them.

    ``gamma`` (len(a), len(b)) or (len(a), len(b), outputs) on the midpoints ``a``, ``b`` of equal cells
    (:func:`midpoints`); ``x`` (n,) or (n, m). Where m > 1, or where the cells of a are not equal, ``areas`` (len(a),)
    are those of the cells of a (:func:`polar_grid`). An activation (name, module, callable) in place of the ``pair``
    has K = 1.

    Where f and the points x lie within radius X, b must cover \\|b\\| <= \\|a\\| X and 8 to 9 scales of ρ more. The
    midpoint rule is of second order for relu and smoother activations, of first order for the step; what \\|a\\| <= A
    leaves is :func:`truncation`. Raises ``ValueError`` for a grid that is not ascending by equal steps, for areas that
    are missing, and for shapes that do not fit.

    >>> from deepdynamics.ridgelet import gaussian_transform, midpoints
    >>> pair, a, b = AdmissiblePair.get("relu"), midpoints(20.0, 400), midpoints(30.0, 600)
    >>> reconstruct(gaussian_transform(pair, 0.0, 0.09, a, b), pair, a, b, [0.0, 0.3]).round(2).tolist()
    [0.99, 0.61]
    """
    if isinstance(pair, AdmissiblePair):
        sigma, constant, points = pair.sigma, pair.constant, vectors("x", x, pair.dimension)
    else:
        sigma, constant, points = activations.get(pair), 1.0, vectors("x", x)
    array = finite("gamma", gamma)
    a, b = vectors("a", a, points.shape[1]), line("b", b)
    weights = cell_areas(a, areas) * spacing("b", b) / constant
    weighted = coefficients(array, a, b) * weights[:, None, None]
    found = over_parameters(sigma, a, b, points, weighted)
    return found if array.ndim == 3 else found[:, 0]


def truncation(pair: AdmissiblePair, w_over_A: Numbers) -> Array:
    r"""The multiplier M(w/A) by which reconstruction from \|a\| <= A passes the frequency \|w\| of f: the low-pass that
    an exact integral over these parameters computes. The shape of ``w_over_A``.

    .. math:: M(u) = \frac{2 (2\pi)^{m-1}}{K} \int_{|u|}^\infty \mathrm{Re}\left[\hat\sigma(\zeta)\,
        \overline{\hat\rho(\zeta)}\right] \zeta^{-m}\, d\zeta .

    It is e^{-u²/2} for relu and step in dimension 1 (f is convolved with N(0, 1/A²)), e^{-u²} for gaussian, erfc(u/√2)
    for relu and step in dimension 2. Absolute error 1e-14. Raises ``ValueError`` for what is not finite.

    >>> truncation(AdmissiblePair.get("relu"), [0.0, 1.0]).round(6).tolist()
    [1.0, 0.606531]
    """
    u = np.abs(finite("w_over_A", w_over_A))
    whole = 2 * (2 * math.pi) ** (pair.dimension - 1) / pair.constant
    tails = half_line(density(pair.sigma_hat, pair.rho_hat, pair.dimension), u.reshape(-1))
    return (whole * tails).reshape(u.shape)[()]  # type: ignore[no-any-return]
