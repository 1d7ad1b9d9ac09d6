"""What passes through a network, watched operation by operation while it runs forwards and back.

Modules are followed by hooks, and within them the operations that torch lets a function mode see: so activations and
residual sums that are no modules are found too. Which operation fed which is read off autograd's graph.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from deepdynamics._checks import Array
from deepdynamics._parametergram.model import Network, graph_bytes
from deepdynamics.diagnose.report import Block
from deepdynamics.networks import generator

__all__ = ["RECURRENT", "SATURATING", "Record", "Watched", "watched"]

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_WEIGHTS = (*_CONVOLUTIONS, "linear", "bilinear", "embedding")
_NORMALISATIONS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm")
_ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "prelu", "hardswish"),
    *("tanh", "sigmoid", "hardtanh", "hardsigmoid", "softsign", "erf", "special_erf", "sin"),
)
RECURRENT = ("gru", "lstm", "rnn_tanh", "rnn_relu", "gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell")
_ATTENTION = ("multi_head_attention_forward", "scaled_dot_product_attention")
_SUMS = ("add", "__add__", "__iadd__", "__radd__")
_PRODUCTS = ("mul", "multiply", "__mul__", "__imul__", "__rmul__")
_SIDES = {"sum": ("branch", "skip"), "product": ("gate", "factor")}
SATURATING = ("tanh", "sigmoid", "hardtanh", "hardsigmoid", "softsign", "erf", "special_erf")
_FLAT = 0.1  # a slope below this share of the steepest one is flat
_RESHAPES = ("View", "UnsafeView", "Reshape", "Permute", "Transpose", "T", "Squeeze", "Unsqueeze", "Alias", "Clone")


@dataclass
class Record:
    """One operation: its numbers for each input (n,), the Gram matrix (n, n) of its outputs, and whence it came.

    >>> Record("0", "linear", "weights").gradients
    []
    """

    name: str
    kind: str
    role: str
    node: Any = None
    source: Record | None = None
    from_input: bool = False
    branch: str = ""
    normaliser: Record | None = None  # what normalises the output of weights
    units: int = 0
    gram: Array = field(default_factory=lambda: np.full((1, 1), np.nan))
    q_before: float = float("nan")  # of what an activation acts on
    before_gram: Array | None = None
    saturation: float = float("nan")
    dead: float = float("nan")
    variances: tuple[float, float] = (float("nan"), float("nan"))
    gradients: list[float] = field(default_factory=list)
    gradients_before: list[float] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)  # of inputs that came alone
    before: list[Tensor] = field(default_factory=list)
    function: Callable[[Tensor], Tensor] | None = None
    last: bool = True  # whether units lie along the last axis


@dataclass(frozen=True)
class Watched:
    """The records of all operations, the blocks, and how many inputs were watched.

    >>> Watched([], [], 3).inputs
    3
    """

    records: list[Record]
    blocks: list[Block]
    inputs: int


def watched(model: nn.Module, network: Network, X: Tensor, error: Callable[[Tensor], Tensor], memory: float) -> Watched:
    """``network``, which is ``model``, at the samples X and back from ``error``, a sum over samples of a function of
    their outputs (n, C). As many samples are taken as autograd's graph leaves room for in ``memory`` bytes.

    >>> from deepdynamics._parametergram.model import opened
    >>> net, X = nn.Sequential(nn.Linear(2, 3), nn.Tanh()), torch.ones(4, 2)
    >>> [record.kind for record in watched(net, opened(net, X), X, torch.sum, 1e9).records]
    ['linear', 'tanh']
    """
    room = int(memory // max(1, 2 * graph_bytes(network, X[:1])))
    X = X[: max(1, min(len(X), room))]
    watches = []
    for part in [X] if network.together else [x[None] for x in X]:
        watch = _Watch(model, alone=not network.together)
        with network.recording(), watch.following(), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Using `torch.compile"
            )  # which is a module that is called as well
            inputs = part.clone()
            if inputs.is_floating_point():
                inputs.requires_grad_()
            watch.inputs = inputs
            with watch:
                outputs = network(inputs)
            value = error(outputs) if outputs.requires_grad else None
            if value is not None and value.requires_grad:
                ends = [inputs] if inputs.requires_grad else list(network.parameters.values())
                torch.autograd.grad(value, ends, allow_unused=True)
        watches.append(watch)
    records = watches[0].records
    if not network.together:
        records = _joined([watch.records for watch in watches])
    for record in records:
        record.node = None  # which holds autograd's graph
    return Watched(records, watches[0].blocks(), len(X))


class _Watch(TorchFunctionMode):
    """Records of one run."""

    def __init__(self, model: nn.Module, *, alone: bool):
        super().__init__()
        self.names = {id(module): name for name, module in model.named_modules()}
        self.alone, self.thread = alone, threading.get_ident()
        self.records: list[Record] = []
        self.made: dict[Any, Record] = {}
        self.stack: list[dict[str, Any]] = []
        self.called: list[dict[str, Any]] = []
        self.inputs: Tensor | None = None
        self.meetings, self.last = 0, True
        self.seen: dict[str, int] = {}

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Within, the stack of modules that are at work is known."""

        def before(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            if threading.get_ident() == self.thread and id(module) in self.names:
                shape = arguments[0].shape if arguments and isinstance(arguments[0], Tensor) else None
                self.stack.append({"module": module, "shape": shape, "sums": 0, "kept": False})

        def after(module: nn.Module, _: Any, output: Any) -> None:
            if threading.get_ident() == self.thread and self.stack and self.stack[-1]["module"] is module:
                call = self.stack.pop()
                call["kept"] = isinstance(output, Tensor) and output.shape == call["shape"]
                self.called.append(call)

        handles = [register_module_forward_pre_hook(before), register_module_forward_hook(after)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def blocks(self) -> list[Block]:
        """The calls that kept the shape of their input, of classes that make residual sums."""
        sums = {type(call["module"]) for call in self.called if call["sums"]}
        return [
            Block(self.names[id(call["module"])], type(call["module"]).__name__, call["sums"])
            for call in self.called
            if call["kept"] and type(call["module"]) in sums
        ]

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        kind = name if name.startswith("__") else name.rstrip("_")
        role = _role(kind)
        if role is None or not args or not isinstance(args[0], Tensor) or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        if role in ("sum", "product"):
            return self._meeting(func, role, args, kwargs)
        return self._operation(func, kind, role, args, kwargs)

    def _operation(self, func: Any, kind: str, role: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        record = Record(self._name(kind), kind, role)
        record.source, record.from_input = self._origin(args[0])
        if role == "activation":
            record.function = lambda z: func(z, *args[1:], **{k: v for k, v in kwargs.items() if k != "inplace"})
            self._before(record, args[0])
        if role == "weights":
            self.last = kind not in _CONVOLUTIONS
            named = ((1, "weight"), (2, "bias"))
            weight, bias = (args[at] if len(args) > at else kwargs.get(key) for at, key in named)
            if kind != "embedding" and isinstance(weight, Tensor):
                record.variances = _variances(weight, bias, transposed="transpose" in kind)
        if role == "normalisation" and record.source is not None and record.source.role == "weights":
            record.source.normaliser = record
        value = func(*args, **kwargs)
        output = value[0] if isinstance(value, tuple) else value
        if isinstance(output, Tensor) and output.is_floating_point() and output.numel() > 0:
            self._after(record, output)
        return value

    def _meeting(self, func: Any, role: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A sum or a product of two signals that have parted."""
        a, b = args[0], args[1] if len(args) > 1 else None
        sides = None
        if isinstance(b, Tensor) and a.grad_fn is not None and b.grad_fn is not None:
            alike = a.shape == b.shape or (role == "product" and a.ndim == b.ndim)
            sides = self._sides(a.grad_fn, b.grad_fn, role) if alike else None
        value = func(*args, **kwargs)
        if sides is not None and isinstance(value, Tensor):
            self.meetings += 1
            for label, nodes in zip(_SIDES[role], sides, strict=True):
                for record in self.records:
                    if record.node in nodes and not record.branch:
                        record.branch = f"{label} {self.meetings}"
            if self.stack and role == "sum":
                self.stack[-1]["sums"] += 1
            self._after(Record(self._name(role), role, role), value)
        return value

    def _sides(self, a: Any, b: Any, role: str) -> tuple[set[Any], set[Any]] | None:
        """The nodes that lead to one of two terms only, the side with more weights first; None where the terms have no
        common origin, neither has weights of its own, or both terms of a sum have as many."""
        first, second = _ancestors(a), _ancestors(b)
        common = first & second
        if not any("AccumulateGrad" not in type(node).__name__ or self._is_input(node) for node in common):
            return None
        sides = first - common, second - common
        weights = [record.node for record in self.records if record.role in ("weights", "other")]
        counts = [sum(node in side for node in weights) for side in sides]
        if max(counts) == 0 or (role == "sum" and counts[0] == counts[1]):
            return None
        return sides if counts[0] >= counts[1] else sides[::-1]

    def _is_input(self, node: Any) -> bool:
        return self.inputs is not None and getattr(node, "variable", None) is self.inputs

    def _origin(self, x: Tensor) -> tuple[Record | None, bool]:
        """The record whose output x is, reshaped perhaps; and whether x is the network's input."""
        if x is self.inputs:
            return None, True
        node = x.grad_fn
        while node is not None:
            if node in self.made:
                return self.made[node], False
            if self._is_input(node):
                return None, True
            name = type(node).__name__.removesuffix("0").removesuffix("Backward")
            if name not in _RESHAPES or len(node.next_functions) != 1:
                return None, False
            node = node.next_functions[0][0]
        return None, False

    def _name(self, kind: str) -> str:
        name = "model"
        if self.stack:
            module = self.stack[-1]["module"]
            name = self.names[id(module)]
            if next(module.children(), None) is not None or not name:
                name = f"{name}.{kind}" if name else kind
        self.seen[name] = self.seen.get(name, 0) + 1
        return name if self.seen[name] == 1 else f"{name} ({self.seen[name]})"

    def _before(self, record: Record, x: Tensor) -> None:
        record.last = self.last
        if self.alone:
            record.before.append(x.detach().clone())
        else:
            _measure_before(record, x.detach())
        if x.requires_grad:
            x.register_hook(lambda g: record.gradients_before.extend(self._norms(g)))

    def _after(self, record: Record, y: Tensor) -> None:
        record.node, record.last = y.grad_fn, self.last
        if self.alone:
            record.values.append(y.detach().clone())
        else:
            _measure(record, y.detach())
        if y.requires_grad:
            y.register_hook(lambda g: record.gradients.extend(self._norms(g)))
        if y.grad_fn is not None:
            self.made[y.grad_fn] = record
        self.records.append(record)

    def _norms(self, g: Tensor) -> list[float]:
        """Squared norms for each input."""
        rows = g.detach().reshape(1 if self.alone else len(g), -1)
        return [float(value) for value in rows.double().square().sum(1)]


def _role(kind: str) -> str | None:
    for role, kinds in (
        ("weights", _WEIGHTS),
        ("activation", _ACTIVATIONS),
        ("normalisation", _NORMALISATIONS),
        ("sum", _SUMS),
        ("product", _PRODUCTS),
        ("other", (*RECURRENT, *_ATTENTION)),
    ):
        if kind in kinds:
            return role
    return None


def _ancestors(node: Any) -> set[Any]:
    found, ahead = {node}, [node]
    while ahead:
        for following, _ in ahead.pop().next_functions:
            if following is not None and following not in found:
                found.add(following)
                ahead.append(following)
    return found


def _variances(weight: Tensor, bias: Any, *, transposed: bool) -> tuple[float, float]:
    """σ_w² = fan-in · mean W² and σ_b² = mean b²."""
    weight = weight.detach().double()
    fan_in = weight.numel() / weight.shape[1 if transposed else 0]
    bias_var = float(bias.detach().double().square().mean()) if isinstance(bias, Tensor) else 0.0
    return fan_in * float(weight.square().mean()), bias_var


def _units_first(y: Tensor, last: bool) -> Tensor:
    """(units, everything else) of outputs (n, …)."""
    if y.ndim < 2:
        return y.reshape(1, -1)
    return y.movedim(-1 if last else 1, 0).flatten(1)


def _measure(record: Record, y: Tensor) -> None:
    """Gram matrix, units and dead units of outputs y (n, …)."""
    record.gram = _gram(y)
    units = _units_first(y, record.last)
    record.units = len(units)
    if record.role == "activation" and units.shape[1] > 1:
        record.dead = float((units.amax(1) == units.amin(1)).double().mean())


def _gram(y: Tensor) -> Array:
    rows = y.reshape(len(y), -1)
    rows = rows.double() if rows.numel() < 2**22 else rows
    found: Array = (rows @ rows.T / rows.shape[1]).double().cpu().numpy()
    return found


def _measure_before(record: Record, x: Tensor) -> None:
    """The pre-activations x (n, …), and the share of flat slopes where the activation has two flat ends."""
    record.before_gram = _gram(x)
    record.q_before = float(np.diagonal(record.before_gram).mean())
    if record.kind not in SATURATING or record.function is None:
        return
    with torch.enable_grad():  # of a copy, on which the activation may work in place
        z = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(record.function(z.clone()).sum(), z)
        zero = x.new_zeros(1).requires_grad_()
        (steepest,) = torch.autograd.grad(record.function(zero.clone()).sum(), zero)
    record.saturation = float((slope.abs() < _FLAT * steepest.abs()).double().mean())


def _joined(runs: list[list[Record]]) -> list[Record]:
    """The records of inputs that came one at a time, as of all together; those of the first input alone where the
    runs differ."""
    if any([r.kind for r in run] != [r.kind for r in runs[0]] for run in runs):
        runs = runs[:1]
    for records in zip(*runs, strict=True):
        first = records[0]
        if len({record.values[0].shape for record in records}) == 1:
            _measure(first, torch.stack([record.values[0] for record in records]))
            first.gradients = [value for record in records for value in record.gradients]
            first.gradients_before = [value for record in records for value in record.gradients_before]
            if first.before:
                _measure_before(first, torch.stack([record.before[0] for record in records]))
        first.values, first.before = [], []
    return runs[0]


def random_readout(outputs: Tensor, seed: int = 0) -> Tensor:
    """Σ_n ⟨u_n, f_n⟩ of outputs (n, C), with u_n uniform on the unit sphere: the error where there is no target.

    >>> random_readout(torch.zeros(2, 3))
    tensor(0.)
    """
    u = torch.randn(outputs.shape, generator=generator(seed), dtype=torch.float64)
    return (outputs * (u / u.norm(dim=1, keepdim=True)).to(outputs)).sum()
