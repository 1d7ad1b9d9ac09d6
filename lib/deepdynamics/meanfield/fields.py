r"""Mean field theory of random networks: how lengths, correlations and gradients travel through wide random layers.

Layers :math:`h^l = W^l\phi(h^{l-1}) + b^l` with independent :math:`W^l_{ij} \sim N(0, \sigma_w^2/N)` and
:math:`b^l_i \sim N(0, \sigma_b^2)`. As the width N grows, the mean square :math:`q^l` of the pre-activations of an
input and the correlation :math:`c^l` of those of two inputs follow deterministic maps (Poole et al. 2016), and so do
the gradients going back (Schoenholz et al. 2017):

.. math::
    q^{l+1} &= \sigma_w^2\,E\,\phi(\sqrt{q^l}z)^2 + \sigma_b^2, \\
    c^{l+1} &= [\sigma_w^2\,E\,\phi(u)\phi(v) + \sigma_b^2]/q^{l+1}, \\
    \tilde q^l &= \sigma_w^2\,E\,\phi'(\sqrt{q^l}z)^2\;\tilde q^{l+1}.

All of it is numpy float64. ``simulate`` runs networks of finite width beside the theory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdynamics import activations
from deepdynamics._checks import finite
from deepdynamics.activations import Activation, ActivationLike
from deepdynamics.activations.closedforms import Homogeneous
from deepdynamics.activations.integrals import blocks
from deepdynamics.meanfield import simulation
from deepdynamics.meanfield.lengths import divergence, fixed_length, fixed_lengths, root
from deepdynamics.meanfield.simulation import Seed

Array = NDArray[np.float64]

CRITICAL = 1e-9  # |chi_1 - 1| below this is the critical line


class _Unpackable:
    """Lets a dataclass be unpacked in the order of its fields."""

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, f.name) for f in fields(self) if f.metadata.get("unpack", True)])  # type: ignore[arg-type]


@dataclass(frozen=True)
class Trajectory(_Unpackable):
    """Lengths and correlations, layer by layer (the last axis of a simulation, the first of a theory).

    >>> q, c = MeanField("linear", 1.0, 0.0).trajectory(2.0, 0.5, 1)
    >>> q.tolist(), c.tolist()
    ([2.0, 2.0], [0.5, 0.5])
    """

    q: Array
    c: Array


class _RandomLayer:
    """The maps of one kind of random layer, h -> skip · h + W phi(h) + b, and what follows from iterating them."""

    skip = 0.0

    def __init__(self, activation: ActivationLike, weight_var: float, bias_var: float) -> None:
        self.activation = activations.get(activation)
        self.weight_var = _scalar_variance("weight_var", weight_var)
        self.bias_var = _scalar_variance("bias_var", bias_var)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.activation.name!r}, {self.weight_var:g}, {self.bias_var:g})"

    def length_map(self, q: ArrayLike) -> Any:
        """q of the next layer, skip · q + σ_w² E phi(√q z)² + σ_b², elementwise.

        >>> float(MeanField("relu", 2.0, 0.1).length_map(1.0))
        1.1
        """
        moment = self.activation.second_moment(q)
        return self.skip * finite("q", q) + self.weight_var * moment + self.bias_var

    def _next_correlation(self, q: ArrayLike, c: ArrayLike) -> Any:
        variance = finite("q", q)
        covariance = variance * _correlation("c", c)
        shared = self.weight_var * self.activation.covariance(variance, variance, covariance)
        length = self.length_map(variance)
        following = self.skip * covariance + shared + self.bias_var
        return np.divide(following, length, out=np.ones(np.shape(following)), where=length > 0)[()]

    def gradient_factor(self, q: ArrayLike) -> Any:
        """The mean square of a gradient gains skip + σ_w² E phi'(√q z)² when it goes back through the layer that acts
        on pre-activations of length q (Schoenholz et al. 2017).

        >>> float(MeanField("relu", 2.0, 0.0).gradient_factor(3.0))
        1.0
        """
        return self.skip + self.weight_var * self.activation.slope_moment(q, 2)

    def trajectory(self, q0: ArrayLike, c0: ArrayLike, depth: int) -> Trajectory:
        """The maps iterated ``depth`` times from pre-activations of length q0 and correlation c0: arrays q, c of
        shape (depth + 1, …), with q[0] = q0, c[0] = c0 and the broadcast shape of q0, c0 behind.

        >>> q, c = MeanField("relu", 2.0, 0.0).trajectory(1.0, 0.5, 2)
        >>> q.tolist()
        [1.0, 1.0, 1.0]
        """
        first, start = np.broadcast_arrays(_length("q0", q0), _correlation("c0", c0))
        q = np.empty((simulation.count("depth", depth, least=0) + 1, *first.shape))
        c = np.empty_like(q)
        q[0], c[0] = first, start
        for layer in range(depth):
            q[layer + 1] = self.length_map(q[layer])
            c[layer + 1] = np.minimum(self._next_correlation(q[layer], c[layer]), 1)
        return Trajectory(q, c)

    def gradient_trajectory(self, q0: float, depth: int) -> Array:
        """Mean squares of the gradients with respect to the pre-activations, relative to the last layer: entry l
        belongs to the pre-activations of length q[l] of ``trajectory``, entry ``depth`` is 1. It takes for granted
        that the weights of the way back are independent of those of the way forward.

        >>> MeanField("linear", 0.5, 0.0).gradient_trajectory(1.0, 2).tolist()
        [0.25, 0.5, 1.0]
        """
        factors = self.gradient_factor(self.trajectory(q0, 1.0, depth).q[:-1])
        return np.append(np.cumprod(factors[::-1])[::-1], 1.0)

    def simulate(self, width: int, depth: int, q0: float, c0: float, seeds: int, *, seed: Seed = 0) -> Trajectory:
        """Two inputs through ``seeds`` random networks, in one batched program: arrays q (the mean over both) and c of
        shape (seeds, depth + 1). They start from random pre-activations of exactly the length q0 and the correlation
        c0; see :mod:`deepdynamics.meanfield.simulation` for more than these two numbers.

        >>> MeanField("tanh", 2.0, 0.1).simulate(width=50, depth=3, q0=1.0, c0=0.5, seeds=2).c.shape
        (2, 4)
        """
        length = float(_length("q0", q0))
        cross = length * float(_correlation("c0", c0))
        grams = simulation.forward(
            self.activation,
            self.weight_var,
            self.bias_var,
            np.array([[length, cross], [cross, length]]),
            width=width,
            depth=depth,
            networks=seeds,
            skip=self.skip,
            seed=seed,
        )
        lengths = np.diagonal(grams, axis1=2, axis2=3)
        return Trajectory(lengths.mean(-1), np.clip(grams[..., 0, 1] / np.sqrt(lengths.prod(-1)), -1, 1))


class MeanField(_RandomLayer):
    r"""Order parameters of a random network with layers W phi(h) + b (Poole et al. 2016; Schoenholz et al. 2017).

    ``activation`` is a name or any function (:func:`deepdynamics.activations.get`), ``weight_var`` = σ_w² and
    ``bias_var`` = σ_b² are variances. ``q_star`` is the fixed point of the length map that lengths approach from
    q = 1 (``fixed_points`` has all of them: GELU and its like have several), ``chi_1`` the slope at 1 of the
    correlation map there, ``c_star`` the fixed point of this map that correlations approach, ``chi_c_star`` the slope
    there. Distances to the fixed points shrink like exp(-layers/xi_q), exp(-layers/xi_c); gradients like
    exp(-layers/xi_grad), which is negative where they explode. Where lengths diverge from q = 1 (ReLU with σ_w² >= 2,
    linear with σ_w² >= 1) ``q_star`` and all that needs it raise ValueError.

    >>> net = MeanField("tanh", weight_var=2.25, bias_var=0.09)
    >>> print(net.phase, round(net.chi_1, 9), round(net.c_star, 9), round(net.xi_c, 6))
    chaotic 1.060981264 0.766753297 19.916297
    """

    @cached_property
    def q_star(self) -> float:
        """The fixed point of ``length_map`` that lengths approach from q = 1: the next one above 1 if a length of 1
        grows, else the next one below; 0 where no other is there. ValueError where they diverge; it names the fixed
        points that are not reached.

        >>> round(MeanField("gelu", 2.05, 0.1).q_star, 6)
        0.38654
        """
        return self._known(fixed_length(self.activation, np.array(self.weight_var), np.array(self.bias_var)))

    @cached_property
    def fixed_points(self) -> Array:
        """All fixed points of ``length_map``, ascending; lengths leave those where its slope is above 1. Empty where
        there is none; ValueError where every length is one.

        >>> MeanField("gelu", 2.05, 0.1).fixed_points.round(6)
        array([0.38654 , 2.316616])
        """
        if not _scale_free(self.activation):
            return fixed_lengths(self.activation, self.weight_var, self.bias_var)
        slope = self.weight_var * float(self.activation.second_moment(1.0))
        if self.bias_var == 0:
            return np.array([self._known(0.0 if slope != 1 else np.nan)])
        return np.array([self.q_star] if slope < 1 else [])

    def _known(self, value: Any) -> float:
        if np.isnan(value):
            raise ValueError(divergence(self.activation, self.weight_var, self.bias_var))
        return float(value)

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        if not _scale_free(self.activation):
            _ = self.q_star  # raises where there is none
        return _order_parameters(self.activation, np.array(self.weight_var), np.array(self.bias_var))

    def _parameter(self, name: str) -> float:
        return self._known(self._parameters[name])

    @property
    def chi_1(self) -> float:
        """σ_w² E phi'(√q* z)²: the slope of the correlation map at 1, and the growth of squared gradients.

        >>> MeanField("relu", 1.5, 0.1).chi_1
        0.75
        """
        return self._parameter("chi_1")

    @property
    def c_star(self) -> float:
        """The stable fixed point of ``correlation_map``: 1 unless the phase is chaotic.

        >>> round(MeanField("tanh", 2.25, 0.09).c_star, 9)
        0.766753297
        """
        return self._parameter("c_star")

    @property
    def chi_c_star(self) -> float:
        """The slope of ``correlation_map`` at ``c_star``.

        >>> round(MeanField("tanh", 2.25, 0.09).chi_c_star, 9)
        0.951029558
        """
        return self._parameter("chi_c_star")

    @property
    def xi_q(self) -> float:
        """Depth scale of lengths: -1/log |slope of ``length_map`` at q*| (Schoenholz et al. 2017).

        >>> round(MeanField("tanh", 2.25, 0.09).xi_q, 9)
        1.167499333
        """
        return self._parameter("xi_q")

    @property
    def xi_c(self) -> float:
        """Depth scale of correlations: -1/log ``chi_c_star``; inf at criticality.

        >>> MeanField("relu", 2.0, 0.0).xi_c
        inf
        """
        return self._parameter("xi_c")

    @property
    def xi_grad(self) -> float:
        """Depth scale of squared gradients: -1/log ``chi_1``; inf at criticality, negative in the chaotic phase.

        >>> round(MeanField("tanh", 2.25, 0.09).xi_grad, 6)
        -16.893547
        """
        return self._parameter("xi_grad")

    @property
    def phase(self) -> str:
        """ "ordered", "critical" (chi_1 within 1e-9 of 1) or "chaotic".

        >>> MeanField("leaky_relu", 2 / 1.0001, 0.0).phase
        'critical'
        """
        return str(_phase(np.array(self.chi_1)))

    def correlation_map(self, c: ArrayLike, q: ArrayLike | None = None) -> Any:
        """The next correlation of two inputs of equal length q (by default q*), elementwise; at q = 0 its limit.

        >>> float(MeanField("erf", 2.25, 0.09).correlation_map(1.0))
        1.0
        """
        return self._next_correlation(np.maximum(self.q_star if q is None else finite("q", q), 1e-12), c)


def _order_parameters(phi: Activation, weight_var: Array, bias_var: Array) -> dict[str, Array]:
    q = fixed_length(phi, weight_var, bias_var)
    known = np.isfinite(q) | _scale_free(phi)  # there the moments of the slope do not depend on the length
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
    # in s = √(1 - c) it is smooth for activations with kinks as well
    s = root(lambda s: weight_var * mean_slope(1 - s**2) - 1, np.zeros_like(q), np.ones_like(q))
    return 1 - s**2


def _depth_scale(slope: Array) -> Array:
    with np.errstate(divide="ignore"):
        scale = -1 / np.log(np.abs(slope))
    return np.where(np.abs(np.abs(slope) - 1) <= CRITICAL, np.inf, scale)


def _phase(chi_1: Array) -> NDArray[np.str_]:
    conditions = [np.isnan(chi_1), np.abs(chi_1 - 1) <= CRITICAL, chi_1 < 1]
    return np.select(conditions, ["none", "critical", "ordered"], "chaotic")


def _scalar_variance(name: str, value: float) -> float:
    array = finite(name, value)
    if array.ndim or array < 0:
        raise ValueError(f"{name} = {value!r}: one number, finite and not negative, is allowed")
    return float(array)


def _length(name: str, q: ArrayLike) -> Array:
    array = finite(name, q)
    if (array <= 0).any():
        raise ValueError(f"{name} = {q!r}: a positive length is allowed")
    return array


def _correlation(name: str, c: ArrayLike) -> Array:
    array = finite(name, c)
    if (np.abs(array) > 1).any():
        raise ValueError(f"{name} = {c!r}: a correlation lies in [-1, 1]")
    return array


def _scale_free(phi: Activation) -> bool:
    """Whether no length sets a scale: the moments of the slope are the same at all of them."""
    return isinstance(phi, Homogeneous)
