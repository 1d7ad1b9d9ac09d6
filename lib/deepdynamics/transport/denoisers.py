"""Denoising autoencoders that are trained: small perceptrons, many at once as one batched program.

g(x~) = x~ + net(x~) (``skip``) or net(x~), with net a perceptron d-64-64-d, minimises the mean of |g(x + ε) - x|² over
the samples and fresh noise ε ~ N(0, variance · I) in every step of Adam. What was decided, on the Gaussian and the
mixture of the tests, at 1,200 steps:

- ReLU, as the best denoiser of a Gaussian or a mixture becomes affine far out, where tanh saturates; it is also two
  thirds of tanh's error on mixtures at small noise.
- A learning rate that falls linearly to 0: the target's noise, √variance against a displacement of order variance,
  otherwise keeps the weights moving, at twice the error.
- A readout that starts at a tenth of its scale, near the identity where there is a skip, and biases that differ from 0,
  so that not all kinks start at the origin: down to half the error on mixtures after 300 steps.
- Training happens in the units of the noisy samples (their mean is 0 there and their mean square 1, so that results do
  not depend on units), and ends in the weights of a plain perceptron in the user's.

Torch; device and dtype follow the samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepdynamics._batched import Adam
from deepdynamics._checks import Numbers, count, plain, tensor
from deepdynamics.networks import Seed, generator
from deepdynamics.transport.arguments import noise

__all__ = ["Denoiser", "train_composed_daes", "train_dae", "train_daes"]

WIDTH, BATCH, RATE = 64, 500, 3e-3
_BLOCK = 50  # steps whose random numbers are drawn at once


@dataclass(frozen=True)
class Denoiser:
    """x + net(x), or net(x) without ``skip``: ``weights`` (out, in) and ``biases`` (out,) of three layers, each with an
    axis of runs in front where it is many denoisers. x (n, d) -> (n, d); many: (n, d) or (runs, n, d) -> (runs, n, d),
    and ``denoiser[r]`` is run r.

    Raises ``ValueError`` for x of another dimension or type.

    >>> many = train_daes(torch.randn(100, 2), [0.1, 0.2], steps=3, seed=0)
    >>> many(torch.zeros(5, 2)).shape, torch.allclose(many([[1.0, 2.0]])[1], many[1]([[1.0, 2.0]]))
    (torch.Size([2, 5, 2]), True)
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    skip: bool

    def __call__(self, x: Numbers) -> Tensor:
        like = self.weights[0]
        points = tensor("x", x, like)
        allowed = (2,) if like.ndim == 2 else (2, 3)
        if points.ndim not in allowed or points.shape[-1] != like.shape[-1] or points.dtype != like.dtype:
            wanted = f"(n, {like.shape[-1]}) of type {like.dtype}"
            raise ValueError(f"x of shape {tuple(points.shape)} and type {points.dtype}: {wanted} is allowed")
        if points.ndim == 3 and len(points) != len(like):
            raise ValueError(f"x of shape {tuple(points.shape)}: {len(like)} runs are allowed")
        h = points
        for depth, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = (torch.relu(h) if depth else h) @ W.mT + b[..., None, :]
        return points + h if self.skip else h

    def __getitem__(self, run: int) -> Denoiser:
        if self.weights[0].ndim == 2:
            raise IndexError("one denoiser has no runs")
        return Denoiser(tuple(W[run] for W in self.weights), tuple(b[run] for b in self.biases), self.skip)


def train_dae(samples: Numbers, variance: float, *, steps: int, seed: Seed, skip: bool = True) -> Denoiser:
    """A denoiser of noise ``variance`` > 0 trained on ``samples`` (n, d): callable on (n, d).

    Raises ``ValueError`` for samples that are empty, not finite or of another shape, noise that is not positive and
    steps below 1.

    >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> g = train_dae(x, 1.0, steps=300, seed=0)
    >>> g([[1.0, -1.0]]).round(decimals=1)  # the best is x/2
    tensor([[ 0.5000, -0.5000]])
    """
    points = _samples(samples)
    if points.ndim != 2:
        raise ValueError(f"samples of shape {tuple(points.shape)}: (n, d) is allowed, train_daes takes many")
    return train_daes(points, [variance], steps=steps, seed=[seed], skip=skip)[0]


