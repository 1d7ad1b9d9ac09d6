"""Loss landscapes: random Gaussian fields, the Hessian of a trained network, measures of generalisation."""

from deepdynamics.landscapes.fields import CosineField, field_hessian, field_index, field_semicircle
from deepdynamics.landscapes.hessian import extreme_curvatures
from deepdynamics.landscapes.measures import generalisation_measures

__all__ = [
    "CosineField",
    "extreme_curvatures",
    "field_hessian",
    "field_index",
    "field_semicircle",
    "generalisation_measures",
]
