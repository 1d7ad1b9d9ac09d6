"""What an ImageNet network passes on of noise that is grey or coloured, band by band of spatial frequency; and how
steep its spectrum is when the trained weights are shuffled within every layer.

Noise is *grey* where the three colours have the same of it, and *coloured* where the three sum to zero, both in units
of the standard deviation of each colour. Independent noise in three colours is one third of the one and two thirds of
the other, in the mean square.

**To draw it**::

    found = results.load("cnn-jacobian.bands")
    found.gains.sel(kind="trained", layer=9, colour="grey")     # ‖J v‖/‖v‖ (image, band)
    found.sums.sel(sum="squares").dropna("image")               # ‖J‖_F² of shuffled networks at fire9 (image,)
"""

import functools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data
from deepdynamics._checks import one_of
from deepdynamics.directions import band_noise
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import imagenets
from deepdynamics.experiments.cnn_jacobian.gains import BANDS, LAYERS, PROBES
from deepdynamics.experiments.cnn_jacobian.gains import IMAGES as FIRST
from deepdynamics.jacobian import spectral_sums
from deepdynamics.networks import generator
from deepdynamics.networks.imagenet import ImageNetNetwork

__all__ = ["BANDS", "COLOURS", "KEY", "SHUFFLED_AT", "carried", "cell", "checks", "grid", "noise", "shuffled"]

KEY = "cnn-jacobian.bands"
COLOURS = ("grey", "coloured")
NETS = ("trained", "untrained")
IMAGES = tuple(range(32))  # the photographs of the other experiments, and as many that no other experiment has
WHITE, DRAWS = 4, 2  # draws of white noise, the yardstick, and of each band
SHUFFLED_AT = imagenets.DEPTHS[imagenets.NETWORK]["fire9" if imagenets.NETWORK == "squeezenet1_0" else "conv5"]
DIMENSIONS = {
    "gains": ("image", "kind", "layer", "colour", "band"),
    "white": ("image", "kind", "layer"),
    "sums": ("image", "sum"),
}
COORDINATES: dict[str, tuple[Any, ...]] = {
    "image": IMAGES,
    "kind": NETS,
    "layer": LAYERS,
    "colour": COLOURS,
    "band": tuple(f"{low:g} to {high:g}" for low, high in BANDS),
    "sum": ("squares", "fourths", "squares_error", "fourths_error"),
}
PARAMETERS = {
    "network": imagenets.NETWORK,
    "bands": BANDS,
    "draws": [WHITE, DRAWS],
    "probes": PROBES,
    "at": SHUFFLED_AT,
}
SEEDS, NEEDS = IMAGES, imagenets.NEEDS
checks: tuple[Point, ...] = ({"image": 3, "kind": "trained"}, {"image": 5, "kind": "shuffled"})
# float32 products of convolutions, whose order of summation is the machine's.
tolerance = {"gains": (2e-3, 0.0), "white": (2e-3, 0.0), "sums": (2e-3, 0.0)}


def grid(scale: str) -> list[Point]:
    """One picture and the trained network; or all and both kinds of network, and shuffled ones for the first half."""
    live = points(image=(0,), kind=("trained",))
    paper = points(image=IMAGES, kind=NETS) + points(image=FIRST, kind=("shuffled",))
    return at_scale(scale, live=live, paper=paper)


def cell(image: int, kind: str) -> dict[str, NDArray[np.float64]]:
    """Gains of the bands and of white noise at every layer; of a shuffled network the sums over its spectrum."""
    x = imagenets.pictures().x[image]
    if kind == "shuffled":
        f = imagenets.prefix(shuffled(image), SHUFFLED_AT)
        return {"sums": np.array(tuple(spectral_sums(f, x, probes=PROBES, seed=image)))}
    net = imagenets.trained() if kind == "trained" else imagenets.untrained(image)
    shape = tuple(x.shape)
    every = [noise(shape, colour, low, high, DRAWS, seed=image) for colour in COLOURS for low, high in BANDS]
    squares = carried(net, x, torch.cat([*every, band_noise(shape, 0, math.inf, WHITE, seed=image)]))
    bands = squares[:, :-WHITE].reshape(len(LAYERS), len(COLOURS), len(BANDS), DRAWS)
    return {"gains": np.sqrt(bands.mean(-1)), "white": np.sqrt(squares[:, -WHITE:].mean(1))}


def sources() -> data.Provenance:
    """Where the pictures come from."""
    return imagenets.pictures().provenance


def noise(shape: tuple[int, ...], colour: str, low: float, high: float, count: int, *, seed: int) -> Tensor:
    """Noise (count, *shape) of norm 1, white within the band, `COLOURS` says of which kind; shape (3, H, W)."""
    one_of("colour", colour, COLOURS)
    if colour == "grey":
        return band_noise((1, *shape[1:]), low, high, count, seed=seed).expand(-1, shape[0], -1, -1) / shape[0] ** 0.5
    three = band_noise(shape, low, high, count, seed=seed)
    coloured = three - three.mean(1, keepdim=True)
    return coloured / coloured.flatten(1).norm(dim=1)[:, None, None, None]


@functools.lru_cache(maxsize=1)
def shuffled(seed: int) -> ImageNetNetwork:
    """The trained network with the entries of every weight, and of every bias, in random order: what is left is how
    large they are, layer by layer."""
    net = data.load_pretrained(imagenets.NETWORK).model.requires_grad_(False)
    assert isinstance(net, ImageNetNetwork)
    draw = generator(seed)
    for parameter in net.parameters():
        order = torch.randperm(parameter.numel(), generator=draw)
        parameter.data = parameter.data.flatten()[order].view_as(parameter)
    return net


def carried(net: ImageNetNetwork, x: Tensor, vectors: Tensor) -> NDArray[np.float64]:
    """‖J_{0→l} v‖² of vectors (n, 3, H, W) at the picture x, in one forward sweep: (layers, n)."""
    found = []
    for layer in net.layers:
        push = torch.func.vmap(lambda v, f=layer, at=x: torch.func.jvp(f, (at,), (v,))[1], chunk_size=4)
        x, vectors = layer(x), push(vectors)
        found.append(vectors.double().flatten(1).square().sum(1).numpy())
    return np.array(found)
