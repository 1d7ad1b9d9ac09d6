"""Critical points of a small network: the share of negative eigenvalues of the Hessian against the loss.

Tanh networks 6-6-1 on six principal components of MNIST, even against odd, squared loss, 100 images, a set and a
network a seed. From points of the path of training, and from points of it with every weight moved at random,
Levenberg's steps lead to where the gradient vanishes (on the squared norm of the gradient: any kind of critical point
attracts). Recorded: loss, norm of the gradient, all eigenvalues; and, at the starts, before any search, the loss
(``before``) and the share of negative eigenvalues (``before_index``).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.landscapes import nets

__all__ = ["KEY", "cell", "checks", "grid"]

KEY = "landscapes.saddles"
WIDTHS, SAMPLES, ITERATIONS = (6, 6, 1), 100, 400
SEEDS = tuple(range(20, 36))
TIMES = (10, 30, 100, 300, 1000, 3000)
KICKS = (0.0, 0.3, 1.0)
PARAMETERS = {"widths": WIDTHS, "samples": SAMPLES, "iterations": ITERATIONS, "rate": 0.1, "loss": "half mean square"}
DIMENSIONS: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("loss", "gradient", "index", "before", "before_index"), ("seed", "kick", "step")
)
DIMENSIONS["eigenvalues"] = ("seed", "kick", "step", "rank")
COORDINATES: dict[str, Sequence[Any]] = {"seed": SEEDS, "kick": KICKS, "step": TIMES, "rank": tuple(range(49))}
NEEDS = ("mnist",)
checks = ({"seeds": (20,)},)
tolerance = {"index": (0.0, 0.2), "loss": (0.0, 0.05), "before": (0.0, 0.01), "before_index": (0.0, 0.05)}
only_whole = ("gradient", "eigenvalues")  # not compared: where a search ends below 1e-7 is rounding's


def grid(scale: str) -> list[Point]:
    """One seed, or all, eight side by side."""
    return at_scale(scale, live=points(seeds=((20,),)), paper=points(seeds=(SEEDS[:8], SEEDS[8:])))


def sources() -> data.Provenance:
    """Where the images come from."""
    return data.load("mnist", "train", n=500).provenance


def cell(seeds: Sequence[int]) -> dict[str, xarray.DataArray]:
    """Losses, gradient norms (seed, kick, step) and eigenvalues (…, rank) where the search from each start ends."""
    X, y, *_ = nets.image_sets(seeds, SAMPLES, components=6)
    X, y = X.double(), (1.0 - 2.0 * (y % 2)).double()
    path: list[torch.Tensor] = []

    def watch(step: int, weights: list[torch.Tensor]) -> bool:
        if step in TIMES:
            path.append(nets.flat([w.detach().clone() for w in weights]))
        return False

    nets.descend(nets.draw(WIDTHS, seeds, dtype=torch.float64), X, y, rate=0.1, steps=TIMES[-1] + 1, watch=watch)
    way = torch.stack(path, 1)[:, None]  # (seeds, 1, times, parameters)
    noise = torch.stack(
        [torch.randn(way.shape[2:], generator=torch.Generator().manual_seed(s), dtype=way.dtype) for s in seeds]
    )
    starts = torch.cat([way + kick * noise[:, None] for kick in KICKS], 1)
    shape = starts.shape[:3]
    each = len(KICKS) * len(TIMES)
    places_and_data = starts.flatten(0, 2), X.repeat_interleave(each, 0), y.repeat_interleave(each, 0)
    loss, gradient, values, before, _, bends = (
        part.reshape(*shape, *part.shape[1:]).numpy()
        for iterations in (ITERATIONS, 0)
        for part in search(*places_and_data, iterations)
    )
    places: dict[str, Any] = {"seed": list(seeds), "kick": list(KICKS), "step": list(TIMES)}
    ranks = {"rank": list(range(values.shape[-1]))}
    return {
        "loss": xarray.DataArray(loss, places),
        "gradient": xarray.DataArray(gradient, places),
        "index": xarray.DataArray((values < -1e-5).mean(-1), places),
        "before": xarray.DataArray(before, places),
        "before_index": xarray.DataArray((bends < -1e-5).mean(-1), places),
        "eigenvalues": xarray.DataArray(values.astype(np.float32), places | ranks),
    }


def search(
    theta: torch.Tensor, X: torch.Tensor, y: torch.Tensor, iterations: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss (n,), norm of the gradient (n,) and eigenvalues (n, parameters) of the Hessian, descending, where
    Levenberg's steps from each of the rows of theta end; each row has its own X (samples, inputs) and y (samples,)."""

    def loss(t: torch.Tensor, inputs: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        return nets.losses(nets.outputs(nets.shaped(t, WIDTHS), inputs), answers)

    slope, bend = torch.func.vmap(torch.func.grad(loss)), torch.func.vmap(torch.func.hessian(loss))
    theta, identity = theta.clone(), torch.eye(theta.shape[1], dtype=theta.dtype)
    damping = torch.full((len(theta),), 1e-2, dtype=theta.dtype)
    g, H = slope(theta, X, y), bend(theta, X, y)
    for _ in range(iterations):
        k = torch.nonzero(g.norm(dim=1) > 1e-9)[:, 0]  # those that still move
        if not len(k):
            break
        step = torch.linalg.solve(H[k] @ H[k] + damping[k, None, None] * identity, H[k] @ g[k, :, None])[:, :, 0]
        tried = slope(theta[k] - step, X[k], y[k])
        better = tried.norm(dim=1) < g[k].norm(dim=1)
        damping[k] = torch.where(better, damping[k] * 0.3, damping[k] * 4).clamp(min=1e-12)
        good = k[better]
        theta[good], g[good] = theta[good] - step[better], tried[better]
        if len(good):
            H[good] = bend(theta[good], X[good], y[good])
    return torch.func.vmap(loss)(theta, X, y), g.norm(dim=1), torch.linalg.eigvalsh(H).flip(1)
