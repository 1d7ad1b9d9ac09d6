"""Newton continuation: solutions followed from where they are known down to the real axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


_DOWN = (4.0, 1.5, 1.1)  # factors between two heights above the real axis: the next where one fails


_HEIGHT = 1e-11  # of the last one, relative to λ


def between(low: float, high: float) -> Callable[[Any], Any]:
    """The interval as an image of (-1, 1) that resolves its ends."""
    return lambda t: low + (high - low) / (1 + np.exp(-30 * t))


def followed(solve: Callable[[Complex, Complex], Complex], x: Complex, real: Array, high: Array, low: Array) -> Complex:
    """The solution x of an equation at z = real + i high, followed down to real + i low by ``solve(z, guess)``."""
    start, far = x, math.log(float((high / low).max()))
    for factor in _DOWN:
        steps, x = max(1, math.ceil(far / math.log(factor))), start
        try:
            for step in range(steps + 1):
                x = solve(real + 1j * high * (low / high) ** (step / steps), x)
            return x
        except RuntimeError:
            if factor == _DOWN[-1]:
                raise
    raise AssertionError


def newton_step(x: Complex, change: Complex) -> Complex:
    """x + change, shortened to a third of x, and so that x stays in the upper half plane."""
    room = np.where(change.imag < 0, 0.8 * x.imag / np.maximum(-change.imag, 1e-300), 1.0)
    return x + change * np.minimum(np.minimum(1, room), np.abs(x) / np.maximum(3 * np.abs(change), 1e-300))
