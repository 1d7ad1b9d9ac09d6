"""What was measured, the rival beside it, and the interval of their difference."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 1e-4
THE_SOURCE = "the source's number"

Numbers = Sequence[float] | np.ndarray
FEW = 4  # values, below which lists may be alike by chance
ROUNDING = 16 * float(np.finfo(float).eps)


@cache
def quantile(dof: float | None) -> float:
    """Student's two-sided quantile at level 1e-4; the normal one without degrees of freedom.

    >>> [round(quantile(dof), 1) for dof in (2, 4, 7, 19, None)]
    [100.0, 15.5, 7.9, 4.9, 3.9]
    """
    return float(stats.norm.isf(LEVEL / 2) if dof is None else stats.t.isf(LEVEL / 2, dof))


@dataclass(frozen=True)
class Estimate:
    """A number and how well it is known; without a standard error it is deterministic.

    >>> estimate("samples", [1.0, 3.0])
    Estimate(value=2.0, standard_error=1.0, dof=1, count=2)
    """

    value: float
    standard_error: float | None = None
    dof: float | None = None
    count: int | None = None

    def half_width(self, tolerance: float) -> float:
        """Half of its interval: tolerance + t * standard error.

        >>> round(Estimate(1.0, standard_error=0.1).half_width(0.5), 3)
        0.889
        """
        return tolerance + (quantile(self.dof) * self.standard_error if self.standard_error else 0.0)


@dataclass(frozen=True)
class Rival:
    """The value that the measurement would have had if the sentence were wrong, and how far it lies.

    ``value`` to ``count`` are its own; ``difference`` is measured - rival, with its standard error (None where both
    are deterministic) and the half width of its interval. ``relation`` is "=", or that of a source's bound.

    >>> Rival("no effect", 0.0, difference=1.0, half_width=0.4).rejected
    True
    """

    name: str
    value: float | None = None
    standard_error: float | None = None
    count: int | None = None
    paired: bool = False
    relation: str = "="
    difference: float | None = None
    difference_error: float | None = None
    half_width: float | None = None

    @property
    def rejected(self) -> bool:
        """Whether the interval of the difference excludes it.

        >>> Rival("no effect", 0.0, difference=0.3, half_width=0.4).rejected
        False
        """
        if self.difference is None or self.half_width is None:
            return False
        return stands(self.relation, self.difference, self.half_width) is False


def stands(relation: str, difference: float, half_width: float) -> bool | None:
    """Whether a statement stands: yes, no, or None, which is that the interval reaches over to both sides.

    The statement says that what was measured is equal to a number (``=``), at least or at most (``≥``, ``≤``) or on one
    side of it (``above``, ``below``); ``difference`` is measured - that number.

    >>> stands("=", 0.5, 1.0), stands("=", 1.5, 1.0), stands("≥", 1.5, 1.0), stands("≥", 0.5, 1.0)
    (True, False, True, None)
    """
    if relation == "=":
        return abs(difference) <= half_width
    right = difference if relation in ("≥", "above") else -difference
    if right > half_width or (right == half_width and relation in "≥≤"):
        return True
    return False if right < -half_width else None


def finite(name: str, value: Any) -> float:
    """The argument ``name`` as a number, or a ``ValueError`` that names it.

    >>> finite("tolerance", 1)
    1.0
    """
    array = _array(name, value)
    if array.ndim:
        raise ValueError(f"{name} = {value!r}: a number is needed")
    number = float(array)
    if not math.isfinite(number):
        raise ValueError(f"{name} = {number} is not finite")
    return number


def estimate(name: str, samples: Numbers) -> Estimate:
    """Mean, standard error and degrees of freedom of independent samples.

    Raises ``ValueError`` for fewer than two, for anything not finite, where they do not vary beyond rounding, and where
    every one of them is there as often again.

    >>> estimate("samples", [1.0, 1.0])
    Traceback (most recent call last):
    ValueError: samples do not vary: they are no samples
    """
    values = _values(name, samples)
    if values.max() - values.min() <= ROUNDING * np.abs(values).max():
        raise ValueError(f"{name} do not vary: they are no samples")
    times = np.unique(values, return_counts=True)[1]
    if len(times) >= FEW and times.min() == times.max() > 1:
        raise ValueError(f"{name} are {len(times)} numbers, each {times[0]} times: copies are no samples")
    return _mean(name, values)


def _mean(name: str, values: np.ndarray) -> Estimate:
    count = len(values)
    with np.errstate(all="ignore"):
        mean, error = float(values.mean()), float(values.std(ddof=1) / math.sqrt(count))
    if not (math.isfinite(mean) and math.isfinite(error) and error > 0):
        raise ValueError(f"{name} are too large or too small to be averaged: choose another unit")
    return Estimate(mean, error, count - 1, count)


def measurement(
    measured: float | None, samples: Numbers | None, standard_error: float | None, dof: float | None, tolerance: float
) -> Estimate:
    """What was measured, from either form in which a claim takes it.

    Raises ``ValueError`` where nothing was, where both forms are given, and where nothing says how well it is known.

    >>> measurement(0.5, None, 0.1, None, 0.0)
    Estimate(value=0.5, standard_error=0.1, dof=None, count=None)
    """
    if samples is not None:
        if (measured, standard_error, dof) != (None, None, None):
            raise ValueError("samples bring their own mean, standard error and dof; do not give both")
        return estimate("samples", samples)
    if measured is None:
        raise ValueError("nothing was measured: samples or measured is needed")
    value = finite("measured", measured)
    if standard_error is None:
        if dof is not None:
            raise ValueError(f"dof = {dof} without a standard_error")
        if tolerance == 0:
            raise ValueError("a deterministic number needs a tolerance > 0 (argue it beside the claim)")
        if tolerance <= ROUNDING * abs(value):
            raise ValueError(f"tolerance = {tolerance:g}: measured = {value:g} is not known so well, for it is rounded")
        return Estimate(value)
    error = finite("standard_error", standard_error)
    if error <= ROUNDING * abs(value):
        raise ValueError(f"standard_error = {error}: what does not vary has no error; give a tolerance")
    if dof is not None and finite("dof", dof) < 1:
        raise ValueError(f"dof = {dof}: at least 1 is needed")
    return Estimate(value, error, None if dof is None else finite("dof", dof))


def against(
    name: str, value: float | Numbers, measured: Estimate, samples: Numbers | None, tolerance: float, paired: bool
) -> Rival:
    """The rival beside the measurement.

    A rival that is given as samples brings its own error: Welch's interval for the difference of two means, never
    narrower than that of the measurement alone; with ``paired``, the interval of the mean of the differences. The
    measured samples, shifted or scaled, are no rival: ``ValueError``.

    >>> rival = against("no effect", 0.0, Estimate(1.0, 0.1, 7), None, 0.0, False)
    >>> rival.difference, rival.rejected
    (1.0, True)
    """
    if np.ndim(value) == 0:
        if paired:
            raise ValueError("paired needs samples on both sides, and the rival is one number")
        number, half = finite("the rival's value", value), measured.half_width(tolerance)
        error = measured.standard_error
        return Rival(name, number, difference=measured.value - number, difference_error=error, half_width=half)
    theirs = estimate("the rival's samples", value)  # type: ignore[arg-type]
    difference = _paired(samples, value) if paired else _welch(measured, theirs)
    if samples is not None and _copied(_values("samples", samples), _values("the rival's samples", value)):
        raise ValueError("the rival's samples are the measured ones, shifted or scaled: they were not measured apart")
    half = difference.half_width(tolerance)
    if not paired:
        half = max(half, measured.half_width(tolerance))
    return Rival(
        name,
        theirs.value,
        theirs.standard_error,
        theirs.count,
        paired,
        difference=difference.value,
        difference_error=difference.standard_error,
        half_width=half,
    )


def _values(name: str, samples: Any) -> np.ndarray:
    values = _array(name, samples)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"{name} of shape {values.shape}; a list of at least two is needed")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} are not finite: {values[~np.isfinite(values)][0]} is among them")
    return values


def _array(name: str, values: Any) -> np.ndarray:
    """Numbers from a list, numpy or torch; no truth values, texts, complex numbers, and none that are masked."""
    if np.ma.is_masked(values):
        raise ValueError(f"{name} = {reprlib.repr(values)}: masked numbers are none; leave them out")
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
        kinds = {array.dtype.kind} if array.dtype != object else {np.asarray(value).dtype.kind for value in array.flat}
        if "b" in kinds:
            raise ValueError(
                f"{name} = {reprlib.repr(values)}: a truth value is no measurement; give the number behind it"
            )
        if not kinds <= set("iufO"):
            raise TypeError
        return array.astype(float)
    except (TypeError, RuntimeError, OverflowError):
        raise ValueError(f"{name} = {reprlib.repr(values)}: a number is needed, or a list of numbers") from None


def _copied(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether one list is the other, shifted or scaled."""
    if len(ours) != len(theirs) or len(np.unique(ours)) < FEW:
        return False
    mine, others = ours - ours.mean(), theirs - theirs.mean()
    rest = others - mine * (mine @ others) / (mine @ mine)
    return bool(np.abs(rest).max() <= 1e-9 * np.abs(others).max() + ROUNDING * np.abs(theirs).max())


def _paired(samples: Numbers | None, rival: Any) -> Estimate:
    if samples is None:
        raise ValueError("paired needs samples on both sides, and the measurement has none")
    ours, theirs = _values("samples", samples), _values("the rival's samples", rival)
    if len(ours) != len(theirs):
        raise ValueError(f"paired: {len(ours)} samples and {len(theirs)} of the rival; pairs are needed")
    differences = ours - theirs
    size = max(np.abs(ours).max(), np.abs(theirs).max())
    if differences.max() - differences.min() <= ROUNDING * size:
        raise ValueError("paired: the differences do not vary, so that the two are not measured apart")
    return _mean("differences", differences)


def _welch(ours: Estimate, theirs: Estimate) -> Estimate:
    """The difference of two means, with the degrees of freedom of Welch and Satterthwaite."""
    error = math.hypot(ours.standard_error or 0.0, theirs.standard_error or 0.0)
    spread = 0.0
    for side in (ours, theirs):
        share = ((side.standard_error or 0.0) / error) ** 2
        spread += 0.0 if side.dof is None else share**2 / side.dof
    return Estimate(ours.value - theirs.value, error, 1 / spread if spread else None)
