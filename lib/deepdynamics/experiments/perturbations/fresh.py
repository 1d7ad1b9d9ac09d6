"""Eight fresh small CNNs a data set: steps along an image's own first vector, other images' and the weakest.

Networks and images are made as in ``cnn-jacobian.small``, from other seeds. Steps aim at layer 5. Vectors of *other*
images are those of the images before it in the list. On digits, also the accuracy under noise on strokes, as in
``perturbations.networks``.

**To draw it**::

    found = results.load("perturbations.fresh")
    found.after.sel(data="mnist", way="own", length=8)      # (network,)
    found.right.sel(region="next")                          # (network, length), digits
"""

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics import data as datasets
from deepdynamics.directions import span_noise
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import small as cnns
from deepdynamics.experiments.perturbations import networks as first_networks
from deepdynamics.networks import CNN, generator

__all__ = ["KEY", "WAYS", "cell", "checks", "grid"]

KEY = "perturbations.fresh"
DATA = cnns.DATA
NETWORKS = tuple(range(8, 16))
WAYS = ("own", "other", "weak", "random")
LENGTHS = (0.0, 8.0, 16.0)
IMAGES, DRAWS, LAYER = 64, 4, 5
SEED = 9000
DIMENSIONS = {"after": ("data", "network", "way", "length"), "right": ("network", "region", "noise")}
COORDINATES = {
    "data": DATA,
    "network": NETWORKS,
    "way": WAYS,
    "length": LENGTHS,
    "region": first_networks.REGIONS,
    "noise": first_networks.LENGTHS,
}
PARAMETERS = {"images": IMAGES, "draws": DRAWS, "layer": LAYER}
SEEDS, NEEDS = NETWORKS, DATA
checks = ({"data": "mnist", "network": 8},)
# Training amplifies the rounding of another machine.
tolerance = {name: (0.15, 0.05) for name in DIMENSIONS}


def grid(scale: str) -> list[Point]:
    """One network on digits, or eight a data set."""
    return at_scale(scale, live=points(data=("mnist",), network=(8,)), paper=points(data=DATA, network=NETWORKS))


def cell(data: str, network: int) -> dict[str, NDArray[np.float64]]:
    """Accuracies of one network: after steps, and on digits under noise in regions."""
    images, net = cnns.pictures(data), cnns.network_of(data, network, trained=True)
    found = {"after": _after(net, images, SEED + network)}
    if data == "mnist":
        found["right"] = first_networks._right(net, images, SEED + 100 + network)
    return found


def sources() -> dict[str, datasets.Provenance]:
    """Where the images come from."""
    return {name: cnns.pictures(name).provenance for name in DATA}


def _after(net: CNN, images: cnns.Pictures, draw: int) -> NDArray[np.float64]:
    """Accuracy (way, length) after steps of either sign along one first vector, or `DRAWS` random ones in a span."""
    dither = torch.rand(images.test_X[:IMAGES].shape, generator=generator(SEED)) - 0.5
    x, y = images.test_X[:IMAGES] + dither / 255 / images.deviation, images.test_y[:IMAGES]
    directions, first, weak = torch.Generator().manual_seed(draw), [], []
    for image in x:
        J = cnns._jacobians(net, image, (LAYER,))[LAYER].double()
        _, s, Vh = torch.linalg.svd(J, full_matrices=False)
        rank = int((s > cnns.CUTOFF * s[0]).sum())
        first.append(Vh[0])
        weak.append(span_noise(Vh[rank - cnns._edge(rank) : rank].T, DRAWS, seed=directions))
    own = torch.stack(first)
    right = np.zeros((len(WAYS), len(LENGTHS)))
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        others = own[[(i - k) % len(x) for k in range(1, DRAWS + 1)]]
        everywhere = torch.randn(DRAWS, own.shape[1], generator=directions, dtype=own.dtype)
        everywhere /= everywhere.norm(dim=1, keepdim=True)
        steps = (torch.stack((own[i], -own[i])), torch.cat((others, -others)), weak[i], everywhere)
        for w, way in enumerate(steps):
            moved = [image + length * way.float().reshape(-1, *image.shape) for length in LENGTHS]
            right[w] += (net(torch.cat(moved)).argmax(1) == label).double().reshape(len(LENGTHS), -1).mean(1).numpy()
    return right / len(x)
