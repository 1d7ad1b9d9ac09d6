"""Ten layers of RBMs on real images, and the variations that the source announces: spectra, weights, reconstructions.

Every kind has eight seeds; stacks of one seed are compared in pairs with the kind "base": 256 logistic units in each of
ten layers, gain 1.05, 12,800 digits of MNIST, contrastive divergence of one step, five epochs. Spectra are those of the
Jacobian at 16 test images: 64 leading values by a plain SVD, and for `EXACT` kinds all of them at two images.

**To draw it**::

    found = results.load("rbm-pretraining.variations")
    found.table.sel(kind="base", quantity="count")          # how many singular values exceed 0.1 (seed,)
    found.leading.sel(kind="base")                          # log10 of the leading values (seed, rank)

**To train one** (about 8 s on one thread)::

    variations.measure(variations.trained("base", seed=0), variations.pictures("base")[1])
"""

import functools
from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.lineardynamics.descent import orthogonality_defect
from deepdynamics.rbm import Stack, pretrain_stack

__all__ = ["KEY", "KINDS", "cell", "checks", "grid", "leading", "measure", "pictures", "trained"]

KEY = "rbm-pretraining.variations"
SAMPLES, WIDTH, DEPTH, GAIN, EPOCHS = 12_800, 256, 10, 1.05, 5
RECIPE: dict[str, Any] = {
    "units": "continuous",
    "gain": GAIN,
    "weight_var": 1e-4,
    "learning_rate": 0.1,
    "batch_size": 100,
    "weight_decay": 2e-4,
    "bias_from_data": True,
}
KINDS: dict[str, dict[str, Any]] = {
    "base": {},
    "photographs": {"data": "cifar-100"},
    "under-trained": {"epochs": 1, "learning_rate": 0.01},
    "shuffled pixels": {"data": "shuffled"},
    "one variance": {"data": "equal"},
    "skip": {"skip": True},
    "dropout 0.2": {"dropout": 0.2},
    "decay × 10": {"weight_decay": 2e-3},
    "pooling": {"pool": 2},
    "width 128": {"width": 128},
    "binary units": {"units": "binary"},
    "CD-3": {"k": 3},
}
EXACT = ("base", "photographs")
SEEDS = tuple(range(8))
IMAGES, LEADING, EXACT_IMAGES, LOADED, JUDGED = 16, 64, 2, 15_000, 1000
QUANTITIES = (
    "count",  # singular values above 0.1, mean over images
    "first",  # log10 s_1, mean over images
    "tenth",  # log10 s_10
    "count_half",  # above 0.1, of the lower five layers
    "spread",  # standard deviation over samples of a unit of the top layer
)
DIMENSIONS = {
    "table": ("kind", "seed", "quantity"),
    "leading": ("kind", "seed", "rank"),
    "reconstruction": ("kind", "seed", "layer"),
    "defect": ("kind", "seed", "layer"),
    "exact": ("kind", "seed", "image", "exact_rank"),  # of the kinds `EXACT`
}
COORDINATES: dict[str, tuple[Any, ...]] = {
    "kind": tuple(KINDS),
    "seed": SEEDS,
    "quantity": QUANTITIES,
    "rank": tuple(range(1, LEADING + 1)),
    "layer": tuple(range(1, DEPTH + 1)),
    "image": tuple(range(EXACT_IMAGES)),
    "exact_rank": tuple(range(1, WIDTH + 1)),
}
PARAMETERS = {
    "samples": SAMPLES,
    "width": WIDTH,
    "depth": DEPTH,
    "epochs": EPOCHS,
    "recipe": RECIPE,
    "kinds": list(KINDS),
    "changes": KINDS,
    "quantities": list(QUANTITIES),
    "images": IMAGES,
}
NEEDS = ("mnist", "cifar-100")
# A whole stack, and of every other kind the first two layers, which do not know of the others.
checks: tuple[Point, ...] = (
    {"kind": "base", "seed": 0},
    *({"kind": kind, "seed": 1, "depth": 2} for kind in KINDS if kind != "base"),
)
# Training amplifies the rounding of another machine; numbers are logarithms, counts, and errors below 1.
tolerance = {
    "table": (0.05, 0.2),
    "leading": (0.05, 0.2),
    "reconstruction": (0.1, 0.0),
    "defect": (0.1, 0.0),
    "exact": (0.05, 0.2),
}


def grid(scale: str) -> list[Point]:
    """One digit-trained stack, or eight of every kind."""
    return at_scale(scale, live=points(kind=("base",), seed=(0,)), paper=points(kind=KINDS, seed=SEEDS))


