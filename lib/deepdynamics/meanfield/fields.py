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

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from deepdynamics._checks import Array, Values, finite
from deepdynamics.meanfield.lengths import divergence, fixed_length, fixed_lengths
from deepdynamics.meanfield.orderparameters import order_parameters, phase, scale_free
from deepdynamics.meanfield.randomlayer import RandomLayer

__all__ = ["MeanField"]


class MeanField(RandomLayer):
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
        if not scale_free(self.activation):
            return fixed_lengths(self.activation, self.weight_var, self.bias_var)
        slope = self.weight_var * float(self.activation.second_moment(1.0))
        if self.bias_var == 0:
            return np.array([self._known(0.0 if slope != 1 else np.nan)])
        return np.array([self.q_star] if slope < 1 else [])

    def _known(self, value: float | Array) -> float:
        if np.isnan(value):
            raise ValueError(divergence(self.activation, self.weight_var, self.bias_var))
        return float(value)

    @cached_property
    def _parameters(self) -> dict[str, Array]:
        if not scale_free(self.activation):
            _ = self.q_star  # raises where there is none
        return order_parameters(self.activation, np.array(self.weight_var), np.array(self.bias_var))

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
        return str(phase(np.array(self.chi_1)))

    def correlation_map(self, c: ArrayLike, q: ArrayLike | None = None) -> Values:
        """The next correlation of two inputs of equal length q (by default q*), elementwise; at q = 0 its limit.

        >>> float(MeanField("erf", 2.25, 0.09).correlation_map(1.0))
        1.0
        """
        return self.next_correlation(np.maximum(self.q_star if q is None else finite("q", q), 1e-12), c)
