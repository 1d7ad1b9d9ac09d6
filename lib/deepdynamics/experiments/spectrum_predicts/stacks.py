"""Eighty pretrained stacks with drawn hyperparameters: what is known of each before it learns with labels, and how well
it then does.

They continue the twenty-four of `experiments.rbm_pretraining.finetuning`, on which the predictors were chosen: the same
law of hyperparameters, the same pretraining, the same two epochs of Adam with the labels of 12,800 digits, other draws.
The last forty were drawn when a threshold had been chosen on the first forty.

**To draw it**::

    results.load("spectrum-predicts.stacks").table.sel(quantity="accuracy")     # (stack,)

**To train one** (about 7 s on one thread)::

    stacks.cell(27)["table"]
"""

import numpy as np
from numpy.typing import NDArray

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.rbm_pretraining import variations as pretraining
from deepdynamics.experiments.rbm_pretraining.finetuning import EPOCHS, IMAGES, RATE, hyperparameters
from deepdynamics.experiments.spectrum_predicts.starts import digits
from deepdynamics.rbm import fine_tuned_accuracy, pretrain_stack

__all__ = ["KEY", "cell", "checks", "grid"]

KEY = "spectrum-predicts.stacks"
STACKS = SEEDS = tuple(range(24, 104))
EARLY = 8  # an early look trains on one digit in eight, once: a sixteenth of the steps
QUANTITIES = (
    "accuracy",  # after two epochs with labels, 5,000 test digits
    "early",  # accuracy after one epoch on the first 1,600 digits, from the same start
    "count",  # singular values above 0.1, mean over 8 test digits
    "input_reconstruction",  # mean squared error of the first machine
    "spread",  # standard deviation of a top unit over digits
    "learning_rate",
    "epochs",
    "weight_decay",
    "weight_var",
)
DIMENSIONS = {"table": ("stack", "quantity"), "leading": ("stack", "rank")}
COORDINATES = {"stack": STACKS, "quantity": QUANTITIES, "rank": tuple(range(1, pretraining.LEADING + 1))}
PARAMETERS = {
    "quantities": list(QUANTITIES),
    "epochs": EPOCHS,
    "rate": RATE,
    "early": EARLY,
    "images": IMAGES,
    "samples": pretraining.SAMPLES,
}
NEEDS = ("mnist",)
checks = ({"stack": 27}, {"stack": 70})
# Training amplifies the rounding of another machine; `leading` are logarithms.
tolerance = {"table": (0.05, 0.02), "leading": (0.05, 0.2)}


def grid(scale: str) -> list[Point]:
    """One stack or all of them."""
    return at_scale(scale, live=points(stack=(27,)), paper=points(stack=STACKS))


def cell(stack: int) -> dict[str, NDArray[np.float64]]:
    """`QUANTITIES` of one stack, and log10 of its "leading" singular values, the mean over 8 test digits."""
    X, y, tests, labels = digits()
    drawn = hyperparameters(stack)
    momentum = [0.5 if epoch < 2 else 0.9 for epoch in range(int(drawn["epochs"]))]
    widths = (X.shape[1], *[pretraining.WIDTH] * pretraining.DEPTH)
    machines = pretrain_stack(widths, X, seed=1000 + stack, momentum=momentum, **(pretraining.RECIPE | drawn))
    spectra = pretraining.leading(machines, tests[:IMAGES])
    judged = tests[: pretraining.JUDGED]
    few = len(X) // EARLY
    accuracies = [
        fine_tuned_accuracy(machines, X[:n], y[:n], tests, labels, epochs=epochs, learning_rate=RATE, seed=stack)
        for n, epochs in ((len(X), EPOCHS), (few, 1))
    ]
    found = [
        *accuracies,
        (spectra > -1).sum(1).mean(),
        float(machines.reconstruction_errors(judged)[0]),
        float(machines.states(judged)[-1].std(0).mean()),
    ]
    return {"table": np.array([*found, *drawn.values()]), "leading": spectra.mean(0)}


def sources() -> data.Provenance:
    """Where the images come from."""
    return pretraining.pictures("base")[-1]
