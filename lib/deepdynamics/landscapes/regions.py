"""The pieces of a piecewise affine network: along a segment and in a parallelogram, exactly.

Inside a piece each pre-activation is affine, so the place where a unit switches is the root of a linear equation. No
grid is searched, and no piece is too small to be found, down to rounding.

    positions = linear_regions(model, image, another)     # any network of affine maps, ReLU and max-pooling
    pieces = plane_regions(model, corner, u, v)           # a perceptron
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["PlanePieces", "linear_regions", "montufar_bound", "plane_regions", "shallow_regions", "tent"]

Array = NDArray[np.float64]
_ROUNDING = 1e-9


def tent(depth: int) -> nn.Sequential:
    """The tent map of [0, 1], composed ``depth`` times: two ReLU units a layer, 2^depth affine pieces, float64.

    T(x) = 2 relu(x) − 4 relu(x − ½). The composition is exact in floating point up to depth 50.

    Raises ``ValueError`` for a depth that is no integer from 1 to 50.

    >>> tent(2)(torch.tensor([[0.0], [0.25], [0.5]], dtype=torch.float64)).flatten().tolist()
    [0.0, 1.0, 0.0]
    """
    if not 1 <= depth <= 50:
        raise ValueError(f"depth = {depth}: 1 to 50 is allowed")
    layers: list[nn.Module] = []
    for level in range(depth):
        inner = nn.Linear(1 if level == 0 else 2, 2, dtype=torch.float64)
        folded = [[1.0], [1.0]] if level == 0 else [[2.0, -4.0], [2.0, -4.0]]
        inner.weight.data, inner.bias.data = _exact(folded), _exact([0.0, -0.5])
        layers += [inner, nn.ReLU()]
    outer = nn.Linear(2, 1, dtype=torch.float64)
    outer.weight.data, outer.bias.data = _exact([[2.0, -4.0]]), _exact([0.0])
    return nn.Sequential(*layers, outer)


def _exact(values: list[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def shallow_regions(units: int, dimension: int) -> int:
    """The most regions that a layer of ``units`` ReLU units makes of R^dimension: Σ_{j ≤ d} C(n, j) (Zaslavsky 1975).

    >>> shallow_regions(6, 2), shallow_regions(24, 2)
    (22, 301)
    """
    if units < 0 or dimension < 1:
        raise ValueError(f"units = {units}, dimension = {dimension}: units >= 0 and dimension >= 1 are allowed")
    return sum(math.comb(units, j) for j in range(dimension + 1))


def montufar_bound(dimension: int, widths: Sequence[int]) -> int:
    """Regions that some ReLU network of these hidden widths has: a lower bound on the most there can be.

    (Π_{l < L} ⌊n_l/d⌋^d) Σ_{j ≤ d} C(n_L, j), for widths >= d (Montúfar et al. 2014, theorem 4).

    >>> montufar_bound(2, (8, 8, 8))
    9472
    """
    if dimension < 1 or not widths or min(widths) < dimension:
        raise ValueError(f"widths = {tuple(widths)}: one or more, none below dimension = {dimension} >= 1")
    folds = math.prod((n // dimension) ** dimension for n in widths[:-1])
    return folds * shallow_regions(widths[-1], dimension)


@torch.no_grad()
def linear_regions(
    model: nn.Module | Callable[[Tensor], Tensor], a: ArrayLike | Tensor, b: ArrayLike | Tensor
) -> Array:
    """Positions in (0, 1), ascending, at which ``model`` changes its affine piece on the segment from ``a`` to ``b``.

    One more than their number is the number of pieces. ``a`` and ``b`` are single inputs of one shape, without a batch
    axis; the model gets batches of points of the segment, in float64 (a copy of a module is converted). It may do
    whatever is affine in its input, ReLU (also leaky, hard tanh, ReLU6, ``clamp``, ``abs``) and max-pooling in two
    dimensions, as modules or as functions. Normalisation and dropout must be in evaluation mode. A place where units
    switch and the output does not notice is left out; so is one closer than 1e-12 to another. All points between pieces
    go through the model as one batch: memory grows with the pieces times the activations of one input.

    Raises ``ValueError`` for inputs of different shapes or that are not finite, and where the model is not piecewise
    affine in these operations: it is computed in the middle of each piece and compared.

    >>> linear_regions(tent(2), [0.0], [1.0]).tolist()
    [0.25, 0.5, 0.75]
    """
    start, end = (torch.as_tensor(value).detach().to(torch.float64) for value in (a, b))
    if start.shape != end.shape or not torch.isfinite(torch.stack((start, end))).all():
        raise ValueError(f"a and b of shapes {tuple(start.shape)} and {tuple(end.shape)}: one shape, finite numbers")
    f: Any = model
    if isinstance(model, nn.Module):
        f = copy.deepcopy(model).to(torch.float64)
        if any(m.training and isinstance(m, _STOCHASTIC) for m in f.modules()):
            raise ValueError("model is in training mode, with dropout or batch statistics: call .eval() first")

    def along(t: Tensor) -> Tensor:
        line = start + t.reshape(-1, *[1] * start.ndim) * (end - start)
        return f(line).flatten(1)  # type: ignore[no-any-return]

    knots, done = torch.tensor([0.0, 1.0], dtype=torch.float64), 0
    while True:  # the kinks of one operation after the other: before it, all is affine between two knots
        watch = _Kinks(knots, done)
        with watch:
            out = along(knots)
        if watch.found is None:
            break
        done = watch.found + 1
        knots = _merged(knots, watch.roots)
    middles = (knots[1:] + knots[:-1]) / 2
    straight, scale = (out[1:] + out[:-1]) / 2, out.abs().max() + 1e-300
    if (along(middles) - straight).abs().max() > _ROUNDING * scale:
        raise ValueError(
            "the model is not piecewise affine in operations that are known: affine maps, ReLU, max-pooling in two "
            "dimensions (torch.maximum, other pooling by maxima and a softmax at the end are not)"
        )
    slopes = torch.func.jvp(along, (middles,), (torch.ones_like(middles),))[1]
    jumps = (slopes[1:] - slopes[:-1]).abs().amax(1)
    return knots[1:-1][jumps > _ROUNDING * slopes.abs().max()].numpy()  # type: ignore[no-any-return]


_STOCHASTIC = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def _merged(knots: Tensor, roots: Tensor) -> Tensor:
    """All of them, ascending; of those closer than 1e-12 the first, and both ends."""
    every = torch.cat((knots, roots)).unique()
    keep = torch.cat((torch.tensor([True]), every.diff() > 1e-12))
    return torch.cat((every[keep & (every < 1 - 1e-12)], torch.ones(1, dtype=knots.dtype)))


class _Kinks(TorchFunctionMode):
    """Counts the operations with kinks; ``roots`` are those of operation number ``found``, the first from ``done`` on
    that has kinks between the knots, along which the batch lies."""

    def __init__(self, knots: Tensor, done: int):
        super().__init__()
        self.knots, self.done, self.count = knots, done, 0
        self.found: int | None = None
        self.roots = knots[:0]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _AT and self.found is None:
            if self.count >= self.done:
                self.roots = self._crossings(name, args, kwargs)
                if len(self.roots):
                    self.found = self.count
            self.count += 1
        return func(*args, **kwargs)

    def _crossings(self, name: str, args: Any, kwargs: Any) -> Tensor:
        h = args[0] if args else kwargs["input"]
        if name == "max_pool2d":
            return self._pooled(_pooling(args, kwargs), h)
        places = _AT[name](args, kwargs)
        return torch.cat([_roots(h.flatten(1) - place, self.knots) for place in places])

    def _pooled(self, options: dict[str, Any], h: Tensor) -> Tensor:
        """Where two values of a window are equal and the largest in it."""
        pads = options.pop("padding")
        pads = (pads, pads) if isinstance(pads, int) else tuple(pads)
        h = nn.functional.pad(h, (pads[1], pads[1], pads[0], pads[0]), value=-1e30)
        windows = nn.functional.unfold(h.flatten(0, 1)[:, None], **options)
        windows = windows.reshape(*h.shape[:2], windows.shape[1], -1).transpose(2, 3).flatten(1, 2)
        found = [self.knots[:0]]
        for i in range(windows.shape[2]):
            for j in range(i):
                interval, unit, share = _zeros(windows[..., i] - windows[..., j])
                left, right = windows[interval, unit], windows[interval + 1, unit]
                values = left + share[:, None] * (right - left)
                top = values.amax(1)
                highest = values[:, i] >= top - _ROUNDING * (1 + top.abs())
                found.append(_inside(interval[highest], share[highest], self.knots))
        return torch.cat(found)


def _pooling(args: Any, kwargs: Any) -> dict[str, Any]:
    """Arguments of ``max_pool2d`` as ``unfold`` names them."""
    names = ("input", "kernel_size", "stride", "padding", "dilation")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    stride = given.get("stride") or given["kernel_size"]
    return {
        "kernel_size": given["kernel_size"],
        "stride": stride,
        "padding": given.get("padding", 0),
        "dilation": given.get("dilation", 1),
    }


def _zero(args: Any, kwargs: Any) -> tuple[float, ...]:
    return (0.0,)


def _limits(args: Any, kwargs: Any) -> tuple[float, ...]:
    both = [*args[1:3], *(kwargs[key] for key in ("min", "max", "min_val", "max_val") if key in kwargs)]
    return tuple(float(v) for v in both if v is not None) or (-1.0, 1.0)


_AT: dict[str, Callable[[Any, Any], tuple[float, ...]]] = {
    **dict.fromkeys(("relu", "relu_", "leaky_relu", "leaky_relu_", "abs", "prelu", "threshold"), _zero),
    **dict.fromkeys(("clamp", "clip", "clamp_", "hardtanh", "hardtanh_"), _limits),
    "clamp_min": _limits,
    "clamp_max": _limits,
    "relu6": lambda args, kwargs: (0.0, 6.0),
    "max_pool2d": _zero,
}


def _roots(h: Tensor, knots: Tensor) -> Tensor:
    """Roots inside the intervals of functions (knots, units) that are affine between the knots."""
    interval, _, share = _zeros(h)
    return _inside(interval, share, knots)


def _zeros(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Interval, unit and share of the interval of each change of sign."""
    interval, unit = torch.nonzero(h[:-1] * h[1:] < 0, as_tuple=True)
    left, right = h[interval, unit], h[interval + 1, unit]
    return interval, unit, left / (left - right)


