"""Do the leading directions of small convolutional classifiers fit the shifts of the image at hand? Shares and gains of
an image's own shifts, rotation and dilation, and of those of an image of another class, at layer 5 of the networks of
`cnn_jacobian.small`, before and after training.

**To draw it**::

    fit = results.load("contraction.smallnets").fit
    fit.sel(data="mnist", state="trained", part="share", whose="own", tangent="shift right")     # (network,)
"""

import numpy as np
from numpy.typing import NDArray

from deepdynamics import data as datasets
from deepdynamics import jacobian
from deepdynamics.directions import KINDS, known_tangents
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import small

__all__ = ["KEY", "LEADING", "TANGENTS", "cell", "checks", "grid"]

KEY = "contraction.smallnets"
STATES, WHOSE, PARTS, TANGENTS = ("untrained", "trained"), ("own", "other"), ("share", "gain"), KINDS[:4]
LAYER, LEADING = 5, small.LEADING
DIMENSIONS = {"fit": ("data", "network", "state", "part", "whose", "tangent")}
COORDINATES = {
    "data": small.DATA,
    "network": small.NETWORKS,
    "state": STATES,
    "part": PARTS,
    "whose": WHOSE,
    "tangent": TANGENTS,
}
PARAMETERS = {"networks": "those of cnn-jacobian.small", "layer": LAYER, "leading": LEADING, "images": small.MANY}
SEEDS, NEEDS = small.NETWORKS, small.DATA
checks: tuple[Point, ...] = (
    {"data": "mnist", "network": 0, "state": "trained"},
    {"data": "cifar-100", "network": 1, "state": "untrained"},
)
# Training amplifies the rounding of another machine.
tolerance = {"fit": (0.1, 0.01)}


def grid(scale: str) -> list[Point]:
    """One untrained network, or eight a data set, before and after training."""
    live = points(data=("mnist",), network=(0,), state=("untrained",))
    return at_scale(scale, live=live, paper=points(data=small.DATA, network=small.NETWORKS, state=STATES))


def cell(data: str, network: int, state: str) -> dict[str, NDArray[np.float64]]:
    """Share in the ten leading directions (mean over images) and gain ‖J t‖/‖t‖ (geometric mean over images), each
    (whose, tangent).
    """
    images, net = small.pictures(data), small.network_of(data, network, trained=state == "trained")
    y = images.measured_y.tolist()
    tangents = known_tangents((images.measured * images.deviation + images.mean).double())[:, : len(TANGENTS)]
    tangents = tangents.flatten(2) / tangents.flatten(2).norm(dim=2, keepdim=True)
    shares, gains = [], []
    for i, x in enumerate(images.measured):
        J = jacobian.cumulative_jacobian(net.layers[:LAYER], x).double()
        _, V = jacobian.leading_vectors(J, LEADING)
        other = next(j % len(y) for j in range(i + 1, i + len(y)) if y[j % len(y)] != y[i])
        both = tangents[[i, other]]
        shares.append((both @ V).square().sum(2).numpy())
        gains.append((both @ J.T).norm(dim=2).log().numpy())
    return {"fit": np.stack((np.mean(shares, 0), np.exp(np.mean(gains, 0))))}


def sources() -> dict[str, datasets.Provenance]:
    """Where the images come from."""
    return small.sources()
