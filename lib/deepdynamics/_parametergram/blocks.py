"""A network's Jacobian with respect to its parameters, at some samples, layer by layer.

How each layer is treated is planned once, on two samples and, for layers that are off at both, on later ones. There
every layer's Jᵀu is compared with autograd's gradient. A rule that misses something (a parameter that is used where no
rule sees it, samples that lie otherwise than thought) is dropped: that layer's rows come from autograd, one sample at a
time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from deepdynamics._parametergram.model import Network, graph_bytes, probe
from deepdynamics._parametergram.parts import Factors, Part, Rows, factors_are_cheaper
from deepdynamics._parametergram.pieces import Entries, Layout, Piece, Product, Unsuited, layout
from deepdynamics._parametergram.uses import Use, uses

__all__ = ["Changed", "Layer", "Plan", "by_autograd", "parts", "planned"]

_TOGETHER = 256  # rows that are differentiated at a time, as long as their signals
_SIGNALS = 2**27  # have no more bytes


class Changed(Exception):
    """The network does not do what it did when it was planned."""


@dataclass(frozen=True)
class Layer:
    """Parameters that are treated together: one, or a weight and its bias; ``way`` is "factors", "rows" or
    "autograd".

    >>> Layer(("0.weight", "0.bias"), "factors").way
    'factors'
    """

    names: tuple[str, ...]
    way: str


@dataclass(frozen=True, eq=False)
class Plan:
    """The layers of a network, in the order of its parameters, and what was seen: the uses, and how samples lie in
    each; ``row`` is how many bytes the signals of one row have, ``nbytes`` is what a sample takes; ``signals`` bounds
    the bytes of those that are sent back together, if they are more than one row.

    >>> Plan((Layer(("weight", "bias"), "factors"),)).layers[0].way
    'factors'
    """

    layers: tuple[Layer, ...]
    kinds: tuple[tuple[str, int, str], ...] = ()
    lies: tuple[Layout | None, ...] = ()
    row: int = 0
    nbytes: int = 0
    signals: int = _SIGNALS


def planned(network: Network, X: Tensor) -> Plan:
    """How to treat ``network`` at samples X (n, …).

    >>> from deepdynamics._parametergram.model import opened
    >>> X = torch.ones(2, 3)
    >>> planned(opened(torch.nn.Linear(3, 2), X), X).layers
    (Layer(names=('weight', 'bias'), way='factors'),)
    """
    X = _alive(network, X) if network.together else probe(X)
    plan = _by_rules(network, X) if network.together else _alone(network.parameters)
    found = parts(network, plan, X)
    with network.recording():
        right = _right(network, plan, found, X)
    layers: list[Layer] = []
    for layer, good in zip(plan.layers, right, strict=True):
        layers += [layer] if good else [Layer((name,), "autograd") for name in layer.names]
    held = sum(part.nbytes for part, good in zip(found, right, strict=True) if good) // len(X)
    rejected = [name for layer, good in zip(plan.layers, right, strict=True) if not good for name in layer.names]
    nbytes = held + _row_bytes(network, rejected) + _evaluated_bytes(network, X) + plan.row
    return Plan(tuple(layers), plan.kinds, plan.lies, plan.row, nbytes)


def by_autograd(network: Network, X: Tensor) -> Plan:
    """Each parameter by itself, without any rule, at samples X (n, …).

    >>> from deepdynamics._parametergram.model import opened
    >>> X = torch.ones(2, 3)
    >>> by_autograd(opened(torch.nn.Linear(3, 2), X), X).layers[1]
    Layer(names=('bias',), way='autograd')
    """
    nbytes = _row_bytes(network, network.parameters) + _evaluated_bytes(network, probe(X))
    return replace(_alone(network.parameters), nbytes=nbytes)


def parts(network: Network, plan: Plan, X: Tensor) -> list[Part]:
    """The Jacobian at samples X (n, …), for each layer of the plan. Raises ``Changed``.

    >>> from deepdynamics._parametergram.model import opened
    >>> X = torch.ones(2, 3)
    >>> network = opened(torch.nn.Linear(3, 2), X)
    >>> parts(network, planned(network, X), X)[0].signals.shape
    torch.Size([2, 2, 1, 2])
    """
    without = [name for layer in plan.layers if layer.way == "autograd" for name in layer.names]
    with network.recording(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operations that are not vectorised
        rows = _rows_by_autograd(network, without, X)
        ruled = _by_signals(network, plan, X) if len(without) < len(network.parameters) else {}
    return [ruled[layer.names[0]] if layer.way != "autograd" else Rows(rows[layer.names[0]]) for layer in plan.layers]


def _alone(names: Iterable[str]) -> Plan:
    return Plan(tuple(Layer((name,), "autograd") for name in names))


def _row_bytes(network: Network, names: Iterable[str]) -> int:
    """Of the rows of these parameters, at one sample."""
    return network.outputs * sum(network.parameters[name].nbytes for name in names)


def _evaluated_bytes(network: Network, X: Tensor) -> int:
    """What a sample of X takes while it is evaluated."""
    return 2 * graph_bytes(network, X) // len(X)


# The plan -------------------------------------------------------------------------------------------------------------


def _alive(network: Network, X: Tensor) -> Tensor:
    """Two samples of X, and with them the next two at which a use has a signal that had none before (in a layer whose
    units were all off)."""
    chosen = probe(X)
    with network.recording():
        quiet = _quiet(network, chosen)
        for start in range(2, len(X), 2):
            if not quiet:
                break
            two = X[min(start, len(X) - 2) :][:2]
            still = quiet & _quiet(network, two)
            if still < quiet:
                chosen, quiet = torch.cat((chosen, two)), still
    return chosen


def _quiet(network: Network, X: Tensor) -> set[int]:
    """The places of the uses that have no signal at any of the samples X."""
    value = network(X)
    signals = _signals(value, uses(value, {id(p): name for name, p in network.parameters.items()}), _draw(value))
    return {at for at, signal in enumerate(signals) if signal is None or not signal.any()}


def _by_rules(network: Network, X: Tensor) -> Plan:
    """The plan that rules allow, on trial."""
    with network.recording():
        value = network(X)
        if not value.requires_grad:
            return _alone(network.parameters)
        found = uses(value, {id(p): name for name, p in network.parameters.items()})
        each = [_signals(value, found, _at(value, s)) for s in range(len(X))]
    signals = [_some(own) for own in zip(*each, strict=True)]
    lies = [layout(own) for own in zip(*each, strict=True)]
    pieces: dict[str, list[tuple[Use, Piece | None]]] = {name: [] for name in network.parameters}
    for use, lying, signal in zip(found, lies, signals, strict=True):
        pieces[use.parameter].append((use, _piece(use, network.parameters[use.parameter].shape, len(X), lying, signal)))
    layers: list[Layer] = []
    taken: set[str] = set()
    for name, own in pieces.items():
        if name in taken:
            continue
        if not own or any(piece is None for _, piece in own):
            layers.append(Layer((name,), "autograd"))
        elif _in_factors([piece for _, piece in own], network.parameters[name], network.outputs):
            bias = _bias_of(name, pieces)
            layers.append(Layer((name, *bias), "factors"))
            taken.update(bias)
        else:
            layers.append(Layer((name,), "rows"))
    layers = [layer for layer in layers if layer.way == "factors" or layer.names[0] not in taken]
    sizes = {
        use.node: signal.nbytes // len(X) for use, signal in zip(found, signals, strict=True) if signal is not None
    }
    return Plan(tuple(layers), tuple(use.kind for use in found), tuple(lies), sum(sizes.values()))


def _signals(value: Tensor, found: Sequence[Use], u: Tensor) -> list[Tensor | None]:
    """At each use's node, the derivative of ``value`` times u; None where it has none."""
    if not found:
        return []
    edges = [GradientEdge(use.node, 0) for use in found]
    return list(torch.autograd.grad(value, edges, u, retain_graph=True, allow_unused=True))


