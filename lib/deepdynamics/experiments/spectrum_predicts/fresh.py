"""Forty further pretrained stacks, which had no part in choosing any statistic: as `stacks`, other draws.

**To draw it**::

    results.load("spectrum-predicts.fresh").table.sel(quantity="accuracy")     # (stack,)

**To train one** (about 7 s on one thread)::

    fresh.cell(64)["table"]
"""

from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.spectrum_predicts import stacks
from deepdynamics.experiments.spectrum_predicts.stacks import DIMENSIONS, NEEDS, cell, sources, tolerance

__all__ = ["DIMENSIONS", "KEY", "NEEDS", "cell", "checks", "grid", "sources", "tolerance"]

KEY = "spectrum-predicts.fresh"
STACKS = SEEDS = tuple(range(64, 104))
COORDINATES = stacks.COORDINATES | {"stack": STACKS}
PARAMETERS = stacks.PARAMETERS
checks = ({"stack": 64}, {"stack": 80})


def grid(scale: str) -> list[Point]:
    """One stack or all of them."""
    return at_scale(scale, live=points(stack=(64,)), paper=points(stack=STACKS))
