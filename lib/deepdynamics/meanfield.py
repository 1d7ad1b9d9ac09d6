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
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdynamics import activations, randomnetworks
from deepdynamics.activations import Activation, ActivationLike, Homogeneous
from deepdynamics.arrays import finite
from deepdynamics.gaussianintegrals import blocks
from deepdynamics.lengthmaps import divergence, fixed_length, fixed_lengths, root
from deepdynamics.randomnetworks import Seed

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


@dataclass(frozen=True)
class CriticalPoint(_Unpackable):
    """Where chi_1 = 1: the weight variance and the fixed point of the length there.

    >>> weight_var, q_star = critical_weight_var("tanh", 0.0)
    >>> float(weight_var), float(q_star)
    (1.0, 0.0)
    """

    weight_var: Any
    q_star: Any


@dataclass(frozen=True)
class PhaseDiagram(_Unpackable):
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
        q = np.empty((randomnetworks.count("depth", depth, least=0) + 1, *first.shape))
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
        c0; see :mod:`deepdynamics.randomnetworks` for more than these two numbers.

        >>> MeanField("tanh", 2.0, 0.1).simulate(width=50, depth=3, q0=1.0, c0=0.5, seeds=2).c.shape
        (2, 4)
        """
        length = float(_length("q0", q0))
        cross = length * float(_correlation("c0", c0))
        grams = randomnetworks.forward(
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


class ResidualMeanField(_RandomLayer):
    """Residual layers h + W phi(h) + b (Yang and Schoenholz 2017): ``length_map``, ``gradient_factor``,
    ``trajectory``, ``gradient_trajectory`` and ``simulate`` as in :class:`MeanField`. Lengths grow at every layer, so
    there is no fixed point and no phase.

    >>> ResidualMeanField("tanh", 1.5, 0.1).trajectory(1.0, 0.6, 30).q[-1].round(3).item()
    38.508
    """

    skip = 1.0


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
    phi, bias = activations.get(activation), finite("bias_var", bias_var)
    if (bias < 0).any():
        raise ValueError(f"bias_var = {bias}: a variance is not negative")
    if _scale_free(phi):
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

    grid = np.linspace(np.log(1e-6), np.log(1e3), 120)
    flat, q = bias.ravel(), np.full(bias.size, np.nan)
    if phi.second_moment(0.0) == 0 and phi.slope(0.0) != 0:
        q = np.where(_reached(phi, np.zeros(flat.shape), flat), 0.0, q)
    above = flat[:, None] + ratio(np.exp(grid)) - np.exp(grid) < 0
    crossings = above[:, 1:] & ~above[:, :-1]
    for number in range(1, 1 + int(crossings.sum(1).max(initial=0))):  # the first that lengths approach
        todo = np.flatnonzero(np.isnan(q) & (crossings.sum(1) >= number))
        if len(todo) == 0:
            continue
        cell = (crossings[todo].cumsum(1) == number).argmax(1)
        missing = lambda x, b=flat[todo]: b + ratio(np.exp(x)) - np.exp(x)  # noqa: E731
        found = np.exp(root(missing, grid[cell], grid[cell + 1]))
        q[todo] = np.where(_reached(phi, found, flat[todo]), found, np.nan)
    if np.isnan(q).any():
        raise ValueError(f"{phi.name} has no critical point with bias_var = {bias}, q* between 1e-6 and 1e3")
    q_star = q.reshape(bias.shape)
    return CriticalPoint((1 / phi.slope_moment(q_star, 2))[()], q_star[()])


def _reached(phi: Activation, q: Array, bias_var: Array) -> NDArray[np.bool_]:
    """Whether lengths approach q from 1 in the critical network with this q."""
    found = fixed_length(phi, 1 / phi.slope_moment(q, 2), bias_var)
    return np.asarray(np.abs(found - q) <= 1e-6 * q + 1e-9)


def phase_diagram(activation: ActivationLike, weight_vars: ArrayLike, bias_vars: ArrayLike) -> PhaseDiagram:
    """All order parameters of :class:`MeanField` on a grid, as arrays (len(bias_vars), len(weight_vars)).

    Where the length map has no fixed point, what needs it is nan (and the phase of softplus "none").

    >>> phase_diagram("tanh", [0.5, 1.5, 3.0], [0.05]).phase.tolist()
    [['ordered', 'ordered', 'chaotic']]
    """
    phi = activations.get(activation)
    weights, biases = _axis("weight_vars", weight_vars), _axis("bias_vars", bias_vars)
    fields_ = _order_parameters(phi, *np.meshgrid(weights, biases))
    return PhaseDiagram(
        **fields_, phase=_phase(fields_["chi_1"]), activation=phi.name, weight_vars=weights, bias_vars=biases
    )


@dataclass(frozen=True)
class Autocorrelation(_Unpackable):
    """The stationary state of a recurrent network: variance of a unit, and its correlations at lags >= 0.

    >>> variance, lags, correlations = recurrent_autocorrelation("tanh", 2.0)
    >>> lags[0].item(), correlations[0].item()
    (0.0, 1.0)
    """

    variance: float
    lags: Array
    correlations: Array


def recurrent_autocorrelation(activation: ActivationLike, weight_var: float) -> Autocorrelation:
    r"""Dynamic mean field theory of dh/dt = -h + W phi(h), phi odd, with one Gaussian W for all times (Sompolinsky,
    Crisanti and Sommers 1988). The autocovariance Δ(τ) solves Δ'' = Δ - C(Δ), C = σ_w² E phi(u)phi(v) with (u, v) of
    variance Δ(0) and covariance Δ, and vanishes at τ -> ∞: conservation of energy,

    .. math:: \Delta'^2 = \Delta^2 - 2\int_0^\Delta C, \qquad \Delta(0)^2 = 2\int_0^{\Delta(0)} C ,

    gives Δ(0) and the lag at which the correlation has fallen to each of ``correlations`` (from 1 to 0.02). ValueError
    where σ_w² phi'(0)² <= 1: all activity dies.

    >>> round(recurrent_autocorrelation("tanh", 4.0).variance, 6) < MeanField("tanh", 4.0, 0.0).q_star
    True
    """
    phi, w = activations.get(activation), _scalar_variance("weight_var", weight_var)
    if w * phi.slope(0.0) ** 2 <= 1:
        raise ValueError(f"weight_var = {w:g}: activity dies; more than {1 / phi.slope(0.0) ** 2:g} is allowed")
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = (nodes + 1) / 2

    def integral(q: Array, c: Array) -> Array:
        """(2/q) ∫ C(q c') dc' over c' from 0 to c."""
        wide = q[..., None]
        return w / q * c * (phi.covariance(wide, wide, wide * c[..., None] * t) @ weights)

    one = np.ones(1)
    log_q = root(
        lambda x: integral(np.exp(x), one) - 1, np.log(1e-9 * one), np.log(MeanField(phi, w, 0.0).q_star * one)
    )
    q = np.exp(log_q)
    # c = 1 - s²: the integrand of the lag, dc/√(c² - …), is smooth in s; midpoint rule
    s = np.linspace(0, np.sqrt(0.98), 1001)
    middle = (s[1:] + s[:-1]) / 2
    c = 1 - middle**2
    steps = 2 * middle * np.diff(s) / np.sqrt(c**2 - integral(np.full_like(c, q[0]), c))
    return Autocorrelation(float(q[0]), np.append(0.0, np.cumsum(steps)), 1 - s**2)


def convolutional_map(
    activation: ActivationLike, weight_var: float, bias_var: float, covariance: ArrayLike, kernel_size: int
) -> Array:
    r"""The covariances between the positions of a convolutional network with independent weights of variance
    σ_w²/(k c_in) and circular padding, one layer on (Xiao et al. 2018):

    .. math:: \Sigma'_{\alpha\alpha'} = \frac{\sigma_w^2}{k}\sum_\beta
        E\,\phi\phi[\Sigma_{\alpha+\beta,\,\alpha'+\beta}] + \sigma_b^2 .

    ``covariance`` is (n, n), of the pre-activations at n positions of one channel, ``kernel_size`` = k odd. The
    diagonal of a position-independent length follows ``MeanField.length_map``.

    >>> convolutional_map("linear", 1.0, 0.0, np.eye(3), 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    sigma = randomnetworks.gram_matrix(covariance)
    offsets = randomnetworks.kernel_offsets(kernel_size)
    lengths = np.diag(sigma)
    products = activations.get(activation).covariance(lengths[:, None], lengths[None, :], sigma)
    windows = sum(np.roll(products, (-offset, -offset), axis=(0, 1)) for offset in offsets)
    weight, bias = _scalar_variance("weight_var", weight_var), _scalar_variance("bias_var", bias_var)
    return weight * windows / len(offsets) + bias


def _scale_free(phi: Activation) -> bool:
    """Whether no length sets a scale: the moments of the slope are the same at all of them."""
    return isinstance(phi, Homogeneous)


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


def _axis(name: str, values: ArrayLike) -> Array:
    array = finite(name, values)
    if array.ndim != 1 or not len(array) or (array < 0).any():
        raise ValueError(f"{name} = {values!r}: a list of variances, not negative, is allowed")
    return array


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