def _inside(interval: Tensor, share: Tensor, knots: Tensor) -> Tensor:
    """Those places that are not the knots themselves up to rounding."""
    t = knots[interval] + (knots[interval + 1] - knots[interval]) * share
    return t[(t - knots[interval] > 1e-12) & (knots[interval + 1] - t > 1e-12)].unique()


@dataclass(frozen=True)
class PlanePieces:
    """Convex polygons on which a network is affine: ``polygons``, each (corners, 2) in the coordinates (s, t) of
    x = corner + s u + t v in [0, 1]², and ``maps`` (pieces, outputs, 3), output = maps @ (s, t, 1).

    >>> len(plane_regions(tent(2), [0.0], [1.0], [0.0]).polygons)
    4
    """

    polygons: list[Array]
    maps: Array

    def areas(self) -> Array:
        """Area of each polygon, in units of the parallelogram; the sum is 1.

        >>> plane_regions(nn.Sequential(nn.Linear(2, 1)), [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]).areas().tolist()
        [1.0]
        """
        after = [np.roll(p, -1, axis=0) for p in self.polygons]
        both = zip(self.polygons, after, strict=True)
        return np.array([abs(np.sum(p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1])) / 2 for p, q in both])


@torch.no_grad()
def plane_regions(model: nn.Module, corner: ArrayLike, u: ArrayLike, v: ArrayLike) -> PlanePieces:
    """The activation regions of a ReLU perceptron in the parallelogram ``corner`` + s ``u`` + t ``v``, s and t in
    [0, 1].

    Each unit's line divides the polygons of the layer before it. ``model`` has ``nn.Linear`` and ``nn.ReLU`` modules,
    applied one after the other (an ``nn.Sequential``, or what ``.children()`` lists in that order). Pieces of an area
    below about 1e-12 are lost to rounding.

    Raises ``ValueError`` for other modules and shapes that do not fit.

    >>> one = nn.Sequential(nn.Linear(2, 1), nn.ReLU())
    >>> one[0].weight.data, one[0].bias.data = torch.tensor([[1.0, 1.0]]), torch.tensor([-1.0])
    >>> plane_regions(one, [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]).areas().tolist()
    [0.5, 0.5]
    """
    origin, first, second = (np.asarray(value, dtype=float) for value in (corner, u, v))
    if not origin.shape == first.shape == second.shape or origin.ndim != 1:
        raise ValueError(f"corner, u, v of shapes {origin.shape}, {first.shape}, {second.shape}: (inputs,) each")
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    pieces = [(square, np.stack((first, second, origin), axis=1))]
    for layer in model.children():
        if isinstance(layer, nn.Linear):
            W = layer.weight.double().numpy()
            bias = np.zeros(len(W)) if layer.bias is None else layer.bias.double().numpy()
            lift = np.outer(bias, [0.0, 0.0, 1.0])
            if W.shape[1] != len(pieces[0][1]):
                raise ValueError(f"a layer of {W.shape[1]} inputs, where there are {len(pieces[0][1])}")
            pieces = [(polygon, W @ affine + lift) for polygon, affine in pieces]
        elif isinstance(layer, nn.ReLU):
            pieces = [part for piece in pieces for part in _divided(*piece)]
        else:
            raise ValueError(f"a module {type(layer).__name__}: nn.Linear and nn.ReLU are allowed")
    return PlanePieces([p for p, _ in pieces], np.array([m for _, m in pieces]))


