"""Spectra and codes of autoencoders on MNIST: plain, weight decay, denoising, contractive, at several strengths.

Fourteen kinds of training with eight seeds: 128 logistic units, shared weights, cross-entropy, visible biases that
start at the mean image, 10,000 images, 12 epochs of Adam, batches of 100. Networks of one seed start from equal weights
and see equal mini-batches whatever their kind, so that kinds are compared in pairs. Spectra, tangents: 100 test images.
Accuracy of a linear classifier on the code: fitted to the 10,000 training images, counted on all 10,000 test images.

**To draw it**::

    found = results.load("contraction.autoencoders")
    found.table.sel(kind="contractive 1", quantity="ridge")       # (seed,)
    found.spectra.sel(kind="contractive 1").mean("seed")          # singular values (rank,)

**To train some of them** (about 3 s a kind on one thread)::

    table, spectra, nets = autoencoders.train(seed=0, kinds=("plain", "contractive 1"))
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from deepdynamics import data
from deepdynamics.autoencoders import Autoencoders
from deepdynamics.directions import known_tangents
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.jacobian import participation_ratio, share_inside
from deepdynamics.linearprobe import ridge_accuracy

__all__ = ["KEY", "cell", "checks", "digits", "grid", "shift_tangents", "train"]

KEY = "contraction.autoencoders"
HIDDEN, EPOCHS, BATCH, IMAGES, TESTED, LOOKED_AT, LEADING = 128, 12, 100, 10_000, 10_000, 100, 20
RATE = 0.003
SEEDS = tuple(range(8))
KINDS: dict[str, dict[str, float]] = {
    "plain": {},
    **{f"decay {value:g}": {"weight_decay": value} for value in (0.003, 0.01, 0.03, 0.1)},
    **{f"denoising {value:g}": {"noise": value} for value in (0.1, 0.25, 0.5, 0.7)},
    **{f"contractive {value:g}": {"contraction": value} for value in (0.1, 0.3, 1.0, 3.0, 10.0)},
}
QUANTITIES = (
    "ridge",  # accuracy of a ridge regression on the code
    "logistic",  # accuracy of a logistic regression on the standardised code
    "participation",  # (Σ s²)²/Σ s⁴, mean over images
    "leading_share",  # share of ‖J‖² in the ten leading singular values
    "square",  # ‖J‖², mean over images
    "reconstruction",  # cross-entropy of test images, nats
    "tangent",  # share of one-pixel shifts inside the 20 leading directions, at the image
    "tangent_elsewhere",  # and inside those at another image
)
DIMENSIONS = {"table": ("seed", "kind", "quantity"), "spectra": ("seed", "kind", "rank")}
COORDINATES = {"seed": SEEDS, "kind": tuple(KINDS), "quantity": QUANTITIES, "rank": tuple(range(1, HIDDEN + 1))}
PARAMETERS = {
    "hidden": HIDDEN,
    "epochs": EPOCHS,
    "batch": BATCH,
    "images": IMAGES,
    "tested": TESTED,
    "looked_at": LOOKED_AT,
    "leading": LEADING,
    "rate": RATE,
    "kinds": list(KINDS),
    "quantities": list(QUANTITIES),
    "optimiser": "adam",
}
NEEDS = ("mnist",)
# One kind of each penalty; kinds do not depend on what is trained beside them.
checks = ({"seed": 0, "kinds": ("plain", "decay 0.01", "denoising 0.5", "contractive 1")},)
# Training amplifies the rounding of another machine: accuracies of 10,000 answers, the rest by its size.
tolerance = {"table": (0.05, 0.01), "spectra": (0.1, 0.01)}


def grid(scale: str) -> list[Point]:
    """One seed of four kinds, or eight seeds of all; kinds of one seed are trained at once."""
    return at_scale(scale, live=list(checks), paper=points(seed=SEEDS))


def cell(seed: int, kinds: Sequence[str] = tuple(KINDS)) -> dict[str, xarray.DataArray]:
    """`QUANTITIES` (kind, quantity) and mean singular values (kind, rank) of the networks of one seed."""
    table, spectra, _ = train(seed, kinds)
    shared = {"kind": list(kinds)}
    return {
        "table": xarray.DataArray(table, shared | {"quantity": list(QUANTITIES)}, ["kind", "quantity"]),
        "spectra": xarray.DataArray(
            spectra.astype(np.float32), shared | {"rank": list(COORDINATES["rank"])}, ["kind", "rank"]
        ),
    }


def sources() -> data.Provenance:
    """Where the images come from."""
    return digits()[-1]


@functools.lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor, data.Provenance]:
    """Training images (n, 784) and labels, test images and labels, provenance; whatever there is of the stand-in."""
    images, labels, provenance = data.load("mnist", "train", flatten=True)
    test_images, test_labels, _ = data.load("mnist", "test", flatten=True)
    images, labels = images[:IMAGES].clone(), labels[:IMAGES].clone()
    return images, labels, test_images[:TESTED], test_labels[:TESTED], provenance


def shift_tangents(images: Tensor) -> Tensor:
    """The change of images (n, 784) when they move by a pixel, to the right and down, (n, 784, 2)."""
    return known_tangents(images.view(-1, 1, 28, 28))[:, :2].flatten(2).mT


def train(
    seed: int, kinds: Sequence[str] = tuple(KINDS), logistic: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64], Autoencoders]:
    """`QUANTITIES` (kinds, 8), mean singular values (kinds, 128) and the trained networks, of one seed."""
    images, labels, test_images, test_labels, _ = digits()
    nets = Autoencoders(len(kinds), images.shape[1], HIDDEN, seed=[seed] * len(kinds))
    nets.start_at_mean(images)
    nets.fit(
        images,
        learning_rate=RATE,
        epochs=EPOCHS,
        batch=BATCH,
        contraction=[KINDS[kind].get("contraction", 0.0) for kind in kinds],
        weight_decay=[KINDS[kind].get("weight_decay", 0.0) for kind in kinds],
        noise=[KINDS[kind].get("noise", 0.0) for kind in kinds],
        seed=seed,
    )
    codes, test_codes = nets.encode(images), nets.encode(test_images)
    looked_at = test_images[:LOOKED_AT]
    _, s, V = nets.triplets(looked_at, LEADING)
    spectrum = nets.singular_values(looked_at)
    tangents = shift_tangents(looked_at).double()
    squares = spectrum.square()
    pairs = zip(codes, test_codes, strict=True)
    accuracies = [_logistic(*pair, labels, test_labels) if logistic else float("nan") for pair in pairs]
    columns = [
        ridge_accuracy(codes, labels, test_codes, test_labels),
        torch.tensor(accuracies),
        participation_ratio(spectrum).mean(1),
        (s[:, :, :10].square().sum(2) / squares.sum(2)).mean(1),
        squares.sum(2).mean(1),
        nets.reconstruction_loss(test_images),
        share_inside(V, tangents).mean((1, 2)),
        share_inside(V.roll(1, 1), tangents).mean((1, 2)),
    ]
    table = torch.stack([column.double() for column in columns], 1).numpy()
    return table, spectrum.mean(1).numpy(), nets


def _logistic(code: Tensor, test_code: Tensor, labels: Tensor, test_labels: Tensor) -> float:
    """Accuracy of multinomial logistic regression (scikit-learn, C = 0.1) on the code, standardised unit by unit."""
    mean, deviation = code.mean(0), code.std(0) + 1e-8
    model = LogisticRegression(C=0.1, max_iter=300)
    model.fit(((code - mean) / deviation).numpy(), labels.numpy())
    return float(model.score(((test_code - mean) / deviation).numpy(), test_labels.numpy()))
