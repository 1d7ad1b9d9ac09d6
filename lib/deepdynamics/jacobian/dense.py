r"""Input-output Jacobians of networks: layer by layer, their product, and its singular values over any number of
decades.

With layers x^l = f^l(x^{l-1}) the chain rule puts the last layer on the left,

    J_{0→l} = J^l J^{l-1} ... J^1,        J^l = ∂x^l/∂x^{l-1},

and the singular values of J_{0→l} at x are the factors by which small spheres around x are stretched. The logarithms of
the singular values of a long product spread linearly in its length, so that the SVD of the product that was multiplied
out shows rounding noise below 1e-16 times the largest one. :func:`product_singular_values` does not multiply out.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepdynamics import activations
from deepdynamics._checks import Numbers, count, parameter, tensor
from deepdynamics.jacobian.inputs import AtInput, Map, along, at_input, check_one_input, floating
from deepdynamics.jacobian.linearise import UNTRACED, confirmed, products
from deepdynamics.networks import MLP, Layer
from deepdynamics.networks.small import _checked_input

Array = NDArray[np.float64]

_AT_ONCE = 16  # unit vectors sent through products at a time


@torch.inference_mode(False)
def jacobian(f: Map, x: Numbers) -> Tensor:
    """The Jacobian (out, in) of ``f`` at one input ``x``, input and output flattened; no batch axis (it is added where
    f needs it).

    By reverse or forward differentiation, whichever needs fewer passes, confirmed on random vectors by plain
    reverse-mode differentiation; where they differ, by the products of :mod:`deepdynamics.jacobian.linearise`. Carries
    no graph.

    Raises ``ValueError`` for an input that is not finite floating point; an ``f`` that cannot be evaluated, is in
    training mode with dropout or batch statistics, does not return a real floating point tensor, or has a Jacobian
    that is not finite; and for a batch, whose Jacobian would be that of the whole: where each of several rows
    (n, features), pictures (n, C, H, W) or, of a module with parameters, sequences (n, ., .) acts on its own output.

    >>> jacobian(lambda x: torch.stack((x.sum(), x.prod())), [2.0, 3.0, 4.0])
    tensor([[ 1.,  1.,  1.],
            [12.,  8.,  6.]])
    """
    at = at_input(f, x)
    J = _dense(at)
    check_one_input([f], [at], lambda V: V.reshape(len(V), -1) @ J.T)
    return J


@torch.inference_mode(False)
def layer_jacobians(layers: Sequence[Map], x: Numbers) -> list[Tensor]:
    """J^l = ∂x^l/∂x^{l-1} along the way of the input ``x``, first layer first; each (width of l, width of l - 1),
    flattened. Where one layer needs a batch axis, all get it.

    Raises ``ValueError`` for no layers, and as :func:`jacobian` does (for a batch where no layer mixes its samples).

    >>> J = layer_jacobians([torch.square, torch.sin], torch.tensor([1.0, 2.0]))
    >>> torch.allclose(J[1] @ J[0], jacobian(lambda x: torch.sin(x**2), torch.tensor([1.0, 2.0])))
    True
    """
    points = along(layers, x)
    jacobians = [_dense(at) for at in points]

    def product(V: Tensor) -> Tensor:
        return functools.reduce(lambda rows, J: rows @ J.T, jacobians, V.reshape(len(V), -1))

    check_one_input(layers, points, product)
    return jacobians


def _dense(at: AtInput) -> Tensor:
    """The Jacobian of a map at its input."""
    f, x, value = at.f, at.x, at.value
    transform = torch.func.jacrev if value.numel() <= x.numel() else torch.func.jacfwd
    with torch.no_grad():
        with contextlib.suppress(Exception):  # what torch's transforms meet: an operation without a rule
            J = transform(f)(x).reshape(value.numel(), x.numel())
            if confirmed(J, at):
                return J
        point = products(at, UNTRACED)
        wide = value.numel() > x.numel()
        units = torch.eye(min(x.numel(), value.numel()), dtype=x.dtype, device=x.device)
        parts = units.view(-1, *(x if wide else value).shape).split(_AT_ONCE)
        rows = torch.cat([(point.forward if wide else point.adjoint)(part).reshape(len(part), -1) for part in parts])
        return rows.T if wide else rows


def singular_values(f: Map, x: Numbers) -> Tensor:
    """Singular values (min(out, in),) of :func:`jacobian`, descending, by a dense SVD: right to rounding relative to
    the largest. Raises as :func:`jacobian` does: a batch of inputs has no singular values of its own.

    >>> singular_values(lambda x: x * torch.tensor([1.0, -3.0]), torch.zeros(2))
    tensor([3., 1.])
    """
    return torch.linalg.svdvals(jacobian(f, x))


@torch.inference_mode(False)
def pushforward(layers: Sequence[Map], x: Numbers, v: Numbers) -> list[Tensor]:
    """J_{0→l}(x) v for every l, first layer first: where the layers carry a small displacement ``v`` of the input.

    No Jacobian is formed; ``x`` and ``v`` have one shape, with or without a batch axis (it is added where a layer needs
    it), and each result has the shape of x^l. Raises ``ValueError`` where the shapes differ, and for layers and inputs
    as :func:`jacobian` does.

    >>> pushforward([torch.square, torch.sum], [1.0, 2.0], [0.5, 1.0])
    [tensor([1., 4.]), tensor(5.)]
    """
    points = along(layers, x)
    v = tensor("v", v).to(points[0].x)
    if points[0].x.shape != v.shape:
        raise ValueError(f"v of shape {tuple(v.shape)}: the shape of x, {tuple(points[0].x.shape)}, is allowed")
    carried = []
    for at in points:
        v = products(at, UNTRACED).forward(v[None])[0]
        carried.append(v)
    return carried


@torch.inference_mode(False)
def difference_gains(layers: Sequence[Map], a: Numbers, b: Numbers) -> Tensor:
    """‖x^l(a) - x^l(b)‖ / ‖a - b‖ for every l, (depth, n): how much of the difference of two inputs each layer leaves.

    ``a`` and ``b`` are batches (n, ...) of equal shape, compared pair by pair; norms run over everything but the batch
    axis. For b → a it becomes the gain of :func:`pushforward`. Raises ``ValueError`` where a pair has no difference.

    >>> difference_gains([lambda x: 2 * x, lambda x: x[:, :1]], [[0.0, 0.0]], [[3.0, 4.0]])
    tensor([[2.0000],
            [1.2000]])
    """
    a, b = floating("a", a, layers), floating("b", b, layers)
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(
            f"a and b of shapes {tuple(a.shape)} and {tuple(b.shape)}: two batches of one shape are allowed"
        )
    initial = (a - b).flatten(1).norm(dim=1)
    if not (initial > 0).all():
        raise ValueError(f"a and b: {int((initial == 0).sum())} pairs are equal; a gain needs a difference")
    pairs = zip(*(along(layers, side) for side in (a, b)), strict=True)
    return torch.stack([(one.value - other.value).flatten(1).norm(dim=1) / initial for one, other in pairs])


@torch.no_grad()
def cumulative_jacobians(layers: Sequence[Callable[[Tensor], Tensor]], x: Numbers) -> list[Tensor]:
    """J_{0→l} = ∂x^l/∂x^0 at one input ``x`` (no batch axis) for every layer, first layer first, each (width of l, in),
    flattened.

    One forward sweep carries all basis vectors of the input through the linearised layers: as many forward passes as
    the input has entries, for all layers together. Raises ``ValueError`` for no layers and an input that is not finite.

    >>> J = cumulative_jacobians([torch.square, torch.sum], torch.tensor([1.0, 3.0]))
    >>> J[0].tolist(), J[1].tolist()
    ([[2.0, 0.0], [0.0, 6.0]], [[2.0, 6.0]])
    """
    if len(layers) == 0:
        raise ValueError("layers is empty: at least one map is needed")
    x = _checked_input(x, layers)
    carried = torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape)
    found = []
    for layer in layers:
        carried = _carry(layer, x, carried)
        x = layer(x)
        found.append(carried.reshape(len(carried), -1).T)
    return found


def _carry(layer: Callable[[Tensor], Tensor], x: Tensor, vectors: Tensor) -> Tensor:
    """∂layer/∂x v for every v of ``vectors`` (m, *x.shape)."""
    return torch.func.vmap(lambda v: torch.func.jvp(layer, (x,), (v,))[1])(vectors)  # type: ignore[no-any-return, misc]


def cumulative_jacobian(layers: Sequence[Callable[[Tensor], Tensor]], x: Numbers) -> Tensor:
    """J of the composition of ``layers`` at one input ``x``, (out, in), flattened, by reverse differentiation: as many
    passes as there are outputs.

    For a narrow layer on top of wide ones. Raises as :func:`cumulative_jacobians` does.

    >>> cumulative_jacobian([torch.square, torch.sum], torch.tensor([1.0, 3.0]))
    tensor([[2., 6.]])
    """
    if len(layers) == 0:
        raise ValueError("layers is empty: at least one map is needed")
    x = _checked_input(x, layers)

    def composition(z: Tensor) -> Tensor:
        for layer in layers:
            z = layer(z)
        return z.flatten()

    with torch.no_grad():
        y, pull = torch.func.vjp(composition, x)  # type: ignore[misc]
        rows = torch.eye(y.numel(), dtype=x.dtype, device=x.device)
        return torch.func.vmap(pull)(rows)[0].reshape(y.numel(), x.numel())  # type: ignore[no-any-return]


def homogeneous_parts(net: nn.Module, x: Numbers) -> tuple[Tensor, Tensor]:
    """J(x) x and Σ_k (∂f/∂b^k) b^k, each (outputs,), of a network f at one input ``x`` (no batch axis): their sum is
    f(x) for a network of ReLU, maximum pooling, convolutions and matrices.

    Biases are the parameters whose name ends with "bias". By two forward derivatives, no Jacobian is formed. Raises
    ``ValueError`` for an input that is not finite.

    >>> net, x = network(8, seed=0, dtype=torch.float64), torch.rand(1, 8, 8, dtype=torch.float64)
    >>> linear, constant = homogeneous_parts(net, x)
    >>> torch.allclose(linear, net(x)), float(constant.norm())
    (True, 0.0)
    """
    x = _checked_input(x, [net])
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    directions = {
        name: p if name.endswith("bias") else torch.zeros_like(p) for name, p in parameters.items()
    }  # the way from no biases to those there are

    def f(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(net, parameters, (x,)).flatten()  # type: ignore[no-any-return]

    with torch.no_grad():
        linear = torch.func.jvp(lambda z: f(parameters, z), (x,), (x,))[1]  # type: ignore[misc]
        constant = torch.func.jvp(lambda p: f(p, x), (parameters,), (directions,))[1]  # type: ignore[misc]
    return linear, constant


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
    inputs = tensor("X", X, None if isinstance(X, Tensor) else parameter([net]))
    if inputs.ndim != 2 or inputs.shape[1] != width or not torch.isfinite(inputs).all():
        raise ValueError(f"X of shape {tuple(inputs.shape)}: finite inputs (n, {width}) are allowed")
    J: Tensor | None = None
    for layer in layers[:depth]:
        assert isinstance(layer, Layer)
        weight = layer.weight * layer.scales[0]
        J = weight.expand(len(inputs), *weight.shape) if J is None else weight @ J
        if layer.activation is not None:
            assert isinstance(layer.activation, activations.Activation)
            J = (layer.gain * layer.activation.slope(layer.gain * layer.preactivation(inputs)))[:, :, None] * J
        inputs = layer(inputs)
    assert J is not None
    return J.clone()
