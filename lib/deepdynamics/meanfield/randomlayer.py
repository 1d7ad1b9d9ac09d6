r"""One kind of random layer: its maps of lengths, correlations and gradients, iterated, and simulated beside.

The three maps are those of :mod:`deepdynamics.meanfield.fields`. All of it is numpy float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deepdynamics import activations
from deepdynamics._checks import Array, Values, count, finite, not_negative, number, positive
from deepdynamics.activations import ActivationLike
from deepdynamics.meanfield import simulation
from deepdynamics.meanfield.simulation import Seed

__all__ = ["RandomLayer", "Trajectory", "Unpackable"]


class Unpackable:
    """Lets a dataclass be unpacked in the order of its fields, without those that ``metadata={"unpack": False}`` marks.

    >>> list(Trajectory([1.0], [0.5]))
    [[1.0], [0.5]]
    """

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, f.name) for f in fields(self) if f.metadata.get("unpack", True)])  # type: ignore[arg-type]


@dataclass(frozen=True)
class Trajectory(Unpackable):
    """Lengths and correlations, layer by layer (the last axis of a simulation, the first of a theory).

    >>> q, c = RandomLayer("linear", 1.0, 0.0).trajectory(2.0, 0.5, 1)
    >>> q.tolist(), c.tolist()
    ([2.0, 2.0], [0.5, 0.5])
    """

    q: Array
    c: Array


class RandomLayer:
    """The maps of one kind of random layer, h -> skip · h + W phi(h) + b, and what follows from iterating them.

    ``activation`` is a name or any function (:func:`deepdynamics.activations.get`), ``weight_var`` = σ_w² and
    ``bias_var`` = σ_b² are variances.

    >>> RandomLayer("relu", 2.0, 0.0)
    RandomLayer('relu', 2, 0)
    """

    skip = 0.0

    def __init__(self, activation: ActivationLike, weight_var: float, bias_var: float) -> None:
        self.activation = activations.get(activation)
        self.weight_var = number("weight_var", weight_var, not_negative)
        self.bias_var = number("bias_var", bias_var, not_negative)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.activation.name!r}, {self.weight_var:g}, {self.bias_var:g})"

    def length_map(self, q: ArrayLike) -> Values:
        """q of the next layer, skip · q + σ_w² E phi(√q z)² + σ_b², elementwise.

        >>> float(RandomLayer("relu", 2.0, 0.1).length_map(1.0))
        1.1
        """
        moment = self.activation.second_moment(q)
        return self.skip * finite("q", q) + self.weight_var * moment + self.bias_var

    def next_correlation(self, q: ArrayLike, c: ArrayLike) -> Values:
        """The next correlation of two inputs of equal length q and correlation c, elementwise; 1 where the next length
        is 0.

        >>> float(RandomLayer("linear", 1.0, 1.0).next_correlation(1.0, 0.5))
        0.75
        """
        variance = finite("q", q)
        covariance = variance * _correlation("c", c)
        shared = self.weight_var * self.activation.covariance(variance, variance, covariance)
        length = self.length_map(variance)
        following = self.skip * covariance + shared + self.bias_var
        return np.divide(following, length, out=np.ones(np.shape(following)), where=length > 0)[()]

    def gradient_factor(self, q: ArrayLike) -> Values:
        """The mean square of a gradient gains skip + σ_w² E phi'(√q z)² when it goes back through the layer that acts
        on pre-activations of length q (Schoenholz et al. 2017).

        >>> float(RandomLayer("relu", 2.0, 0.0).gradient_factor(3.0))
        1.0
        """
        return self.skip + self.weight_var * self.activation.slope_moment(q, 2)

    def trajectory(self, q0: ArrayLike, c0: ArrayLike, depth: int) -> Trajectory:
        """The maps iterated ``depth`` times from pre-activations of length q0 and correlation c0: arrays q, c of
        shape (depth + 1, …), with q[0] = q0, c[0] = c0 and the broadcast shape of q0, c0 behind.

        >>> q, c = RandomLayer("relu", 2.0, 0.0).trajectory(1.0, 0.5, 2)
        >>> q.tolist()
        [1.0, 1.0, 1.0]
        """
        first, start = np.broadcast_arrays(positive("q0", q0), _correlation("c0", c0))
        q = np.empty((count("depth", depth, least=0) + 1, *first.shape))
        c = np.empty_like(q)
        q[0], c[0] = first, start
        for layer in range(depth):
            q[layer + 1] = self.length_map(q[layer])
            c[layer + 1] = np.minimum(self.next_correlation(q[layer], c[layer]), 1)
        return Trajectory(q, c)

    def gradient_trajectory(self, q0: float, depth: int) -> Array:
        """Mean squares of the gradients with respect to the pre-activations, relative to the last layer: entry l
        belongs to the pre-activations of length q[l] of ``trajectory``, entry ``depth`` is 1. It takes for granted
        that the weights of the way back are independent of those of the way forward.

        >>> RandomLayer("linear", 0.5, 0.0).gradient_trajectory(1.0, 2).tolist()
        [0.25, 0.5, 1.0]
        """
        factors = self.gradient_factor(self.trajectory(q0, 1.0, depth).q[:-1])
        return np.append(np.cumprod(np.asarray(factors)[::-1])[::-1], 1.0)

    def simulate(self, width: int, depth: int, q0: float, c0: float, seeds: int, *, seed: Seed = 0) -> Trajectory:
        """Two inputs through ``seeds`` random networks, in one batched program: arrays q (the mean over both) and c of
        shape (seeds, depth + 1). They start from random pre-activations of exactly the length q0 and the correlation
        c0; see :mod:`deepdynamics.meanfield.simulation` for more than these two numbers.

        >>> RandomLayer("tanh", 2.0, 0.1).simulate(width=50, depth=3, q0=1.0, c0=0.5, seeds=2).c.shape
        (2, 4)
        """
        length = float(positive("q0", q0))
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


def _correlation(name: str, c: ArrayLike) -> Array:
    array = finite(name, c)
    if (np.abs(array) > 1).any():
        raise ValueError(f"{name} = {c!r}: a correlation lies in [-1, 1]")
    return array
