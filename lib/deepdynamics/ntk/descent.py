r"""Gradient descent step by step, of a network and of the linear model with its kernel.

Both minimise Σ‖f - y‖²/(2T) over T samples, or over a mini-batch with its own T, with heavy-ball momentum:

.. math::
    v_{t+1} = \mu v_t + \nabla_\theta E,\qquad \theta_{t+1} = \theta_t - \eta v_{t+1} .

In the linear model θ_t - θ_0 is always a combination of the rows of J, -Jᵀ a_t, so that its outputs are f_0 - Θ a_t at
all points, and only the coefficients a_t need to be followed. Without momentum and with small η this is
:func:`~deepdynamics.ntk.linearised_outputs`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from deepdynamics._checks import Array, Numbers, count, finite, number, positive

__all__ = ["descend", "ensemble_variance", "linear_descent"]

Batches = Sequence[Sequence[int]] | np.ndarray | None


def linear_descent(
    theta: Numbers,
    f0: Numbers,
    y: Numbers,
    *,
    learning_rate: float,
    steps: int,
    momentum: float = 0.0,
    batches: Batches = None,
    theta_at: Numbers | None = None,
    f0_at: Numbers = 0.0,
    every: int = 1,
) -> Array:
    """Outputs (1 + steps // every, m, C) of the linear model with kernel ``theta`` at m points, under gradient descent.

    ``y`` and ``f0`` (n, C) belong to the n training points; ``theta`` is (n, n), one kernel for all outputs, or (n·C,
    n·C), sample-major. The outputs are those at the points of ``theta_at`` (m, n) or (m·C, n·C), which start from
    ``f0_at``; without them at the training points. ``batches``: for each step the places of its mini-batch; by default
    all samples. (Lee et al. 2019, arXiv:1902.06720, sections 2.2 and 3)

    Raises ``ValueError`` for shapes that do not fit, a rate that is not positive and a momentum outside [0, 1).

    >>> linear_descent([[2.0]], [[0.0]], [[1.0]], learning_rate=0.25, steps=2)[:, 0, 0].tolist()
    [0.0, 0.5, 0.75]
    """
    y, theta = finite("y", y), finite("theta", theta)
    if y.ndim != 2:
        raise ValueError(f"y of shape {y.shape}: (n, C) is allowed")
    n, outputs = y.shape
    f0 = np.broadcast_to(finite("f0", f0), y.shape)
    if theta.shape not in ((n, n), (n * outputs, n * outputs)):
        raise ValueError(f"theta of shape {theta.shape}, y {y.shape}: ({n}, {n}) or {2 * (n * outputs,)} is allowed")
    at, start = (theta, f0) if theta_at is None else (finite("theta_at", theta_at), finite("f0_at", f0_at))
    if at.ndim != 2 or at.shape[1] != len(theta) or at.shape[0] % (len(theta) // n):
        raise ValueError(f"theta_at of shape {at.shape}: (m, {len(theta)}) is allowed")
    m = at.shape[0] // (len(theta) // n)
    start = np.broadcast_to(start, (m, outputs))
    rate, inertia, plan = _plan(learning_rate, momentum, steps, batches, n)
    a, v, found = np.zeros_like(y), np.zeros_like(y), [start]
    for step, batch in enumerate(plan, start=1):
        error = f0 - _product(theta, a) - y
        v *= inertia
        v[batch] += error[batch] / len(error[batch])
        a += rate * v
        if step % every == 0:
            found.append(start - _product(at, a))
    return np.stack(found)


def descend(
    model: nn.Module,
    X: Tensor | ArrayLike,
    y: Tensor | ArrayLike,
    *,
    learning_rate: float,
    steps: int,
    momentum: float = 0.0,
    batches: Batches = None,
    at: Tensor | ArrayLike | None = None,
    every: int = 1,
    scale: float | None = None,
) -> Array:
    """Train ``model`` in place, and return its outputs (1 + steps // every, m, C) at the points ``at`` (by default X).

    The partner of :func:`linear_descent`, with the same arguments. With ``scale`` α what is trained and returned is
    α (f_θ - f_θ0), which starts from 0 (Chizat, Oyallon & Bach 2019): its kernel is α²Θ, so that rates of order 1/α²
    are due, and the larger α, the less the parameters have to move.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> outputs = descend(net, [[1.0]], [[1.0]], learning_rate=1.0, steps=1)
    >>> round(float(outputs[1, 0, 0]), 6)
    1.0
    """
    like = next(model.parameters())
    X, y = (torch.as_tensor(np.asarray(a), dtype=like.dtype, device=like.device) for a in (X, y))
    points = X if at is None else torch.as_tensor(np.asarray(at), dtype=like.dtype, device=like.device)
    rate, inertia, plan = _plan(learning_rate, momentum, steps, batches, len(X))
    factor = 1.0 if scale is None else number("scale", scale, positive)
    with torch.no_grad():
        offset, offset_at = (0.0, 0.0) if scale is None else (model(X), model(points))
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=inertia)

    def outputs() -> Array:
        with torch.no_grad():
            return np.asarray((factor * (model(points) - offset_at)).cpu().numpy(), dtype=np.float64)

    found = [outputs()]
    for step, batch in enumerate(plan, start=1):
        optimiser.zero_grad()
        f = factor * (model(X[batch]) - (offset[batch] if isinstance(offset, Tensor) else 0.0))
        (0.5 * (f - y[batch]).square().sum() / len(f)).backward()
        optimiser.step()
        if step % every == 0:
            found.append(outputs())
    return np.stack(found)


def ensemble_variance(theta_test: Numbers, theta: Numbers, k_test: Numbers, k: Numbers, k_variance: Numbers) -> Array:
    """Variance (m,) of one output at m new points, over the draws of an infinitely wide network that was trained until
    it fits the data: K'' - 2 diag(A K'ᵀ) + diag(A K Aᵀ), A = Θ'Θ⁻¹ (Lee et al. 2019, eq. (16)).

    ``theta_test``, ``k_test`` (m, n) between new points and training points, ``theta``, ``k`` (n, n) between training
    points, ``k_variance`` (m,) of the new points before training. With ``theta = k``, ``theta_test = k_test`` it is the
    posterior variance of the Gaussian process with covariance K: that of networks whose last layer alone is trained.

    >>> ensemble_variance([[1.0]], [[2.0]], [[1.0]], [[2.0]], [1.0])
    array([0.5])
    """
    theta_test, theta, k_test, k = (finite("kernel", a) for a in (theta_test, theta, k_test, k))
    A = np.linalg.solve(theta, theta_test.T).T
    return np.asarray(finite("k_variance", k_variance) - 2 * (A * k_test).sum(1) + ((A @ k) * A).sum(1))


def _plan(
    learning_rate: float, momentum: float, steps: int, batches: Batches, n: int
) -> tuple[float, float, list[slice | list[int]]]:
    rate, inertia = number("learning_rate", learning_rate, positive), float(momentum)
    if not 0 <= inertia < 1:
        raise ValueError(f"momentum = {momentum}: a number from 0 to below 1 is allowed")
    steps = count("steps", steps, least=0)
    if batches is None:
        return rate, inertia, [slice(None)] * steps
    rows = [[count("batches", int(i), least=0, most=n - 1) for i in row] for row in batches]
    if len(rows) != steps:
        raise ValueError(f"batches: {len(rows)} for {steps} steps")
    return rate, inertia, list(rows)


def _product(theta: Array, a: Array) -> Array:
    """Θ a, (m, C), for a kernel of all outputs or of one."""
    if theta.shape[1] == len(a):
        return np.asarray(theta @ a)
    return np.asarray((theta @ a.ravel()).reshape(-1, a.shape[1]))
