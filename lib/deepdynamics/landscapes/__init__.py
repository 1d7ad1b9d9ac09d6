"""What a network can express and how its landscape looks: the pieces of a ReLU network, counted exactly."""

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
    "PlanePieces",
    "linear_regions",
    "montufar_bound",
    "plane_regions",
    "shallow_regions",
    "sum_product",
    "tent",
]