def _divided(polygon: Array, affine: Array) -> list[tuple[Array, Array]]:
    """The polygon cut by the zero lines of all rows of ``affine`` (units, 3), and relu of the rows on each part."""
    scale = np.abs(affine).sum(1) + 1e-300
    todo, parts = [(polygon, np.arange(len(affine)))], []
    while todo:
        corners, units = todo.pop()
        values = corners @ affine[units, :2].T + affine[units, 2]
        tiny = 1e-12 * scale[units]
        units = units[(values.min(0) < -tiny) & (values.max(0) > tiny)]
        if len(units):
            todo += [(part, units[1:]) for part in _cut(corners, affine[units[0]])]
        else:
            on = affine @ np.append(corners.mean(0), 1.0) > 0
            parts.append((corners, affine * on[:, None]))
    return parts


def _cut(corners: Array, line: Array) -> tuple[Array, Array]:
    """Both sides of a convex polygon that the line crosses."""
    h = corners @ line[:2] + line[2]
    sides: tuple[list[Array], list[Array]] = ([], [])
    for k in range(len(corners)):
        p, q, hp, hq = corners[k - 1], corners[k], h[k - 1], h[k]
        if hp * hq < 0:
            at = p + (q - p) * (hp / (hp - hq))
            sides[0].append(at)
            sides[1].append(at)
        if hq >= 0:
            sides[0].append(q)
        if hq <= 0:
            sides[1].append(q)
    return np.array(sides[0]), np.array(sides[1])
