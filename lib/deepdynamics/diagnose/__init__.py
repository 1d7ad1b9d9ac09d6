"""A diagnosis of any torch model: the signal by layer, the Jacobian, the learning rates that it allows, what is odd.

The rooms, from below: ``report`` (what is said), ``signals`` (operations watched forwards and back), ``layers`` (their
numbers, trends, and mean field theory beside them), ``spectrum`` (the Jacobian), ``rates`` (the Fisher information, and
a trial of descent), ``findings`` (what is odd) and ``examination`` (the door). ``python -m deepdynamics.diagnose`` is
the same as a command.
"""

from deepdynamics.diagnose.examination import diagnose
from deepdynamics.diagnose.findings import THRESHOLDS
from deepdynamics.diagnose.report import Block, Finding, Layer, MeanFieldFit, Rates, Report, Spectrum, Trend, Trial

__all__ = [
    "THRESHOLDS",
    "Block",
    "Finding",
    "Layer",
    "MeanFieldFit",
    "Rates",
    "Report",
    "Spectrum",
    "Trend",
    "Trial",
    "diagnose",
]
