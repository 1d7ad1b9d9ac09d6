"""Networks as maps in sequence, and every random draw of their weights."""

from deepdynamics.networks import small
from deepdynamics.networks.draws import (
    Seed,
    delta_orthogonal_,
    gaussian,
    gaussian_,
    generator,
    haar,
    initial_weight,
    weight_matrices,
)
from deepdynamics.networks.imagenet import ImageNetNetwork, alexnet, squeezenet1_0
from deepdynamics.networks.layers import CNN, MLP, Composition, Layer

__all__ = [
    "CNN",
    "MLP",
    "Composition",
    "ImageNetNetwork",
    "Layer",
    "Seed",
    "alexnet",
    "delta_orthogonal_",
    "gaussian",
    "gaussian_",
    "generator",
    "haar",
    "initial_weight",
    "small",
    "squeezenet1_0",
    "weight_matrices",
]
