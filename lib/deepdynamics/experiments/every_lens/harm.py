"""What the networks of the confusion table lose by wrong scales of weights, and what their weights alone say.

``weights``: three measures that need no input (`networks.from_weights`), for the faults that lie in weights, biases and
normalisation; of the fourteen other architectures those of the healthy networks, from which a check of weights alone
has its thresholds, by the rule of :mod:`deepdynamics.experiments.every_lens.faults`. ``change``: of the logarithms of
signal and squared gradient, with their signs, of which the findings look at the absolute values.
``accuracy`` on 512 images after 40 steps of Adam (`faults.learnt`), healthy and with weights doubled or halved.

    stored = results.load(harm.KEY)
    stored.accuracy.sel(fault="none") - stored.accuracy.sel(fault="weights × 2")
"""

from __future__ import annotations

import copy
import math
from typing import Any

import xarray

from deepdynamics.diagnose.examination import examined
from deepdynamics.experiments.every_lens.faults import SEEDS, checks, grid, images, learnt
from deepdynamics.experiments.every_lens.networks import CALIBRATION, MEASURES, TABLE, from_weights, network, plant

__all__ = ["FAULTS", "KEY", "cell", "checks", "grid"]

KEY = "every-lens.harm"
FAULTS = ("none", "weights × 2", "weights / 2", "dead layer", "saturated start", "large biases", "no normalisation")
TRAINED, WAYS = FAULTS[:3], ("signal", "gradient")
DIMENSIONS = {
    "weights": ("architecture", "fault", "seed", "measure"),
    "change": ("architecture", "fault", "seed", "way"),
    "accuracy": ("architecture", "fault", "seed"),
}
COORDINATES = {
    "architecture": (*TABLE, *CALIBRATION),
    "fault": FAULTS,
    "seed": SEEDS,
    "measure": MEASURES,
    "way": WAYS,
}
PARAMETERS = {"trained": TRAINED}
NEEDS: tuple[str, ...] = ()
tolerance = {
    "weights": (1e-3, 1e-3),
    "change": (1e-2, 1e-3),
    "accuracy": (0.0, 0.05),
}  # rounding is amplified by 40 steps of training


def cell(architecture: str, seed: int) -> dict[str, object]:
    """Measures (fault, measure), changes (fault, way), accuracies (fault,) of one network; healthy for calibration."""
    X, wanted = images()
    net = network(architecture, seed)
    table = architecture in TABLE
    alone, change, right = [], [], []
    for fault in FAULTS if table else FAULTS[:1]:
        broken = copy.deepcopy(net)
        there = plant(fault, broken, X, seed) is not None
        alone.append(from_weights(broken) if there else [math.nan] * len(MEASURES))
        report = examined(broken, X, target=wanted, parts=()) if there and table else None
        trends = (report.signal, report.gradient) if report else (None, None)
        change.append([trend.change if trend else math.nan for trend in trends])
        right.append(learnt(broken, 1.0, seed)[1] if table and fault in TRAINED else math.nan)
    places = {"fault": list(FAULTS[: len(alone)])}
    return {
        "weights": xarray.DataArray(alone, places | {"measure": list(MEASURES)}),
        "change": xarray.DataArray(change, places | {"way": list(WAYS)}),
        "accuracy": xarray.DataArray(right, places),
    }


def sources() -> dict[str, Any]:
    """None: the digits come with scikit-learn."""
    return {}
