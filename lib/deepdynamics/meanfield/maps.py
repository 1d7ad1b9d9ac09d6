"""Mean field maps of other architectures: residual, convolutional, recurrent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deepdynamics import activations
from deepdynamics._checks import Array, not_negative, number
from deepdynamics.activations import ActivationLike
from deepdynamics.meanfield.fields import MeanField
from deepdynamics.meanfield.lengths import falling_root
from deepdynamics.meanfield.randomlayer import RandomLayer, Unpackable
from deepdynamics.meanfield.simulation import gram_matrix, kernel_offsets

__all__ = ["Autocorrelation", "ResidualMeanField", "convolutional_map", "recurrent_autocorrelation"]


class ResidualMeanField(RandomLayer):
    """Residual layers h + W phi(h) + b (Yang and Schoenholz 2017): ``length_map``, ``gradient_factor``,
    ``trajectory``, ``gradient_trajectory`` and ``simulate`` as in :class:`MeanField`. Lengths grow at every layer, so
    there is no fixed point and no phase.

    >>> ResidualMeanField("tanh", 1.5, 0.1).trajectory(1.0, 0.6, 30).q[-1].round(3).item()
    38.508
    """

    skip = 1.0


@dataclass(frozen=True)
class Autocorrelation(Unpackable):
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
    phi, w = activations.get(activation), number("weight_var", weight_var, not_negative)
    if w * phi.slope(0.0) ** 2 <= 1:
        raise ValueError(f"weight_var = {w:g}: activity dies; more than {1 / phi.slope(0.0) ** 2:g} is allowed")
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = (nodes + 1) / 2

    def integral(q: Array, c: Array) -> Array:
        """(2/q) ∫ C(q c') dc' over c' from 0 to c."""
        wide = q[..., None]
        return w / q * c * (phi.covariance(wide, wide, wide * c[..., None] * t) @ weights)

    one = np.ones(1)
    log_q = falling_root(
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
    weight, bias = number("weight_var", weight_var, not_negative), number("bias_var", bias_var, not_negative)
    sigma, offsets = gram_matrix(covariance), kernel_offsets(kernel_size)
    lengths = np.diag(sigma)
    products = activations.get(activation).covariance(lengths[:, None], lengths[None, :], sigma)
    windows = sum(np.roll(products, (-offset, -offset), axis=(0, 1)) for offset in offsets)
    return np.asarray(weight * windows / len(offsets) + bias)
