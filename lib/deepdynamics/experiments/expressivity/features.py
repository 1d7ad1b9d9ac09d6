"""How well random features, features that know a direction and features that learn represent one wave.

The target is cos(w·x) with ‖w‖ = 3 on the cube [-1, 1]^d, known at 6,000 points; the error is on 2,000 others, over the
variance of the target. Features are tanh(a·x + b), b uniform in [-3, 3]. "fixed": a of random direction and length 3,
the readout fitted by least squares. "aimed": a = w. "learned": a, b and the readout trained from the fixed ones, the
readout from 0, by 1,000 steps of Adam on the full batch at the rate 0.01. A target has its own w, points and draws.

**To draw it**::

    found = results.load("expressivity.features").error
    axes.loglog(found.features, found.sel(kind="fixed", dimension=10))

**To compute a slice** (a second): ``experiments.compute("expressivity.features", "live")``.
"""

from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray

from deepdynamics.experiments._experiment import Point, at_scale, points

__all__ = ["KEY", "cell", "checks", "grid", "learned", "readout", "tolerance", "wave"]

KEY = "expressivity.features"
SIZES, TARGETS, TRAINING, TEST, LENGTH = (10, 20, 40, 80, 160, 320, 480, 640), tuple(range(12)), 6000, 2000, 3.0
KINDS, SPACES = ("fixed", "aimed", "learned"), (2, 5, 10)
SEEDS = TARGETS
DIMENSIONS = {"error": ("kind", "dimension", "features", "target")}
COORDINATES: dict[str, tuple[Any, ...]] = {"kind": KINDS, "dimension": SPACES, "features": SIZES, "target": TARGETS}
PARAMETERS = {"training": TRAINING, "test": TEST, "length": LENGTH, "steps": 1000, "rate": 0.01}
NEEDS = ()
checks = (
    {"kind": "fixed", "dimension": 2, "target": 0},
    {"kind": "aimed", "dimension": 10, "target": 1},
    {"kind": "learned", "dimension": 10, "target": 2},
)
tolerance = {"error": (0.5, 1e-4)}


def grid(scale: str) -> list[Point]:
    """Two targets in two dimensions, or everything."""
    fixed = points(kind=("fixed",), dimension=SPACES, target=TARGETS)
    ten = points(kind=("aimed", "learned"), dimension=(10,), target=TARGETS)
    return at_scale(scale, live=points(kind=("fixed",), dimension=(2,), target=(0, 1)), paper=fixed + ten)


def sources() -> None:
    """No data: the target is a formula."""


def cell(kind: str, dimension: int, target: int) -> dict[str, xarray.DataArray]:
    """Errors over the variance (features,)."""
    x, f, w, a, b = wave(dimension, target)
    if kind == "learned":
        sizes: tuple[int, ...] = (10, 20, 40)
        errors = [learned(x, f, a[:, :n], b[:n]) for n in sizes]
    else:
        sizes = SIZES if kind == "fixed" and dimension > 2 else SIZES[:5] if kind == "fixed" else SIZES[:3]
        a = w * np.ones_like(a) if kind == "aimed" else a
        errors = [readout(np.tanh(x @ a[:, :n] + b[:n]), f) for n in sizes]
    return {"error": xarray.DataArray(np.array(errors), {"features": list(sizes)})}


def wave(dimension: int, target: int) -> tuple[NDArray[np.float64], ...]:
    """Points (8000, d), values (8000,), the wave vector (d, 1); directions (d, 640) and shifts (640,) of features."""
    draw = np.random.default_rng((77, dimension, target))

    def direction(k: int) -> NDArray[np.float64]:
        v = draw.normal(size=(dimension, k))
        return LENGTH * v / np.linalg.norm(v, axis=0)

    x, w = draw.uniform(-1, 1, (TRAINING + TEST, dimension)), direction(1)
    return x, np.cos(x @ w[:, 0]), w, direction(SIZES[-1]), draw.uniform(-3, 3, SIZES[-1])


def readout(h: NDArray[np.float64], f: NDArray[np.float64]) -> float:
    """Test error over variance of the best readout, with a constant, of the features h (8000, n)."""
    H = np.c_[h, np.ones(len(h))]
    c = np.linalg.lstsq(H[:TRAINING], f[:TRAINING], rcond=1e-8)[0]
    return float(np.square(H[TRAINING:] @ c - f[TRAINING:]).mean() / f[TRAINING:].var())


def learned(x: NDArray[Any], f: NDArray[Any], a: NDArray[Any], b: NDArray[Any], steps: int = 1000) -> float:
    """Test error over variance where directions, shifts and readout are trained."""
    x_, f_, a_, b_ = (torch.tensor(v, dtype=torch.float32) for v in (x, f, a, b))
    theta = [a_, b_, torch.zeros(len(b)), torch.zeros(1)]
    for p in theta:
        p.requires_grad_()
    adam = torch.optim.Adam(theta, lr=0.01, fused=True)

    def net(z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.addmm(theta[1], z, theta[0])) @ theta[2] + theta[3]

    for _ in range(steps):
        adam.zero_grad()
        (net(x_[:TRAINING]) - f_[:TRAINING]).square().mean().backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        return float((net(x_[TRAINING:]) - f_[TRAINING:]).square().mean() / f_[TRAINING:].var(correction=0))
