"""Differences of two images on their way through a network, in units of the typical distance of two images there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import activations, jacobian, linearprobe
from deepdynamics.jacobian.chain import layer_factor
from deepdynamics.networks import MLP, Layer

__all__ = [
    "differences",
    "expected_gains",
    "growth",
    "in_plane",
    "reach",
    "reading_errors",
    "relative",
    "shuffled",
    "stretches",
    "tangent_gains",
]

ANY, SAME, OTHER, NOISE = "any two images", "same digit", "different digits", "noise"
LIKE, UNLIKE = "like ones", "nearest seven"
Pairs = Mapping[str, tuple[Tensor, Tensor]]
Gains = dict[str, NDArray[np.float64]]


def differences(
    images: Tensor, labels: Tensor, part: int, parts: int, *, count: int = 400, near: tuple[int, int] = (1, 7)
) -> Pairs:
    """Pairs of images of six kinds, each (n, in) twice, of the images ``part``, ``part + parts``, …

    "any two images", "same digit" and "different digits": ``count`` pairs drawn at random with the seed ``part``. "like
    ones" and "nearest seven": every one of the part with the one, and with the seven, of all ``images`` that is nearest
    to it (``near``: other digits than these). "noise": the first images of "same digit" and a step of white noise from
    there, as long as the difference that it replaces.
    """
    draw = torch.Generator().manual_seed(part)
    own, digit = images[part::parts], labels[part::parts]
    i, j = torch.randint(len(own), (2, 40 * count), generator=draw)
    i, j = i[i != j], j[i != j]
    same = digit[i] == digit[j]
    kinds = {ANY: slice(None), SAME: same, OTHER: ~same}
    pairs = {kind: (own[i[which][:count]], own[j[which][:count]]) for kind, which in kinds.items()}
    ones = part + parts * torch.nonzero(digit == near[0])[:, 0]
    for kind, other in zip((LIKE, UNLIKE), near, strict=True):
        every = torch.nonzero(labels == other)[:, 0]
        apart = torch.cdist(images[ones], images[every]).masked_fill(ones[:, None] == every, torch.inf)
        pairs[kind] = images[ones], images[every[apart.argmin(1)]]
    a, b = pairs[SAME]
    step = torch.randn(a.shape, generator=draw, dtype=a.dtype)
    pairs[NOISE] = a, a + step * ((b - a).norm(dim=1) / step.norm(dim=1))[:, None]
    return pairs


def growth(nets: Sequence[MLP], pairs: Sequence[Pairs]) -> Gains:
    """d_l / d_0, (nets, depth + 1): the root mean square distance of the pairs of each kind in layer l, over that at
    the input. Each network has its own pairs."""
    lengths = _gathered([_distances(net, own) for net, own in zip(nets, pairs, strict=True)])
    return {kind: length / length[:, :1] for kind, length in lengths.items()}


def relative(grown: Gains) -> Gains:
    """What :func:`growth` found, in units of the growth of "any two images": 1 everywhere for a kind that changes as
    all others do, whatever the scale of a layer."""
    return {kind: length / grown[ANY] for kind, length in grown.items()}


def tangent_gains(nets: Sequence[MLP], pairs: Sequence[Pairs]) -> Gains:
    """As :func:`relative`, for what the Jacobian at the first image of a pair makes of the difference at the input; the
    unit is the actual distance of any two images."""
    return _gathered(
        [_relative(_carried(net, own), _distances(net, own)[ANY]) for net, own in zip(nets, pairs, strict=True)]
    )


def expected_gains(
    pairs: Sequence[Pairs], widths: Sequence[int], activation: str, *, weight_var: float, bias_var: float
) -> Gains:
    """As :func:`relative`, by mean field theory: of an infinitely wide random network with a linear last layer.

    The mean squares and the overlap of two images follow q ← σ_w² E φ(u)φ(v) + σ_b² for every pair.
    """
    phi, gains = activations.get(activation), []
    for own in pairs:
        found = {}
        for kind, (a, b) in own.items():
            A, B = (side.double().numpy() for side in (a, b))
            overlaps = np.stack([(A * A).mean(1), (B * B).mean(1), (A * B).mean(1)])
            squares = [((A - B) ** 2).sum(1)]
            for layer, width in enumerate(widths[1:], start=2):
                q = weight_var * overlaps + bias_var
                last = layer == len(widths)
                overlaps = q if last else np.vstack([phi.second_moment(q[:2]), phi.covariance(q[0], q[1], q[2])])
                squares.append(width * (overlaps[0] + overlaps[1] - 2 * overlaps[2]))
            found[kind] = np.sqrt(np.mean(squares, axis=1))
        gains.append(_relative(found, found[ANY]))
    return _gathered(gains)


@torch.no_grad()
def stretches(
    nets: Sequence[MLP], pairs: Sequence[Pairs], *, images: int = 20, start: int = 0
) -> list[NDArray[np.float64]]:
    """The singular values of J_{k→l}, k = ``start``, at the first ``images`` of each network, in units of the typical
    distance of two images: s · D_k/D_l. One array (nets, images, number) for every l from k + 1 on."""
    layers: list[list[NDArray[np.float64]]] = [[] for _ in nets[0].layers[start:]]
    for net, own in zip(nets, pairs, strict=True):
        unit = _distances(net, {ANY: own[ANY]})[ANY]
        factors = _factors(net, own[ANY][0][:images])[start:]
        products = accumulate(factors, lambda product, factor: factor @ product)
        for last, (found, J) in enumerate(zip(layers, products, strict=True), start=start + 1):
            found.append(jacobian.gram_singular_values(J).numpy() * unit[start] / unit[last])
    return [np.stack(found) for found in layers]


def reading_errors(
    codes: Sequence[Callable[[Tensor], Tensor]],
    known: tuple[Tensor, Tensor],
    new: tuple[Tensor, Tensor],
    *,
    digits: tuple[int, int],
) -> NDArray[np.float64]:
    """The share of two digits that a ridge regression on each of the ``codes`` misreads, (len(codes),). All readers
    are fitted to the ``known`` images and labels; of the ``new`` ones each gets a part of its own."""
    wanted = torch.tensor(digits)
    (X, y), (Z, z) = ((x[torch.isin(of, wanted)], of[torch.isin(of, wanted)]) for x, of in (known, new))
    found = []
    for part, code in enumerate(codes):
        own = slice(part, None, len(codes))
        found.append(1 - float(linearprobe.ridge_accuracy(code(X)[None], y, code(Z[own])[None], z[own])[0]))
    return np.array(found)


def in_plane(code: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[Tensor], Tensor]:
    """The code's two leading principal components; their plane is fitted to ``images``."""
    states = code(images)
    axes = torch.linalg.eigh(torch.cov(states.double().T)).eigenvectors[:, -2:].to(states)
    return lambda x: code(x) @ axes


