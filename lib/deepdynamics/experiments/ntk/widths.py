"""How far the kernel moves when the width grows: at an output scale that stays, and at one that falls like N^-1/2.

The networks are those of :mod:`~deepdynamics.experiments.ntk.scale` with another width, and learn the product of two
among 30 signs. At 256 units the two rules are one.

**To draw it**::

    found = results.load("ntk.widths")
    found.kernel_change.sel(rule="falling")           # (width, repetition): relative to the kernel at the start

**To compute a cell** (about 1 s on one thread)::

    widths.cell(64, "fixed", 0)["kernel_change"]
"""

from typing import Any

import numpy as np
import torch

from deepdynamics import ntk
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.ntk import scale as scaling

__all__ = ["KEY", "alpha", "cell", "checks", "grid", "tolerance"]

KEY = "ntk.widths"
WIDTHS, RULES, REPETITIONS = (64, 256, 1024), ("fixed", "falling"), tuple(range(10))
ALPHA, STEPS = 1 / 8, 1000
SEEDS = REPETITIONS
DIMENSIONS = {name: ("width", "rule", "repetition") for name in ("kernel_change", "error", "fit")}
COORDINATES: dict[str, tuple[Any, ...]] = {"width": WIDTHS, "rule": RULES, "repetition": REPETITIONS}
PARAMETERS = {"samples": scaling.SAMPLES, "alpha": ALPHA, "steps": STEPS, "rate": scaling.RATE, **scaling.NETWORK}
NEEDS: tuple[str, ...] = ()
checks = ({"width": 64, "rule": "fixed", "repetition": 0}, {"width": 256, "rule": "falling", "repetition": 3})
tolerance = {name: (0.05, 1e-3) for name in DIMENSIONS}


def grid(scale: str) -> list[Point]:
    """One network, or ten for each width and rule."""
    paper = points(width=WIDTHS, rule=RULES, repetition=REPETITIONS)
    return at_scale(scale, live=points(width=(64,), rule=("fixed",), repetition=(0,)), paper=paper)


def sources() -> dict[str, Any]:
    return {}


def alpha(width: int, rule: str) -> float:
    """The output scale: 1/8, or 2/√N.

    >>> alpha(1024, "fixed"), alpha(1024, "falling")
    (0.125, 0.0625)
    """
    return ALPHA if rule == "fixed" else ALPHA * (256 / width) ** 0.5


def cell(width: int, rule: str, repetition: int) -> dict[str, Any]:
    """The relative change of the kernel, and the mean squared errors at test and training inputs."""
    x, y, _, y_unseen = scaling.examples("pair", repetition)
    start, net, outputs = scaling.trained("pair", alpha(width, rule), repetition, width=width, steps=STEPS)
    inputs = torch.as_tensor(x, dtype=torch.float32)
    old, new = (ntk.empirical(model, inputs).double().numpy() for model in (start, net))
    return {
        "kernel_change": np.linalg.norm(new - old) / np.linalg.norm(old),
        "error": np.square(outputs[len(x) :] - y_unseen).mean(),
        "fit": np.square(outputs[: len(x)] - y).mean(),
    }
