"""The right singular vectors of `spectra` as small pictures: where their energy is, and how they look.

The signed pictures that are stored are of 28 November 2026, when signs were fixed; the energies are of 21 November.

**To draw it**::

    found = results.load("cnn-jacobian.pictures")
    found.energy.sel(kind="trained", depth="fire9", shown=1)     # amplitude of the first vector (y, x), picture 0
    found.signed.sel(image=0, walked="logits", which="first")    # the vector itself (colour, y, x)
"""

from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from torch.nn import functional

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import imagenets
from deepdynamics.experiments.cnn_jacobian import spectra as cnnspectra
from deepdynamics.experiments.cnn_jacobian.spectra import COUNT, NETS, SHOWN, WALKED

__all__ = ["KEY", "cell", "checks", "grid"]

KEY = "cnn-jacobian.pictures"
SIDE = 56  # pixels of a stored picture
IMAGES = (0, 1, 2, 3)  # the first has the energies, all of them the signed pictures
DIMENSIONS = {
    "energy": ("kind", "depth", "shown", "y", "x"),
    "signed": ("image", "walked", "which", "colour", "y", "x"),
}
COORDINATES: dict[str, tuple[Any, ...]] = {
    "image": IMAGES,
    "kind": NETS,
    "depth": cnnspectra.COORDINATES["depth"],
    "walked": WALKED,
    "which": ("first", "last"),
    "colour": ("red", "green", "blue"),
    "shown": SHOWN,
    "y": tuple(range(SIDE)),
    "x": tuple(range(SIDE)),
}
PARAMETERS, SEEDS, NEEDS = cnnspectra.PARAMETERS, IMAGES, imagenets.NEEDS
checks: tuple[Point, ...] = ({"depth": "logits", "image": 0, "kind": "trained"},)
# In 255 steps; the energy of a single vector among close values is loose.
tolerance = {"energy": (0.0, 16.0), "signed": (0.0, 16.0)}


def grid(scale: str) -> list[Point]:
    """The logits of one picture; or all depths and both kinds for the first, and `WALKED` for the others."""
    live = points(depth=("logits",), image=(0,), kind=("trained",))
    paper = points(depth=COORDINATES["depth"], image=IMAGES[:1], kind=NETS)
    return at_scale(scale, live=live, paper=paper + points(depth=WALKED, image=IMAGES[1:], kind=("trained",)))


def cell(depth: str, image: int, kind: str) -> dict[str, Any]:
    """Square roots of energies of the vectors `SHOWN` of the first picture, (shown, y, x) in 0..255, and the first and
    the last vector of a trained network, in -127..127, of the sign that has ⟨v, x⟩ > 0; each scaled to its own
    largest value.
    """
    x = imagenets.pictures().x[image]
    V = cnnspectra.leading(kind, image, depth, COUNT).V
    columns = (V * (x.flatten() @ V).sign()).T.reshape(-1, *x.shape)
    found: dict[str, Any] = {}
    if image == IMAGES[0]:
        squares = columns[[rank - 1 for rank in SHOWN]].square().sum(1)
        found["energy"] = _amplitudes(_reduced(squares))
    if kind == "trained" and depth in WALKED:
        signed = _reduced(columns[[0, -1]]).astype(np.float64)
        scaled = (127 * signed / np.abs(signed).max((-3, -2, -1), keepdims=True)).round().astype(np.int8)
        axes = {"walked": [depth], **{dim: list(COORDINATES[dim]) for dim in DIMENSIONS["signed"][2:]}}
        found["signed"] = xarray.DataArray(scaled[None], axes, list(axes))
    return found


def _reduced(pictures: torch.Tensor) -> NDArray[np.float32]:
    """Means over squares of pixels: (…, SIDE, SIDE)."""
    return np.asarray(functional.adaptive_avg_pool2d(pictures, SIDE), dtype=np.float32)


def _amplitudes(energy: NDArray[np.float32]) -> NDArray[np.uint8]:
    amplitude = np.sqrt(energy.astype(np.float64))
    scaled = 255 * amplitude / np.maximum(amplitude.max((-2, -1), keepdims=True), 1e-30)
    return np.asarray(scaled.round(), dtype=np.uint8)


def sources() -> data.Provenance:
    """Where the pictures come from."""
    return imagenets.pictures().provenance
