"""Arguments that several rooms take, checked: noise, standard deviations, times, counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdynamics._checks import Numbers, finite

__all__ = ["count", "deviations", "noise", "times"]

Array = NDArray[np.float64]


def noise(variance: Numbers) -> Array:
    """A noise variance: finite and positive, else ``ValueError``.

    >>> noise(1)
    array(1.)
    """
    found = finite("variance", variance)
    if (found <= 0).any():
        raise ValueError(f"variance = {found}: positive noise is allowed")
    return found


def deviations(name: str, value: Numbers) -> Array:
    """Standard deviations: finite and not negative, else ``ValueError``.

    >>> deviations("sigma", [0, 1])
    array([0., 1.])
    """
    found = finite(name, value)
    if (found < 0).any():
        raise ValueError(f"{name} = {found}: standard deviations, not negative, are allowed")
    return found


def times(t: Numbers) -> Array:
    """Times: finite and not negative, else ``ValueError``.

    >>> times([0, 1])
    array([0., 1.])
    """
    found = finite("t", t)
    if (found < 0).any():
        raise ValueError(f"t = {found}: times from 0 on are allowed")
    return found


def count(name: str, value: Any, least: int = 1) -> int:
    """An integer of at least ``least``, else ``ValueError``.

    >>> count("steps", 8.0)
    8
    """
    try:
        whole = not isinstance(value, bool) and int(value) == value and value >= least
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(f"{name} = {value!r}: an integer of at least {least} is allowed")
    return int(value)
