"""The Jacobian of an ImageNet network, from the picture to five depths: leading singular values and vectors, where the
vectors are in the picture, how much of known tangents they hold, and finite steps along them. Trained and untrained.

Each picture has an untrained network of its own. Triplets are those of `jacobian.top_singular`, certified by their
residuals.

The steps that are stored are of 28 November 2026, when they became independent of the signs of vectors; all else is of
21 November, by code that differs in nothing else.

**To draw it**::

    found = results.load("cnn-jacobian.spectra")       # NaN where nothing was computed
    found.s.sel(kind="trained", depth="fire9")         # singular values (image, rank)

**To compute some** (some 20 s on one thread)::

    spectra.leading("trained", 0, "logits", 5).s    # the same numbers, to the tolerance of both
"""

import functools
import math
import time
from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from torch import Tensor, nn

from deepdynamics import data, jacobian
from deepdynamics.directions import band_noise
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import imagenets
from deepdynamics.experiments.cnn_jacobian.gains import TANGENTS, tangents_of
from deepdynamics.jacobian import TopSingular, cumulative_shares

__all__ = ["COUNT", "DIRECTIONS", "KEY", "LEVELS", "SHOWN", "cell", "checks", "grid", "leading"]

KEY = "cnn-jacobian.spectra"
NETS = ("trained", "untrained")
COUNT = 200  # singular triplets
BLOCK = {"conv1": 16}  # random vectors to start with: more where the spectrum is flat; 4 elsewhere
IMAGES, FEW = tuple(range(16)), tuple(range(8))  # all of them for the logits of the trained network, few elsewhere
TOLERANCE = 3e-4
DRAWS = 4
DIRECTIONS = ("first", "leading", "trailing", "random")
LEVELS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # root mean square over the entries of the picture
WALKED = ("fire9", "logits")  # depths along whose singular directions finite steps are made
SHOWN = (1, 2, 5, 10, 20, 50, 100, 200)  # ranks whose shares of the tangents are stored
_PLACE = ("image", "kind", "depth")
DIMENSIONS = {
    "s": (*_PLACE, "rank"),
    "participation": (*_PLACE, "rank"),
    "radius": (*_PLACE, "rank"),
    "run": (*_PLACE, "what"),
    "shares": (*_PLACE, "whose", "tangent", "shown"),
    "walk_gains": (*_PLACE, "direction", "level"),
    "walk_right": (*_PLACE, "direction", "level"),
}
COORDINATES: dict[str, tuple[Any, ...]] = {
    "image": IMAGES,
    "kind": NETS,
    "depth": tuple(imagenets.DEPTHS[imagenets.NETWORK]),
    "rank": tuple(range(1, COUNT + 1)),
    "what": ("residual", "products", "seconds"),
    "whose": ("own", "other"),
    "tangent": TANGENTS,
    "shown": SHOWN,
    "direction": DIRECTIONS,
    "level": LEVELS,
}
PARAMETERS = {
    "network": imagenets.NETWORK,
    "depths": imagenets.DEPTHS[imagenets.NETWORK],
    "triplets": COUNT,
    "tolerance": TOLERANCE,
    "draws": DRAWS,
}
SEEDS, NEEDS = IMAGES, imagenets.NEEDS
checks: tuple[Point, ...] = (
    {"depth": "fire8", "image": 1, "kind": "untrained", "count": 5},
    {"depth": "conv1", "image": 2, "kind": "trained", "count": 5},
    {"depth": "logits", "image": 0, "kind": "trained"},  # the last one, which the check of `pictures` needs as well
)
# Residuals of 3e-4 bound the error of values; vectors of close values mix, and what is said of one of them is loose.
tolerance = {
    "s": (1e-3, 0.0),
    "participation": (0.1, 1e-3),
    "radius": (0.1, 1.0),
    "shares": (0.05, 1e-3),
    "walk_gains": (0.02, 1e-3),
    "walk_right": (0.0, 0.5),
}


