"""A map at one input: what every function that takes ``f`` and ``x`` asks of them before it differentiates.

``f`` is a callable on tensors, a ``torch.nn.Module`` nearly always, in evaluation mode; ``x`` is one input without a
batch axis. A model that needs the axis gets it: where ``f(x)`` fails and ``f(x[None])`` gives one output, f is
x ↦ f(x[None])[0]. (Where both can be computed, f(x) is meant.)
"""

from __future__ import annotations

import contextlib
import copy
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from deepdynamics._checks import Numbers, parameter, tensor

__all__ = ["AtInput", "Map", "along", "at_input", "check_one_input", "evaluated", "floating", "on_a_copy"]

Map = Callable[[Tensor], Tensor]

_SHAPES = (
    RuntimeError,
    ValueError,
    IndexError,
    AssertionError,
)  # what torch's functions raise where an axis is missing


@dataclass(frozen=True)
class AtInput:
    """A map on one input without a batch axis, which leaves its argument alone; that input; and the value there.

    >>> at = at_input(torch.exp, [0.0])
    >>> at.x, at.value, at.f(torch.ones(1))
    (tensor([0.]), tensor([1.]), tensor([2.7183]))
    """

    f: Map
    x: Tensor
    value: Tensor


class _Refused(Exception):
    """What no batch axis mends."""


def floating(name: str, x: Numbers, maps: Sequence[Any] = ()) -> Tensor:
    """``x`` as a tensor of finite real floating point numbers that autograd can use, without a graph.

    Lists and numpy arrays get the type and the device of the first parameter of ``maps``. Raises ``ValueError`` that
    calls it ``name`` for anything else.

    >>> floating("x", [1, 2], [torch.nn.Linear(2, 2)])
    tensor([1., 2.])
    """
    x = tensor(name, x, None if isinstance(x, Tensor) else parameter(maps))
    if not x.is_floating_point() or not torch.isfinite(x).all():
        raise ValueError(
            f"{name} of shape {tuple(x.shape)} and type {x.dtype}: a finite floating point input is allowed"
        )
    return x.detach().clone() if x.is_inference() else x.detach()


def at_input(f: Map, x: Numbers) -> AtInput:
    """``f`` at the one input ``x``, with the batch axis that it needs, evaluated once.

    Raises ``ValueError`` for an ``x`` that is not finite floating point, an ``f`` that cannot be evaluated there with
    or without a batch axis, is in training mode with dropout or batch statistics, or does not return a real floating
    point tensor.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).eval()
    >>> at_input(net, torch.ones(1, 4, 4)).value.shape
    torch.Size([2, 2, 2])
    """
    return along([f], x)[0]


def along(layers: Sequence[Map], x: Numbers) -> list[AtInput]:
    """The ``layers`` one after the other, each at the value of those before; all get a batch axis where one needs it.

    Raises ``ValueError`` for no layers, and as :func:`at_input` does.

    >>> [layer.value.tolist() for layer in along([torch.square, torch.sum], [1.0, 2.0])]
    [[1.0, 4.0], 5.0]
    >>> along([torch.nn.Dropout(0.5)], torch.ones(2))
    Traceback (most recent call last):
        ...
    ValueError: f is in training mode: its Dropout gives another value each time; call .eval() first
    """
    if len(layers) == 0:
        raise ValueError("layers is empty: at least one map is needed")
    x = floating("x", x, layers)
    maps = [on_a_copy(layer) for layer in layers]
    try:
        try:
            values = _values(maps, x)
        except _SHAPES as error:
            values = _values_of_one(maps, x, error)
            maps = [_with_axis(f) for f in maps]
    except _Refused as reason:
        raise ValueError(str(reason)) from None
    return [AtInput(f, a, b) for f, a, b in zip(maps, [x, *values], values, strict=False)]


