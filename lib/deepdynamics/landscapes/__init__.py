"""What a network can express and how its landscape looks: the pieces of a ReLU network counted exactly, random Gaussian
fields, the Hessian of a trained network, measures of generalisation."""

from deepdynamics.landscapes.fields import CosineField, field_hessian, field_index, field_semicircle
from deepdynamics.landscapes.hessian import extreme_curvatures
from deepdynamics.landscapes.measures import generalisation_measures
from deepdynamics.landscapes.polynomials import sum_product
from deepdynamics.landscapes.regions import (
    PlanePieces,
    linear_regions,
    montufar_bound,
    plane_regions,
    shallow_regions,
    tent,
)

__all__ = [
    "CosineField",
    "PlanePieces",
    "extreme_curvatures",
    "field_hessian",
    "field_index",
    "field_semicircle",
    "generalisation_measures",
    "linear_regions",
    "montufar_bound",
    "plane_regions",
    "shallow_regions",
    "sum_product",
    "tent",
]
