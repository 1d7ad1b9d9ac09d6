"""Noise on a digit against noise beside it, and the shortest steps to another answer, in eight small CNNs a data set.

The networks and the measured images are those of ``cnn-jacobian.small``. What is stored is a network's mean or median
over its images, so that networks are the samples.

A digit is its strokes: pixels of more than half the full ink, and their neighbours (3 × 3). Noise of one length meets
the strokes, everything else, or ("next") the strokes of the digit before it in the list, which lie in the middle of the
picture as well.

**To draw it**::

    found = results.load("perturbations.networks")
    found.gain.sel(state="trained", aimed=6)            # (data, network, region)
    found.flip.sel(data="mnist", toward="nearest")      # (network, number)
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data as datasets
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import small as cnns
from deepdynamics.margins import class_steps, flip_multiple
from deepdynamics.networks import CNN, generator, small

__all__ = ["KEY", "LENGTHS", "REGIONS", "cell", "checks", "grid", "strokes"]

KEY = "perturbations.networks"
DATA, NETWORKS, STATES = cnns.DATA, cnns.NETWORKS, cnns.STATES
AIMED = (5, 6)
REGIONS = ("on", "off", "next")  # the strokes, the rest, the strokes of the digit before in the list
LENGTHS = (7.0, 14.0, 28.0)  # of the noise; a digit has length 28
TOWARD = ("nearest", "runner-up")
NUMBERS = ("predicted", "multiple", "length")
MULTIPLES = np.round(np.geomspace(0.5, 16, 72), 4)
FAR, DRAWS = 5.0, 4  # random steps of so many predicted lengths
SEED = 8000
DIMENSIONS = {
    "gain": ("data", "network", "state", "aimed", "region"),
    "right": ("data", "network", "state", "region", "length"),
    "area": ("data", "network"),
    "flip": ("data", "network", "toward", "number"),
    "flipped": ("data", "network", "way"),
}
COORDINATES = {
    "data": DATA,
    "network": NETWORKS,
    "state": STATES,
    "aimed": AIMED,
    "region": REGIONS,
    "length": LENGTHS,
    "toward": TOWARD,
    "number": NUMBERS,
    "way": ("nearest", "random"),
}
PARAMETERS = {"images": cnns.MANY, "lengths": LENGTHS, "far": FAR, "draws": DRAWS, "multiples": MULTIPLES.tolist()}
SEEDS, NEEDS = NETWORKS, DATA
checks = ({"data": "mnist", "network": 0},)
# Training amplifies the rounding of another machine until the network is another one. So the steps to another answer
# may differ by four standard deviations over networks, which are 6 to 11 %.
tolerance = {name: (0.15, 0.05) for name in DIMENSIONS} | {"flip": (0.45, 0.05)}


def grid(scale: str) -> list[Point]:
    """One network on digits, or eight a data set."""
    return at_scale(scale, live=points(data=("mnist",), network=(0,)), paper=points(data=DATA, network=NETWORKS))


def cell(data: str, network: int) -> dict[str, NDArray[np.float64]]:
    """What is stored of one network: of noise on and beside the strokes for digits only."""
    images, found = cnns.pictures(data), {}
    nets = {state: cnns.network_of(data, network, trained=state == "trained") for state in STATES}
    found["flip"], found["flipped"] = _flips(nets["trained"], images, SEED + network)
    if data == "mnist":
        found["gain"] = np.array([_gains(net, images) for net in nets.values()])
        found["right"] = np.array([_right(net, images, SEED + 100 + network) for net in nets.values()])
        found["area"] = np.array(float(strokes(images.test_X, images).mean()))
    return found


def sources() -> dict[str, datasets.Provenance]:
    """Where the images come from."""
    return {name: cnns.pictures(name).provenance for name in DATA}


def strokes(x: Tensor, images: cnns.Pictures) -> Tensor:
    """1 on the strokes of normalised digits (n, 1, side, side), 0 elsewhere."""
    ink = (x * images.deviation + images.mean > 0.5).float()
    return torch.nn.functional.max_pool2d(ink, 3, stride=1, padding=1)


def _regions(x: Tensor, images: cnns.Pictures) -> dict[str, Tensor]:
    on = strokes(x, images)
    return {"on": on, "off": 1 - on, "next": on.roll(1, 0)}


def _gains(net: CNN, images: cnns.Pictures) -> NDArray[np.float64]:
    """Root mean square gain ‖Jδ‖/‖δ‖ of white noise in each region (aimed, region): exact, from the Jacobian."""
    x = images.measured
    masks, squares = _regions(x, images), np.zeros((len(AIMED), len(REGIONS)))
    for i, image in enumerate(x):
        for a, J in enumerate(cnns._jacobians(net, image, AIMED).values()):
            columns = J.double().square().sum(0)
            for r, region in enumerate(REGIONS):
                mask = masks[region][i].flatten().double()
                squares[a, r] += float(columns @ mask / mask.sum())
    return np.sqrt(squares / len(x))


def _right(net: CNN, images: cnns.Pictures, draw: int) -> NDArray[np.float64]:
    """Accuracy on the test digits under noise of each length in each region (region, length)."""
    x = images.test_X
    noise = torch.randn(x.shape, generator=generator(draw))
    shares = []
    for mask in _regions(x, images).values():
        unit = noise * mask
        unit = unit / unit.flatten(1).norm(dim=1)[:, None, None, None]
        shares.append([small.accuracy(net, x + length * unit, images.test_y) for length in LENGTHS])
    return np.array(shares)


def _flips(net: CNN, images: cnns.Pictures, draw: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians over the images that are named right: m/‖∇m‖, the multiple of it that changes the answer, and the length
    of that step, for the class with the smallest m/‖∇m‖ and for the runner-up; and the share of images whose answer is
    changed by so many times the smallest m/‖∇m‖, along its direction and along random ones.
    """
    random, rows, changed = generator(draw), [], []
    for x, label in zip(images.measured, images.measured_y.tolist(), strict=True):
        logits = net(x)
        if int(logits.argmax()) != label:
            continue
        steps = class_steps(net, x, label)
        order = logits.clone()
        order[label] = -math.inf
        nearest, second = steps.nearest, steps.of(int(order.argmax()))
        found = []
        for step in (nearest, second):
            multiple = flip_multiple(net, x, label, step.length * step.direction, MULTIPLES.tolist())
            found.append((step.length, multiple, multiple * step.length))
        rows.append(found)
        sideways = torch.randn(DRAWS, *x.shape, generator=random)
        sideways = FAR * nearest.length * sideways / sideways.flatten(1).norm(dim=1)[:, None, None, None]
        away = (net(x + sideways).argmax(1) != label).double().mean()
        ahead = net(x + FAR * nearest.length * nearest.direction).argmax() != label
        changed.append((float(ahead), float(away)))
    return np.median(np.array(rows), axis=0), np.mean(changed, axis=0)
