r"""Activations by name, by module, by function: value, derivative and Gaussian moments.

:func:`get` takes a name, a ``torch.nn.Module`` or a callable on tensors and returns an
:class:`~deepdynamics.activations.base.Activation`: closed forms where there are some
(:mod:`~deepdynamics.activations.closedforms`), else moments by quadrature that converges exponentially
(:mod:`~deepdynamics.activations.numerical`): to rounding where the function is analytic, to 1e-10 where it has kinks or
jumps, which are found. What cannot be integrated to that accuracy is a ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import torch
from scipy.special import expit, ndtr
from torch import nn
from torch.nn import functional

from deepdynamics._checks import Array, real
from deepdynamics.activations.base import Activation, backend
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
from deepdynamics.activations.numerical import PiecewiseActivation, SmoothActivation

__all__ = ["ELU", "GELU", "ActivationLike", "Mish", "SiLU", "Sigmoid", "Softplus", "Tanh", "get"]

ActivationLike = str | Activation | nn.Module | Callable[[Any], Any]


class Tanh(SmoothActivation):
    """tanh x.

    >>> tanh = Tanh()
    >>> float(tanh(0.0)), float(tanh.slope(0.0)), float(tanh.mean(2.0))
    (0.0, 1.0, 0.0)
    """

    name, strip, parity = "tanh", math.pi / 2, -1
    _known = True

    def __call__(self, x: Any) -> Any:
        xp, x = backend(x)
        return xp.tanh(x)

    def slope(self, x: Any) -> Any:
        return 1 - self(x) ** 2


class Sigmoid(SmoothActivation):
    """1/(1 + exp(-x)).

    >>> sigmoid = Sigmoid()
    >>> float(sigmoid(0.0)), float(sigmoid.slope(0.0)), float(sigmoid.mean(2.0))
    (0.5, 0.25, 0.5)
    """

    name, strip = "sigmoid", math.pi
    _known = True

    def __call__(self, x: Any) -> Any:
        return _sigmoid(x)

    def slope(self, x: Any) -> Any:
        x = backend(x)[1]
        return self(x) * self(-x)

    def _mean(self, q: Array) -> Array:
        return np.full_like(q, 0.5)


class Softplus(SmoothActivation):
    """log(1 + exp(x)).

    >>> softplus = Softplus()
    >>> round(float(softplus(0.0)), 6), float(softplus.slope(0.0))
    (0.693147, 0.5)
    """

    name, strip = "softplus", math.pi
    _known = True

    def __call__(self, x: Any) -> Any:
        xp, x = backend(x)
        return xp.logaddexp(x, 0 * x)

    def slope(self, x: Any) -> Any:
        return _sigmoid(x)


class GELU(SmoothActivation):
    """x Φ(x), Φ the standard normal distribution function. Entire; the strip is what its growth off the axis allows.

    >>> gelu = GELU()
    >>> float(gelu(0.0)), float(gelu.slope(0.0))
    (0.0, 0.5)
    """

    name, strip = "gelu", math.pi / 2
    _known = True

    def __call__(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return torch.nn.functional.gelu(x)
        numbers = real("x", x)
        return numbers * ndtr(numbers)

    def slope(self, x: Any) -> Any:
        xp, x = backend(x)
        below = torch.special.ndtr(x) if xp is torch else ndtr(x)
        return below + x * xp.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


class SiLU(SmoothActivation):
    """x/(1 + exp(-x)).

    >>> silu = SiLU()
    >>> float(silu(0.0)), float(silu.slope(0.0))
    (0.0, 0.5)
    """

    name, strip = "silu", math.pi
    _known = True

    def __call__(self, x: Any) -> Any:
        x = backend(x)[1]
        return x * _sigmoid(x)

    def slope(self, x: Any) -> Any:
        x = backend(x)[1]
        return _sigmoid(x) * (1 + x * _sigmoid(-x))


class Mish(SmoothActivation):
    """x tanh(log(1 + exp(x))), with poles where (1 + exp(x))² = -1.

    >>> mish = Mish()
    >>> float(mish(0.0)), round(float(mish.slope(0.0)), 6)
    (0.0, 0.6)
    """

    name, strip = "mish", 3 * math.pi / 4
    _known = True

    def __call__(self, x: Any) -> Any:
        x = backend(x)[1]
        return x * self._gate(x)

    def slope(self, x: Any) -> Any:
        x = backend(x)[1]
        gate = self._gate(x)
        return gate + x * (1 - gate**2) * _sigmoid(x)

    @staticmethod
    def _gate(x: Any) -> Any:
        """tanh(log(1 + exp(x))), without overflow: with s = sigmoid(-|x|), exp(-|x|) = s/(1 - s)."""
        xp = backend(x)[0]
        e = xp.exp(-abs(x))
        return xp.where(x > 0, (1 + 2 * e) / (1 + 2 * e + 2 * e**2), e * (e + 2) / (e * (e + 2) + 2))


class ELU(PiecewiseActivation):
    """scale · x for x > 0, else scale · alpha (exp(x) - 1).

    >>> elu = ELU()
    >>> elu([0.0, 2.0]).tolist(), elu.slope([2.0]).tolist()
    ([0.0, 2.0], [1.0])
    """

    def __init__(self, alpha: float = 1.0, scale: float = 1.0, name: str = "elu") -> None:
        self.alpha, self.scale, self.name = alpha, scale, name

    def __call__(self, x: Any) -> Any:
        xp, x = backend(x)
        return (self.scale * xp.where(x > 0, x, self.alpha * xp.expm1(xp.clip(x, None, 0))))[()]

    def slope(self, x: Any) -> Any:
        xp, x = backend(x)
        return (self.scale * xp.where(x > 0, xp.ones_like(x), self.alpha * xp.exp(xp.clip(x, None, 0))))[()]


_SELU = ELU(1.6732632423543772, 1.0507009873554805, "selu")
_NAMED: dict[str, Activation] = {
    phi.name: phi
    for phi in (
        *(Linear(), ReLU(), Tanh(), Erf(), Sigmoid(), HardTanh(), Softplus(), Step(), Gaussian()),
        *(GELU(), SiLU(), Mish(), ELU(), _SELU, LeakyReLU(), Sine()),
    )
}
_FUNCTIONS: dict[Any, str] = {
    torch.relu: "relu",
    functional.relu: "relu",
    torch.tanh: "tanh",
    functional.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    functional.sigmoid: "sigmoid",
    torch.erf: "erf",
    torch.special.erf: "erf",
    torch.sin: "sin",
    functional.gelu: "gelu",
    functional.silu: "silu",
    functional.mish: "mish",
    functional.elu: "elu",
    functional.selu: "selu",
    functional.leaky_relu: "leaky_relu",
    functional.hardtanh: "hardtanh",
    functional.softplus: "softplus",
}

_MODULES: dict[type[nn.Module], str] = {
    nn.Identity: "linear",
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.SELU: "selu",
}


def get(activation: ActivationLike) -> Activation:
    """The activation of this name: linear relu tanh erf sigmoid hardtanh softplus step gaussian gelu silu mish elu selu
    leaky_relu (slope 0.01) sin.

    A ``torch.nn.Module`` or a callable on tensors that acts on each number by itself is taken as well, with its slope
    by autograd and its moments by quadrature; those of torch that have a name here, and functions that are linear on
    each side of zero, get their closed forms. An :class:`Activation` is handed through. ValueError for an unknown name,
    and for what is no such function.

    >>> float(get("tanh")(0.0)), float(get("relu").slope_moment(1.0, 2))
    (0.0, 0.5)
    >>> get(torch.nn.LeakyReLU(0.1)).slope_moment(1.0, 2) == get(lambda x: x.clip(min=0.1 * x)).slope_moment(1.0, 2)
    np.True_
    >>> round(float(get(torch.nn.Softsign()).second_moment(1.0)), 9)
    0.183014021
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation not in _NAMED:
            raise ValueError(
                f"activation = {activation!r} is unknown; allowed are {', '.join(_NAMED)}, a torch.nn.Module and a "
                "callable on tensors"
            )
        return _NAMED[activation]
    if isinstance(activation, nn.Module):
        return _of_module(activation) or _wrapped(activation)
    if not callable(activation):
        raise ValueError(f"activation = {activation!r}: a name, a torch.nn.Module or a callable on tensors is allowed")
    name = _FUNCTIONS.get(activation) if isinstance(activation, Hashable) else None
    return _NAMED[name] if name else _wrapped(activation)


