"""Newton continuation: solutions followed from where they are known down to the real axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdynamics._checks import Array, real

__all__ = ["HEIGHT", "between", "followed", "newton_step", "no_nan"]

Complex = NDArray[np.complex128]

_DOWN = (4.0, 1.5, 1.1)  # factors between two heights above the real axis: the next where one fails
HEIGHT = 1e-11  # of the last one, relative to λ


def no_nan(name: str, value: ArrayLike) -> Array:
    """``value`` as an array of real numbers, infinite ones included. ValueError for anything else.

    >>> no_nan("lam", [1, math.inf]).tolist()
    [1.0, inf]
    """
    array = real(name, value)
    if np.isnan(array).any():
        raise ValueError(f"{name} = nan: real numbers are allowed")
    return array


def between(low: float, high: float) -> Callable[[Any], Any]:
    """The interval as an image of (-1, 1) that resolves its ends.

    >>> float(between(2.0, 4.0)(0.0))
    3.0
    """
    return lambda t: low + (high - low) / (1 + np.exp(-30 * t))


def followed(solve: Callable[[Complex, Complex], Complex], x: Complex, real: Array, high: Array, low: Array) -> Complex:
    """The solution x of an equation at z = real + i high, followed down to real + i low by ``solve(z, guess)``.

    The steps are shortened where ``solve`` raises RuntimeError, which is passed on if it does with the shortest.

    >>> square_root = lambda z, guess: (guess + z / guess) / 2  # one step of Newton's method
    >>> low = followed(square_root, np.array([2j]), np.array([-4.0]), np.array([1.0]), np.array([1e-9]))
    >>> bool(abs(low[0] - 2j) < 1e-6)
    True
    """
    start, fall = x, np.log(low) - np.log(high)
    far = float(-fall.min())
    for factor in _DOWN:
        steps, x = max(1, math.ceil(far / math.log(factor))), start
        try:
            for step in range(steps + 1):
                x = solve(real + 1j * high * np.exp(fall * (step / steps)), x)
            return x
        except RuntimeError:
            if factor == _DOWN[-1]:
                raise
    raise AssertionError


def newton_step(x: Complex, change: Complex) -> Complex:
    """x + change, shortened to a third of x, and so that x stays in the upper half plane.

    >>> newton_step(np.array([3j]), np.array([-6j])).tolist()
    [2j]
    """
    fall, length = np.maximum(-change.imag, 0), np.abs(change)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        room = np.where(fall > 0, 0.8 * x.imag / fall, 1.0)
        third = np.where(length > 0, np.abs(x) / (3 * length), 1.0)
    return x + change * np.minimum(np.minimum(1, room), third)
