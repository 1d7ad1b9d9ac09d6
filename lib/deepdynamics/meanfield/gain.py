r"""Random networks with a gain: the same matrices, one knob.

Layers without biases and with a gain g on every unit,

.. math:: h^l = W^l x^{l-1}, \qquad x^l = \phi(g\,h^l), \qquad J^l = g\,\operatorname{diag}\phi'(g\,h^l)\,W^l ,

with W Haar-orthogonal or Gaussian of variance 1/N, so that g is also the standard deviation of the weights (Saxe,
McClelland and Ganguli 2014, section 4). The theory is numpy float64 and broadcasts over gains and input variances; the
networks are torch float64, and every gain meets the same random matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from deepdynamics import activations
from deepdynamics._checks import Array, count, not_negative, number, one_of, positive, tensor
from deepdynamics.activations import ActivationLike
from deepdynamics.jacobian.chain import layer_factor, multiplied
from deepdynamics.networks import Seed, gaussian, generator, weight_matrices

__all__ = [
    "WEIGHTS",
    "GainTheory",
    "factors",
    "jacobians",
    "network",
    "second_moments",
    "sphere",
    "theory",
]

WEIGHTS = ("orthogonal", "gaussian")


@dataclass(frozen=True)
class GainTheory:
    """Layer by layer, (depth + 1, …), entry 0 the input: the mean square of the states, and of the singular values of
    the Jacobian from the input. Unpacks in this order.

    >>> second_moment, mean_square = theory("linear", 2.0, 1.0, 2)
    >>> second_moment.tolist(), mean_square.tolist()
    ([1.0, 4.0, 16.0], [1.0, 4.0, 16.0])
    """

    second_moment: Array
    mean_square: Array

    def __iter__(self) -> Iterator[Array]:
        return iter((self.second_moment, self.mean_square))


def theory(activation: ActivationLike, gain: ArrayLike, input_var: ArrayLike, depth: int) -> GainTheory:
    r"""Mean field theory of an infinitely wide network with a gain, for an input with :math:`\|x^0\|^2/N` =
    ``input_var``:

    .. math:: q^l = g^2\,\hat q^{l-1},\qquad \hat q^l = E\,\phi(\sqrt{q^l}z)^2,\qquad
        \tfrac1N\|J_{0\to l}\|_F^2 = \prod_{k \le l} g^2\,E\,\phi'(\sqrt{q^k}z)^2 ,

    the same for orthogonal and Gaussian weights (Poole et al. 2016; Schoenholz et al. 2017). Arrays (depth + 1, …)
    with the broadcast shape of ``gain`` and ``input_var`` behind. ValueError for a negative or infinite gain or
    variance, and for a depth below 0.

    >>> second_moment, mean_square = theory("linear", 0.5, 4.0, 2)
    >>> second_moment.tolist(), mean_square.tolist()
    ([4.0, 1.0, 0.25], [1.0, 0.25, 0.0625])
    """
    phi = activations.get(activation)
    g, start = np.broadcast_arrays(not_negative("gain", gain), not_negative("input_var", input_var))
    second_moment = np.empty((count("depth", depth, least=0) + 1, *g.shape))
    mean_square = np.ones_like(second_moment)
    second_moment[0] = start
    for layer in range(depth):
        q = g**2 * second_moment[layer]
        second_moment[layer + 1] = phi.second_moment(q)
        mean_square[layer + 1] = mean_square[layer] * g**2 * phi.slope_moment(q, 2)
    return GainTheory(second_moment, mean_square)


def sphere(width: int, variance: float, *, seed: Seed) -> Tensor:
    """An input in a random direction with exactly ‖x‖²/width = ``variance``, float64.

    >>> round(float(sphere(7, 0.1, seed=0).square().mean()), 12)
    0.1
    """
    variance = number("variance", variance, positive)
    x = gaussian((count("width", width),), seed=seed)
    return x * (width * variance) ** 0.5 / x.norm()


def second_moments(
    matrices: Sequence[Tensor | ArrayLike], x: Tensor | ArrayLike, gains: ArrayLike, activation: ActivationLike
) -> Tensor:
    """The mean square of the states of every layer, ‖x^l‖²/N_l, of inputs x (n, in) at each of the ``gains`` (m,):
    (depth + 1, m, n), entry 0 the input.

    >>> second_moments(weight_matrices("gaussian", (5, 3), seed=0), torch.ones(4, 5), [0.5, 1.0], "tanh").shape
    torch.Size([2, 2, 4])
    """
    phi = activations.get(activation)
    g = torch.as_tensor(not_negative("gains", gains))[:, None, None]
    x = tensor("x", x).double()
    state = x.expand(len(g), *x.shape)
    rows = [state.square().mean(-1)]
    for W in (tensor("matrices", each, like=x) for each in matrices):
        state = phi(g * (state @ W.T))
        rows.append(state.square().mean(-1))
    return torch.stack(rows)


def factors(
    matrices: Sequence[Tensor | ArrayLike], x: Tensor | ArrayLike, gain: float, activation: ActivationLike
) -> list[Tensor]:
    """J^l = g diag φ'(g h^l) W^l along the way of one input ``x`` (in,), first layer first.

    >>> J = factors([torch.eye(2)], torch.zeros(2), 1.5, "tanh")
    >>> J[0].diagonal().tolist()
    [1.5, 1.5]
    """
    phi = activations.get(activation)
    state, gain = tensor("x", x), number("gain", gain, not_negative)
    if state.ndim != 1:
        raise ValueError(f"x of shape {tuple(state.shape)}: one input, without a batch axis, is allowed")
    found = []
    for W in (tensor("matrices", each, like=state) for each in matrices):
        u = gain * (W @ state.to(W.dtype))
        found.append(layer_factor(gain * phi.slope(u), W))
        state = phi(u)
    return found


def jacobians(
    weights: str,
    gains: ArrayLike,
    *,
    width: int,
    depth: int,
    networks: int,
    input_var: float = 1.0,
    activation: ActivationLike = "tanh",
    seed: int = 0,
) -> Tensor:
    """Jacobians input → last layer of ``networks`` random networks at each gain, (networks, gains, width, width),
    float64, multiplied out: right to rounding relative to the largest singular value of each.

    Every network has its own matrices and input (of exactly ``input_var``), shared by all gains. Network and seed fix
    the random stream, so that a network is the same however many there are.

    >>> jacobians("orthogonal", [0.5, 1.0], width=5, depth=3, networks=2).shape
    torch.Size([2, 2, 5, 5])
    """
    phi, gains = activations.get(activation), not_negative("gains", gains)
    found = torch.empty(count("networks", networks), len(gains), width, width, dtype=torch.float64)
    for n in range(networks):
        matrices, x = network(weights, width=width, depth=depth, input_var=input_var, seed=seed, number=n)
        for i, gain in enumerate(gains):
            found[n, i] = multiplied(factors(matrices, x, float(gain), phi))
    return found


def network(
    weights: str, *, width: int, depth: int, input_var: float, seed: int, number: int
) -> tuple[list[Tensor], Tensor]:
    """The matrices and the input of network ``number`` of :func:`jacobians`.

    >>> matrices, x = network("gaussian", width=5, depth=3, input_var=1.0, seed=0, number=7)
    >>> len(matrices), x.shape
    (3, torch.Size([5]))
    """
    source = generator(np.random.default_rng([seed, number]))
    widths = (width,) * (count("depth", depth) + 1)
    matrices = weight_matrices(one_of("weights", weights, WEIGHTS), widths, seed=source)
    return matrices, sphere(width, input_var, seed=source)
