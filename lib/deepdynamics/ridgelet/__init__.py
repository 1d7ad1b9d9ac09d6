"""Integral representations of shallow networks: the ridgelet transform, its inverse, and what training finds."""

from deepdynamics.ridgelet.admissibility import admissibility_constant
from deepdynamics.ridgelet.grids import midpoints, polar_grid
from deepdynamics.ridgelet.operators import IntegralOperator, ridge_optimum
from deepdynamics.ridgelet.pairs import AdmissiblePair, GaussianDerivative
from deepdynamics.ridgelet.reconstruction import reconstruct, truncation
from deepdynamics.ridgelet.sampling import sample_parameters
from deepdynamics.ridgelet.transforms import gaussian_transform, sine_transform, transform
from deepdynamics.ridgelet.units import agreement, blurred, unit_agreement, unit_density

__all__ = [
    "AdmissiblePair",
    "GaussianDerivative",
    "IntegralOperator",
    "admissibility_constant",
    "agreement",
    "blurred",
    "gaussian_transform",
    "midpoints",
    "polar_grid",
    "reconstruct",
    "ridge_optimum",
    "sample_parameters",
    "sine_transform",
    "transform",
    "truncation",
    "unit_agreement",
    "unit_density",
]