def train_daes(
    samples: Numbers,
    variances: Numbers,
    *,
    steps: int,
    seed: Seed | Sequence[Seed],
    skip: bool = True,
) -> Denoiser:
    """Many denoisers as one program: ``samples`` (runs, n, d), or (n, d) for all; ``variances`` and ``seed`` one value
    or (runs,). One seed gives each run its own draw; a list gives each its own, and what a run becomes does not depend
    on what is trained beside it, rounding aside: it is ``train_dae`` with that seed.

    Raises ``ValueError`` as :func:`train_dae` does, and where the numbers of runs differ.

    >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> daes = train_daes(torch.stack([x, 2 * x]), 1.0, steps=300, seed=[0, 0])
    >>> daes([[1.0, -1.0]])[:, 0].round(decimals=1)  # the best are x/2 and 4x/5
    tensor([[ 0.5000, -0.5000],
            [ 0.8000, -0.8000]])
    """
    points, levels, total = _samples(samples), noise(variances), count("steps", steps)
    runs, draws = _runs(points, levels, seed)
    scales = torch.tensor(np.broadcast_to(levels, runs).copy()).to(points)[:, None, None].sqrt()
    points = points.expand(runs, *points.shape[-2:])
    centre = points.mean(1, keepdim=True)
    unit = ((points - centre).square().mean((1, 2), keepdim=True) + scales**2).sqrt()
    training = _Training(points.shape[-1], draws, points, skip)
    for step, (clean, normal) in enumerate(_batches((points - centre) / unit, total, draws)):
        training.step(clean, torch.addcmul(clean, scales / unit, normal), RATE * (1 - step / total))
    return training.denoiser(centre, unit)


def train_composed_daes(
    samples: Numbers, variance: float, layers: int, *, steps: int, seed: Seed, skip: bool = True
) -> list[Denoiser]:
    """``layers`` denoisers of noise ``variance``, each trained on what the one before makes of the ``samples`` (n, d),
    or (runs, n, d) for many stacks at once; :func:`compose_daes` applies them.

    Raises ``ValueError`` as :func:`train_dae` does, and for layers below 1.

    >>> x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    >>> stack = train_composed_daes(x, 1.0, 2, steps=200, seed=0)
    >>> bool(stack[1](stack[0](x)).std() < stack[0](x).std() < x.std())
    True
    """
    points, draw = _samples(samples), generator(seed)
    runs = points if points.ndim == 3 else points[None]
    stack: list[Denoiser] = []
    for _ in range(count("layers", layers)):
        stack.append(train_daes(runs, variance, steps=steps, seed=draw, skip=skip))
        runs = stack[-1](runs)
    return stack if points.ndim == 3 else [layer[0] for layer in stack]


