"""The picture of a diagnosis: what passes through a network, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepdynamics.figures.style import COLOURS, GREY, figure

__all__ = ["diagnosis"]


def diagnosis(report: Any) -> Figure:
    """Four pictures of a report of :func:`deepdynamics.diagnose.diagnose`, over the layers in the order in which they
    run: mean square of the signal, correlation of two inputs, gradient, and shares of dead units and flat slopes.

    The main way is a line, with standard errors over inputs; layers beside it are grey points; what mean field theory
    expects of single layers is a cross.

    >>> from torch import nn, randn
    >>> from deepdynamics.diagnose import diagnose
    >>> fig = diagnosis(diagnose(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), randn(6, 4)))
    >>> len(fig.axes)
    4
    """
    fig, axes = figure(columns=2, rows=2, sharex=True)
    (signal, pair), (back, units) = axes
    layers = report.layers
    for ax, field, label, scale in (
        (signal, "q", "mean square $q$", "log"),
        (pair, "correlation", "correlation of two inputs", "linear"),
        (back, "gradient", r"gradient $\|\partial E/\partial h\|$", "log"),
    ):
        _course(ax, layers, field, scale)
        ax.set_ylabel(label)
    for field, label, colour, marker in (
        ("dead", "dead units", COLOURS["chaotic"], "o"),
        ("saturation", "flat slopes", COLOURS["ordered"], "s"),
    ):
        values = _values(layers, field)
        if np.isfinite(values).any():
            units.plot(np.arange(len(layers)), values, marker, color=colour, label=label)
    units.set(ylabel="share", ylim=(-0.05, 1.05))
    for ax in (back, units):
        ax.set_xlabel("operation")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for ax in (signal, units):
        if ax.get_legend_handles_labels()[1]:
            ax.legend()
    return fig


def _course(ax: Axes, layers: Any, field: str, scale: str) -> None:
    place, values, errors = np.arange(len(layers)), _values(layers, field), _values(layers, f"{field}_error")
    if scale == "log":
        values = np.where(values > 0, values, np.nan)
    main = np.array([layer.on_main for layer in layers], dtype=bool)
    beside = ~main & np.isfinite(values)
    ax.plot(place[beside], values[beside], "o", color=GREY, alpha=0.5, markersize=3, label="beside")
    ax.errorbar(
        place[main],
        values[main],
        np.nan_to_num(errors[main]),
        color=COLOURS["orthogonal"],
        marker="o",
        label="main way",
    )
    theory = f"{field}_theory"
    if layers and hasattr(layers[0], theory) and np.isfinite(expected := _values(layers, theory)).any():
        ax.plot(place, expected, "x", color=COLOURS["critical"], markersize=6, label="mean field")
    ax.set_yscale(scale)


def _values(layers: Any, field: str) -> np.ndarray:
    return np.array([getattr(layer, field) for layer in layers], dtype=np.float64)
