"""Where a network uses its parameters, read from the graph that autograd records.

A use is an input of a node of that graph that is a parameter, or a parameter turned around or times a number. What the
node has saved says what meets the parameter there. There are rules for matrices, convolutions, embeddings; biases,
normalisations, sums and products with parameters. What has no rule has no use here;
:mod:`deepdynamics._parametergram.blocks` notices, by comparing with autograd, and takes autograd's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deepdynamics._parametergram.pieces import Entries, GroupedKernel, Layout, Piece, Product, Unsuited

__all__ = ["Use", "uses"]


@dataclass(frozen=True, eq=False)
class Use:
    """An input of a node that is a parameter, times ``factor``, ``turned`` around or not.

    >>> layer = torch.nn.Linear(3, 2, bias=False)
    >>> (use,) = uses(layer(torch.ones(1, 3)), {id(layer.weight): "weight"})
    >>> use.kind, use.piece(layer.weight.shape, 1, Layout("first")).inputs
    (('MmBackward0', 1, 'weight'), tensor([[[1., 1., 1.]]]))
    """

    node: Any
    slot: int
    parameter: str
    factor: float
    turned: bool

    @property
    def kind(self) -> tuple[str, int, str]:
        """What can be compared between two evaluations."""
        return self.node.name(), self.slot, self.parameter

    def piece(self, shape: torch.Size, n: int, lies: Layout) -> Piece:
        """What the derivative of n samples is made of; ``shape`` is that of the parameter. Raises ``Unsuited``."""
        return _RULES[self.node.name()](self, shape, n, lies)


def uses(value: Tensor, names: dict[int, str]) -> list[Use]:
    """All uses, in the graph of ``value``, of the parameters whose names are known by their id; in a fixed order.

    >>> layer = torch.nn.Linear(3, 2)
    >>> [use.kind for use in uses(layer(torch.ones(1, 3)), {id(layer.weight): "weight", id(layer.bias): "bias"})]
    [('AddmmBackward0', 0, 'bias'), ('AddmmBackward0', 2, 'weight')]
    """
    found = []
    for node in _nodes(value):
        if node.name() not in _RULES or _origin(node) is not None:
            continue
        for slot, (before, _) in enumerate(node.next_functions):
            origin = _origin(before)
            if origin is not None and id(origin[0]) in names:
                found.append(Use(node, slot, names[id(origin[0])], *origin[1:]))
    return found


def _nodes(value: Tensor) -> Iterator[Any]:
    seen, waiting = set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [before for before, _ in node.next_functions]


def _origin(node: Any) -> tuple[Tensor, float, bool] | None:
    """The leaf that a node's value is, with its factor and whether it is turned; None for any other node."""
    factor, turned = 1.0, False
    while node is not None:
        if hasattr(node, "variable"):
            return node.variable, factor, turned
        name = node.name()
        if name in ("TBackward0", "TransposeBackward0", "PermuteBackward0") and _is_matrix(node):
            turned = not turned
        elif name == "MulBackward0" and node.next_functions[1][0] is None and node._saved_other.ndim == 0:
            factor *= float(node._saved_other)
        else:
            return None
        node = node.next_functions[0][0]
    return None


def _is_matrix(node: Any) -> bool:
    """Whether a node that turns axes turns a parameter that is a matrix, or what may still be one."""
    before = node.next_functions[0][0]
    return not hasattr(before, "variable") or before.variable.ndim == 2


# Rules ----------------------------------------------------------------------------------------------------------------


def _plain_entries(other: Callable[[Any, int], Tensor | float]) -> Callable[[Use, torch.Size, int, Layout], Piece]:
    def rule(use: Use, shape: torch.Size, n: int, lies: Layout) -> Piece:
        if use.turned:
            raise Unsuited
        found = other(use.node, use.slot)
        return Entries(n, shape, use.factor * (found.detach() if isinstance(found, Tensor) else found), lies)

    return rule


def _matrix(use: Use, shape: torch.Size, n: int, lies: Layout) -> Piece:
    node, name = use.node, use.node.name()
    if name == "AddmmBackward0" and use.slot == 0:
        return Entries(n, shape, use.factor * float(node._saved_beta), lies)
    if use.slot != (2 if name == "AddmmBackward0" else 1):
        raise Unsuited  # a parameter that is multiplied from the right: the samples are on no axis of their own
    left = node._saved_mat1 if name == "AddmmBackward0" else node._saved_self
    scale = use.factor * float(node._saved_alpha if name == "AddmmBackward0" else 1)
    inputs = lies.split(left.detach()[None], n)[0]
    # The matrix of the product, (i, o), is the parameter's transpose where it was turned.
    return Product(inputs if scale == 1 else inputs * scale, not use.turned, inputs.shape[-1], False, lies)


