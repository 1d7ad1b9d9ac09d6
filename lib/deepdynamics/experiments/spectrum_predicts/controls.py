"""Controls of `starts`: the same training where the readout sees activities of equal spread, and of pretrained stacks
whose first matrix sees the pixels through a rotation.

"pretrained, rescaled" and "orthogonal, rescaled": the readout sees c(h − m) in the place of the top activities h, with
their mean m over the digits and c such that a unit has the standard deviation 0.3 before training; both stay as they
are. "rotated": the pretrained stack, its first matrix W₁ replaced by RW₁, with R Haar distributed, and biases moved so
that every unit of the first layer keeps its mean input. The matrices' product keeps its singular values; the directions
to which the stack listens are drawn.

**To draw it**::

    results.load("spectrum-predicts.controls").accuracy.mean("seed")     # (start, rate)

**To train one** (some 7 s on one thread)::

    controls.cell("orthogonal, rescaled", 0)["accuracy"]
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.rbm_pretraining import variations as pretraining
from deepdynamics.experiments.spectrum_predicts.starts import (
    CENTRED,
    EPOCHS,
    IMAGES,
    SEEDS,
    TESTED,
    begun,
    digits,
    sources,
)
from deepdynamics.rbm import Stack, fine_tuned_accuracy

__all__ = ["KEY", "cell", "checks", "grid", "rescaled_accuracy", "rotated", "sources"]

KEY = "spectrum-predicts.controls"
STARTS = ("pretrained, rescaled", "orthogonal, rescaled", "rotated")
RATES = (1e-3, 3e-3)
SPREAD = 0.3
DIMENSIONS = {
    "accuracy": ("start", "seed", "rate"),
    "leading": ("start", "seed", "rank"),
    "spread": ("start", "seed"),
}
COORDINATES = {
    "start": STARTS,
    "seed": SEEDS,
    "rate": RATES,
    "rank": tuple(range(1, pretraining.LEADING + 1)),
}
PARAMETERS = {
    "starts": list(STARTS),
    "rates": list(RATES),
    "spread": SPREAD,
    "epochs": EPOCHS,
    "tested": TESTED,
    "images": IMAGES,
    "samples": pretraining.SAMPLES,
}
NEEDS = ("mnist",)
checks = ({"start": "orthogonal, rescaled", "seed": 0}, {"start": "rotated", "seed": 1})
# Training amplifies the rounding of another machine; `leading` are logarithms.
tolerance = {"accuracy": (0.05, 0.0), "leading": (0.05, 0.2), "spread": (0.05, 0.0)}


def grid(scale: str) -> list[Point]:
    """One orthogonal start, or all of them."""
    return at_scale(scale, live=[dict(checks[0])], paper=points(seed=SEEDS, start=STARTS))


def cell(start: str, seed: int) -> dict[str, NDArray[np.float64]]:
    """The "accuracy" (rate,) after training; before it, log10 of the "leading" singular values (rank,), the mean over 8
    test digits, and the "spread" of a top unit that is not rescaled."""
    kind, _, rescaled = start.partition(", ")
    stack = rotated(begun("pretrained", seed), seed) if kind == "rotated" else begun(kind, seed)
    spread = SPREAD if rescaled else None
    found = [rescaled_accuracy(stack, spread, learning_rate=rate, seed=seed) for rate in RATES]
    leading = pretraining.leading(stack, digits()[2][:IMAGES]).mean(0)
    plain = stack.states(digits()[0][:CENTRED])[-1].std(0).mean()
    return {"accuracy": np.array(found), "leading": leading, "spread": np.array(float(plain))}


def rotated(stack: Stack, seed: int) -> Stack:
    """The stack behind a rotation of its inputs; the mean input of each unit of the first layer stays."""
    first, X = copy.copy(stack.machines[0]), digits()[0][:CENTRED]
    W = first.weights
    Q, triangle = torch.linalg.qr(torch.randn(len(W), len(W), generator=torch.Generator().manual_seed(2000 + seed)))
    first.weights = Q * triangle.diagonal().sign() @ W
    first.hidden_bias = first.hidden_bias + (X @ (W - first.weights)).mean(0)
    return Stack((first, *stack.machines[1:]))


def rescaled_accuracy(stack: Stack, spread: float | None, *, learning_rate: float, seed: int) -> float:
    """`rbm.fine_tuned_accuracy` on `starts.digits`; the readout sees centred activities of a given spread, or plain
    ones."""
    top = stack.states(digits()[0][:CENTRED])[-1]
    centre, size = top.mean(0), top.std(0).mean()
    seen = None if spread is None else lambda h: (h - centre) * (spread / size)
    return fine_tuned_accuracy(stack, *digits(), epochs=EPOCHS, learning_rate=learning_rate, seen=seen, seed=seed)
