"""Arguments that several rooms take, checked: noise, standard deviations, times."""

from __future__ import annotations

from deepdynamics._checks import Array, Numbers, finite

__all__ = ["deviations", "noise", "times"]


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