def grid(scale: str) -> list[Point]:
    """Five values at the logits of one picture; or all triplets, the depths with the most to say first."""
    depths = imagenets.DEPTHS[imagenets.NETWORK]
    order = sorted(depths, key=lambda name: (name not in WALKED, -depths[name]))
    rest = [point for point in points(depth=order, image=FEW, kind=NETS)]
    paper = points(depth=("logits",), image=IMAGES, kind=("trained",))
    paper += [point for point in rest if point not in paper]
    return at_scale(scale, live=points(depth=("logits",), image=(0,), kind=("trained",), count=(5,)), paper=paper)


def cell(depth: str, image: int, kind: str, count: int = COUNT) -> dict[str, xarray.DataArray]:
    """What is kept of the leading triplets of one Jacobian; steps along them need all `COUNT`."""
    start = time.process_time()
    found = leading(kind, image, depth, count)
    run = (float(found.residuals.max()), found.products, time.process_time() - start)
    local = jacobian.localisation(found.V, tuple(imagenets.pictures().x[image].shape))
    tangents = torch.cat((tangents_of(image), tangents_of((image + 8) % 16)))
    shown = [rank for rank in SHOWN if rank <= count]
    shares = cumulative_shares(found.V, tangents.flatten(1).T).view(2, len(TANGENTS), -1)
    values: dict[str, Any] = {
        "s": found.s,
        "participation": local.inverse_participation,
        "radius": local.radius,
        "run": run,
        "shares": shares[..., [rank - 1 for rank in shown]],
    }
    if kind == "trained" and depth in WALKED and count == COUNT:
        values["walk_gains"], values["walk_right"] = _walk(found.V, image, depth)
    labels = {**COORDINATES, "rank": COORDINATES["rank"][:count], "shown": shown}
    own = {name: {dim: list(labels[dim]) for dim in DIMENSIONS[name][len(_PLACE) :]} for name in values}
    arrays = {name: np.asarray(value, dtype=np.float32) for name, value in values.items()}
    return {name: xarray.DataArray(array, own[name], list(own[name])) for name, array in arrays.items()}


def sources() -> data.Provenance:
    """Where the pictures come from."""
    return imagenets.pictures().provenance


@functools.lru_cache(maxsize=1)
def leading(kind: str, image: int, depth: str, k: int, *, tol: float = TOLERANCE) -> TopSingular:
    """The k leading singular triplets of the Jacobian from picture number ``image`` to the depth."""
    f, x = _map(kind, image, depth), imagenets.pictures().x[image]
    return jacobian.top_singular(f, x, k, tol=tol, seed=image, block=BLOCK.get(depth, 4))


def _map(kind: str, image: int, depth: str) -> nn.Sequential:
    net = imagenets.trained() if kind == "trained" else imagenets.untrained(image)
    return imagenets.prefix(net, imagenets.DEPTHS[imagenets.NETWORK][depth])


@torch.no_grad()
def _walk(V: Tensor, image: int, depth: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Finite steps along `DIRECTIONS`: ‖Δx^l‖/‖δ‖ (root mean square over draws), and the share of steps after which the
    picture is still classified right; each (directions, levels).
    """
    pictures, net, f = imagenets.pictures(), imagenets.trained(), _map("trained", image, depth)
    x = pictures.x[image]
    white = band_noise(tuple(x.shape), 0, math.inf, DRAWS, seed=image).flatten(1)
    deltas = {
        "first": torch.stack((V[:, 0], -V[:, 0])),
        "leading": _inside(V[:, :10], white),
        "trailing": _inside(V[:, -10:], white),
        "random": white,
    }
    start = f(x)
    gains, right = np.empty((2, len(DIRECTIONS), len(LEVELS)))
    for i, name in enumerate(DIRECTIONS):
        for j, level in enumerate(LEVELS):
            length = level * math.sqrt(x.numel())
            moved = x + length * deltas[name].view(-1, *x.shape)
            change = (f(moved) - start).flatten(1).norm(dim=1) / length
            gains[i, j] = float(change.square().mean().sqrt())
            right[i, j] = float((net(moved).argmax(1) == pictures.labels[image]).double().mean())
    return gains, right


def _inside(V: Tensor, noise: Tensor) -> Tensor:
    """The part of each row of noise in the span of V, norm 1: it does not depend on the signs of V."""
    inside = noise @ V @ V.T
    return inside / inside.norm(dim=1, keepdim=True)
