"""Integral representations of shallow networks: the ridgelet transform, its inverse, and what training finds."""

from deepdynamics.ridgelet.admissibility import admissibility_constant
from deepdynamics.ridgelet.bumps import GaussianBumps
from deepdynamics.ridgelet.grids import midpoints, polar_grid
from deepdynamics.ridgelet.operators import IntegralOperator, ridge_optimum
from deepdynamics.ridgelet.pairs import AdmissiblePair, GaussianDerivative
from deepdynamics.ridgelet.reach import low_pass, rebuild
from deepdynamics.ridgelet.reconstruction import reconstruct, truncation
from deepdynamics.ridgelet.sampling import (
    evaluate,
    even_parameters,
    output_weights,
    residual,
    sample_network,
    sample_parameters,
)
from deepdynamics.ridgelet.transforms import gaussian_transform, polygon_transform, sine_transform, transform
from deepdynamics.ridgelet.units import agreement, blurred, top_share, unit_agreement, unit_density

__all__ = [
    "AdmissiblePair",
    "GaussianBumps",
    "GaussianDerivative",
    "IntegralOperator",
    "admissibility_constant",
    "agreement",
    "blurred",
    "evaluate",
    "even_parameters",
    "gaussian_transform",
    "low_pass",
    "midpoints",
    "output_weights",
    "polar_grid",
    "polygon_transform",
    "rebuild",
    "reconstruct",
    "residual",
    "ridge_optimum",
    "sample_network",
    "sample_parameters",
    "sine_transform",
    "top_share",
    "transform",
    "truncation",
    "unit_agreement",
    "unit_density",
]
