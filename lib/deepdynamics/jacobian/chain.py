r"""The chain rule of multilayer perceptrons in closed form.

A layer x^l = φ(W^l x^{l-1} + b^l) has the Jacobian

    J^l = diag(d^l) W^l,        d^l = φ'(W^l x^{l-1} + b^l),

(times whatever gain stands at the input of φ), and J_{0→l} = J^l ⋯ J^1, the last layer on the left. Who has slopes and
weights needs no differentiation: :func:`layer_factor` is one J^l, :func:`multiplied` the product of several.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor

from deepdynamics import activations
from deepdynamics._checks import Numbers, count, parameter, tensor
from deepdynamics.networks import MLP, Layer

__all__ = ["layer_factor", "mlp_jacobians", "multiplied"]


def layer_factor(slopes: Tensor, weight: Tensor) -> Tensor:
    """diag(d) W for slopes d (…, out) and matrices W (…, out, in): (…, out, in). Leading axes broadcast, so that slopes
    (n, out) of n inputs and one matrix give the Jacobians of all.

    >>> layer_factor(torch.tensor([1.0, 0.5]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[1.0000, 2.0000],
            [1.5000, 2.0000]])
    """
    return slopes[..., None] * weight


def multiplied(factors: Iterable[Tensor]) -> Tensor:
    """J^L ⋯ J^2 J^1 of ``factors`` J^1, J^2, …, first layer first, multiplied from the input's side; right to rounding
    relative to its largest singular value (:func:`deepdynamics.jacobian.product_singular_values` has no such limit).

    >>> multiplied([torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]])])
    tensor([[11.]])
    """
    return reduce(lambda product, factor: factor @ product, factors)


@torch.no_grad()
def mlp_jacobians(net: MLP, X: Numbers, depth: int | None = None) -> Tensor:
    """∂x^l/∂x^0 of an MLP at every input of a batch X (n, in), l = ``depth`` (the last layer by default), (n, width of
    l, in).

    The product diag(φ'(h^l)) W^l … diag(φ'(h^1)) W^1, multiplied out from the input's side as one batched product a
    layer. Raises ``ValueError`` for a net that is no MLP, a shape that does not fit or a depth it does not have.

    >>> net, X = MLP((3, 5, 2), "tanh", seed=0), torch.ones(4, 3)
    >>> J = mlp_jacobians(net, X)
    >>> J.shape, torch.allclose(J[0], torch.func.jacrev(net)(X[0]), atol=1e-6)
    (torch.Size([4, 2, 3]), True)
    """
    if not isinstance(net, MLP):
        raise ValueError(f"net is of type {type(net).__name__}: an MLP is allowed")
    layers = net.layers
    depth = count("depth", len(layers) if depth is None else depth, most=len(layers))
    width = net.widths[0]
    states = tensor("X", X, None if isinstance(X, Tensor) else parameter([net]))
    if states.ndim != 2 or states.shape[1] != width or not torch.isfinite(states).all():
        raise ValueError(f"X of shape {tuple(states.shape)}: finite inputs (n, {width}) are allowed")
    J: Tensor | None = None
    for layer in layers[:depth]:
        assert isinstance(layer, Layer)
        weight = layer.weight * layer.scales[0]
        J = weight.expand(len(states), *weight.shape) if J is None else weight @ J
        if layer.activation is not None:
            assert isinstance(layer.activation, activations.Activation)
            J = layer_factor(layer.gain * layer.activation.slope(layer.gain * layer.preactivation(states)), J)
        states = layer(states)
    assert J is not None
    return J.clone()
