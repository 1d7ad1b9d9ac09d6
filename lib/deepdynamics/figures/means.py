"""Means with standard errors: how most points of the book are drawn."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from deepdynamics._checks import Numbers, finite, positive

__all__ = ["means"]


def means(ax: Axes, x: Numbers, samples: Numbers, *, geometric: bool = False, **style: Any) -> ErrorbarContainer:
    """Draw the mean of each column of ``samples`` (samples, points) over ``x`` (points,), with its standard error.

    Rows are independent samples, at least two. With ``geometric`` it is the geometric mean, and the bar reaches as far
    as a standard error of the mean logarithm. The style goes to matplotlib's ``errorbar``.

    Raises ``ValueError`` for other shapes, and with ``geometric`` for numbers that are not positive.

    >>> from deepdynamics import figures
    >>> _, ax = figures.figure()
    >>> means(ax, [1.0], [[1.0], [100.0]], geometric=True, fmt="o").lines[0].get_ydata().round(6)
    array([10.])
    """
    values = positive("samples", samples) if geometric else finite("samples", samples)
    x = finite("x", x)
    if values.ndim != 2 or len(values) < 2 or x.shape != values.shape[1:]:
        raise ValueError(f"samples of shape {values.shape} over x of shape {x.shape}: (samples, points), two or more")
    if geometric:
        values = np.log(values)
    centre, error = values.mean(0), values.std(0, ddof=1) / len(values) ** 0.5
    low, high = centre - error, centre + error
    if geometric:
        low, centre, high = np.exp(low), np.exp(centre), np.exp(high)
    return ax.errorbar(x, centre, [centre - low, high - centre], **style)
