"""The experiments whose results the book stores: one module each, the same calls at the scale "live" and "paper".

from deepdynamics import experiments, results

experiments.compute("order-chaos.trainability", "live")    # xarray.Dataset, labelled as the stored result is
results.load("order-chaos.trainability")                   # the stored one, at the scale of the paper

`python -m deepdynamics.results` computes at the scale of the paper what a chapter stores.
"""

from deepdynamics.experiments._experiment import (
    Experiment,
    Point,
    assembled,
    check_data,
    compared,
    compute,
    experiment_of,
    labelled_cell,
)
from deepdynamics.experiments._table import EXPERIMENTS, module_of

__all__ = [
    "EXPERIMENTS",
    "Experiment",
    "Point",
    "assembled",
    "check_data",
    "compared",
    "compute",
    "experiment_of",
    "labelled_cell",
    "module_of",
]
