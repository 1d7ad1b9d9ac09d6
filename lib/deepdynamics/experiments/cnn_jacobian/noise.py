"""White noise on the pictures of an ImageNet network: accuracy, sums over the spectrum and activity against its level.

A picture meets the same noise at every level, scaled, so that levels can be compared picture by picture. Noise is in
units of the standard deviation of each colour over ImageNet and is not clipped to the range of pixels.

**To draw it**::

    found = results.load("cnn-jacobian.noise")
    found.accuracy                                          # (level, picture): shares of draws
    found.sums.sel(depth="logits", sum="squares")           # ‖J‖_F² (image, level)
"""

from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data
from deepdynamics._checks import one_of
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import imagenets
from deepdynamics.jacobian import spectral_sums
from deepdynamics.networks import generator

__all__ = ["DEPTHS", "KEY", "LEVELS", "cell", "changed", "checks", "grid"]

KEY = "cnn-jacobian.noise"
LEVELS = (0.0, 0.1, 0.2, 0.4, 0.8)
ENDS = (0.0, 0.8)  # for the untrained networks
DEPTHS = ("conv1", "fire9", "logits")
IMAGES, ALL = tuple(range(16)), tuple(range(64))
CHANGES = ("noise", "contrast")
DRAWS = 2
PROBES = 4  # the same at every level
DIMENSIONS = {
    "accuracy": ("level", "picture"),
    "clean": ("picture", "depth", "sum"),
    "sums": ("image", "level", "depth", "sum"),
    "untrained": ("untrained_image", "end", "depth", "sum"),
}
COORDINATES = {
    "level": LEVELS,
    "end": ENDS,
    "picture": ALL,
    "image": IMAGES,
    "untrained_image": IMAGES[::2],
    "depth": DEPTHS,
    "sum": ("squares", "fourths", "norm", "active"),
}
PARAMETERS = {"network": imagenets.NETWORK, "levels": LEVELS, "probes": PROBES, "draws": DRAWS, "images": IMAGES}
SEEDS, NEEDS = ALL, imagenets.NEEDS
checks = (
    {"picture": 40, "level": 0.0},
    {"picture": 5, "level": 0.4},
    {"untrained_image": 6, "end": 0.8},
)
# Shares of answers are the machine's where two classes tie; products are float32.
tolerance = {"accuracy": (0.0, 0.5), "clean": (2e-3, 0.0), "sums": (2e-3, 0.0), "untrained": (2e-3, 0.0)}


def grid(scale: str) -> list[Point]:
    """One picture with and without noise; or all at all levels, and every other of the first for untrained networks."""
    paper = points(picture=ALL, level=LEVELS) + points(untrained_image=IMAGES[::2], end=ENDS)
    return at_scale(scale, live=points(picture=(0,), level=ENDS), paper=paper)


def cell(
    picture: int | None = None, level: float = 0.0, untrained_image: int | None = None, end: float = 0.0
) -> dict[str, Any]:
    """At one picture and level: the share of right answers and, without noise or for the first sixteen, the sums at
    each depth; or, for an untrained network at its picture, the sums alone.
    """
    if picture is None:
        assert untrained_image is not None
        return {"untrained": _sums(untrained_image, "untrained", end)}
    found: dict[str, Any] = {"accuracy": _right(picture, level)}
    if level == 0 or picture in IMAGES:
        sums = _sums(picture, "trained", level)
        if level == 0:
            found["clean"] = sums
        if picture in IMAGES:
            axes: dict[str, Any] = {"image": [picture], "depth": list(DEPTHS), "sum": list(COORDINATES["sum"])}
            found["sums"] = xarray.DataArray(sums[None], axes, list(axes))
    return found


def sources() -> data.Provenance:
    """Where the pictures come from."""
    return imagenets.pictures().provenance


def changed(x: Tensor, change: str, level: float, *, seed: int, draw: int = 0) -> Tensor:
    """A picture x with white noise of the standard deviation ``level``, or with its contrast divided by 1 + level.

    The noise depends on seed and draw alone, so that levels scale it. ValueError for another change.

    >>> bool((changed(torch.zeros(3, 4, 4), "noise", 0.5, seed=0) ==
    ...       0.5 * changed(torch.zeros(3, 4, 4), "noise", 1.0, seed=0)).all())
    True
    """
    if one_of("change", change, CHANGES) == "noise":
        return x + level * torch.randn(x.shape, generator=generator(1000 * seed + draw))
    mean = x.mean((-2, -1), keepdim=True)
    return mean + (x - mean) / (1 + level)


@torch.no_grad()
def _right(image: int, level: float) -> float:
    """Share of draws in which a picture is classified right."""
    pictures, net = imagenets.pictures(), imagenets.trained()
    noisy = (changed(pictures.x[image], "noise", level, seed=image, draw=draw) for draw in range(DRAWS if level else 1))
    return float(np.mean([float(net(x).argmax() == pictures.labels[image]) for x in noisy]))


def _sums(image: int, kind: str, level: float) -> NDArray[np.float64]:
    """At each depth Σ s², Σ s⁴, the norm of the state, the share of its units that are not zero: (depths, 4)."""
    x = changed(imagenets.pictures().x[image], "noise", level, seed=image)
    net = imagenets.trained() if kind == "trained" else imagenets.untrained(image)
    rows = []
    for name in DEPTHS:
        f = imagenets.prefix(net, imagenets.DEPTHS[imagenets.NETWORK][name])
        sums, state = spectral_sums(f, x, probes=PROBES, seed=image), f(x)
        rows.append((sums.squares, sums.fourths, float(state.norm()), float((state > 0).double().mean())))
    return np.array(rows)
