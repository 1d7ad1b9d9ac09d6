"""A check: two numbers, or two arrays, that have to be the same. One quiet line on the page, and no claim."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepdynamics.claims.duel import ClaimError


@dataclass(frozen=True)
class Check:
    """A check that was passed. Made by :func:`check`.

    >>> check("the square of a root", 2**0.5 * 2**0.5, 2.0, tolerance=1e-12)
    Checked: the square of a root (deviation 4.4e-16, allowed 1e-12)
    """

    statement: str
    deviation: float
    tolerance: float
    count: int

    def __repr__(self) -> str:
        return f"Checked: {self.statement} ({self._numbers()})"

    def _repr_html_(self) -> str:
        statement, numbers = html.escape(self.statement), html.escape(self._numbers())
        return f'<p class="claim-check"><small>Checked: {statement} ({numbers})</small></p>'

    def _repr_markdown_(self) -> str:
        return f"*Checked: {self.statement} ({self._numbers()})*"

    def _numbers(self) -> str:
        largest = "deviation" if self.count == 1 else f"largest deviation of {self.count} numbers"
        return f"{largest} {self.deviation:.2g}, allowed {self.tolerance:.2g}"


def check(statement: str, measured: Any, expected: Any, tolerance: float) -> Check:
    """Check that two numbers, or two arrays entry by entry, agree within ``tolerance``.

    For identities, closed forms, two algorithms for one quantity, a stored slice that is recomputed. ``expected`` is of
    the shape of ``measured``, or one number. What comes back shows itself as one line; it is not in the ledger.

    Raises :class:`ClaimError` where they differ by more, and ``ValueError`` for shapes that do not fit, for nothing to
    compare, for anything that is not finite, and for a tolerance that is not positive.

    >>> check("J is linear", [1.0, 2.0], [1.0, 2.0], tolerance=1e-9).deviation
    0.0
    """
    if not isinstance(statement, str) or not statement.strip():
        raise ValueError(f"statement = {statement!r}: words are needed")
    ours, theirs = _numbers("measured", measured), _numbers("expected", expected)
    if theirs.ndim and ours.shape != theirs.shape:
        raise ValueError(f"{statement}: measured has the shape {ours.shape}, and expected {theirs.shape}")
    if not ours.size:
        raise ValueError(f"{statement}: measured has the shape {ours.shape}: there is nothing to compare")
    if not (np.ndim(tolerance) == 0 and np.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"{statement}: tolerance = {tolerance}: a positive number is needed")
    deviation = float(np.abs(ours - theirs).max())
    if deviation > tolerance:
        raise ClaimError(f"{statement}: the largest deviation is {deviation:.3g}; allowed {tolerance:.3g}")
    return Check(statement, deviation, float(tolerance), ours.size)


def _numbers(name: str, values: Any) -> np.ndarray:
    """An array of numbers, from what numpy or torch hold."""
    values = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if values.dtype.kind not in "biufc":
        raise ValueError(f"{name} has entries of the type {values.dtype}: numbers are needed")
    values = values.astype(np.promote_types(values.dtype, np.float64))
    if not np.isfinite(values).all():
        raise ValueError(f"{name} is not finite: {values[~np.isfinite(values)][0]} is in it")
    return values
