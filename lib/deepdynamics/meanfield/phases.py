"""The phase diagram of mean field theory and its critical line."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdynamics import activations
from deepdynamics._checks import Array, Values, not_negative
from deepdynamics.activations import Activation, ActivationLike
from deepdynamics.meanfield.lengths import falling_root, fixed_length
from deepdynamics.meanfield.orderparameters import order_parameters, phase, scale_free
from deepdynamics.meanfield.randomlayer import Unpackable

__all__ = ["CriticalPoint", "PhaseDiagram", "critical_weight_var", "phase_diagram"]


@dataclass(frozen=True)
class CriticalPoint(Unpackable):
    """Where chi_1 = 1: the weight variance and the fixed point of the length there.

    >>> weight_var, q_star = critical_weight_var("tanh", 0.0)
    >>> float(weight_var), float(q_star)
    (1.0, 0.0)
    """

    weight_var: Values
    q_star: Values


@dataclass(frozen=True)
class PhaseDiagram(Unpackable):
    """The order parameters on a grid, arrays of shape (len(bias_vars), len(weight_vars)); nan where there is none.

    Unpacks into q_star, chi_1, c_star, chi_c_star, xi_q, xi_c, xi_grad, phase.

    >>> diagram = phase_diagram("tanh", [1.0, 4.0], [0.0])
    >>> diagram.phase.tolist(), len(list(diagram))
    ([['critical', 'chaotic']], 8)
    """

    q_star: Array
    chi_1: Array
    c_star: Array
    chi_c_star: Array
    xi_q: Array
    xi_c: Array
    xi_grad: Array
    phase: NDArray[np.str_]
    activation: str = field(metadata={"unpack": False})
    weight_vars: Array = field(metadata={"unpack": False})
    bias_vars: Array = field(metadata={"unpack": False})


def critical_weight_var(activation: ActivationLike, bias_var: ArrayLike) -> CriticalPoint:
    """The weight variance with chi_1 = 1, and q* there, for each bias variance (scalars or arrays of one shape).

    Both are known in closed form once q* is: σ_w² = 1/E phi'², σ_b² = q* - σ_w² E phi²; the second is solved for q*,
    which is the fixed point that lengths approach from 1, as in :class:`MeanField`. ValueError where there is no
    critical point: ReLU and linear with a bias, step and softplus always. For ReLU and linear without a bias every
    length is a fixed point, and q_star is nan.

    >>> weight_var, q_star = critical_weight_var("tanh", 0.05)
    >>> print(round(weight_var, 9), round(q_star, 9))
    1.76095464 0.570047882
    """
    phi, bias = activations.get(activation), not_negative("bias_var", bias_var)
    if scale_free(phi):
        if bias.any():
            raise ValueError(f"bias_var = {bias}: {phi.name} has a critical point at bias_var = 0 only")
        if not phi.slope_moment(1.0, 2):
            raise ValueError(f"{phi.name} has no critical point: its slope is 0")
        return CriticalPoint((1 / phi.slope_moment(1.0, 2) + 0 * bias)[()], np.full(bias.shape, np.nan)[()])

    if not np.isfinite(phi.slope_moment(1.0, 2)):
        raise ValueError(f"{phi.name} has no critical point: its chi_1 is infinite")

    def ratio(q: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(phi.second_moment(q) / phi.slope_moment(q, 2))

    def missing(log_q: Array, bias: Array) -> Array:
        return bias + ratio(np.exp(log_q)) - np.exp(log_q)

    grid = np.linspace(np.log(1e-6), np.log(1e3), 120)
    flat, q = bias.ravel(), np.full(bias.size, np.nan)
    if phi.second_moment(0.0) == 0 and phi.slope(0.0) != 0:
        q = np.where(_reached(phi, np.zeros(flat.shape), flat), 0.0, q)
    above = missing(grid, flat[:, None]) < 0
    crossings = above[:, 1:] & ~above[:, :-1]
    for number in range(1, 1 + int(crossings.sum(1).max(initial=0))):  # the first that lengths approach
        todo = np.flatnonzero(np.isnan(q) & (crossings.sum(1) >= number))
        if len(todo) == 0:
            continue
        cell = (crossings[todo].cumsum(1) == number).argmax(1)
        found = np.exp(falling_root(missing, grid[cell], grid[cell + 1], flat[todo]))
        q[todo] = np.where(_reached(phi, found, flat[todo]), found, np.nan)
    if np.isnan(q).any():
        raise ValueError(f"{phi.name} has no critical point with bias_var = {bias}, q* between 1e-6 and 1e3")
    q_star = q.reshape(bias.shape)
    return CriticalPoint(1 / phi.slope_moment(q_star, 2), q_star[()])


def _reached(phi: Activation, q: Array, bias_var: Array) -> NDArray[np.bool_]:
    """Whether lengths approach q from 1 in the critical network with this q."""
    found = fixed_length(phi, np.asarray(1 / phi.slope_moment(q, 2)), bias_var)
    return np.asarray(np.abs(found - q) <= 1e-6 * q + 1e-9)


def phase_diagram(activation: ActivationLike, weight_vars: ArrayLike, bias_vars: ArrayLike) -> PhaseDiagram:
    """All order parameters of :class:`MeanField` on a grid, as arrays (len(bias_vars), len(weight_vars)).

    Where the length map has no fixed point, what needs it is nan (and the phase of softplus "none").

    >>> phase_diagram("tanh", [0.5, 1.5, 3.0], [0.05]).phase.tolist()
    [['ordered', 'ordered', 'chaotic']]
    """
    phi = activations.get(activation)
    weights, biases = _axis("weight_vars", weight_vars), _axis("bias_vars", bias_vars)
    found = order_parameters(phi, *np.meshgrid(weights, biases))
    return PhaseDiagram(
        **found, phase=phase(found["chi_1"]), activation=phi.name, weight_vars=weights, bias_vars=biases
    )


def _axis(name: str, values: ArrayLike) -> Array:
    array = not_negative(name, values)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} = {values!r}: a list of variances is allowed")
    return array