def _convolution(use: Use, shape: torch.Size, n: int, lies: Layout) -> Piece:
    node = use.node
    if lies.axis == "second" or use.turned:
        raise Unsuited
    if use.slot == 2:
        spatial = node._saved_input.ndim - 2
        return Entries(n, torch.Size((*shape, *(1,) * spatial)), use.factor, lies)
    if use.slot != 1 or node._saved_transposed:
        raise Unsuited
    picture, kernel = node._saved_input.detach(), shape[2:]
    margins = [m for pad in reversed(node._saved_padding) for m in (pad, pad)]
    windows = functional.pad(picture, margins)
    for axis, (k, stride, dilation) in enumerate(zip(kernel, node._saved_stride, node._saved_dilation, strict=True), 2):
        windows = windows.unfold(axis, dilation * (k - 1) + 1, stride)[..., ::dilation]
    d = len(kernel)
    windows = windows.movedim(1, d + 1).flatten(1, d).flatten(3)  # (n r, S, channels, places in the kernel)
    parts = lies.split(windows[None], n)[0].flatten(1, 2)
    groups = node._saved_groups
    if groups > 1:
        return GroupedKernel(parts.unflatten(2, (groups, -1)).flatten(3), use.factor, lies)
    inputs = parts.flatten(2)
    return Product(inputs if use.factor == 1 else inputs * use.factor, False, inputs.shape[-1], True, lies)


def _embedding(use: Use, shape: torch.Size, n: int, lies: Layout) -> Piece:
    node = use.node
    padding = node._saved_padding_idx
    if node._saved_scale_grad_by_freq or use.turned or use.factor != 1 or lies.axis == "second":
        raise Unsuited
    if padding in range(shape[0]) and (node._saved_indices == padding).any():
        raise Unsuited
    places = lies.split(node._saved_indices[None], n)[0].flatten(1)
    return Product(places, True, shape[0], False, lies)


def _batch_normalised(node: Any, slot: int) -> Tensor | float:
    if node._saved_training or slot == 0:
        raise Unsuited
    x = node._saved_input.detach()
    over = (-1, *(1,) * (x.ndim - 2))
    deviation = (node._saved_running_var + node._saved_eps).sqrt().view(over)
    return 1.0 if slot == 2 else (x - node._saved_running_mean.view(over)) / deviation


def _layer_normalised(node: Any, slot: int) -> Tensor | float:
    if slot == 0:
        raise Unsuited
    return 1.0 if slot == 2 else (node._saved_input.detach() - node._saved_result1) * node._saved_result2


def _group_normalised(node: Any, slot: int) -> Tensor | float:
    if slot == 0:
        raise Unsuited
    if slot == 2:
        return 1.0
    x = node._saved_input.detach()
    parts = x.reshape(len(x), node._saved_group, -1)
    return ((parts - node._saved_result1[..., None]) * node._saved_result2[..., None]).view_as(x)


def _per_channel(other: Callable[[Any, int], Tensor | float]) -> Callable[[Use, torch.Size, int, Layout], Piece]:
    """A rule for parameters that have one entry a channel, on axis 1."""
    plain = _plain_entries(other)

    def rule(use: Use, shape: torch.Size, n: int, lies: Layout) -> Piece:
        return plain(use, torch.Size((*shape, *(1,) * (use.node._saved_input.ndim - 2))), n, lies)

    return rule


def _factor(node: Any, slot: int) -> Tensor | float:
    found: Tensor = node._saved_other if slot == 0 else node._saved_self
    return found


def _summand(node: Any, slot: int) -> float:
    return float(node._saved_alpha) if slot == 1 else 1.0


def _spread(node: Any, slot: int) -> float:
    return 1.0


_RULES: dict[str, Callable[[Use, torch.Size, int, Layout], Piece]] = {
    "AddmmBackward0": _matrix,
    "MmBackward0": _matrix,
    "ConvolutionBackward0": _convolution,
    "EmbeddingBackward0": _embedding,
    "NativeBatchNormBackward0": _per_channel(_batch_normalised),
    "CudnnBatchNormBackward0": _per_channel(_batch_normalised),
    "NativeLayerNormBackward0": _plain_entries(_layer_normalised),
    "NativeGroupNormBackward0": _per_channel(_group_normalised),
    "MulBackward0": _plain_entries(_factor),
    "AddBackward0": _plain_entries(_summand),
    "SubBackward0": _plain_entries(lambda node, slot: -float(node._saved_alpha) if slot == 1 else 1.0),
    "ExpandBackward0": _plain_entries(_spread),
}
