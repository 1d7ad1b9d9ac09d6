"""Activations: the value, the slope and the Gaussian moments of any nonlinearity, named or given as a function."""

from deepdynamics.activations.base import Activation
from deepdynamics.activations.callables import Elementwise
from deepdynamics.activations.closedforms import (
    Erf,
    Gaussian,
    HardTanh,
    Homogeneous,
    LeakyReLU,
    Linear,
    ReLU,
    Sine,
    Step,
)
from deepdynamics.activations.named import (
    ELU,
    GELU,
    ActivationLike,
    Mish,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    get,
)
from deepdynamics.activations.numerical import PiecewiseActivation, SmoothActivation

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "ActivationLike",
    "Elementwise",
    "Erf",
    "Gaussian",
    "HardTanh",
    "Homogeneous",
    "LeakyReLU",
    "Linear",
    "Mish",
    "PiecewiseActivation",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Sine",
    "SmoothActivation",
    "Softplus",
    "Step",
    "Tanh",
    "get",
]
