r"""Activations σ with functions ρ that analyse what σ rebuilds: S[R[f]] = K f with

.. math:: R[f](a, b) = \int f(x)\, \rho(a \cdot x - b)\, dx, \qquad
    S[\gamma](x) = \int \gamma(a, b)\, \sigma(a \cdot x - b)\, da\, db .

The ρ of a name is a derivative of the Gaussian G(t) = e^{-t²/2}. Murata (1996); Sonoda and Murata (2017), where the
measure has another weight in \|a\|. The convention of Fourier transforms is that of
:mod:`deepdynamics.ridgelet.admissibility`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdynamics import activations
from deepdynamics._checks import Array, Numbers, real
from deepdynamics.activations import ActivationLike
from deepdynamics.ridgelet.admissibility import Transform, admissibility_constant, checked_dimension

_ROOT = math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class GaussianDerivative:
    """ρ(t) = sign · G^(k)(t/scale), with G(t) = e^{-t²/2} and k = ``order`` >= 0.

    ``hat`` is its Fourier transform, sign · scale · (iz)^k √(2π) e^{-z²/2} at z = scale · ζ. Numbers of any shape, to
    numpy. Raises ``ValueError`` for an order, a scale or a sign that is none.

    >>> rho = GaussianDerivative(2)
    >>> rho([0.0, 1.0, 2.0]).round(4).tolist(), rho.hat(1.0).round(4).tolist()
    ([-1.0, 0.0, 0.406], (-1.5203+0j))
    """

    order: int
    scale: float = 1.0
    sign: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.order, bool) or not isinstance(self.order, int | np.integer) or self.order < 0:
            raise ValueError(f"order = {self.order!r}: an integer that is not negative is allowed")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale = {self.scale}: a positive finite number is allowed")
        if self.sign not in (1, -1):
            raise ValueError(f"sign = {self.sign}: 1 or -1 is allowed")

    def __call__(self, t: Numbers) -> Array:
        t = real("t", t)
        if self.scale != 1:
            t = t / self.scale
        square = np.asarray(t * t)
        first, *rest = self.coefficients[::-2]  # Horner's scheme in t², in place: few passes over the memory
        value = np.asarray(square * first) if rest else np.full_like(square, first)
        for coefficient in rest[:-1]:
            value += coefficient
            value *= square
        value += rest[-1] if rest else 0
        if self.order % 2:
            value *= t
        square *= -0.5
        value *= np.exp(square, out=square)
        return value[()]  # type: ignore[no-any-return]

    @cached_property
    def coefficients(self) -> Array:
        """Of the powers 0, ..., k of t/scale in the polynomial sign · (-1)^k He_k before e^{-t²/2}."""
        hermite = np.polynomial.hermite_e.herme2poly([0] * self.order + [1])
        return np.asarray(self.sign * (-1) ** self.order * hermite)

    def hat(self, zeta: Numbers) -> NDArray[np.complex128]:
        """The Fourier transform at ζ.

        >>> GaussianDerivative(1).hat([1.0]).round(4).tolist()
        [1.5203j]
        """
        z = self.scale * real("zeta", zeta)
        if self.order == 0:
            return np.asarray(self.sign * self.scale * _ROOT * np.exp(-(z**2) / 2) + 0j)
        with np.errstate(over="ignore"):  # the power of what is bounded: no inf times 0
            bounded = z * np.exp(-(z**2) / (2 * self.order))
        return np.asarray(self.sign * self.scale * _ROOT * 1j**self.order * bounded**self.order)


@dataclass(frozen=True)
class AdmissiblePair:
    """An activation σ, a function ρ, and the constant K of S[R[f]] = K f; unpacks as ``sigma, rho, constant``.

    :meth:`get` finds ρ for an activation that has a name. Any other pair of real functions is made from their
    Fourier transforms: ``sigma`` an activation (name, module, callable), ``rho`` a function of numpy arrays,
    ``sigma_hat`` and ``rho_hat`` as :func:`admissibility_constant` takes them, which raises ``ValueError`` where the
    pair is not admissible for inputs of ``dimension`` m.

    >>> G = GaussianDerivative(4)
    >>> sigma, rho, K = AdmissiblePair("relu", G, lambda z: -1 / z**2, G.hat)
    >>> round(K, 7)
    -5.0132565
    """

    sigma: Any
    rho: Callable[[Array], Array]
    sigma_hat: Transform
    rho_hat: Transform
    dimension: int = 1
    constant: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", activations.get(self.sigma))
        object.__setattr__(self, "dimension", checked_dimension(self.dimension))
        constant = admissibility_constant(self.sigma_hat, self.rho_hat, self.dimension)
        object.__setattr__(self, "constant", constant)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.sigma, self.rho, self.constant))

    @classmethod
    def get(
        cls, activation: ActivationLike, dimension: int = 1, *, order: int | None = None, scale: float = 1.0
    ) -> AdmissiblePair:
        r"""The pair of relu, softplus, step, tanh, sigmoid or gaussian, with ρ(t) = G^(k)(t/scale).

        k = ``order`` is j + 2 where it is not given (j + 2⌈m/2⌉ in ``dimension`` m > 2), with \|ζ\|^{-j} how σ̂ goes
        at 0: relu and softplus G'''' (j = 2), step, tanh and sigmoid G''' (j = 1), gaussian -G'' (j = 0; its ρ is
        (-1)^{k/2} G^(k)). What \|a\| <= A rebuilds misses O(A^{-(k - j - m + 1)}): an order that is higher by 2
        converges faster by A^{-2}.

        K is negative for relu and softplus with G''''. Raises ``ValueError`` for an order that is not admissible (too
        low, or k - j odd), and for activations whose Fourier transform is not known here.

        >>> sigma, rho, K = AdmissiblePair.get("tanh")
        >>> round(K, 10)
        5.8601851373
        >>> AdmissiblePair.get("relu", order=2)
        Traceback (most recent call last):
        ValueError: not admissible in dimension 1: σ̂ ρ̂ / |ζ|^1 goes like |ζ|^-1 at 0, where its integral diverges
        """
        sigma, m = activations.get(activation), checked_dimension(dimension)
        if sigma.name not in _TRANSFORMS or type(sigma) is not type(activations.get(sigma.name)):
            raise ValueError(
                f"activation = {sigma.name}: the Fourier transforms of {', '.join(_TRANSFORMS)} are known; "
                "AdmissiblePair(sigma, rho, sigma_hat, rho_hat) takes any other"
            )
        singularity, sigma_hat = _TRANSFORMS[sigma.name]
        k = singularity + 2 * math.ceil(m / 2) if order is None else order
        rho = GaussianDerivative(k, scale, (-1) ** (k // 2) if singularity == 0 else 1)
        return cls(sigma, rho, sigma_hat, rho.hat, m)


def _csch(x: Array) -> Array:
    """1/sinh without overflow."""
    return np.sign(x) * 2 * np.exp(-np.abs(x)) / -np.expm1(-2 * np.abs(x))


def _relu_hat(zeta: Array) -> Any:
    return -1 / zeta**2


def _softplus_hat(zeta: Array) -> Any:
    return -np.pi * _csch(np.pi * zeta) / zeta


def _step_hat(zeta: Array) -> Any:
    return -1j / zeta


def _tanh_hat(zeta: Array) -> Any:
    return -1j * np.pi * _csch(np.pi * zeta / 2)


def _sigmoid_hat(zeta: Array) -> Any:
    return -1j * np.pi * _csch(np.pi * zeta)


def _gaussian_hat(zeta: Array) -> Any:
    return _ROOT * np.exp(-(zeta**2) / 2)


# j, with |ζ|^-j how it goes at 0; the Fourier transform away from 0
_TRANSFORMS: dict[str, tuple[int, Transform]] = {
    "relu": (2, _relu_hat),
    "softplus": (2, _softplus_hat),
    "step": (1, _step_hat),
    "tanh": (1, _tanh_hat),
    "sigmoid": (1, _sigmoid_hat),
    "gaussian": (0, _gaussian_hat),
}
