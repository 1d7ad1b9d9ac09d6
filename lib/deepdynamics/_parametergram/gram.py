"""J Jᵀ over all parameters of a network, layer by layer, in blocks of samples whose memory is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from deepdynamics._checks import Numbers, number, positive
from deepdynamics._parametergram.blocks import Changed, Plan, by_autograd, parts, planned
from deepdynamics._parametergram.model import Network, opened, samples
from deepdynamics._parametergram.parts import Part, Rows

__all__ = ["LayerJacobian", "ParameterGram", "layer_jacobians", "parameter_gram", "ways"]

_SIGNALS = 1 / 8  # of the memory is for signals on their way
_STRIPES = 8  # of a symmetric matrix, of which one half is computed: 9/16 of the work


@dataclass(frozen=True, eq=False)
class ParameterGram:
    """``gram`` (n·C, m·C) = J J'ᵀ, row n·C + k; ``ways``: how each parameter was treated, "factors" (inputs and
    signals, whose products are multiplied), "rows" (of the Jacobian, by a rule) or "autograd" (rows, by autograd).

    >>> parameter_gram(nn.PReLU(), [[-1.0], [-2.0]])
    ParameterGram(gram=tensor([[1., 2.],
            [2., 4.]]), ways={'weight': 'autograd'})
    """

    gram: Tensor
    ways: dict[str, str]


@dataclass(frozen=True, eq=False)
class LayerJacobian:
    """The Jacobian (n·C, P) of n samples with respect to one layer's parameters ``names`` (one, or a weight and its
    bias), whose shapes are ``shapes``: ``part`` holds it, as rows or in factors; ``way`` as in
    :class:`ParameterGram`.

    >>> (layer,) = layer_jacobians(nn.PReLU(), [[-1.0], [-2.0]])
    >>> layer.gram(), layer.pulled(torch.ones(2))
    (tensor([[1., 2.],
            [2., 4.]]), {'weight': tensor([-3.])})
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    way: str
    part: Part

    def gram(self) -> Tensor:
        """J Jᵀ (n·C, n·C)."""
        like = self.part.values if isinstance(self.part, Rows) else self.part.signals
        n, C = like.shape[:2]
        found = like.new_zeros(n, C, n, C)
        _add_square([self.part], found, 0, n)
        return found.view(n * C, n * C)

    def pulled(self, u: Tensor) -> dict[str, Tensor]:
        """Jᵀu of u (n, C) or (n·C,), as a tensor for each parameter."""
        like = self.part.values if isinstance(self.part, Rows) else self.part.signals
        flat = self.part.pulled(u.reshape(like.shape[:2]))
        pieces = flat.split([shape.numel() for shape in self.shapes])
        return {name: piece.view(shape) for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)}


def parameter_gram(model: nn.Module, X: Numbers, Y: Numbers | None = None, *, memory: float = 1e9) -> ParameterGram:
    """J(X) J(Y)ᵀ, (n·C, m·C), of the derivatives of the model's C outputs at samples X (n, …) and Y (m, …; X where it
    is None) with respect to all its parameters, in their own parametrisation; rows n·C + k.

    ``memory``, in bytes, is for derivatives and evaluations, of one sample of X and one of Y at least: samples are
    taken in blocks, and what does not fit is computed again for each block of the others. Copies in passing come on
    top, less than as much again in the networks that are measured.

    Raises ``ValueError`` for a model that is not in evaluation mode or has no real parameters, samples that it does
    not take or does not treat as separate, and a memory that is not positive.

    >>> found = parameter_gram(nn.Linear(2, 1), [[1.0, 0.0], [2.0, 1.0]])
    >>> found.gram, found.ways
    (tensor([[2., 3.],
            [3., 6.]]), {'weight': 'factors', 'bias': 'factors'})
    """
    memory = number("memory", memory, positive)
    network, X, plan = _prepared(model, X)
    other = None if Y is None else _alike(samples("Y", Y, model), X)
    try:
        found = _blocks(network, plan, X, other, memory)
    except Changed:
        plan = by_autograd(network, X)
        found = _blocks(network, plan, X, other, memory)
    return ParameterGram(found, _ways(network, plan))


def ways(model: nn.Module, X: Numbers) -> dict[str, str]:
    """How each parameter of ``model`` is treated at samples like those of X (n, …), of which a few are looked at:
    "factors" (inputs and signals of a linear layer, whose products are multiplied), "rows" (of the Jacobian, by a rule
    for the layer: convolutions with many positions, normalisations, parameters that are added or multiplied) or
    "autograd" (rows by one backward pass each: whatever has no rule). Raises as :func:`parameter_gram` does.

    >>> ways(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.PReLU()), [[1.0, 2.0]])
    {'0.weight': 'factors', '0.bias': 'factors', '1.weight': 'rows', '1.bias': 'rows', '2.weight': 'autograd'}
    """
    network, _, plan = _prepared(model, X)
    return _ways(network, plan)


