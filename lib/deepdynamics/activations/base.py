r"""Functions of one number with their Gaussian moments.

With :math:`z \sim N(0, 1)` and :math:`(u, v)` Gaussian of variances :math:`q_a, q_b` and covariance :math:`q_{ab}`, an
:class:`Activation` knows

.. math::
    E\,\phi(\sqrt q z),\quad E\,\phi(\sqrt q z)^2,\quad E\,\phi'(\sqrt q z)^k,\quad E\,\phi(u)\phi(v),\quad
    E\,\phi'(u)\phi'(v).

Values and derivatives act on numpy arrays, lists and torch tensors (whose device and dtype are kept); moments take any
of them, return numpy float64 and broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from deepdynamics._checks import Array, Values, count, not_negative, real

__all__ = ["Activation", "backend"]


class Activation:
    """A function phi, its derivative and its Gaussian moments; see :func:`deepdynamics.activations.get` for those that
    have a name, and for the way from any other function to its moments.

    Subclasses give ``__call__``, ``slope`` and the closed forms. All moments raise ValueError for a negative or
    non-finite variance, and the two-point functions for a covariance that no pair of variables has.

    >>> from deepdynamics import activations
    >>> isinstance(activations.get("tanh"), Activation)
    True
    """

    name: str = ""

    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> Values: ...
    def __call__(self, x: Any) -> Any:
        """phi(x), elementwise, of a torch tensor or of anything numpy takes.

        >>> from deepdynamics import activations
        >>> activations.get("relu")([-1.0, 2.0]).tolist()
        [0.0, 2.0]
        """
        raise NotImplementedError

    @overload
    def slope(self, x: Tensor) -> Tensor: ...
    @overload
    def slope(self, x: ArrayLike) -> Values: ...
    def slope(self, x: Any) -> Any:
        """phi'(x), elementwise; at a kink the derivative that torch's autograd takes.

        >>> from deepdynamics import activations
        >>> activations.get("relu").slope(torch.tensor([-1.0, 2.0]))
        tensor([0., 1.])
        """
        raise NotImplementedError

    def mean(self, q: ArrayLike) -> Values:
        """E phi(√q z).

        >>> from deepdynamics import activations
        >>> float(activations.get("relu").mean(2 * np.pi))
        1.0
        """
        return self._mean(not_negative("q", q))[()]

    def second_moment(self, q: ArrayLike) -> Values:
        """E phi(√q z)².

        >>> from deepdynamics import activations
        >>> float(activations.get("relu").second_moment(3.0))
        1.5
        """
        return self._second_moment(not_negative("q", q))[()]

    def second_moment_slope(self, q: ArrayLike) -> Values:
        """d/dq E phi(√q z)² = E [phi'² + phi phi''](√q z) (Stein's lemma): the slope of a length map with weight
        variance 1.

        >>> from deepdynamics import activations
        >>> float(activations.get("relu").second_moment_slope(3.0))
        0.5
        """
        return self._second_moment_slope(not_negative("q", q))[()]

    def slope_moment(self, q: ArrayLike, k: int) -> Values:
        """E phi'(√q z)^k for a positive integer k. (The step function's derivative is Dirac's delta: inf for k > 1.)

        >>> from deepdynamics import activations
        >>> float(activations.get("relu").slope_moment(3.0, 4))
        0.5
        """
        return self._slope_moment(not_negative("q", q), count("k", k))[()]

    def covariance(self, qa: ArrayLike, qb: ArrayLike, qab: ArrayLike) -> Values:
        """E phi(u) phi(v), with (u, v) Gaussian of variances qa, qb and covariance (not correlation) qab.

        >>> from deepdynamics import activations
        >>> round(float(activations.get("relu").covariance(1.0, 1.0, 0.0)), 12) == round(1 / (2 * np.pi), 12)
        True
        """
        return self._covariance(*_pair(qa, qb, qab))[()]

    def slope_covariance(self, qa: ArrayLike, qb: ArrayLike, qab: ArrayLike) -> Values:
        """E phi'(u) phi'(v), with (u, v) as in :meth:`covariance`; it is d/dqab of it (Price's theorem).

        >>> from deepdynamics import activations
        >>> float(activations.get("relu").slope_covariance(1.0, 1.0, 0.0))
        0.25
        """
        return self._slope_covariance(*_pair(qa, qb, qab))[()]

    def mean_slope(self, q: ArrayLike) -> Callable[[ArrayLike], Array]:
        r"""The function :math:`c \mapsto [E\phi(u)^2 - E\phi(u)\phi(v)]/(q(1-c))` of a correlation in [0, 1], for
        u, v of variance q > 0: the mean of :math:`E\phi'(u)\phi'(v)` over the correlations from c to 1.

        It has no cancellation at c -> 1, where its value is E phi'². ``q`` and c are arrays of the same shape.

        >>> from deepdynamics import activations
        >>> float(activations.get("linear").mean_slope(2.0)(0.3))
        1.0
        """
        checked = not_negative("q", q)
        second = self._second_moment(checked)
        # 1 - (1 - c)s² removes the square-root singularity that kinks have at c = 1.
        nodes, weights = np.polynomial.legendre.leggauss(16)
        s, w = (nodes + 1) / 2, weights * (nodes + 1) / 2

        def evaluate(c: ArrayLike) -> Array:
            correlation = real("c", c)
            out = np.empty(np.broadcast_shapes(checked.shape, correlation.shape))
            far = correlation < 0.9
            v, r = checked[far], correlation[far]
            out[far] = (second[far] - self._covariance(v, v, r)) / (v * (1 - r))
            v, r = checked[~far][:, None], correlation[~far][:, None]
            out[~far] = self._slope_covariance(v, v, 1 - (1 - r) * s**2) @ w
            return out

        return evaluate

    # The moments, for checked input. c is the correlation.
    def _mean(self, q: Array) -> Array:
        raise NotImplementedError

    def _second_moment(self, q: Array) -> Array:
        raise NotImplementedError

    def _second_moment_slope(self, q: Array) -> Array:
        raise NotImplementedError

    def _slope_moment(self, q: Array, k: int) -> Array:
        raise NotImplementedError

    def _covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        raise NotImplementedError

    def _slope_covariance(self, qa: Array, qb: Array, c: Array) -> Array:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<activation {self.name}>"


def backend(x: Any) -> tuple[Any, Any]:
    """torch and the tensor, or numpy and the array.

    >>> backend(torch.ones(1))[0] is torch, backend([1, 2])[1].tolist()
    (True, [1.0, 2.0])
    """
    return (torch, x) if isinstance(x, torch.Tensor) else (np, real("x", x))


def _pair(qa: ArrayLike, qb: ArrayLike, qab: ArrayLike) -> tuple[Array, Array, Array]:
    """Checked variances and the correlation; 0 where a variance is 0."""
    va, vb, covariance = not_negative("qa", qa), not_negative("qb", qb), real("qab", qab)
    scale = np.sqrt(va * vb)
    c = np.divide(covariance, scale, out=np.zeros(np.broadcast(covariance, scale).shape), where=scale > 0)
    # √(qa qb) is rounded, so a correlation of 1 may come out a few units in the last place above it
    if not (np.isfinite(covariance).all() and (np.abs(covariance) <= scale * (1 + 1e-12)).all()):
        raise ValueError(f"qab = {covariance}: with qa = {va}, qb = {vb} it is at most √(qa qb) = {scale} in size")
    return va, vb, np.clip(c, -1, 1)
