"""Spectra and codes of autoencoders on MNIST: plain, weight decay, denoising, contractive, at several strengths.

Fourteen kinds of training with eight seeds: 128 logistic units, shared weights, cross-entropy, visible biases that
start at the mean image, 10,000 images, 12 epochs of Adam, batches of 100. Networks of one seed start from equal weights
and see equal mini-batches whatever their kind, so that kinds are compared in pairs. Spectra, tangents: 100 test images.
Accuracy of a linear classifier on the code: fitted to the 10,000 training images, counted on all 10,000 test images.

**To draw it**::

    from deepdynamics.experiments import autoencoding

    table, spectra, provenance = autoencoding.stored()
    table.sel(kind="contractive 1", quantity="ridge")             # (seed,)
    spectra.sel(kind="contractive 1").mean("seed")                # singular values (rank,)

**To check it live** (about 3 s a kind on one thread)::

    table, spectra, nets = autoencoding.train(seed=0, kinds=("plain", "contractive 1"))
"""

import functools
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from deepdynamics import data, results
from deepdynamics.autoencoders import Autoencoders
from deepdynamics.readouts import ridge_accuracy
from deepdynamics.spectra import participation_ratio, share_inside
from deepdynamics.sweeps import sweep
from deepdynamics.tangents import known_tangents

__all__ = ["KEY", "digits", "shift_tangents", "store", "stored", "train"]

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


def _cell(seed: int) -> NDArray[np.float64]:
    table, spectrum, _ = train(seed)
    return np.concatenate([table, spectrum], axis=1)


def store(resume: str | Path, workers: int = 1) -> Path:
    """Train everything and store it; finished cells are kept in a folder below `resume`."""
    provenance = digits()[-1]
    if not provenance.real:
        raise data.DataMissing("the autoencoders need data: make data (a stand-in is not what they report)")
    code = results.loaded_code()
    version = hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:12]
    start = time.perf_counter()
    found = sweep(_cell, {"seed": SEEDS}, workers=workers, resume=Path(resume) / version).values
    arrays = {
        "table": found[..., : len(QUANTITIES)],
        "spectra": found[..., len(QUANTITIES) :].astype(np.float32),
    }
    parameters = {
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
    record = {"code": code, "data": provenance, "seconds_since_resumed": round(time.perf_counter() - start)}
    return results.save(KEY, arrays, parameters=parameters, seeds=SEEDS, provenance=record)


def stored() -> tuple[xarray.DataArray, xarray.DataArray, dict[str, object]]:
    """The table (seed, kind, quantity), mean singular values (seed, kind, rank), and the provenance."""
    arrays, provenance = results.load(KEY)
    shared = {"seed": list(SEEDS), "kind": list(KINDS)}
    table = xarray.DataArray(
        arrays["table"], dims=(*shared, "quantity"), coords=shared | {"quantity": list(QUANTITIES)}
    )
    ranks = range(1, arrays["spectra"].shape[-1] + 1)
    return (
        table,
        xarray.DataArray(arrays["spectra"], dims=(*shared, "rank"), coords=shared | {"rank": ranks}),
        provenance,
    )
