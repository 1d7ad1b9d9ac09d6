"""Small generative adversarial networks, many at once as one batched program: maps that carry N(0, I) to data.

A generator z + net(z) (``skip``) or net(z), with net a perceptron d-32-32-d of tanh units, and a discriminator of the
same size play the game of Goodfellow et al. (2014) in its non-saturating form: steps of Adam, alternating, at rates
that fall linearly to 0. The slope of the discriminator at the data is kept small by the penalty of Mescheder et al.
(2018), without which the two circle each other.

``readout`` multiplies the last weights at the start. With a skip and a small readout a generator starts near the
identity. One without a skip has Gaussian first weights, their signs free, so that g(z) and g(-z) are equally likely,
before training and, as neither the game nor Adam knows the sign of z, after it; whatever the readout.

Torch; float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdynamics._batched import per_run, run_seeds
from deepdynamics._checks import Numbers, count, tensor
from deepdynamics.networks import Seed, generator

__all__ = ["Generators", "train_generators"]

WIDTH, BATCH, RATE, PENALTY, EVERY = 32, 128, 2e-3, 0.2, 4


@dataclass(frozen=True)
class Generators:
    """``weights`` A₁, b₁, A₂, b₂, A₃, b₃ with an axis of runs in front, A (runs, in, out); ``skip`` (runs,) of 0 and 1.
    z (runs, n, d), or (n, d) for all -> (runs, n, d).

    >>> gans = train_generators(torch.randn(2, 200, 2), skip=[False, True], steps=2, seed=0)
    >>> gans(torch.zeros(5, 2)).shape
    torch.Size([2, 5, 2])
    """

    weights: tuple[Tensor, ...]
    skip: Tensor

    def __call__(self, z: Numbers) -> Tensor:
        points, (runs, d) = tensor("z", z, self.skip).to(self.skip.dtype), self.weights[0].shape[:2]
        if points.ndim not in (2, 3) or points.shape[-1] != d or (points.ndim == 3 and len(points) != runs):
            raise ValueError(f"z of shape {tuple(points.shape)}: (n, {d}) or ({runs}, n, {d}) is allowed")
        points = points.expand(runs, *points.shape[-2:])
        return self.skip[:, None, None] * points + _perceptron(self.weights, points)


def train_generators(
    samples: Numbers,
    *,
    skip: bool | Sequence[bool],
    readout: float | Sequence[float] = 1.0,
    steps: int,
    seed: Seed | Sequence[int],
) -> Generators:
    """Generators of the ``samples`` (runs, n, d), one a run. ``skip``, ``readout`` and ``seed`` are one value or one a
    run; runs of one seed see the same batches and noise, and start from the same numbers, the last weights times
    ``readout``.

    Raises ``ValueError`` for samples of another shape and steps below 1.

    >>> x = torch.randn(1, 1000, 1, generator=torch.Generator().manual_seed(0)) + 3
    >>> g = train_generators(x, skip=True, steps=300, seed=0)
    >>> bool((g(torch.zeros(1, 1)) > 2).all())
    True
    """
    data = tensor("samples", samples).float()
    if data.ndim != 3 or data.numel() == 0 or not torch.isfinite(data).all():
        raise ValueError(f"samples of shape {tuple(data.shape)}: finite ones (runs, n, d) are allowed")
    (runs, n, d), total = data.shape, count("steps", steps)
    seeds, rows = run_seeds(seed, runs), torch.arange(runs)[:, None]
    draws = {one: generator(one) for one in seeds}
    jumps = torch.tensor(per_run("skip", skip, runs), dtype=torch.float32)
    scales = torch.tensor(per_run("readout", readout, runs), dtype=torch.float32)
    if not ((jumps == 0) | (jumps == 1)).all() or not torch.isfinite(scales).all():
        raise ValueError(f"skip = {skip}, readout = {readout}: True or False, and finite numbers, are allowed")
    g, f = _start(seeds, draws, d, d), _start(seeds, draws, d, 1)
    with torch.no_grad():
        g[4] *= scales[:, None, None]
    adams = [torch.optim.Adam(w, lr=RATE, betas=(0.5, 0.99)) for w in (g, f)]
    soft, fake = torch.nn.functional.softplus, Generators(tuple(g), jumps)
    with torch.enable_grad():
        for step in range(total):
            for adam in adams:
                adam.param_groups[0]["lr"] = RATE * (1 - step / total)
            chosen = {one: torch.randint(n, (BATCH,), generator=draw) for one, draw in draws.items()}
            normal = {one: torch.randn(BATCH, d, generator=draw) for one, draw in draws.items()}
            x, z = data[rows, _rows(chosen, seeds)], _rows(normal, seeds)
            y = fake(z)
            loss = (soft(-_score(f, x)) + soft(_score(f, y.detach()))).mean(1).sum()
            if step % EVERY == 0:
                loss = loss + EVERY * PENALTY / 2 * _slope(f, x).square().sum(-1).mean(1).sum()
            _descend(adams[1], f, loss)
            _descend(adams[0], g, soft(-_score(f, y)).mean(1).sum())
    return Generators(tuple(w.detach() for w in g), jumps)


def _start(seeds: Sequence[int], draws: dict[int, torch.Generator], d: int, out: int) -> list[Tensor]:
    shapes = [(d, WIDTH), (1, WIDTH), (WIDTH, WIDTH), (1, WIDTH), (WIDTH, out), (1, out)]
    scales = [d**-0.5, 0.5, WIDTH**-0.5, 0.1, WIDTH**-0.5, 0.0]
    drawn = {one: [torch.randn(s, generator=draw) for s in shapes] for one, draw in draws.items()}
    parts = zip(*(drawn[one] for one in seeds), strict=True)
    return [(scale * torch.stack(part)).requires_grad_() for part, scale in zip(parts, scales, strict=True)]


def _rows(values: dict[int, Tensor], seeds: Sequence[int]) -> Tensor:
    return torch.stack([values[one] for one in seeds])


def _perceptron(w: Sequence[Tensor], x: Tensor) -> Tensor:
    h = torch.tanh(torch.baddbmm(w[1], x, w[0]))
    return torch.baddbmm(w[5], torch.tanh(torch.baddbmm(w[3], h, w[2])), w[4])


def _score(w: Sequence[Tensor], x: Tensor) -> Tensor:
    return _perceptron(w, x)[..., 0]


def _slope(w: Sequence[Tensor], x: Tensor) -> Tensor:
    """∇ of the discriminator at x, by hand: written out it is differentiated once, not twice."""
    h1 = torch.tanh(torch.baddbmm(w[1], x, w[0]))
    h2 = torch.tanh(torch.baddbmm(w[3], h1, w[2]))
    back = (1 - h2.square()) * w[4].mT
    return ((back @ w[2].mT) * (1 - h1.square())) @ w[0].mT


def _descend(adam: torch.optim.Optimizer, weights: Iterable[Tensor], loss: Tensor) -> None:
    weights = list(weights)
    for w, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        w.grad = slope
    adam.step()
