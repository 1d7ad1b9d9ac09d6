"""Does the spectrum of a pretrained stack predict how it fine-tunes? Twenty-four stacks with drawn hyperparameters.

Learning rate, epochs, weight decay and initial variance of the pretraining are drawn for each; everything else is as
in `experiments.pretraining`. Then all layers are trained with the labels, by the same recipe for all: two epochs of
Adam at rate 0.001 on the same 12,800 digits.

**To draw it**::

    results.load("rbm-pretraining.finetuning").table.sel(quantity="accuracy")     # (stack,)

**To train one** (about 6 s on one thread)::

    finetuning.cell(3)["table"]
"""

import numpy as np
from numpy.typing import NDArray

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.rbm_pretraining import variations as pretraining
from deepdynamics.rbm import fine_tuned_accuracy, pretrain_stack

__all__ = ["KEY", "cell", "checks", "grid", "hyperparameters"]

KEY = "rbm-pretraining.finetuning"
STACKS = tuple(range(24))
EPOCHS, RATE, TESTED, IMAGES = 2, 1e-3, 5000, 8
QUANTITIES = (
    "accuracy",  # after fine-tuning, 5,000 test digits
    "first",  # log10 s_1, mean over 8 images
    "tenth",
    "count",  # singular values above 0.1
    "reconstruction",  # mean squared error of the ten machines, mean
    "input_reconstruction",  # of the first machine
    "spread",  # standard deviation of a top unit over samples
    "learning_rate",
    "epochs",
    "weight_decay",
    "weight_var",
)
SEEDS = STACKS
DIMENSIONS = {"table": ("stack", "quantity")}
COORDINATES = {"stack": STACKS, "quantity": QUANTITIES}
PARAMETERS = {
    "quantities": list(QUANTITIES),
    "epochs": EPOCHS,
    "rate": RATE,
    "tested": TESTED,
    "images": IMAGES,
    "samples": pretraining.SAMPLES,
}
NEEDS = ("mnist",)
checks = ({"stack": 3}, {"stack": 8})
# Training amplifies the rounding of another machine; hyperparameters are small numbers, and exact.
tolerance = {"table": (0.05, 0.0)}


def grid(scale: str) -> list[Point]:
    """One stack or all of them."""
    return at_scale(scale, live=points(stack=(3,)), paper=points(stack=STACKS))


def hyperparameters(stack: int) -> dict[str, float]:
    """Those of one stack: log-uniform learning rate, decay and initial variance, and 1, 2 or 4 epochs."""
    rng = np.random.default_rng([5, stack])
    return {
        "learning_rate": float(10 ** rng.uniform(-2.3, -0.7)),
        "epochs": int(rng.choice([1, 2, 4])),
        "weight_decay": float(10 ** rng.uniform(-5, -2.5)),
        "weight_var": float(10 ** rng.uniform(-4.5, -2)),
    }


def cell(stack: int) -> dict[str, NDArray[np.float64]]:
    """`QUANTITIES` of one stack."""
    X, images, _ = pretraining.pictures("base")
    _, y, _ = data.load("mnist", "train", n=len(X))
    tests, labels, _ = data.load("mnist", "test", n=TESTED if data.available("mnist") else None, flatten=True)
    drawn = hyperparameters(stack)
    momentum = [0.5 if epoch < 2 else 0.9 for epoch in range(int(drawn["epochs"]))]
    widths = (X.shape[1], *[pretraining.WIDTH] * pretraining.DEPTH)
    machines = pretrain_stack(widths, X, seed=1000 + stack, momentum=momentum, **(pretraining.RECIPE | drawn))
    spectra = pretraining.leading(machines, images[:IMAGES])
    errors = machines.reconstruction_errors(tests[: pretraining.JUDGED])
    spread = machines.states(tests[: pretraining.JUDGED])[-1].std(0).mean()
    accuracy = fine_tuned_accuracy(machines, X, y, tests, labels, epochs=EPOCHS, learning_rate=RATE, seed=stack)
    found = [
        accuracy,
        spectra[:, 0].mean(),
        spectra[:, 9].mean(),
        (spectra > -1).sum(1).mean(),
        float(errors.mean()),
        float(errors[0]),
        float(spread),
    ]
    return {"table": np.array([*found, *drawn.values()])}


def sources() -> data.Provenance:
    """Where the images come from."""
    return pretraining.pictures("base")[-1]