def _at(value: Tensor, s: int) -> Tensor:
    """A random u at sample s, and 0 at the others."""
    u = torch.zeros_like(value)
    u[s] = _draw(value[s])
    return u


def _some(signals: Sequence[Tensor | None]) -> Tensor | None:
    """One of the signals, if there are any."""
    return next((signal for signal in signals if signal is not None), None)


def _piece(use: Use, shape: torch.Size, n: int, lying: Layout | None, signal: Tensor | None) -> Piece | None:
    """What the use contributes; None where no rule says that."""
    if lying is None or signal is None:
        return None
    try:
        piece = use.piece(shape, n, lying)
        piece.rows(signal[None])
        return piece
    except Unsuited:
        return None


def _in_factors(pieces: Sequence[Any], parameter: Tensor, C: int) -> bool:
    first = pieces[0]
    if not all(
        isinstance(piece, Product) and (piece.transposed, piece.inputs.ndim) == (first.transposed, first.inputs.ndim)
        for piece in pieces
    ):
        return False
    S, i = sum(piece.inputs.shape[1] for piece in pieces), first.size
    return factors_are_cheaper(C, S, i, parameter.numel() // i)


def _bias_of(weight: str, pieces: dict[str, list[tuple[Use, Piece | None]]]) -> tuple[str, ...]:
    """The bias that is used at all nodes where the weight is, and nowhere else."""
    nodes = [use.node for use, _ in pieces[weight]]
    if not all(isinstance(piece, Product) and piece.inputs.ndim == 3 for _, piece in pieces[weight]):
        return ()
    for name, own in pieces.items():
        numbers = all(isinstance(piece, Entries) and isinstance(piece.other, float) for _, piece in own)
        if name != weight and own and numbers and [use.node for use, _ in own] == nodes:
            return (name,)
    return ()


def _right(network: Network, plan: Plan, found: Sequence[Part], X: Tensor) -> list[bool]:
    """For each layer, whether its Jᵀu is autograd's, for a random u at each sample."""
    value = network(X)
    right = [True] * len(plan.layers)
    eps = torch.finfo(value.dtype).eps
    for s in range(len(X)):
        u = _at(value, s)
        gradients = _gradients(value, list(network.parameters.values()), u)
        whole = torch.stack([g.double().norm() for g in gradients]).norm()
        by_name = dict(zip(network.parameters, gradients, strict=True))
        for at, (layer, part) in enumerate(zip(plan.layers, found, strict=True)):
            truth = torch.cat([by_name[name].flatten() for name in layer.names])
            gap = (part.pulled(u) - truth).double().norm()
            right[at] &= bool(gap <= 1e3 * eps * truth.double().norm() + 10 * eps * whole)
    return right


def _gradients(value: Tensor, parameters: list[Tensor], u: Tensor) -> list[Tensor]:
    if not value.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    found = torch.autograd.grad(value, parameters, u, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g.detach() for p, g in zip(parameters, found, strict=True)]


def _draw(like: Tensor) -> Tensor:
    draws = torch.Generator().manual_seed(0)
    return torch.randn(like.shape, generator=draws, dtype=torch.float64).to(like)


# A block of samples ---------------------------------------------------------------------------------------------------


def _by_signals(network: Network, plan: Plan, X: Tensor) -> dict[str, Part]:
    """The parts of the layers that have rules, by their first name."""
    layers = [layer for layer in plan.layers if layer.way != "autograd"]
    try:
        found = _sent(network, plan, X)
    except Changed:
        if len(X) > 1:
            raise
        # One sample alone can take another way through torch's kernels than two: it takes that of two.
        found = _sent(network, plan, torch.cat((X, X)))
        return {layer.names[0]: found.part(layer).at(slice(1)) for layer in layers}
    return {layer.names[0]: found.part(layer) for layer in layers}


def _sent(network: Network, plan: Plan, X: Tensor) -> _Signals:
    try:
        return _Signals(network, plan, X)
    except Unsuited as reason:  # a rule that held at the samples of the plan: of an embedding without its padding
        raise Changed from reason


class _Signals:
    """The signals of a block of samples at every use, sent back through one evaluation."""

    def __init__(self, network: Network, plan: Plan, X: Tensor):
        value = network(X)
        n, C = value.shape
        found = uses(value, {id(p): name for name, p in network.parameters.items()})
        if tuple(use.kind for use in found) != plan.kinds:
            raise Changed
        self.pieces: dict[str, list[tuple[int, Piece]]] = {}
        wanted = {name: layer.way for layer in plan.layers for name in layer.names if layer.way != "autograd"}
        for at, (use, lying) in enumerate(zip(found, plan.lies, strict=True)):
            if use.parameter in wanted and lying is not None:
                piece = use.piece(network.parameters[use.parameter].shape, n, lying)
                self.pieces.setdefault(use.parameter, []).append((at, piece))
        self.sums: dict[str, Tensor] = {}  # rows (n, C, P), or signals (n, C, S, o)
        edges = [GradientEdge(use.node, 0) for use in found]
        needed = sorted({at for own in self.pieces.values() for at, _ in own})
        joined = {name for layer in plan.layers if layer.way == "factors" for name in layer.names[1:]}
        chunk = max(1, min(_TOGETHER, plan.signals // max(1, plan.row)) // n)
        for start in range(0, C, chunk):
            size = min(chunk, C - start)
            u = value.new_zeros(size, n, C)
            u[range(size), :, range(start, start + size)] = 1
            raw = dict(zip(needed, _sent_back(value, [edges[at] for at in needed], u), strict=True))
            for name, own in self.pieces.items():
                if name not in joined:
                    self._add(name, wanted[name], own, raw, slice(start, start + size), C)

    def _add(self, name: str, way: str, own: Any, raw: dict[int, Tensor], which: slice, C: int) -> None:
        if way == "factors":
            values = torch.cat([piece.signals(raw[at]) for at, piece in own], 2)
        else:
            values = sum(piece.rows(raw[at]) for at, piece in own)
        if name not in self.sums:
            self.sums[name] = values.new_empty(len(values), C, *values.shape[2:])
        self.sums[name][:, which] = values

    def part(self, layer: Layer) -> Part:
        """What has been found of a layer."""
        name, *bias = layer.names
        if layer.way == "rows":
            return Rows(self.sums[name])
        own: Any = [piece for _, piece in self.pieces[name]]
        inputs, size = torch.cat([piece.inputs for piece in own], 1), own[0].size
        if bias:
            beside: Any = [piece for _, piece in self.pieces[bias[0]]]
            sides = zip(own, beside, strict=True)
            ones = torch.cat([side.inputs.new_full((*side.inputs.shape[:2], 1), b.other) for side, b in sides], 1)
            inputs, size = torch.cat((inputs, ones), 2), size + 1
        return Factors(inputs, self.sums[name], size, own[0].transposed, bool(bias))


def _sent_back(value: Tensor, edges: list[Any], u: Tensor) -> list[Tensor]:
    """The derivatives (c, …) of ``value`` times each of u (c, *value.shape), at edges of its graph or tensors."""
    options: Any = {"retain_graph": True, "allow_unused": True}
    found: Any = None
    if len(u) > 1:
        try:
            found = torch.autograd.grad(value, edges, u, is_grads_batched=True, **options)
        except RuntimeError:  # an operation that cannot be vectorised
            found = None
    if found is None:
        each = [torch.autograd.grad(value, edges, one, **options) for one in u]
        found = [None if rows[0] is None else torch.stack(rows) for rows in zip(*each, strict=True)]
    return [None if rows is None else rows.detach() for rows in found]  # type: ignore[misc]


def _rows_by_autograd(network: Network, names: list[str], X: Tensor) -> dict[str, Tensor]:
    """Rows (n, C, P) of each of these parameters, sample by sample."""
    if not names:
        return {}
    parameters = [network.parameters[name] for name in names]
    rows: dict[str, Tensor] = {}
    for s, x in enumerate(X):
        value = network(x[None])[0]
        C = len(value)
        units = torch.eye(C, dtype=value.dtype, device=value.device)
        found = _sent_back(value, parameters, units) if value.requires_grad else [None] * len(names)
        for name, p, own in zip(names, parameters, found, strict=True):
            if name not in rows:
                rows[name] = value.new_zeros(len(X), C, p.numel())
            if own is not None:
                rows[name][s] = own.reshape(C, -1)
    return rows