def _of_module(module: nn.Module) -> Activation | None:
    """The module's own closed form or strip, where it has one. A subclass, or a hook, may compute anything."""
    kind = type(module)
    if module._forward_hooks or module._forward_pre_hooks:
        return None
    if kind in _MODULES:
        return _NAMED[_MODULES[kind]]
    match module:
        case nn.LeakyReLU() if kind is nn.LeakyReLU:
            return LeakyReLU(module.negative_slope)
        case nn.ELU() if kind is nn.ELU:
            return ELU(module.alpha, name="elu" if module.alpha == 1 else f"elu({module.alpha:g})")
        case nn.Hardtanh() if kind is nn.Hardtanh and (module.min_val, module.max_val) == (-1, 1):
            return _NAMED["hardtanh"]
        case nn.GELU() if kind is nn.GELU and module.approximate == "none":
            return _NAMED["gelu"]
        case nn.Softplus() if kind is nn.Softplus and module.beta == 1 and module.threshold >= 20:
            return _NAMED["softplus"]
    return None


def _wrapped(function: Callable[[Any], Any]) -> Activation:
    phi = Elementwise(function)
    x = np.concatenate([np.geomspace(1e-9, 1e9, 200), [1 / 3, 0.5, 1.0, 1.5, 2.5, 6.5]])
    with np.errstate(all="ignore"):
        below, above = phi(-x) / -x, phi(x) / x
    straight = all(bool((np.abs(s - s[0]) <= 4e-16 * np.abs(s[0])).all()) for s in (below, above))
    if straight and float(phi(0.0)) == 0 and np.isfinite([below[0], above[0]]).all():
        return Homogeneous(below[0], above[0], phi.name)
    return phi


def _sigmoid(x: Any) -> Any:
    return torch.sigmoid(x) if isinstance(x, torch.Tensor) else expit(real("x", x))
