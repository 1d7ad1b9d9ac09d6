r"""Kernels of infinitely wide perceptrons: the covariance K of the outputs (NNGP) and the neural tangent kernel Θ.

With h = √(weight_var/n) W x + √bias_var b in every layer, the readout included, and all entries of W and b standard
normal (the NTK parametrisation),

.. math::
    K^1 = \Theta^1 = \frac{\sigma_w^2}{d}\,x\cdot x' + \sigma_b^2,\qquad
    K^{l+1} = \sigma_w^2\,E\,\phi(u)\phi(v) + \sigma_b^2,\qquad
    \Theta^{l+1} = K^{l+1} + \sigma_w^2\,E\,\phi'(u)\phi'(v)\;\Theta^l,

(u, v) Gaussian with the covariances K^l (Jacot, Gabriel & Hongler 2018, proposition 1 and theorem 1). One output;
for C of them both kernels are multiples of the identity matrix.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike, NDArray

from deepdynamics import activations
from deepdynamics._checks import Array, Numbers, count, finite, not_negative, number
from deepdynamics.activations import ActivationLike
from deepdynamics.ntk.pairs import pairs

__all__ = ["infinite_width", "infinite_width_ntk"]

_BLOCK = 192  # rows and columns: what is computed of them stays in the cache of a core

Floats = NDArray[np.floating]


def infinite_width(
    x: Numbers,
    y: Numbers | None,
    activation: ActivationLike,
    weight_var: float,
    bias_var: float,
    hidden_layers: int,
    *,
    dtype: DTypeLike = np.float64,
) -> tuple[Floats, Floats]:
    """K and Θ, both (n, m), between the points ``x`` (n, d) and ``y`` (m, d) of a perceptron with ``hidden_layers``
    hidden layers and a linear readout; ``y=None``: between the points x, which takes half of the time.

    Both are computed in float64, in blocks that take a few MB beside the results, and kept in ``dtype``, float64 or
    float32. Any activation; see :mod:`deepdynamics.ntk.pairs` for what it costs.

    Raises ``ValueError`` for arrays that are no finite matrices of equal width, negative variances, another dtype, and
    activations whose slope has no second moment (the step function).

    >>> K, theta = infinite_width([[1.0, 0.0], [0.0, 1.0]], None, "relu", 2.0, 0.0, 1)
    >>> K.round(6).tolist(), theta.round(6).tolist()
    ([[1.0, 0.31831], [0.31831, 1.0]], [[2.0, 0.31831], [0.31831, 2.0]])
    """
    computed = _Kernel(x, y, activation, weight_var, bias_var, hidden_layers)
    K, theta = (np.empty(computed.shape, _float(dtype)) for _ in range(2))
    for rows, columns, k, t in computed.blocks():
        for whole, part in ((K, k), (theta, t)):
            whole[rows, columns] = part
            if computed.symmetric:
                whole[columns, rows] = part.T
    return K, theta


def infinite_width_ntk(
    x: Numbers,
    y: Numbers | None,
    activation: ActivationLike,
    weight_var: float,
    bias_var: float,
    hidden_layers: int,
    *,
    dtype: DTypeLike = np.float64,
) -> Floats:
    """Θ of :func:`infinite_width` alone, (n, m), in half of the memory. Raises as it does.

    >>> infinite_width_ntk([[1.0, 0.0]], [[1.0, 1.0]], "linear", 1.0, 0.0, 2)  # hidden_layers + 1 times x · y/d
    array([[1.5]])
    """
    computed = _Kernel(x, y, activation, weight_var, bias_var, hidden_layers)
    theta = np.empty(computed.shape, _float(dtype))
    for rows, columns, _, part in computed.blocks():
        theta[rows, columns] = part
        if computed.symmetric:
            theta[columns, rows] = part.T
    return theta


class _Kernel:
    """The recursion: what belongs to single points is computed at once, what belongs to pairs block by block."""

    def __init__(
        self,
        x: Numbers,
        y: Numbers | None,
        activation: ActivationLike,
        weight_var: float,
        bias_var: float,
        hidden_layers: int,
    ) -> None:
        self.x, self.symmetric = _points("x", x), y is None or y is x
        self.y = self.x if y is None or y is x else _points("y", y)
        if self.x.shape[1] != self.y.shape[1]:
            raise ValueError(f"x of shape {self.x.shape}, y of shape {self.y.shape}: as many columns are allowed")
        phi = activations.get(activation)
        self.weight_var = number("weight_var", weight_var, not_negative)
        self.bias_var = number("bias_var", bias_var, not_negative)
        depth = count("hidden_layers", hidden_layers, least=0)
        self.shape = len(self.x), len(self.y)
        qx, self.k, self.theta = self._diagonal(phi, self.x, depth)
        qy = qx if self.symmetric else self._diagonal(phi, self.y, depth)[0]
        self.layers = [pairs(phi, a, b) for a, b in zip(qx, qy, strict=True)]

    def _diagonal(self, phi: activations.Activation, x: Array, depth: int) -> tuple[list[Array], Array, Array]:
        """The variances that enter each hidden layer, and K and Θ of every point with itself."""
        entering: list[Array] = []
        k = self.weight_var / x.shape[1] * np.einsum("nd,nd->n", x, x) + self.bias_var
        theta = k
        for _ in range(depth):
            slopes = phi.slope_moment(k, 2)
            if not np.isfinite(slopes).all():
                raise ValueError(f"activation {phi!r}: a slope whose second moment is finite is needed")
            entering.append(k)
            k = self.weight_var * np.asarray(phi.second_moment(k)) + self.bias_var
            theta = k + self.weight_var * slopes * theta
        return entering, k, theta

    def blocks(self) -> Iterator[tuple[slice, slice, Array, Array]]:
        """Rows, columns, and K and Θ there; where the points are the same, what lies on and right of the diagonal."""
        n, m = self.shape
        for top in range(0, n, _BLOCK):
            rows = slice(top, min(top + _BLOCK, n))
            for left in range(top if self.symmetric else 0, m, _BLOCK):
                columns = slice(left, min(left + _BLOCK, m))
                k, theta = self._block(rows, columns)
                if self.symmetric and left == top:
                    for part, diagonal in ((k, self.k[rows]), (theta, self.theta[rows])):
                        part[:] = (part + part.T) / 2
                        np.fill_diagonal(part, diagonal)
                yield rows, columns, k, theta

    def _block(self, rows: slice, columns: slice) -> tuple[Array, Array]:
        k = self.x[rows] @ self.y[columns].T
        k *= self.weight_var / self.x.shape[1]
        k += self.bias_var
        theta = k.copy()
        for layer in self.layers:
            k, slopes = layer(rows, columns, k)
            k *= self.weight_var
            k += self.bias_var
            theta *= slopes
            theta *= self.weight_var
            theta += k
        return k, theta


def _points(name: str, x: Numbers) -> Array:
    points = finite(name, x)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"{name} of shape {points.shape}: points (n, d) are allowed")
    return points


def _float(dtype: DTypeLike) -> type[np.floating]:
    with contextlib.suppress(TypeError):  # of what is no type
        for found in (np.float64, np.float32):
            if np.dtype(dtype) == found:
                return found
    raise ValueError(f"dtype = {dtype!r}: float64 or float32 is allowed")
