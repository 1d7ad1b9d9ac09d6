"""What a way costs: how bent a path is, how much a map rotates, and what it costs to pair at random.

The action of a path x_0, …, x_L of points in time 1, L Σ_k E|x_{k+1} - x_k|², is at least E|x_L - x_0|², by Jensen,
with equality where every point goes straight at constant speed; and this is at least W₂² of the two clouds, with
equality where the map is the gradient of a convex function (Brenier 1991). So a path can cost too much for two reasons:
it bends, or points change places. ``bend`` is the first ratio. ``rotation_share`` sees the second without pairing any
clouds: the derivative of a gradient is symmetric.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from deepdynamics._checks import Numbers, finite, tensor

__all__ = ["antisymmetric_share", "bend", "random_pairing_cost", "rotation_share"]


def bend(path: Numbers) -> np.ndarray:
    """L Σ_k E|x_{k+1} - x_k|² / E|x_L - x_0|² >= 1 of a path (L + 1, …, n, d): (…), the mean over the n points.

    Raises ``ValueError`` for a path of fewer than two states, and one that ends where it began.

    >>> float(bend([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 1.0]]]))  # round a corner
    2.0
    """
    states = finite("path", path)
    if states.ndim < 3 or len(states) < 2:
        raise ValueError(f"path of shape {states.shape}: (L + 1, …, n, d) with L >= 1 is allowed")
    action = (len(states) - 1) * np.square(np.diff(states, axis=0)).sum(-1).mean(-1).sum(0)
    straight = np.square(states[-1] - states[0]).sum(-1).mean(-1)
    if (straight <= 0).any():
        raise ValueError("path: one that ends elsewhere than it began is allowed")
    return np.asarray(action / straight)


def random_pairing_cost(x: Numbers, y: Numbers) -> float:
    """E|x - y|² over all pairs of two clouds (n, d), (m, d): what it costs on average to pair them off blindly.

    >>> random_pairing_cost([[0.0], [2.0]], [[0.0], [2.0]])
    2.0
    """
    here, there = finite("x", x), finite("y", y)
    if here.ndim != 2 or there.ndim != 2 or here.shape[1] != there.shape[1] or 0 in (here.size, there.size):
        raise ValueError(f"x, y of shapes {here.shape}, {there.shape}: (n, d), (m, d) are allowed")
    return float(here.var(0).sum() + there.var(0).sum() + np.square(here.mean(0) - there.mean(0)).sum())


def rotation_share(f: Callable[[Tensor], Tensor], x: Numbers) -> Tensor:
    """:func:`antisymmetric_share` of the derivative of the displacement f(x) - x, at points x (…, n, d): (…).

    ``f`` acts on each point by itself, (…, n, d) -> (…, n, d), of tensors. Raises ``ValueError`` for another shape.

    >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> [float(rotation_share(lambda x: x + x @ m.T, torch.ones(3, 2))) for m in (turn, torch.eye(2))]
    [1.0, 0.0]
    """
    points = tensor("x", x).detach().clone().requires_grad_()
    with torch.enable_grad():
        moved = f(points)
        if moved.shape != points.shape:
            raise ValueError(f"f(x) of shape {tuple(moved.shape)}: {tuple(points.shape)}, that of x, is allowed")
        sums = (moved - points).flatten(0, -2).sum(0)
        rows = [torch.autograd.grad(one, points, retain_graph=True)[0] for one in sums]
    return antisymmetric_share(torch.stack(rows, -2))


def antisymmetric_share(M: Numbers) -> Tensor:
    """E‖A‖² / E‖M‖² for matrices M (…, n, d, d) at n points and their antisymmetric parts A = (M - Mᵀ)/2: (…). With M
    the derivative of a displacement it is 0 for every gradient, so for every optimal map, 1 for a rotation field, and
    (d - 1)/(2d) in the mean for random entries.

    Raises ``ValueError`` for matrices that are not square, and where all are 0.

    >>> float(antisymmetric_share([[[0.0, 1.0], [0.0, 0.0]]]))
    0.5
    """
    matrices = tensor("M", M)
    if matrices.ndim < 3 or matrices.shape[-1] != matrices.shape[-2]:
        raise ValueError(f"M of shape {tuple(matrices.shape)}: (…, n, d, d) is allowed")
    A = (matrices - matrices.mT) / 2
    whole = matrices.square().sum((-1, -2)).mean(-1)
    if not (whole > 0).all():
        raise ValueError("M: finite matrices that are not all 0 are allowed")
    return A.square().sum((-1, -2)).mean(-1) / whole
