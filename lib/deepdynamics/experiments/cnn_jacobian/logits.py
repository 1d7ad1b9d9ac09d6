"""The whole spectrum of the logits of an ImageNet network: all singular values of a Jacobian with a thousand rows, for
the trained network, for untrained ones, and for the trained one on noisy pictures.

A thousand products with the transpose give the rows of J, and J Jᵀ the squares of its singular values: right to 1e-3 of
the largest, where the rounding of float32 begins.

**To draw it**::

    found = results.load("cnn-jacobian.logits")
    found.s.sel(kind="trained").mean("image")     # singular values (rank,)

**To compute one** (half a minute on one thread)::

    logits.cell(0, "trained")["s"]
"""

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import imagenets
from deepdynamics.experiments.cnn_jacobian.noise import changed
from deepdynamics.jacobian import linearised
from deepdynamics.jacobian.bases import inner
from deepdynamics.jacobian.gram import roots

__all__ = ["KEY", "KINDS", "cell", "checks", "grid"]

KEY = "cnn-jacobian.logits"
KINDS = ("trained", "untrained", "noisy")  # the last: trained, on pictures with white noise of the standard deviation
LEVEL = 0.8
IMAGES = tuple(range(16))


DIMENSIONS = {"s": ("image", "kind", "rank")}
COORDINATES = {"image": IMAGES, "kind": KINDS, "rank": tuple(range(1, 1001))}
PARAMETERS = {"network": imagenets.NETWORK, "kinds": KINDS, "level": LEVEL}
SEEDS, NEEDS = IMAGES, imagenets.NEEDS
checks = ({"image": 1, "kind": "untrained"}, {"image": 2, "kind": "noisy"})  # the latter is the trained network
tolerance = {"s": (1e-3, 1e-3)}


def grid(scale: str) -> list[Point]:
    """One picture and the trained network, or all pictures and kinds."""
    return at_scale(scale, live=points(image=(0,), kind=("trained",)), paper=points(image=IMAGES, kind=KINDS))


@torch.no_grad()
def cell(image: int, kind: str) -> dict[str, NDArray[np.float32]]:
    """Singular values (1000,), descending, of the Jacobian of the logits at a picture."""
    x = imagenets.pictures().x[image]
    net = imagenets.untrained(image) if kind == "untrained" else imagenets.trained()
    point = linearised(net, changed(x, "noise", LEVEL, seed=image) if kind == "noisy" else x)
    rows = torch.cat([point.adjoint(part).flatten(1) for part in torch.eye(point.value.numel()).split(4)])
    return {"s": roots(inner(rows, rows)).float().numpy()}


def sources() -> data.Provenance:
    """Where the pictures come from."""
    return imagenets.pictures().provenance
