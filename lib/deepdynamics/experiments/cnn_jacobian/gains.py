"""What of the Jacobian of an ImageNet network needs no decomposition: sums over the whole spectrum at every layer, and
the gain of known directions. Trained and untrained; each picture has an untrained network of its own.

**To draw it**::

    found = results.load("cnn-jacobian.gains")
    found.sums.sel(kind="trained", sum="squares")                   # ‖J‖_F² (image, layer)
    found.gains.sel(direction="brightness", kind="untrained")       # ‖J v‖/‖v‖ (image, layer)
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data
from deepdynamics.directions import KINDS, band_noise, known_tangents, nearest_difference, patch_noise
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import imagenets
from deepdynamics.jacobian import spectral_sums

__all__ = ["BANDS", "DIRECTIONS", "KEY", "PATCHES", "TANGENTS", "cell", "checks", "grid", "tangents_of"]

KEY = "cnn-jacobian.gains"
NETS = ("trained", "untrained")
IMAGES = tuple(range(16))
PROBES, DRAWS = 4, 2
TANGENTS = (*KINDS, "nearest picture")
BANDS = ((0, 0.5), (0.5, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 112))  # cycles a picture
PATCHES = (7, 28, 112)  # pixels a side
DIRECTIONS = (
    "white",
    *TANGENTS,
    *(f"{low:g} to {high:g} cycles" for low, high in BANDS),
    *(f"patch of {size}" for size in PATCHES),
)
LAYERS = tuple(range(1, max(imagenets.DEPTHS[imagenets.NETWORK].values()) + 1))
DIMENSIONS = {"gains": ("image", "kind", "layer", "direction"), "sums": ("image", "kind", "layer", "sum")}
COORDINATES = {
    "image": IMAGES,
    "kind": NETS,
    "layer": LAYERS,
    "direction": DIRECTIONS,
    "sum": ("squares", "fourths", "squares_error", "fourths_error"),
}
PARAMETERS = {"network": imagenets.NETWORK, "probes": PROBES, "draws": DRAWS, "bands": BANDS, "patches": PATCHES}
SEEDS, NEEDS = IMAGES, imagenets.NEEDS
checks = ({"image": 3, "kind": "trained"}, {"image": 5, "kind": "untrained"})
# float32 products of convolutions, whose order of summation is the machine's.
tolerance = {"gains": (2e-3, 0.0), "sums": (2e-3, 0.0)}


def grid(scale: str) -> list[Point]:
    """One picture and the trained network, or all pictures and both kinds of network."""
    return at_scale(scale, live=points(image=(0,), kind=("trained",)), paper=points(image=IMAGES, kind=NETS))


def cell(image: int, kind: str) -> dict[str, NDArray[np.float64]]:
    """The gain of `DIRECTIONS` and the sums over the spectrum, at every layer."""
    return {"gains": _gains(image, kind), "sums": np.stack([_sums(image, kind, layer) for layer in LAYERS])}


def sources() -> data.Provenance:
    """Where the pictures come from."""
    return imagenets.pictures().provenance


def tangents_of(image: int) -> Tensor:
    """`TANGENTS` of a picture, (7, 3, H, W); the nearest picture is that of all the others."""
    x = imagenets.pictures().x
    others = torch.cat((x[:image], x[image + 1 :]))
    return torch.cat((known_tangents(x[image]), nearest_difference(x[image], others)[None]))


def _gains(image: int, kind: str) -> NDArray[np.float64]:
    """‖J_{0→l} v‖/‖v‖ for the `DIRECTIONS`, root mean square over draws where they are random: (layers, directions)."""
    x, net = imagenets.pictures().x[image], _net(image, kind)
    shape = tuple(x.shape)
    groups = [band_noise(shape, 0, math.inf, 3 * DRAWS, seed=image)]
    groups += [tangent[None] for tangent in tangents_of(image)]
    groups += [band_noise(shape, low, high, DRAWS, seed=image) for low, high in BANDS]
    groups += [patch_noise(shape, size, 3 * DRAWS, seed=image) for size in PATCHES]
    columns = [_all_layers(net, x, group / group.flatten(1).norm(dim=1)[:, None, None, None]) for group in groups]
    return np.stack(columns, axis=1)


def _all_layers(net: torch.nn.Module, x: Tensor, vectors: Tensor) -> NDArray[np.float64]:
    """Root mean square over unit vectors of the norm to which each layer carries them, in one forward sweep."""
    found = []
    for layer in net.layers:  # type: ignore[union-attr]
        push = torch.func.vmap(lambda v, f=layer, at=x: torch.func.jvp(f, (at,), (v,))[1])
        x, vectors = layer(x), push(vectors)
        found.append(float(vectors.double().flatten(1).square().sum(1).mean().sqrt()))
    return np.array(found)


def _sums(image: int, kind: str, layer: int) -> NDArray[np.float64]:
    """Σ s² and Σ s⁴ of the Jacobian to a layer, and their standard errors."""
    f = imagenets.prefix(_net(image, kind), layer)
    return np.array(tuple(spectral_sums(f, imagenets.pictures().x[image], probes=PROBES, seed=image)))


def _net(image: int, kind: str) -> Any:
    return imagenets.trained() if kind == "trained" else imagenets.untrained(image)