def _evaluated(f: Map, x: Tensor) -> Tensor:
    with torch.no_grad(), _evaluation_mode(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using `torch.compile")  # which is a module that is called as well
        value = f(x)
    if not isinstance(value, Tensor):
        raise _Refused(f"f returns {type(value).__name__}: a tensor is allowed")
    if not value.is_floating_point():
        advice = "; torch.view_as_real makes pairs of real numbers" if value.is_complex() else ""
        raise _Refused(
            f"f(x) of shape {tuple(value.shape)} and type {value.dtype}: real floating point values are allowed{advice}"
        )
    return value


def evaluated(f: Map, x: Tensor) -> Tensor:
    """``f(x)``, without a graph, for an ``x`` of any type, which stays as it is.

    Raises ``ValueError`` for an ``f`` that is in training mode with dropout or batch statistics or does not return a
    real floating point tensor, and whatever ``f`` raises.

    >>> evaluated(torch.nn.Embedding(3, 2), torch.tensor([[0, 1]])).shape
    torch.Size([1, 2, 2])
    """
    try:
        return _evaluated(on_a_copy(f), x)
    except _Refused as reason:
        raise ValueError(str(reason)) from None


def check_one_input(layers: Sequence[Map], points: Sequence[AtInput], J: Map) -> None:
    """Raise ``ValueError`` where ``layers`` treat their input as n samples that act on outputs of their own: rows
    (n, features), pictures (n, C, H, W) or, where a module with parameters is asked, sequences (n, ., .).

    ``J`` takes rows (., *x.shape) of vectors to products with the Jacobian of all ``points``. What acts entry by entry
    is no batch, nor what treats its samples differently. Pictures (C, H, W) that are treated channel by channel look
    like a batch; there a map without parameters is believed.

    >>> f = torch.nn.Linear(2, 2)
    >>> check_one_input([f], along([f], torch.ones(3, 2)), lambda V: (V @ f.weight.T).flatten(1))
    Traceback (most recent call last):
        ...
    ValueError: x of shape (3, 2): one input without a batch axis is allowed, and f treats x as 3 separate ones \
(what is meant as one input can be passed flat, and unflattened in f)
    """
    x, value = points[0].x, points[-1].value
    sequences = x.ndim == 3 and parameter(layers) is not None
    if not (x.ndim in (2, 4) or sequences) or len(x) == 1 or value.ndim == 0 or len(value) != len(x):
        return
    draws = torch.Generator().manual_seed(0)
    v = torch.randn(2, *x.shape, generator=draws, dtype=torch.float64).to(x)
    v[0, 1:], v[1, :-1] = 0, 0
    first, last = J(v).reshape(2, *value.shape)
    alone = first[0].any() and last[-1].any() and not first[1:].any() and not last[:-1].any()
    if alone and x.ndim < 4:
        size = x[0].numel()
        v = x.new_zeros(min(8, size), len(x), size)
        v[range(len(v)), 0, torch.linspace(0, size - 1, len(v)).long()] = 1
        alone = ((J(v.view(-1, *x.shape)).flatten(1) != 0).sum(dim=1) > 1).any()
    if alone and _alike(points):
        raise ValueError(
            f"x of shape {tuple(x.shape)}: one input without a batch axis is allowed, and f treats x as {len(x)} "
            "separate ones (what is meant as one input can be passed flat, and unflattened in f)"
        )


def _alike(points: Sequence[AtInput]) -> bool:
    """Whether the first axis can be reversed before or after: samples of a batch are treated alike."""
    turned, value = points[0].x.flip(0), points[-1].value
    with torch.no_grad():
        for at in points:
            turned = at.f(turned)
    rounding = 1e3 * torch.finfo(value.dtype).eps * value.norm()
    return turned.shape == value.shape and bool((turned.flip(0) - value).norm() <= rounding)


def _values(maps: Sequence[Map], x: Tensor) -> list[Tensor]:
    values = []
    for f in maps:
        x = _evaluated(f, x)
        values.append(x)
    return values


def _values_of_one(maps: Sequence[Map], x: Tensor, without: Exception) -> list[Tensor]:
    try:
        values = _values(maps, x[None])
    except _Refused:
        raise
    except Exception:
        values = []
    if not values or any(value.ndim == 0 or len(value) != 1 for value in values):
        reason = " ".join(str(without).split())
        raise ValueError(
            f"f cannot be evaluated at x of shape {tuple(x.shape)} and type {x.dtype}, with a batch axis or without: "
            f"{reason[-300:]}"
        ) from without
    return [value[0] for value in values]


def _with_axis(f: Map) -> Map:
    return lambda x: f(x[None])[0]


def on_a_copy(f: Map) -> Map:
    """f, which may work in place, on a copy of its argument; what was compiled runs as it was written, because
    compiled code has no second derivative and no forward one.

    >>> x = torch.ones(2)
    >>> on_a_copy(torch.Tensor.zero_)(x), x
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    if isinstance(f, nn.Module) and any(t.is_inference() for t in (*f.parameters(), *f.buffers())):
        f = copy.deepcopy(f)
    eager: Any = getattr(torch.compiler, "set_stance", None) or contextlib.nullcontext

    def on_a_copy(x: Tensor) -> Tensor:
        with eager("force_eager"):
            return f(x.clone())

    return on_a_copy


@contextlib.contextmanager
def _evaluation_mode() -> Iterator[None]:
    """Within, modules that are called in training mode and draw numbers or use the statistics of a batch raise."""
    thread = threading.get_ident()

    def check(module: nn.Module, _: Any) -> None:
        if threading.get_ident() != thread:
            return
        for part in module.modules() if isinstance(module, torch.jit.ScriptModule) else (module,):
            name = getattr(part, "original_name", type(part).__name__)
            if part.training and (what := _changes(part, name)):
                raise _Refused(f"f is in training mode: its {name} {what}; call .eval() first")

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _changes(module: nn.Module, name: str) -> str:
    """What a module in training mode does, where a second evaluation would give another value."""
    if "BatchNorm" in name or ("InstanceNorm" in name and getattr(module, "track_running_stats", False)):
        return "uses the statistics of a batch"
    if name == "_SpectralNorm":
        return "iterates"
    dropout = getattr(module, "dropout", 0.0)  # of recurrent networks and attention a number
    rates = [getattr(module, key, None) for key in ("p", "drop_prob")] if _drops(name) else [dropout]
    if name == "RReLU" or any(isinstance(rate, float | int) and rate > 0 for rate in rates):
        return "gives another value each time"
    return ""


def _drops(name: str) -> bool:
    return "drop" in name.lower() or name == "StochasticDepth"