class _Training:
    """Parameters and gradients of all runs: each one tensor (runs, number), of which the layers are views, so that Adam
    is a few operations whatever the depth."""

    def __init__(self, d: int, draws: Sequence[torch.Generator], like: Tensor, skip: bool):
        shapes = [(WIDTH, d), (WIDTH, WIDTH), (d, WIDTH)]
        self.skip = skip
        size = sum(out * (n_in + 1) for out, n_in in shapes)
        theta, self.gradient = (like.new_zeros(len(draws), size) for _ in range(2))
        self.adam = Adam(theta, like.new_empty(len(draws)))
        self.layers, self.slopes = (self._views(flat, shapes) for flat in (theta, self.gradient))
        self.outputs = [like.new_empty(len(draws), BATCH, out) for out, _ in shapes]
        self.deltas = [torch.empty_like(h) for h in self.outputs[:-1]]
        for W, b in self.layers[:-1]:
            W.copy_(_normal(W.shape[1:], draws) / W.shape[2] ** 0.5)
            b.copy_(_normal(b.shape[1:], draws) / (2 * W.shape[2]) ** 0.5)
        readout = self.layers[-1][0]
        readout.copy_(0.1 * _normal(readout.shape[1:], draws) / WIDTH**0.5)

    def _views(self, flat: Tensor, shapes: Sequence[tuple[int, int]]) -> list[tuple[Tensor, Tensor]]:
        views, start = [], 0
        for out, n_in in shapes:
            end = start + out * n_in
            views.append((flat[:, start:end].view(-1, out, n_in), flat[:, None, end : end + out]))
            start = end + out
        return views

    def step(self, clean: Tensor, noisy: Tensor, rate: float) -> None:
        """One step of Adam on the mean over the batch of |g(noisy) - clean|²; both (runs, batch, d)."""
        inputs = [noisy]
        for (W, b), buffer in zip(self.layers, self.outputs, strict=True):
            inputs.append(torch.baddbmm(b, inputs[-1], W.mT, out=buffer))
            if buffer is not self.outputs[-1]:
                buffer.relu_()
        delta = inputs.pop().sub_(clean)
        if self.skip:
            delta += noisy
        delta *= 2 / clean.shape[1]
        for depth in reversed(range(len(self.layers))):
            slope_W, slope_b = self.slopes[depth]
            torch.bmm(delta.mT, inputs[depth], out=slope_W)
            torch.sum(delta, 1, keepdim=True, out=slope_b)
            if depth:  # the ReLU's slope is the sign of its output, which nobody needs any more
                delta = torch.bmm(delta, self.layers[depth][0], out=self.deltas[depth - 1])
                delta *= inputs[depth].sign_()
        self.adam.rate.fill_(rate)
        self.adam(self.gradient)

    def denoiser(self, centre: Tensor, unit: Tensor) -> Denoiser:
        """In the user's units: u · net((x - c)/u), with c added where there is no skip, is a perceptron as well."""
        weights, biases = ([part.clone() for part in parts] for parts in zip(*self.layers, strict=True))
        weights[0] /= unit
        biases[0] -= centre @ weights[0].mT
        weights[-1] *= unit
        biases[-1] *= unit
        if not self.skip:
            biases[-1] += centre
        return Denoiser(tuple(weights), tuple(b[:, 0] for b in biases), self.skip)


def _normal(shape: Sequence[int], draws: Sequence[torch.Generator]) -> Tensor:
    return torch.stack([torch.randn(shape, generator=draw, dtype=torch.float64) for draw in draws])


def _batches(points: Tensor, steps: int, draws: Sequence[torch.Generator]) -> Iterator[tuple[Tensor, Tensor]]:
    """For each step a batch of every run, drawn with replacement, and standard normal numbers; (runs, BATCH, d)."""
    runs, n, d = points.shape
    rows = torch.arange(runs, device=points.device)[:, None]
    for start in range(0, steps, _BLOCK):
        block = min(_BLOCK, steps - start)
        places = torch.stack([torch.randint(n, (block, BATCH), generator=draw) for draw in draws], 1)
        normal = torch.stack([torch.randn(block, BATCH, d, generator=draw, dtype=points.dtype) for draw in draws], 1)
        for chosen, numbers in zip(places.to(points.device), normal.to(points.device), strict=True):
            yield points[rows, chosen], numbers


def _samples(samples: Numbers) -> Tensor:
    points = tensor("samples", samples).detach()
    if points.ndim not in (2, 3) or points.numel() == 0:
        raise ValueError(f"samples of shape {tuple(points.shape)}: (n, d) or (runs, n, d), not empty, is allowed")
    if not points.is_floating_point() or not torch.isfinite(points).all():
        raise ValueError(f"samples of type {points.dtype}: finite floating point numbers are allowed")
    return points


def _runs(points: Tensor, levels: np.ndarray, seed: Seed | Sequence[Seed]) -> tuple[int, list[torch.Generator]]:
    """How many runs there are, and a generator for each."""
    single = isinstance(seed, (int, np.integer, np.random.Generator, torch.Generator))
    seeds = None if single else list(plain(seed))  # type: ignore[arg-type]
    if levels.ndim > 1:
        raise ValueError(f"variances of shape {levels.shape}: one value or (runs,) is allowed")
    given = {
        "samples": len(points) if points.ndim == 3 else None,
        "variances": len(levels) if levels.ndim else None,
        "seed": None if seeds is None else len(seeds),
    }
    counts = {n for n in given.values() if n is not None}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(f"runs by argument: {given}: one number of runs is allowed")
    runs = counts.pop() if counts else 1
    if seeds is None:
        seeds = torch.randint(2**62, (runs,), generator=generator(seed)).tolist()  # type: ignore[arg-type]
    return runs, [generator(one) for one in seeds]
