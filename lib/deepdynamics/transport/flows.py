"""Flows dx/dt = v(x, t) from t = 0 to 1 in steps: a residual network is Euler's method, its variants are other ones.

x_{k+1} = x_k + h v(x_k, t_k), h = 1/steps, has an error of order h; the midpoint rule h², the classical Runge–Kutta
method h⁴. All have one signature, and keep the whole path. A coupling of two halves is a step whose inverse is known.

Torch or numpy, as the starting points are; gradients pass.

Source: Lu et al. (2018) on variants of residual networks as other schemes; Dinh et al. (2015) on couplings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics._checks import Numbers, count, finite, tensor

__all__ = [
    "Coupling",
    "compose_daes",
    "euler_flow",
    "midpoint_flow",
    "rk4_flow",
]

Velocity = Callable[[Any, float], Any]


def euler_flow(velocity: Velocity, x0: Numbers, steps: int) -> Any:
    """x + v(x, t)/steps at t = k/steps: a residual network of ``steps`` layers. x0 (n, d) -> path (steps + 1, n, d).

    Raises ``ValueError`` where ``velocity(x, t)`` has another shape than x.

    >>> euler_flow(lambda x, t: x, [[1.0]], 4)[-1]  # (1 + 1/4)⁴, e in the limit
    array([[2.44140625]])
    """
    return _integrate(lambda v, x, t, h: h * v(x, t), velocity, x0, steps)


def midpoint_flow(velocity: Velocity, x0: Numbers, steps: int) -> Any:
    """As :func:`euler_flow`, with the velocity half an Euler step ahead: order 2, two evaluations a step.

    >>> midpoint_flow(lambda x, t: x, [[1.0]], 4)[-1].round(4)
    array([[2.6949]])
    """
    return _integrate(_midpoint, velocity, x0, steps)


def rk4_flow(velocity: Velocity, x0: Numbers, steps: int) -> Any:
    """As :func:`euler_flow`, by the classical Runge–Kutta method: order 4, four evaluations a step.

    >>> rk4_flow(lambda x, t: x, [[1.0]], 4)[-1].round(4)
    array([[2.7182]])
    """
    return _integrate(_rk4, velocity, x0, steps)


def compose_daes(maps: Sequence[Callable[[Any], Any]], x: Numbers) -> Any:
    """x, g₁(x), g₂(g₁(x)), …: maps as they are applied, first one first, x (n, d) -> (len(maps) + 1, n, d). A tensor
    where a map returns tensors.

    Raises ``ValueError`` where a map changes the shape.

    >>> compose_daes([lambda x: x / 2, lambda x: x - 1], [[4.0, 2.0]])[:, 0]
    array([[4., 2.],
           [2., 1.],
           [1., 0.]])
    """
    path = [_start(x)]
    for k, g in enumerate(maps):
        path.append(_same_shape(f"maps[{k}](x)", g(path[-1]), path[-1]))
    like = next((state for state in path if isinstance(state, Tensor)), None)
    return np.stack(path) if like is None else torch.stack([tensor("x", state, like) for state in path])


@dataclass(frozen=True)
class Coupling:
    """A reversible step on the two halves (a, b) of the last axis: a' = a + f(b), b' = b + g(a').

    ``f`` maps (…, d - d//2) -> (…, d//2), ``g`` back. The inverse is exact (b = b' - g(a'), a = a' - f(b)) whatever f
    and g are, volume is kept, and no activation needs to be stored. Raises ``ValueError`` where f or g returns another
    shape.

    >>> step = Coupling(lambda b: b**2, lambda a: 3 * a)
    >>> step([[1.0, 2.0]]), step.inverse([[5.0, 17.0]])
    (array([[ 5., 17.]]), array([[1., 2.]]))
    """

    f: Callable[[Any], Any]
    g: Callable[[Any], Any]

    def __call__(self, x: Numbers) -> Any:
        a, b = _halves(x)
        a = a + _same_shape("f(b)", self.f(b), a)
        return _joined(a, b + _same_shape("g(a)", self.g(a), b))

    def inverse(self, x: Numbers) -> Any:
        a, b = _halves(x)
        b = b - _same_shape("g(a)", self.g(a), b)
        return _joined(a - _same_shape("f(b)", self.f(b), a), b)


def _midpoint(v: Velocity, x: Any, t: float, h: float) -> Any:
    return h * v(x + h / 2 * v(x, t), t + h / 2)


def _rk4(v: Velocity, x: Any, t: float, h: float) -> Any:
    k1 = v(x, t)
    k2 = v(x + h / 2 * k1, t + h / 2)
    k3 = v(x + h / 2 * k2, t + h / 2)
    k4 = v(x + h * k3, t + h)
    return h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _integrate(step: Callable[[Velocity, Any, float, float], Any], velocity: Velocity, x0: Numbers, steps: int) -> Any:
    total = count("steps", steps)

    def checked(x: Any, t: float) -> Any:
        return _same_shape("velocity(x, t)", velocity(x, t), x)

    path = [_start(x0)]
    for k in range(total):
        path.append(path[-1] + step(checked, path[-1], k / total, 1 / total))
    return torch.stack(path) if isinstance(path[0], Tensor) else np.stack(path)


def _start(x: Numbers) -> Any:
    return x if isinstance(x, Tensor) else finite("x", x)


def _same_shape(name: str, found: Any, x: Any) -> Any:
    if np.shape(found) != np.shape(x):
        raise ValueError(f"{name} of shape {tuple(np.shape(found))}: {tuple(x.shape)}, that of x, is allowed")
    return found


def _halves(x: Numbers) -> tuple[Any, Any]:
    whole = _start(x)
    if whole.ndim == 0 or whole.shape[-1] < 2:
        raise ValueError(f"x of shape {tuple(whole.shape)}: at least 2 coordinates are allowed")
    half = whole.shape[-1] // 2
    return whole[..., :half], whole[..., half:]


def _joined(a: Any, b: Any) -> Any:
    return torch.cat((a, b), -1) if isinstance(a, Tensor) else np.concatenate((a, b), -1)
