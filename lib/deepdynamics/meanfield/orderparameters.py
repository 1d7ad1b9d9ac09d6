r"""What a length map and a correlation map come to: fixed points, slopes and depth scales, for many at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepdynamics._checks import Array
from deepdynamics.activations import Activation, Homogeneous
from deepdynamics.activations.integrals import blocks
from deepdynamics.meanfield.lengths import falling_root, fixed_length

__all__ = ["order_parameters", "phase", "scale_free"]

CRITICAL = 1e-9  # |chi_1 - 1| below this is the critical line
_STEEP = 1e12  # what the infinite slope of a step function counts as


def order_parameters(phi: Activation, weight_var: Array, bias_var: Array) -> dict[str, Array]:
    """q_star, chi_1, c_star, chi_c_star, xi_q, xi_c and xi_grad of :class:`deepdynamics.meanfield.MeanField`,
    elementwise; nan where there is none.

    >>> from deepdynamics import activations
    >>> order_parameters(activations.get("tanh"), np.array([0.5, 2.0]), np.zeros(2))["c_star"].tolist()
    [1.0, 0.0]
    """
    q = fixed_length(phi, weight_var, bias_var)
    known = np.isfinite(q) | scale_free(phi)  # there the moments of the slope do not depend on the length
    safe = np.where(np.isfinite(q), q, 1.0)
    chi_1 = np.where(known, weight_var * phi.slope_moment(safe, 2), np.nan)
    chi_q = np.where(known, weight_var * phi.second_moment_slope(safe), np.nan)
    # without a bias, every length is a fixed point of a critical scale-free network
    ordered = (chi_1 <= 1 + CRITICAL) & (np.isfinite(q) | (bias_var == 0))
    c_star = np.where(ordered, 1.0, np.nan)
    chi_c = np.where(ordered, chi_1, np.nan)
    chaotic = np.flatnonzero(~ordered & np.isfinite(q))
    flat_q, flat_w = q.reshape(-1), np.broadcast_to(weight_var, q.shape).reshape(-1)
    for block in blocks(flat_q[chaotic]):
        here = chaotic[block]
        w, length = flat_w[here], flat_q[here]
        c_star.reshape(-1)[here] = c = _chaotic_correlation(phi, w, length)
        chi_c.reshape(-1)[here] = w * phi.slope_covariance(length, length, length * c)
    return {
        "q_star": q,
        "chi_1": chi_1,
        "c_star": c_star,
        "chi_c_star": chi_c,
        "xi_q": _depth_scale(chi_q),
        "xi_c": _depth_scale(chi_c),
        "xi_grad": _depth_scale(chi_1),
    }


def _chaotic_correlation(phi: Activation, weight_var: Array, q: Array) -> Array:
    """c* < 1: (1 - R(c))/(1 - c) = 1, without the fixed point at 1. The left-hand side grows with c, from 1 - R(0)
    to chi_1 > 1, and has no cancellation at c -> 1.
    """
    mean_slope = phi.mean_slope(q)
    everywhere = np.zeros_like(q)

    def excess(s: Array, index: Array) -> Array:  # of s = √(1 - c), in which kinks of the activation do not show
        everywhere[index.astype(int)] = s
        with np.errstate(invalid="ignore"):
            left = weight_var * mean_slope(1 - everywhere**2) - 1
        return np.minimum(left, _STEEP)[index.astype(int)]

    s = falling_root(excess, np.zeros_like(q), np.ones_like(q), np.arange(len(q), dtype=float))
    return 1 - s**2


def _depth_scale(slope: Array) -> Array:
    with np.errstate(divide="ignore"):
        scale = -1 / np.log(np.abs(slope))
    return np.where(np.abs(np.abs(slope) - 1) <= CRITICAL, np.inf, scale)


def phase(chi_1: Array) -> NDArray[np.str_]:
    """ "ordered", "critical" (chi_1 within 1e-9 of 1), "chaotic" or, for nan, "none", elementwise.

    >>> phase(np.array([0.5, 1.0, 1.5])).tolist()
    ['ordered', 'critical', 'chaotic']
    """
    conditions = [np.isnan(chi_1), np.abs(chi_1 - 1) <= CRITICAL, chi_1 < 1]
    return np.select(conditions, ["none", "critical", "ordered"], "chaotic")


def scale_free(phi: Activation) -> bool:
    """Whether no length sets a scale: the moments of the slope are the same at all of them.

    >>> from deepdynamics import activations
    >>> scale_free(activations.get("relu")), scale_free(activations.get("tanh"))
    (True, False)
    """
    return isinstance(phi, Homogeneous)