def cell(kind: str, seed: int, depth: int = DEPTH) -> dict[str, Any]:
    """What `measure` finds in one stack and, for kinds in `EXACT`, all singular values at two images; of the first
    layers alone, what is said layer by layer.
    """
    stack, tests = trained(kind, seed, depth), pictures(kind)[1]
    if depth < DEPTH:
        axes = {"layer": list(COORDINATES["layer"][:depth])}
        return {name: xarray.DataArray(values, axes, list(axes)) for name, values in by_layer(stack, tests).items()}
    found: dict[str, Any] = measure(stack, tests)
    found["leading"] = found["leading"].astype(np.float32)
    if kind in EXACT:
        found["exact"] = exact(stack, tests[:EXACT_IMAGES]).astype(np.float32)
    return found


def sources() -> list[data.Provenance]:
    """Where the images come from."""
    return [pictures("base")[-1], pictures("photographs")[-1]]


def pictures(kind: str) -> tuple[Tensor, Tensor, data.Provenance]:
    """Training images (12,800, pixels) and test images (1000, pixels) of a kind, fewer of a stand-in, and the
    provenance of the data."""
    return _pictures(KINDS[kind].get("data", "mnist"))


@functools.lru_cache(maxsize=2)
def _pictures(name: str) -> tuple[Tensor, Tensor, data.Provenance]:
    source = "cifar-100" if name == "cifar-100" else "mnist"
    real = data.available(source)
    images, _, provenance = data.load(source, "train", n=LOADED if real else None)
    tests, _, _ = data.load(source, "test", n=JUDGED if real else None)
    X, T = images.mean(1).flatten(1), tests.mean(1).flatten(1)  # grey: the mean of the colours
    if name == "equal":  # scaled down to one ‖x‖², that of the 5 % quantile; what is below is left out
        target = float(X.square().sum(1).quantile(0.05))
        X, T = (A[A.square().sum(1) >= target] for A in (X, T))
        X, T = (A * (target / A.square().sum(1, keepdim=True)).sqrt() for A in (X, T))
    X = X[:SAMPLES].clone()
    if name == "shuffled":  # each pixel over the images: its own grey values, no correlations
        draw = torch.Generator().manual_seed(0)
        X, T = (torch.stack([c[torch.randperm(len(A), generator=draw)] for c in A.T], 1) for A in (X, T))
    return X, T, provenance


def trained(kind: str, seed: int, depth: int = DEPTH) -> Stack:
    """The stack of a kind and seed."""
    changes = {"width": WIDTH, "epochs": EPOCHS, **KINDS[kind]}
    changes.pop("data", None)
    width, epochs = changes.pop("width"), changes.pop("epochs")
    X = pictures(kind)[0]
    momentum = [0.5 if epoch < 2 else 0.9 for epoch in range(epochs)]
    widths = (X.shape[1], *[width] * depth)
    return pretrain_stack(widths, X, seed=seed, epochs=epochs, momentum=momentum, **(RECIPE | changes))


def leading(stack: Stack, images: Tensor, depth: int | None = None) -> NDArray[np.float64]:
    """log10 of the leading singular values (images, rank) of the Jacobian of the lower ``depth`` layers, by a plain SVD
    (right down to 1e-14 of the largest); NaN beyond the rank."""
    found = np.full((len(images), LEADING), np.nan)
    for n, x in enumerate(images):
        factors = stack.factors(x)[:depth]
        s = torch.linalg.svdvals(torch.linalg.multi_dot(factors[::-1])).log10().numpy()[:LEADING]
        found[n, : len(s)] = s
    return found


def measure(stack: Stack, tests: Tensor) -> dict[str, NDArray[np.float64]]:
    """`QUANTITIES` as "table", log10 of the "leading" singular values (mean over 16 test images), and layer by
    layer the "reconstruction" error of all of them and the orthogonality "defect" of the weights."""
    images = tests[:IMAGES]
    spectra, half = leading(stack, images), leading(stack, images, len(stack.machines) // 2)
    table = [
        (spectra > -1).sum(1).mean(),
        spectra[:, 0].mean(),
        spectra[:, 9].mean(),
        (half > -1).sum(1).mean(),
        float(stack.states(tests)[-1].std(0).mean()),
    ]
    return {"table": np.array(table), "leading": spectra.mean(0), **by_layer(stack, tests)}


def by_layer(stack: Stack, tests: Tensor) -> dict[str, NDArray[np.float64]]:
    """The "reconstruction" error of the test images and the orthogonality "defect" of the weights, (layers,)."""
    defects = [float(orthogonality_defect(machine.weights.double())) for machine in stack.machines]
    return {"reconstruction": stack.reconstruction_errors(tests).double().numpy(), "defect": np.array(defects)}


def exact(stack: Stack, images: Tensor) -> NDArray[np.float64]:
    """log10 of all singular values (images, rank), however small."""
    spectra = [stack.log_singular_values(x).numpy() for x in images]
    return np.stack(spectra) / np.log(10)
