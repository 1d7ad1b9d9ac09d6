"""Integral representations of shallow networks: the ridgelet transform, its inverse, and what training finds."""

from deepdynamics.ridgelet.admissibility import admissibility_constant
from deepdynamics.ridgelet.grids import midpoints, polar_grid
from deepdynamics.ridgelet.operators import IntegralOperator, ridge_optimum
from deepdynamics.ridgelet.pairs import AdmissiblePair, GaussianDerivative
from deepdynamics.ridgelet.reconstruction import reconstruct, truncation
from deepdynamics.ridgelet.sampling import sample_parameters
from deepdynamics.ridgelet.shallow import ShallowNetwork, fit_outputs
from deepdynamics.ridgelet.transforms import gaussian_transform, sine_transform, transform

__all__ = [
    "AdmissiblePair",
    "GaussianDerivative",
    "IntegralOperator",
    "ShallowNetwork",
    "admissibility_constant",
    "fit_outputs",
    "gaussian_transform",
    "midpoints",
    "polar_grid",
    "reconstruct",
    "ridge_optimum",
    "sample_parameters",
    "sine_transform",
    "transform",
    "truncation",
]
