"""Does the spectrum of a pretrained stack predict how it fine-tunes? Twenty-four stacks with drawn hyperparameters.

Learning rate, epochs, weight decay and initial variance of the pretraining are drawn for each; everything else is as
in `experiments.pretraining`. Then all layers are trained with the labels, by the same recipe for all: two epochs of
Adam at rate 0.001 on the same 12,800 digits.

**To draw it**::

    from deepdynamics.experiments import finetuning

    table, provenance = finetuning.stored()
    table.sel(quantity="accuracy")                  # (stack,)

**To check it live** (about 6 s a stack on one thread)::

    finetuning.row(3)
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray

from deepdynamics import data, results
from deepdynamics.experiments import pretraining
from deepdynamics.rbmstacks import fine_tune, train
from deepdynamics.sweeps import sweep

__all__ = ["KEY", "hyperparameters", "row", "store", "stored"]

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


def hyperparameters(stack: int) -> dict[str, float]:
    """Those of one stack: log-uniform learning rate, decay and initial variance, and 1, 2 or 4 epochs."""
    rng = np.random.default_rng([5, stack])
    return {
        "learning_rate": float(10 ** rng.uniform(-2.3, -0.7)),
        "epochs": int(rng.choice([1, 2, 4])),
        "weight_decay": float(10 ** rng.uniform(-5, -2.5)),
        "weight_var": float(10 ** rng.uniform(-4.5, -2)),
    }


def row(stack: int) -> NDArray[np.float64]:
    """`QUANTITIES` of one stack."""
    X, images, _ = pretraining.pictures("base")
    _, y, _ = data.load("mnist", "train", n=len(X))
    tests, labels, _ = data.load("mnist", "test", n=TESTED if data.available("mnist") else None, flatten=True)
    drawn = hyperparameters(stack)
    momentum = [0.5 if epoch < 2 else 0.9 for epoch in range(int(drawn["epochs"]))]
    widths = (X.shape[1], *[pretraining.WIDTH] * pretraining.DEPTH)
    machines = train(widths, X, seed=1000 + stack, momentum=momentum, **(pretraining.RECIPE | drawn))
    spectra = pretraining.leading(machines, images[:IMAGES])
    errors = machines.reconstruction_errors(tests[: pretraining.JUDGED])
    spread = machines.states(tests[: pretraining.JUDGED])[-1].std(0).mean()
    accuracy = fine_tune(machines, X, y, tests, labels, epochs=EPOCHS, learning_rate=RATE, seed=stack)
    found = [
        accuracy,
        spectra[:, 0].mean(),
        spectra[:, 9].mean(),
        (spectra > -1).sum(1).mean(),
        float(errors.mean()),
        float(errors[0]),
        float(spread),
    ]
    return np.array([*found, *drawn.values()])


def store(resume: str | Path, workers: int = 1) -> Path:
    """Train everything and store it; finished cells are kept in a folder below `resume`."""
    provenance = pretraining.pictures("base")[-1]
    if not provenance.real:
        raise data.DataMissing("the stacks need data: make data (a stand-in is not what they report)")
    ran = pretraining.code()
    version = hashlib.sha256(json.dumps(ran, sort_keys=True).encode()).hexdigest()[:12]
    start = time.perf_counter()
    found = sweep(row, {"stack": STACKS}, workers=workers, resume=Path(resume) / version).values
    parameters = {
        "quantities": list(QUANTITIES),
        "epochs": EPOCHS,
        "rate": RATE,
        "tested": TESTED,
        "images": IMAGES,
        "samples": pretraining.SAMPLES,
    }
    record = {"code": ran, "data": provenance, "seconds_since_resumed": round(time.perf_counter() - start)}
    return results.save(KEY, {"table": found}, parameters=parameters, seeds=STACKS, provenance=record)


def stored() -> tuple[xarray.DataArray, dict[str, Any]]:
    """The table (stack, quantity), and the provenance."""
    arrays, provenance = results.load(KEY)
    coords = {"stack": provenance["seeds"], "quantity": provenance["parameters"]["quantities"]}
    return xarray.DataArray(arrays["table"], dims=("stack", "quantity"), coords=coords), provenance
