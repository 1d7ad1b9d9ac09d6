"""How many singular values an ImageNet network can have at each module, and how steep they are at the narrowest:
trained, untrained and shuffled (`bands.shuffled`).

A fire module first squeezes its input to few channels. The Jacobian passes them, so that at most as many singular
values are not zero as units are active there. The sums over the spectrum are those of photographs that no other
experiment on the steepness has, each with an untrained and a shuffled network of its own.

**To draw it**::

    found = results.load("cnn-jacobian.values")
    found.most.sel(kind="trained", layer=9)                         # values that can differ from zero (image,)
    found.sums.sel(kind="untrained", summed=9, sum="squares")       # ‖J‖_F² (image,), nan for the first sixteen
"""

from typing import Any

import numpy as np

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import imagenets
from deepdynamics.experiments.cnn_jacobian.bands import IMAGES, shuffled
from deepdynamics.experiments.cnn_jacobian.gains import IMAGES as FIRST
from deepdynamics.experiments.cnn_jacobian.gains import LAYERS, PROBES
from deepdynamics.jacobian import spectral_sums
from deepdynamics.rankbound import rank_bound

__all__ = ["KEY", "KINDS", "SUMMED", "cell", "checks", "grid"]

KEY = "cnn-jacobian.values"
KINDS = ("trained", "untrained", "shuffled")
SUMMED = (LAYERS[0], LAYERS[-2])  # the first convolution, and the last module before the logits
DIMENSIONS = {"most": ("image", "kind", "layer"), "sums": ("image", "kind", "summed", "sum")}
COORDINATES: dict[str, tuple[Any, ...]] = {
    "image": IMAGES,
    "kind": KINDS,
    "layer": LAYERS,
    "summed": SUMMED,
    "sum": ("squares", "fourths", "squares_error", "fourths_error"),
}
PARAMETERS = {"network": imagenets.NETWORK, "probes": PROBES, "summed": SUMMED}
SEEDS, NEEDS = IMAGES, imagenets.NEEDS
checks: tuple[Point, ...] = tuple(
    {"image": image, "kind": kind} for image, kind in zip((3, 17, 20), KINDS, strict=True)
)
# float32 products of convolutions, whose order of summation is the machine's; units at the edge of activity.
tolerance = {"most": (2e-3, 0.0), "sums": (2e-3, 0.0)}


def grid(scale: str) -> list[Point]:
    """One picture and the trained network, or all pictures and kinds of network."""
    return at_scale(scale, live=points(image=(0,), kind=("trained",)), paper=points(image=IMAGES, kind=KINDS))


def cell(image: int, kind: str) -> dict[str, Any]:
    """The bound on the number of values at every layer; of the later photographs the sums at `SUMMED`."""
    x = imagenets.pictures().x[image]
    of_picture = {"untrained": imagenets.untrained, "shuffled": shuffled}
    net = imagenets.trained() if kind == "trained" else of_picture[kind](image)
    most, bound, state = [], x.numel(), x
    for layer in net.layers:
        bound, state = min(bound, rank_bound(layer, state)), layer(state)
        most.append(float(bound))
    found: dict[str, Any] = {"most": np.array(most)}
    if image not in FIRST:
        sums = [tuple(spectral_sums(imagenets.prefix(net, at), x, probes=PROBES, seed=image)) for at in SUMMED]
        found["sums"] = np.array(sums)
    return found


def sources() -> data.Provenance:
    """Where the pictures come from."""
    return imagenets.pictures().provenance
