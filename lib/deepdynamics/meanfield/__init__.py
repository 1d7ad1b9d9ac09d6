"""Mean field theory of wide random networks, and networks of finite width beside it."""

from deepdynamics.meanfield import gain, simulation
from deepdynamics.meanfield.fields import MeanField
from deepdynamics.meanfield.maps import Autocorrelation, ResidualMeanField, convolutional_map, recurrent_autocorrelation
from deepdynamics.meanfield.phases import CriticalPoint, PhaseDiagram, critical_weight_var, phase_diagram
from deepdynamics.meanfield.randomlayer import Trajectory

__all__ = [
    "Autocorrelation",
    "CriticalPoint",
    "MeanField",
    "PhaseDiagram",
    "ResidualMeanField",
    "Trajectory",
    "convolutional_map",
    "critical_weight_var",
    "gain",
    "phase_diagram",
    "recurrent_autocorrelation",
    "simulation",
]
