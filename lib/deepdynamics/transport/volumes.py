"""What a map does to volume, and with it to entropy: H[g♯μ] = H[μ] + E log |det Dg(x)|, x ~ μ, for an injective g."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics._checks import Numbers, finite, plain

__all__ = ["log_volume"]


def log_volume(g: Callable[[Any], Any], x: Numbers, *, step: float = 2.0**-8) -> NDArray[np.float64]:
    """log |det Dg(x)| of a map g from (n, d) to (n, d) at x (n, d): its mean over samples of μ is the entropy that g
    adds to μ. To numpy (n,); x goes to g as it is, tensor or numpy.

    Derivatives are central differences over ± ``step``, 2d calls of g: exact up to O(step²), and to 1e-7/step in single
    precision; a piecewise linear map has its slope averaged over the step. Raises ``ValueError`` for x of another shape
    or a step that is not positive.

    >>> log_volume(lambda x: 2 * x, [[0.0, 1.0]])  # log 4
    array([1.38629436])
    """
    points: Any = x if isinstance(x, torch.Tensor) else finite("x", x)
    if points.ndim != 2:
        raise ValueError(f"x of shape {tuple(points.shape)}: (n, d) is allowed")
    if not 0 < step < np.inf:
        raise ValueError(f"step = {step}: a positive finite number is allowed")
    columns = []
    for axis in range(points.shape[1]):
        shift = torch.zeros_like(points) if isinstance(points, torch.Tensor) else np.zeros_like(points)
        shift[:, axis] = step
        ahead, behind = (np.asarray(plain(g(points + sign * shift)), dtype=np.float64) for sign in (1, -1))
        columns.append((ahead - behind) / (2 * step))
    return np.asarray(np.linalg.slogdet(np.stack(columns, axis=-1))[1])
