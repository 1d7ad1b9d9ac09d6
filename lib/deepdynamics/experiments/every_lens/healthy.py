"""More healthy networks, for the false alarms: those of the confusion table with twenty other seeds.

``statistic`` as in :mod:`deepdynamics.experiments.every_lens.faults`, with its thresholds; no learning rate is asked
about. ``weights``: what the weights alone say (`networks.from_weights`), the rival of a diagnosis.

    stored = results.load(healthy.KEY)
    (stored.statistic > xarray.DataArray(list(THRESHOLDS.values()), {"kind": list(THRESHOLDS)})).any("kind").mean()
"""

from __future__ import annotations

from typing import Any

import xarray

from deepdynamics.diagnose.examination import examined
from deepdynamics.diagnose.findings import statistics
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.every_lens.faults import IMAGES, KINDS, images
from deepdynamics.experiments.every_lens.networks import MEASURES, TABLE, from_weights, network

__all__ = ["KEY", "cell", "checks", "grid"]

KEY = "every-lens.healthy"
SEEDS = tuple(range(5, 25))
DIMENSIONS = {
    "statistic": ("architecture", "seed", "kind"),
    "weights": ("architecture", "seed", "measure"),
}
COORDINATES = {"architecture": tuple(TABLE), "seed": SEEDS, "kind": KINDS, "measure": MEASURES}
PARAMETERS = {"images": IMAGES}
NEEDS: tuple[str, ...] = ()
checks = ({"architecture": "perceptron, ReLU", "seed": 5}, {"architecture": "mixer", "seed": 6})
tolerance = {"statistic": (1e-2, 1e-3), "weights": (1e-3, 1e-3)}


def grid(scale: str) -> list[Point]:
    """Two networks, or twenty of each architecture."""
    return at_scale(scale, live=list(checks), paper=points(architecture=tuple(TABLE), seed=SEEDS))


def cell(architecture: str, seed: int) -> dict[str, object]:
    """Statistics (kind,), and those of the weights alone (measure,), of one network."""
    X, wanted = images()
    net = network(architecture, seed)
    found = statistics(examined(net, X, target=wanted, parts=()))
    return {
        "statistic": xarray.DataArray([found[kind] for kind in KINDS], {"kind": list(KINDS)}),
        "weights": xarray.DataArray(from_weights(net), {"measure": list(MEASURES)}),
    }


def sources() -> dict[str, Any]:
    """None: the digits come with scikit-learn."""
    return {}