def shuffled(net: MLP, seed: int) -> MLP:
    """A copy whose weights are the same numbers in another order: shuffled within each matrix and each bias vector."""
    draw, copied = torch.Generator().manual_seed(seed), copy.deepcopy(net)
    with torch.no_grad():
        for parameter in copied.parameters():
            order = torch.randperm(parameter.numel(), generator=draw)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return copied


def reach(net: MLP, pair: tuple[Tensor, Tensor], level: float = 0.1) -> float:
    """The fraction of the way from the first images to the second at which the median relative error of the linear
    prediction of the output reaches ``level``."""
    a, b = pair
    start, linear = net.states(a)[-1], _pushed(net, a, b - a)[-1]
    fractions, errors = np.geomspace(0.01, 1, 13), []
    for fraction in fractions.tolist():
        moved = net.states(a + fraction * (b - a))[-1] - start
        errors.append(float(((moved - fraction * linear).norm(dim=1) / moved.norm(dim=1)).median()))
    return float(np.exp(np.interp(np.log(level), np.log(errors), np.log(fractions))))


def _distances(net: MLP, pairs: Pairs) -> Gains:
    """The root mean square distance of the pairs of each kind, at the input and after every layer, (depth + 1,)."""
    ways = {kind: zip(net.states(a), net.states(b), strict=True) for kind, (a, b) in pairs.items()}
    return {kind: _rms([s - t for s, t in way]) for kind, way in ways.items()}


def _factors(net: MLP, x: Tensor) -> list[Tensor]:
    """The Jacobian of each layer at every image, (n, out, in)."""
    factors = []
    for layer in net.layers:
        assert isinstance(layer, Layer)
        factor, phi = layer.weight.expand(len(x), *layer.weight.shape), layer.activation
        if phi is not None:
            assert isinstance(phi, activations.Activation)
            factor = layer_factor(phi.slope(layer.preactivation(x)), layer.weight)
        factors.append(factor)
        x = layer(x)
    return factors


def _carried(net: MLP, pairs: Pairs) -> Gains:
    return {kind: _rms(_pushed(net, a, b - a)) for kind, (a, b) in pairs.items()}


@torch.no_grad()
def _pushed(net: MLP, x: Tensor, v: Tensor) -> list[Tensor]:
    """v and what the Jacobians at x make of it, layer by layer (:func:`jacobian.pushforward` for any network, unchecked
    and ten times as fast)."""
    steps = [v]
    for layer in net.layers:
        x, v = torch.func.jvp(layer, (x,), (v,))  # type: ignore[misc]
        steps.append(v)
    return steps


def _relative(lengths: Gains, unit: NDArray[np.float64]) -> Gains:
    return {kind: length / unit * unit[0] / length[0] for kind, length in lengths.items()}


def _gathered(gains: Sequence[Gains]) -> Gains:
    return {kind: np.stack([found[kind] for found in gains]) for kind in gains[0]}


def _rms(steps: Sequence[Tensor]) -> NDArray[np.float64]:
    return np.array([float(step.square().sum(1).mean().sqrt()) for step in steps])
