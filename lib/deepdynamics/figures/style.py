"""The look of the book: one style, one set of colours, figures of two widths.

The same object has the same colour in every chapter (``COLOURS``, after Okabe and Ito, readable with any colour
vision). There is one ``GREY``, for what is not trained, for references, and, transparent, for areas. Figures are not
known to pyplot, so that a notebook shows each once, as the last expression of its cell.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, cast

from cycler import cycler
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["COLOURS", "GREY", "figure", "use_style"]

GREY = "#7F7F7F"
COLOURS = MappingProxyType(
    {
        "orthogonal": "#0072B2",
        "gaussian": "#D55E00",
        "ordered": "#0072B2",
        "critical": "#000000",
        "chaotic": "#D55E00",
        "trained": "#009E73",
        "untrained": GREY,
    }
)
_CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY, "#000000")
CLASSES = (*_CYCLE, "#882255", "#332288")

# 7 inches are 700 pixels of the page; at 390 px the same figure is half as large, hence the large type.
_STYLE: dict[str, Any] = {
    "figure.figsize": (7, 3.5),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.facecolor": "white",
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "svg.hashsalt": "deepdynamics",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "mathtext.fontset": "dejavusans",
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=_CYCLE),
    "axes.linewidth": 0.8,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "errorbar.capsize": 2,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
}


def use_style() -> None:
    """Give all figures from here on the look of the book; in a notebook they are shown at twice the resolution of the
    screen.

    >>> import matplotlib
    >>> use_style()
    >>> matplotlib.rcParams["axes.spines.top"]
    False
    """
    style.use(_STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.config import InlineBackend
    except ImportError:
        return
    if (shell := get_ipython()) is not None:
        # Set on the configuration and not on the formatter, because the inline backend, once pyplot wakes it up, would
        # overwrite that.
        inline: Any = InlineBackend.instance(parent=shell)
        inline.shell = shell
        inline.print_figure_kwargs = {"bbox_inches": None}
        inline.figure_formats = {"retina"}


def figure(
    columns: int = 1, rows: int = 1, *, width: float = 7, height: float | None = None, **options: Any
) -> tuple[Figure, Any]:
    """A figure of the book and its axes, ``rows`` × ``columns`` of them: one Axes, or an array of them without axes of
    length 1.

    ``width`` is 3.5 or 7 (inches). Without ``height`` each axes is about two thirds as high as it is wide. Other
    ``options``, such as ``sharey=True`` or ``width_ratios``, go to ``Figure.subplots``.

    >>> fig, (left, right) = figure(columns=2, sharey=True)
    >>> fig.get_size_inches().tolist()
    [7.0, 2.6]
    """
    if width not in (3.5, 7):
        raise ValueError(f"width = {width}: figures are 3.5 or 7 inches wide")
    if height is None:
        height = round(rows * width / columns * (0.62 if columns == 1 and width == 7 else 0.74), 1)
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def axes_of(ax: Axes | None, *, width: float, height: float) -> tuple[Figure, Axes]:
    """The figure and the axes to draw into: those of ``ax``, or new ones."""
    return figure(width=width, height=height) if ax is None else (figure_of(ax), ax)


def figure_of(ax: Axes) -> Figure:
    """The figure on which ``ax`` stands, above all subfigures."""
    return cast(Figure, ax.get_figure(root=True))


def colour_of(name: str) -> str:
    """The colour of a key of ``COLOURS``; other names are colours themselves."""
    return COLOURS.get(name, name)