def _ways(network: Network, plan: Plan) -> dict[str, str]:
    found = {name: layer.way for layer in plan.layers for name in layer.names}
    return {name: found[name] for name in network.parameters}


def layer_jacobians(model: nn.Module, X: Numbers) -> list[LayerJacobian]:
    """The Jacobian at samples X (n, …), layer by layer, in the order of the model's parameters: activations and
    backward signals of each sample where the layer is linear (``part.inputs``, ``part.signals``), rows elsewhere. All
    samples are held at once. Raises as :func:`parameter_gram` does.

    >>> (layer,) = layer_jacobians(nn.Linear(2, 1), [[1.0, 0.0], [2.0, 1.0]])
    >>> layer.names, layer.gram(), layer.pulled(torch.ones(2))["bias"]
    (('weight', 'bias'), tensor([[2., 3.],
            [3., 6.]]), tensor([2.]))
    """
    network, X, plan = _prepared(model, X)
    try:
        found = parts(network, plan, X)
    except Changed:
        plan = by_autograd(network, X)
        found = parts(network, plan, X)
    return [
        LayerJacobian(layer.names, tuple(network.parameters[name].shape for name in layer.names), layer.way, part)
        for layer, part in zip(plan.layers, found, strict=True)
    ]


def _prepared(model: nn.Module, X: Numbers) -> tuple[Network, Tensor, Plan]:
    found = samples("X", X, model)
    network = opened(model, found)
    return network, found, planned(network, found)


def _alike(Y: Tensor, X: Tensor) -> Tensor:
    if Y.shape[1:] != X.shape[1:] or Y.dtype != X.dtype:
        raise ValueError(
            f"Y of shape {tuple(Y.shape)} and type {Y.dtype}: samples like those of X, of shape {tuple(X.shape)} and "
            f"type {X.dtype}, are allowed"
        )
    return Y


def _blocks(network: Network, plan: Plan, X: Tensor, Y: Tensor | None, memory: float) -> Tensor:
    """The whole matrix: most of the memory holds a block of rows, beside which small blocks of columns pass."""
    columns = X if Y is None else Y
    n, m, C = len(X), len(columns), network.outputs
    plan = replace(plan, signals=min(plan.signals, int(_SIGNALS * memory)))
    fits = (1 - _SIGNALS) * memory // max(1, plan.nbytes)
    whole = fits >= (n if Y is None else n + m)
    held, passing = (n, m) if whole else (max(1, int(0.8 * fits)), max(1, int(0.2 * fits)))
    gram: Tensor | None = None
    for a in range(0, n, held):
        rows = parts(network, plan, X[a : a + held])
        b = min(a + held, n)
        if gram is None:
            first = rows[0]
            like = first.values if isinstance(first, Rows) else first.signals
            gram = like.new_zeros(n, C, m, C)
        if Y is None:
            _add_square(rows, gram, a, b)
        for c in range(0 if Y is not None else b, m, passing):
            d = min(c + passing, m)
            _add(rows, parts(network, plan, columns[c:d]), gram, slice(a, b), slice(c, d), mirrored=Y is None)
        del rows  # before the next are made
    assert gram is not None  # there is one sample at least
    return gram.view(n * C, m * C)


def _add_square(rows: Sequence[Part], gram: Tensor, a: int, b: int) -> None:
    """The products of a block with itself, of which one half is computed."""
    step = max(1, -(-(b - a) // _STRIPES))
    for start in range(a, b, step):
        stop = min(start + step, b)
        own = [part.at(slice(start - a, stop - a)) for part in rows]
        beside = [part.at(slice(start - a, None)) for part in rows]
        _add(own, beside, gram, slice(start, stop), slice(start, b), mirrored=True)
        square = gram[start:stop, :, start:stop]
        square.copy_((square + square.permute(2, 3, 0, 1)) / 2)  # which rounding has made unsymmetric


def _add(
    rows: Sequence[Part], columns: Sequence[Part], gram: Tensor, i: slice, j: slice, *, mirrored: bool = False
) -> None:
    """The products of two blocks, to their place in the matrix and, where ``mirrored``, to the transposed one."""
    view = gram[i, :, j]
    into = torch.zeros(view.shape, dtype=view.dtype, device=view.device)
    for row, column in zip(rows, columns, strict=True):
        row.add_products(column, into)  # type: ignore[arg-type]
    gram[i, :, j] = into
    if mirrored:
        gram[j, :, i] = into.permute(2, 3, 0, 1)
