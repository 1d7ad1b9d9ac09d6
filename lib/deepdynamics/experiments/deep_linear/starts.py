"""How many steps deep linear networks need to learn to read digits, from four starts, at two widths and seven depths.

Inputs are MNIST digits without their mean, as their hundred leading principal components, not whitened: one unit of
length for all, such that the largest variance is 1. Targets are the indicators of the ten digits without their means.
The training set is cut into eight disjoint parts; every part has its own covariance, its own pretraining and its own
networks. A network of D layers of weights has D - 1 hidden layers of equal width. The starts:

- orthogonal: Haar in every layer;
- pretrained: the hidden layers are the encoders of a greedy stack of linear autoencoders of that part's digits, without
  labels (saxe2014exact, section 3); the readout is Haar;
- gaussian: independent entries N(0, 1/n_in);
- whitened: orthogonal, and the principal components have variance 1 each.

Full-batch gradient descent, each network at the best of twelve learning rates a factor √2 apart, in proportion to 1/D.
`steps` is the first step at which the excess loss is a tenth of that of the zero map; LIMIT where no rate gets there.
`rate` is the best rate times D. `defect` is the largest spread sd(s²)/mean(s²) among the layers of a pretrained stack.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics import data
from deepdynamics import lineardynamics as linear
from deepdynamics.experiments._experiment import Point, at_scale, points

__all__ = ["KEY", "cell", "checks", "digits", "grid", "starting_weights"]

KEY = "deep-linear.starts"
STARTS, WIDTHS, DEPTHS = ("orthogonal", "pretrained", "gaussian", "whitened"), (16, 40), (2, 4, 8, 16, 32, 64, 100)
GAUSSIAN_DEPTHS = (2, 4, 8, 16)  # deeper ones do not get there
PARTS, COMPONENTS, CLASSES = 8, 100, 10
SHARE, LIMIT = 0.1, 400
RATES = tuple(2.0 ** (0.5 * k) for k in range(12))
PRETRAINING: dict[str, Any] = {"scale": 0.003, "learning_rate": 0.8, "steps": 400}
SEEDS = tuple(range(PARTS))
DIMENSIONS = {
    "steps": ("start", "width", "depth", "part"),
    "rate": ("start", "width", "depth", "part"),
    "defect": ("width", "depth", "part"),
}
COORDINATES = {"start": STARTS, "width": WIDTHS, "depth": DEPTHS, "part": SEEDS}
PARAMETERS = {"components": COMPONENTS, "share": SHARE, "limit": LIMIT, **PRETRAINING}
NEEDS = ("mnist",)
checks = (
    {"start": "orthogonal", "width": 16, "depth": 8},
    {"start": "pretrained", "width": 16, "depth": 4},
    {"start": "gaussian", "width": 16, "depth": 2},
    {"start": "whitened", "width": 16, "depth": 4},
)
# Where two rates need nearly the same number of steps, rounding decides which is the best.
tolerance = {"steps": (0.1, 2.0), "rate": (0.5, 0.0), "defect": (0.1, 1e-3)}


def grid(scale: str) -> list[Point]:
    """Shallow networks of the narrower width, or all."""
    live = points(start=STARTS, width=WIDTHS[:1], depth=DEPTHS[:3])
    paper = [
        point
        for point in points(start=STARTS, width=WIDTHS, depth=DEPTHS)
        if point["start"] != "gaussian" or point["depth"] in GAUSSIAN_DEPTHS
    ]
    return at_scale(scale, live=live, paper=paper)


def cell(start: str, width: int, depth: int) -> Mapping[str, Any]:
    """Steps and best rate (part,) of the networks of one start, width and depth."""
    covariance, correlation, _ = digits(whitened=start == "whitened")
    weights = starting_weights(start, width, depth)
    rates = torch.tensor(RATES) / depth
    found = linear.steps_to_learn(
        weights, correlation, covariance, learning_rates=rates, share=SHARE, limit=LIMIT, first_only=True
    )
    best, which = found.min(1)
    result = {"steps": best.clamp(max=LIMIT).numpy(), "rate": np.array(RATES)[which.numpy()]}
    if start == "pretrained":
        defects = [linear.orthogonality_defect(layer).numpy() for layer in weights[:-1]]
        result["defect"] = np.max(defects, axis=0)
    return result


def sources() -> data.Provenance:
    """Where the images come from."""
    return digits()[2]


def starting_weights(start: str, width: int, depth: int) -> list[Tensor]:
    """Layers (part, out, in) of ``depth`` layers, in single precision: the readout last."""
    widths = (COMPONENTS, *(width,) * (depth - 1), CLASSES)
    init = "gaussian" if start == "gaussian" else "orthogonal"
    weights = [w.float() for w in linear.random_weights(widths, init, runs=PARTS, seed=1000 * width + depth)]
    if start == "pretrained":
        longest = DEPTHS[-1] if depth > DEPTHS[2] else DEPTHS[2]
        weights[:-1] = _stack(width, longest - 1)[: depth - 1]
    return weights


@functools.lru_cache(maxsize=2)
def _stack(width: int, layers: int) -> list[Tensor]:
    """The encoders of greedy pretraining, on the covariance of each part; a shorter stack is the start of a longer."""
    return linear.pretrained_weights(digits()[0], width, layers, runs=PARTS, **PRETRAINING, seed=width)


@functools.lru_cache(maxsize=2)
def digits(whitened: bool = False) -> tuple[Tensor, Tensor, data.Provenance]:
    """Covariance (part, in, in) of the inputs, correlation (part, out, in) with the targets, and provenance."""
    images, labels, provenance = data.load("mnist", "train", flatten=True)
    targets = torch.nn.functional.one_hot(labels, CLASSES).to(images)
    centred = (images - images.mean(0)).double()
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    variances, axes = variances.flip(0)[:COMPONENTS], axes.flip(1)[:, :COMPONENTS]
    components = centred @ axes / (variances.sqrt() if whitened else variances[0].sqrt())
    size = len(images) // PARTS
    second, cross = [], []
    for x, y in list(zip(components.split(size), targets.double().split(size), strict=True))[:PARTS]:
        x, y = x - x.mean(0), y - y.mean(0)
        second.append(x.T @ x / size)
        cross.append(y.T @ x / size)
    return torch.stack(second).float(), torch.stack(cross).float(), provenance
