"""Residual networks that carry points and classify where these arrive: many at once, as one batched program.

    x_{k+1} = x_k + h f_k(x_k),    f_k(x) = B_k tanh(A_k x + b_k),    k = 0, …, L - 1,    answer C x_L + c.

All layers act on one space, so that a path can be drawn and its length measured. With the step h = 1/L and weights that
change little from layer to layer this is Euler's method for a flow of the time 1; with h = 1/√L and independent layers
it is closer to a random walk. ``thinned`` leaves out every second layer and doubles the steps of the others: where the
network follows a flow the end moves by O(1/L), where its layers are independent by O(h √L).

Torch; device and dtype follow the points.
Source: He et al. (2016); Sonoda (2018), eqs. (3), (4); Cohen et al. (2021) on how trained weights scale with depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepdynamics._batched import mini_batches, per_run, run_seeds
from deepdynamics._checks import Numbers, count, labels, tensor
from deepdynamics.networks import Seed, generator

__all__ = ["ResidualFlows", "at_length", "residual_flows", "train_residual"]

BATCH, RATE = 64, 1e-2


@dataclass(frozen=True)
class ResidualFlows:
    """``A`` (runs, L, units, d), ``b`` (runs, L, units), ``B`` (runs, L, d, units), the readout ``C`` (runs, classes,
    d), ``c`` (runs, classes), and the step ``h`` (runs,).

    >>> nets = residual_flows(2, dimension=3, classes=2, depth=4, units=5, steps=[1.0, 0.5], seed=0)
    >>> path = nets.path(torch.zeros(7, 3))
    >>> path.shape, nets.thinned().path(torch.zeros(7, 3)).shape, nets.answers(path[-1]).shape
    (torch.Size([5, 2, 7, 3]), torch.Size([3, 2, 7, 3]), torch.Size([2, 7, 2]))
    """

    A: Tensor
    b: Tensor
    B: Tensor
    C: Tensor
    c: Tensor
    h: Tensor

    @property
    def depth(self) -> int:
        """L."""
        return self.A.shape[1]

    def __getitem__(self, runs: slice) -> ResidualFlows:
        """Some of the networks.

        >>> nets = residual_flows(3, dimension=2, classes=2, depth=4, units=3, steps=0.25, seed=0)
        >>> nets[1:].path(torch.zeros(5, 2)).shape
        torch.Size([5, 2, 5, 2])
        """
        return ResidualFlows(*(part[runs] for part in (self.A, self.b, self.B, self.C, self.c, self.h)))

    def velocity(self, layer: int, x: Tensor) -> Tensor:
        """f_k(x), for x (runs, n, d): the displacement of a layer over its step.

        >>> nets = residual_flows(1, dimension=2, classes=2, depth=4, units=3, steps=0.5, seed=0)
        >>> x = torch.ones(1, 1, 2)
        >>> torch.allclose(x + 0.5 * nets.velocity(0, x), nets.path(x)[1])
        True
        """
        return _shallow(x, self.A[:, layer], self.b[:, layer], self.B[:, layer])

    def path(self, x: Numbers) -> Tensor:
        """Where points (n, d) or (runs, n, d) are after 0, 1, …, L layers: (L + 1, runs, n, d).

        Raises ``ValueError`` for points of another dimension or number of runs.
        """
        points, runs, d = tensor("x", x, self.A), len(self.A), self.A.shape[-1]
        if points.ndim not in (2, 3) or points.shape[-1] != d or (points.ndim == 3 and len(points) != runs):
            raise ValueError(f"x of shape {tuple(points.shape)}: (n, {d}) or ({runs}, n, {d}) is allowed")
        return torch.stack(self._states(points.to(self.A.dtype).expand(runs, *points.shape[-2:])))

    def _states(self, x: Tensor) -> list[Tensor]:
        states = [x]
        for A, b, B in zip(*(part.unbind(1) for part in (self.A, self.b, self.B)), strict=True):
            states.append(torch.addcmul(states[-1], self.h[:, None, None], _shallow(states[-1], A, b, B)))
        return states

    def answers(self, x: Tensor) -> Tensor:
        """C x + c (runs, n, classes), for points (runs, n, d) at the end of their paths."""
        return torch.baddbmm(self.c[:, None], x, self.C.mT)

    def thinned(self) -> ResidualFlows:
        """The layers 0, 2, 4, …, each with twice the step. Raises ``ValueError`` where the depth is odd."""
        if self.depth % 2:
            raise ValueError(f"depth {self.depth}: an even number is allowed")
        return replace(self, A=self.A[:, ::2], b=self.b[:, ::2], B=self.B[:, ::2], h=2 * self.h)

    def field(self, run: int) -> Callable[[Tensor, float], Tensor]:
        """The velocity v(x, t) of one run on 0 <= t <= 1, for x (n, d): L h f with weights interpolated linearly
        between the layers, of which layer k stands at t = k/L. The last layer holds from there to t = 1.

        >>> nets = residual_flows(1, dimension=2, classes=2, depth=4, units=3, steps=0.25, seed=0)
        >>> v, x = nets.field(0), torch.ones(1, 2)
        >>> torch.allclose(x + v(x, 0.0) / 4, nets.path(x)[1, 0])
        True
        """

        def velocity(x: Tensor, t: float) -> Tensor:
            place = min(max(t * self.depth, 0.0), self.depth - 1.0)
            low = min(int(place + 1e-9), self.depth - 1)
            high, part = min(low + 1, self.depth - 1), max(place - low, 0.0)
            A, b, B = (torch.lerp(w[run, low], w[run, high], part) for w in (self.A, self.b, self.B))
            return self.depth * self.h[run] * (torch.tanh(x @ A.T + b) @ B.T)

        return velocity


def residual_flows(
    runs: int,
    *,
    dimension: int,
    classes: int,
    depth: int,
    units: int,
    steps: float | Sequence[float],
    alike: bool | Sequence[bool] = False,
    seed: Seed | Sequence[int],
    like: Tensor | None = None,
) -> ResidualFlows:
    """Networks before training, with the step h ``steps`` (one, or one a run). A ~ N(0, 1/d), b ~ N(0, 1/4),
    B ~ N(0, 1/units), drawn anew in each layer, or once for all of them where a run is ``alike``; a readout of 0.

    Raises ``ValueError`` for counts below 1 and lists of another length.

    >>> nets = residual_flows(1, dimension=2, classes=2, depth=3, units=4, steps=1 / 3, alike=True, seed=0)
    >>> bool((nets.A[:, 0] == nets.A[:, 2]).all())
    True
    """
    shape = [count(n, v) for n, v in (("dimension", dimension), ("depth", depth), ("units", units))]
    (d, L, p), R, K = shape, count("runs", runs), count("classes", classes)
    parts: list[list[Tensor]] = [[], [], []]
    for one, same in zip(run_seeds(seed, R), per_run("alike", alike, R), strict=True):
        draw = generator(one)
        for part, size, scale in zip(parts, ((p, d), (p,), (d, p)), (d**-0.5, 0.5, p**-0.5), strict=True):
            drawn = torch.randn((1 if same else L, *size), generator=draw, dtype=torch.float64) * scale
            part.append(drawn.expand(L, *size))
    kind = {"dtype": torch.get_default_dtype()} if like is None else {"dtype": like.dtype, "device": like.device}
    A, b, B = (torch.stack(part).to(**kind) for part in parts)
    h = torch.tensor(per_run("steps", steps, R), **kind)
    return ResidualFlows(A, b, B, torch.zeros(R, K, d, **kind), torch.zeros(R, K, **kind), h)


def at_length(nets: ResidualFlows, x: Numbers, squared: float | Sequence[float]) -> ResidualFlows:
    """The networks with their steps h multiplied, each by a factor of its own between 1/32 and 32, so that the mean
    squared displacement of the points x is ``squared``, one or one a run: the same fields, followed for longer or
    shorter. By bisection; where several factors would do, one of them.

    Raises ``ValueError`` where no factor is found.

    >>> nets = residual_flows(2, dimension=3, classes=2, depth=4, units=5, steps=0.25, alike=True, seed=0)
    >>> x = torch.ones(1, 3)
    >>> path = at_length(nets, x, [0.5, 0.1]).path(x)
    >>> [round(float(one), 4) for one in (path[-1] - path[0]).square().sum(-1).mean(-1)]
    [0.5, 0.1]
    """
    goal = torch.tensor(per_run("squared", squared, len(nets.A)), dtype=nets.h.dtype, device=nets.h.device)

    def moved(power: Tensor) -> Tensor:
        path = replace(nets, h=nets.h * 2**power).path(x)
        return (path[-1] - path[0]).square().sum(-1).mean(-1)

    low, high = torch.full_like(goal, -5), torch.full_like(goal, 5)
    for _ in range(18):
        middle = (low + high) / 2
        beyond = moved(middle) > goal
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    if not torch.allclose(moved(low), goal, rtol=1e-3, atol=0):
        raise ValueError(f"squared = {goal.tolist()}: no steps from 1/32 to 32 times as long lead so far")
    return replace(nets, h=nets.h * 2**low)


def train_residual(
    nets: ResidualFlows, x: Numbers, y: Numbers, *, steps: int, seed: Seed | Sequence[int], action: float = 0.0
) -> ResidualFlows:
    """The networks after ``steps`` of Adam on the cross-entropy of the labels ``y`` (runs, n) of points ``x`` (runs, n,
    d), in batches of 64, with a rate that falls linearly to 0. ``action`` weighs a price on the way: the mean over
    the points of L Σ_k |x_{k+1} - x_k|²/d, the integral of the squared speed. Runs with one seed see the same batches.

    Raises ``ValueError`` for shapes that do not fit, and fewer than 64 points.

    >>> x = torch.randn(2, 400, 2, generator=torch.Generator().manual_seed(0))
    >>> nets = residual_flows(2, dimension=2, classes=2, depth=4, units=8, steps=0.25, seed=0)
    >>> y = (x[..., 0] > x[..., 1] ** 2).long()  # a parabola divides the classes
    >>> trained = train_residual(nets, x, y, steps=200, seed=0)
    >>> bool(((trained.answers(trained.path(x)[-1]).argmax(-1) == y).double().mean(1) > 0.9).all())
    True
    """
    points, classes, runs, d = (
        tensor("x", x, nets.A).to(nets.A.dtype),
        labels("y", y).long(),
        len(nets.A),
        nets.A.shape[-1],
    )
    if points.ndim != 3 or points.shape[::2] != (runs, d) or classes.shape != points.shape[:2]:
        found = f"x {tuple(points.shape)}, y {tuple(classes.shape)}"
        raise ValueError(f"{found}: ({runs}, n, {d}), ({runs}, n) are allowed")
    if points.shape[1] < BATCH:
        raise ValueError(f"{points.shape[1]} points: {BATCH}, a batch, or more are allowed")
    if not torch.isfinite(points).all() or classes.min() < 0 or classes.max() >= nets.C.shape[1]:
        raise ValueError(f"x, y: finite points, and classes from 0 to {nets.C.shape[1] - 1}, are allowed")
    total, rows = count("steps", steps), torch.arange(runs)[:, None]
    A, b, B, C, c = (part.detach().clone().requires_grad_() for part in (nets.A, nets.b, nets.B, nets.C, nets.c))
    now, adam = ResidualFlows(A, b, B, C, c, nets.h), torch.optim.Adam([A, b, B, C, c], lr=RATE, fused=True)
    with torch.enable_grad():
        for step, places in enumerate(mini_batches(points.shape[1], BATCH, total, run_seeds(seed, runs))):
            adam.param_groups[0]["lr"] = RATE * (1 - step / total)
            chosen = places.expand(runs, BATCH)
            states = now._states(points[rows, chosen])
            logits, goal = now.answers(states[-1]), classes[rows, chosen]
            loss = runs * torch.nn.functional.cross_entropy(logits.flatten(0, 1), goal.flatten())
            if action:
                loss = (
                    loss + action * nets.depth * runs * torch.stack(states).diff(dim=0).square().mean((1, 2, 3)).sum()
                )
            adam.zero_grad()
            loss.backward()
            adam.step()
    return ResidualFlows(A.detach(), b.detach(), B.detach(), C.detach(), c.detach(), nets.h)


def _shallow(x: Tensor, A: Tensor, b: Tensor, B: Tensor) -> Tensor:
    return torch.tanh(torch.baddbmm(b[:, None], x, A.mT)) @ B.mT
