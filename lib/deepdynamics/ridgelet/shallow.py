"""A shallow network whose hidden units are given: only its output layer is fitted, by linear least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepdynamics import activations
from deepdynamics._checks import Numbers
from deepdynamics.activations import Activation, ActivationLike
from deepdynamics.ridgelet.grids import line, samples, vectors

__all__ = ["ShallowNetwork", "fit_outputs"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ShallowNetwork:
    """x ↦ Σ_j c_j φ(a_j·x - b_j) + Mx + m: ``a`` (units, d), ``b`` (units,), ``c`` (units, outputs), ``affine``
    (d + 1, outputs) with m as its last row. Numpy; x (n, d) -> (n, outputs). :func:`fit_outputs` makes one.

    >>> relu = activations.get("relu")
    >>> ShallowNetwork(relu, np.eye(1), np.zeros(1), np.ones((1, 1)), np.zeros((2, 1)))([[-1.0], [2.0]]).tolist()
    [[0.0], [2.0]]
    """

    activation: Activation
    a: Array
    b: Array
    c: Array
    affine: Array

    def __call__(self, x: Numbers) -> Array:
        x = vectors("x", x, self.a.shape[1])
        return np.asarray(_features(self.activation, self.a, self.b, x) @ np.concatenate([self.c, self.affine]))


def fit_outputs(
    x: Numbers, y: Numbers, activation: ActivationLike, a: Numbers, b: Numbers, *, penalty: float = 1e-8
) -> ShallowNetwork:
    """The network with hidden units ``a`` (units, d) or (units,) and ``b`` (units,) whose output layer and affine part
    fit y (n,) or (n, outputs) at x (n, d) or (n,) best, in the mean square.

    ``penalty`` times the squares of the coefficients is added, in units in which every column of the design has mean
    square 1: it keeps nearly equal units from cancelling. Raises ``ValueError`` for shapes that do not fit and for a
    penalty that is not positive.

    >>> x = np.linspace(-1, 1, 50)
    >>> network = fit_outputs(x, np.abs(x), "relu", [1.0], [0.0])  # |x| = 2 relu(x) - x
    >>> bool(np.allclose(network(x)[:, 0], np.abs(x), atol=1e-6))
    True
    """
    points = vectors("x", x)
    a, b, values = vectors("a", a, points.shape[1]), line("b", b), samples("y", y, len(points))
    if len(a) != len(b):
        raise ValueError(f"b of shape {b.shape}: ({len(a)},), one a unit, is allowed")
    if not 0 < penalty < np.inf:
        raise ValueError(f"penalty = {penalty}: a positive finite number is allowed")
    phi = activations.get(activation)
    design = _features(phi, a, b, points)
    scale = np.sqrt(np.square(design).mean(0))
    design /= np.where(scale > 0, scale, 1)
    gram = design.T @ design / len(points)
    gram[np.diag_indices_from(gram)] += penalty
    found = np.linalg.solve(gram, design.T @ values / len(points)) / np.where(scale > 0, scale, 1)[:, None]
    return ShallowNetwork(phi, a, b, found[: len(a)], found[len(a) :])


def _features(phi: Activation, a: Array, b: Array, x: Array) -> Array:
    hidden = np.asarray(phi(x @ a.T - b))
    return np.concatenate([hidden, x, np.ones((len(x), 1))], axis=1)
