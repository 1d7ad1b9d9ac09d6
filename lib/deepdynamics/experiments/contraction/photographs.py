"""Gains of the shifts, rotation and dilation of a photograph in an ImageNet network: those of the photograph itself and
those of another one, which have much the same frequencies and colours and mean nothing here. Trained and untrained;
every photograph has an untrained network of its own.

**To draw it**::

    gains = results.load("contraction.photographs").gains
    np.log(gains.sel(kind="trained", depth="fire9", whose="own", tangent="shift right"))     # (image,)

**A control** (under a second a photograph): every pixel changes by as much as in the photograph's own shift, with the
signs that it has in the other's::

    photographs.placed_gains(image=0, kind="trained")                                        # (depth, shift)
"""

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics import data
from deepdynamics.directions import KINDS, known_tangents
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import imagenets
from deepdynamics.experiments.cnn_jacobian.bands import carried
from deepdynamics.networks.imagenet import ImageNetNetwork

__all__ = ["DEPTHS", "KEY", "TANGENTS", "cell", "checks", "grid", "placed_gains"]

KEY = "contraction.photographs"
IMAGES = tuple(range(64))  # all of the sample
NETS, WHOSE, TANGENTS = ("trained", "untrained"), ("own", "other"), KINDS[:4]
DEPTHS = ("fire9", "logits")
APART = 32  # the other photograph is so many further on
DIMENSIONS = {"gains": ("image", "kind", "depth", "whose", "tangent")}
COORDINATES = {"image": IMAGES, "kind": NETS, "depth": DEPTHS, "whose": WHOSE, "tangent": TANGENTS}
PARAMETERS = {"network": imagenets.NETWORK, "depths": DEPTHS, "apart": APART}
SEEDS, NEEDS = IMAGES, imagenets.NEEDS
checks: tuple[Point, ...] = ({"image": 20, "kind": "trained"}, {"image": 7, "kind": "untrained"})
# float32 products of convolutions, whose order of summation is the machine's.
tolerance = {"gains": (2e-3, 0.0)}


def grid(scale: str) -> list[Point]:
    """One photograph and the trained network, or all photographs and both kinds of network."""
    return at_scale(scale, live=points(image=(0,), kind=("trained",)), paper=points(image=IMAGES, kind=NETS))


def cell(image: int, kind: str) -> dict[str, NDArray[np.float64]]:
    """‖J v‖/‖v‖ (depth, whose, tangent) at one photograph."""
    net, x, pair = _at(image, kind)
    return {"gains": _gains(net, x, pair.flatten(0, 1)).reshape(len(DEPTHS), len(WHOSE), len(TANGENTS))}


def placed_gains(image: int, kind: str) -> NDArray[np.float64]:
    """‖J v‖/‖v‖ (depth, shift) of changes with the magnitudes of the photograph's own shifts to the right and down,
    pixel by pixel and colour by colour, and the signs of those of the other one.
    """
    net, x, (own, other) = _at(image, kind)
    return _gains(net, x, own[:2].abs() * other[:2].sign())


def _at(image: int, kind: str) -> tuple[ImageNetNetwork, torch.Tensor, torch.Tensor]:
    """The network, the photograph, and `TANGENTS` of it and of the other one, (whose, tangent, 3, height, width)."""
    x = imagenets.pictures().x
    net = imagenets.trained() if kind == "trained" else imagenets.untrained(image)
    return net, x[image], known_tangents(x[[image, (image + APART) % len(IMAGES)]])[:, : len(TANGENTS)]


def sources() -> data.Provenance:
    """Where the photographs come from."""
    return imagenets.pictures().provenance


def _gains(net: ImageNetNetwork, x: torch.Tensor, vectors: torch.Tensor) -> NDArray[np.float64]:
    """‖J v‖/‖v‖ of the maps to `DEPTHS`, in one forward sweep: (depths, vectors)."""
    vectors = vectors / vectors.flatten(1).norm(dim=1)[:, None, None, None]
    wanted = [imagenets.DEPTHS[imagenets.NETWORK][name] - 1 for name in DEPTHS]
    return carried(net, x, vectors)[wanted] ** 0.5
