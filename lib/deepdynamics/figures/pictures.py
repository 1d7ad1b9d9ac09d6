"""The book's recurring pictures, one function each.

Theory is a line, experiment is points with error bars. Every function returns a matplotlib Figure; given ``ax``, it
draws there and returns that Axes' figure. Arrays are numpy or torch (on the CPU).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy import ndimage

from deepdynamics.figures.style import CLASSES, COLOURS, GREY, axes_of, colour_of, figure, figure_of

__all__ = [
    "cobweb",
    "images",
    "parameter_plane",
    "particle_grid",
    "particles",
    "phase_diagram",
    "spectrum",
    "theory_and_experiment",
]

_MARKERS = "osD^v<>Ph*"
_HALO = (withStroke(linewidth=3, foreground="white"),)
_FIELDS = {  # label and scale of the fields of a phase diagram
    "q_star": ("$q^*$", "linear"),
    "chi_1": (r"$\chi_1$", "linear"),
    "c_star": ("$c^*$", "linear"),
    "chi_c_star": (r"$\chi_{c^*}$", "linear"),
    "xi_q": (r"$\xi_q$ (layers)", "log"),
    "xi_c": (r"$\xi_c$ (layers)", "log"),
    "xi_grad": (r"$|\xi_\nabla|$ (layers)", "log"),
}


def phase_diagram(
    diagram: Any, *, field: str = "xi_c", mark: Mapping[str, tuple[float, float]] | None = None, ax: Axes | None = None
) -> Figure:
    """A field of a mean-field phase diagram as colour, with the critical line χ₁ = 1 and named networks on it.

    ``diagram`` is what ``meanfield.phase_diagram`` returns: ``weight_vars`` (m,), ``bias_vars`` (n,), and ``chi_1``
    and the ``field`` as arrays (n, m). ``mark`` maps names to (weight_var, bias_var). Depth scales are drawn on a
    logarithmic scale from 1 to 100 layers, by their absolute value.

    >>> from types import SimpleNamespace
    >>> weight_vars, bias_vars = np.linspace(0.5, 3, 30), np.linspace(0, 0.5, 20)
    >>> chi_1 = weight_vars / (1 + bias_vars[:, None])
    >>> diagram = SimpleNamespace(weight_vars=weight_vars, bias_vars=bias_vars, chi_1=chi_1)
    >>> fig = phase_diagram(diagram, field="chi_1", mark={"trains": (1.05, 0.05)})
    """
    if field not in _FIELDS:
        raise ValueError(f"field = {field!r}; allowed are {sorted(_FIELDS)}")
    fig, ax = axes_of(ax, width=7, height=4)
    x, y, chi = (np.asarray(a, dtype=float) for a in (diagram.weight_vars, diagram.bias_vars, diagram.chi_1))
    values = np.asarray(getattr(diagram, field), dtype=float)
    label, scale = _FIELDS[field]
    norm = mpl.colors.LogNorm(1, 100) if scale == "log" else None
    shown = np.abs(values) if scale == "log" else values
    ax.set_facecolor((GREY, 0.35))  # where the field does not exist
    mesh = ax.pcolormesh(x, y, shown, norm=norm, shading="nearest", rasterized=True)
    fig.colorbar(mesh, ax=ax, label=label, extend="both" if scale == "log" else "neither")
    if np.nanmin(chi) < 1 < np.nanmax(chi):
        ax.contour(x, y, chi, levels=[1.0], colors="white", linewidths=4)
        ax.contour(x, y, chi, levels=[1.0], colors=COLOURS["critical"], linewidths=2)
    free = np.ones_like(chi, dtype=bool)  # room for the names of the phases: not where a network is marked
    for weight_var, bias_var in (mark or {}).values():
        near = np.abs(x - weight_var) < 0.25 * np.ptp(x), np.abs(y - bias_var) < 0.25 * np.ptp(y)
        free &= ~(near[0] & near[1][:, None])
    for name, region in (("ordered", (chi < 1) & free), ("chaotic", (chi > 1) & free)):
        if region.any():
            _halo_text(ax, _middle(x, y, region), name, COLOURS[name], 11)
    for name, (weight_var, bias_var) in (mark or {}).items():
        ax.plot(weight_var, bias_var, "ko", markeredgecolor="white", markersize=8, clip_on=False, zorder=5)
        left = weight_var > (x[0] + x[-1]) / 2
        _note(ax, name, (weight_var, bias_var), (-8 if left else 8, 7))
    ax.set(xlabel=r"weight variance $\sigma_w^2$", ylabel=r"bias variance $\sigma_b^2$")
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    return fig


def cobweb(
    map: Callable[[np.ndarray], np.ndarray],
    start: float,
    steps: int,
    fixed_point: float | None = None,
    *,
    symbol: str = "c",
    ax: Axes | None = None,
) -> Figure:
    """The iteration x ↦ map(x) from ``start`` as a staircase between the map and the diagonal.

    On [0, 1], or on [−1, 1] where something is negative. ``map`` acts on arrays. A ``fixed_point`` is marked by a ring
    and its value.

    >>> fig = cobweb(np.cos, start=0.2, steps=20, fixed_point=0.739)
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}; at least 1 is needed")
    fig, ax = axes_of(ax, width=3.5, height=3.5)
    orbit = [float(start)]
    for _ in range(steps):
        orbit.append(float(map(np.asarray(orbit[-1]))))
    low = -1.0 if min([*orbit, 0.0 if fixed_point is None else fixed_point]) < 0 else 0.0
    grid = np.linspace(low, 1, 401)
    ax.plot(grid, grid, color=GREY, linewidth=1)
    ax.plot(grid, map(grid), color=COLOURS["ordered"])
    stairs = np.repeat(orbit, 2)
    ax.plot(stairs[:-1], np.concatenate(([low], stairs[2:])), color=COLOURS["chaotic"], linewidth=1)
    ax.plot(start, low, "o", color=COLOURS["chaotic"], clip_on=False, zorder=4)
    if fixed_point is not None:
        ax.plot(fixed_point, fixed_point, "ko", markersize=9, fillstyle="none", clip_on=False, zorder=4)
        left = fixed_point > (low + 1) / 2
        _note(ax, f"${symbol}^* = {fixed_point:.2f}$", (fixed_point, fixed_point), (-10, 8) if left else (10, -16))
    ax.set(xlim=(low, 1), ylim=(low, 1), xlabel=f"${symbol}^l$", ylabel=f"${symbol}^{{l+1}}$", aspect="equal")
    return fig


def spectrum(
    samples: Any,
    density: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    bins: int = 60,
    range: tuple[float, float] | None = None,
    xlabel: str = r"$\lambda$",
    colour: str = "orthogonal",
    ax: Axes | None = None,
) -> Figure:
    """A histogram of eigenvalues or singular values, of total mass 1, under the theory's ``density`` as a line.

    ``samples``: any shape, pooled. Values outside ``range`` are not shown but keep their share of the mass, so that
    the histogram stays comparable with the density.

    >>> samples = np.linalg.eigvalsh(np.diag([0.2, 0.5, 0.8]))
    >>> fig = spectrum(samples, lambda x: np.ones_like(x), range=(0, 1))
    """
    values = np.asarray(samples, dtype=float).ravel()
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"samples: {len(values)} values, {np.sum(~np.isfinite(values))} not finite; finite ones are needed"
        )
    fig, ax = axes_of(ax, width=7, height=3.2)
    edges = np.histogram_bin_edges(values, bins=bins, range=range)
    counts, _ = np.histogram(values, edges)
    ax.stairs(
        counts / (len(values) * np.diff(edges)), edges, fill=True, color=colour_of(colour), alpha=0.35, linewidth=0
    )
    if density is not None:
        points = np.linspace(edges[0], edges[-1], 1201)[1:-1]
        ax.plot(points, density(points), color=colour_of(colour))
    ax.set(xlabel=xlabel, ylabel="density", xlim=(edges[0], edges[-1]))
    ax.set_ylim(bottom=0)
    return fig


def particles(
    points: Any,
    labels: Any,
    *,
    names: Sequence[str] | None = None,
    limits: tuple[float, float, float, float] | None = None,
    mark: int | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Points (n, 2) in a colour and a marker for each class, whose name stands at the middle of its points.

    ``labels``: n classes, integers from 0 to 9. ``limits`` (left, right, bottom, top) keep the same frame from one
    layer to the next. Particle number ``mark`` is a yellow star.

    >>> fig = particles([[0, 0], [0, 1], [2, 0], [2, 1]], [0, 0, 1, 1], names=["left", "right"])
    """
    xy, classes = np.asarray(points, dtype=float), np.asarray(labels)
    if xy.ndim != 2 or xy.shape[1] != 2 or classes.shape != xy.shape[:1]:
        raise ValueError(f"points has shape {xy.shape} and labels {classes.shape}; (n, 2) and (n,) are needed")
    fig, ax = axes_of(ax, width=7, height=4.6)
    _cloud(ax, xy, classes, size=14)
    for c in np.unique(classes):
        name = str(c) if names is None else names[c]
        _halo_text(ax, np.median(xy[classes == c], axis=0), name, CLASSES[c], 15)
    if mark is not None:
        _star(ax, xy[mark], 17)
    if limits is not None:
        ax.axis(limits)
    ax.set_aspect("equal")
    ax.set(xlabel="first coordinate", ylabel="second coordinate")
    return fig


def particle_grid(
    planes: Any, labels: Any, *, rows: Sequence[str], columns: Sequence[str], mark: int | None = None
) -> Figure:
    """Small pictures of the same particles at two times: ``planes`` (rows, columns, n, 2), all in one frame.

    ``labels``: n classes, integers from 0 to 9, whose numbers stand at the middle of their points in the last picture.
    Particle number ``mark`` is a yellow star. The names of ``rows`` and ``columns`` stand outside.

    >>> planes = np.random.default_rng(0).normal(size=(2, 3, 20, 2))
    >>> fig = particle_grid(planes, [0, 1] * 10, rows=["start", "end"], columns=["1", "2", "3"], mark=0)
    """
    points, classes = np.asarray(planes, dtype=float), np.asarray(labels)
    wanted = (len(rows), len(columns), len(classes), 2)
    if points.shape != wanted:
        raise ValueError(f"planes has shape {points.shape}; (rows, columns, n, 2) = {wanted} is needed")
    width = 7 / (len(columns) + 0.6)
    fig, axes = figure(len(columns), len(rows), height=round(width * len(rows) + 0.35, 2), squeeze=False)
    reach = 1.2 * np.quantile(np.abs(points), 0.998)
    for (i, j), ax in np.ndenumerate(axes):
        _cloud(ax, points[i, j], classes, size=4)
        if mark is not None:
            _star(ax, points[i, j, mark], 9)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
        ax.set_xlabel(columns[j] if i == len(rows) - 1 else "")
        ax.set_ylabel(rows[i] if j == 0 else "")
    for c in np.unique(classes):
        _halo_text(axes[-1, -1], np.median(points[-1, -1, classes == c], axis=0), str(c), CLASSES[c], 13)
    return fig


def theory_and_experiment(
    ax: Axes,
    x: Any,
    theory: Any,
    samples: Any,
    *,
    colour: str | None = None,
    label: str | None = None,
    theory_x: Any = None,
) -> Figure:
    """Theory as a line, the mean of the samples as points with their standard error, in one colour.

    ``samples`` (n, len(x)): independent repetitions are the first axis, at least two. ``theory`` is given at ``x`` or,
    where that is too coarse, at ``theory_x``. ``colour`` is a key of ``COLOURS`` or a colour; ``label`` is written at
    the right end of the line.

    >>> fig, ax = figure()
    >>> fig = theory_and_experiment(ax, [1, 2], [0.5, 0.25], [[0.52, 0.24], [0.49, 0.26]], colour="ordered")
    """
    x, theory, values = (np.asarray(a, dtype=float) for a in (x, theory, samples))
    line_x = x if theory_x is None else np.asarray(theory_x, dtype=float)
    if values.ndim != 2 or values.shape[1:] != x.shape or len(values) < 2:
        raise ValueError(f"samples has shape {values.shape}; (n, {len(x)}) with n >= 2 is needed")
    if theory.shape != line_x.shape:
        raise ValueError(f"theory has shape {theory.shape}; {line_x.shape} is needed")
    (line,) = ax.plot(line_x, theory, color=None if colour is None else colour_of(colour))
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    ax.errorbar(x, values.mean(axis=0), error, fmt="o", color=line.get_color())
    if label is not None:
        last = np.flatnonzero(np.isfinite(theory))[-1]
        look: Any = {"va": "center", "color": line.get_color(), "annotation_clip": False}
        ax.annotate(label, (line_x[last], theory[last]), (7, 0), textcoords="offset points", **look)
    return figure_of(ax)


def images(stack: Any, labels: Sequence[str] | None = None) -> Figure:
    """A row of small images, (n, height, width) or (n, height, width, 3), with ``labels`` under them.

    One scale for all: grey from 0 to the largest value or, where a value is negative, blue below 0 and red above.

    >>> fig = images(np.eye(4).reshape(1, 4, 4), ["one"])
    """
    pictures = np.asarray(stack, dtype=float)
    if pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[-1] != 3):
        raise ValueError(f"stack has shape {pictures.shape}; (n, height, width) or (n, height, width, 3) is needed")
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"labels: {len(labels)} for {len(pictures)} images")
    fig, axes = figure(columns=len(pictures), height=7 / len(pictures) + 0.3, squeeze=False)
    largest = np.abs(pictures).max() or 1.0
    colours, smallest = ("RdBu_r", -largest) if pictures.min() < 0 else ("gray", 0)
    for k, ax in enumerate(axes[0]):
        ax.imshow(pictures[k], cmap=colours, vmin=smallest, vmax=largest)
        ax.set(xticks=[], yticks=[], xlabel="" if labels is None else labels[k])
        ax.spines[:].set_visible(False)
    return fig


def parameter_plane(
    gamma: Any,
    a: Any,
    b: Any,
    *,
    rays: Sequence[float] = (),
    units: tuple[Any, Any] | None = None,
    largest: float | None = None,
    bar: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Coefficients over the plane of hidden units (a, b): red above 0, blue below, the same on both sides.

    ``gamma`` (len(a), len(b)) on the midpoints ``a``, ``b``, ascending. ``rays`` are places x, each drawn as the dotted
    line b = a x of the units that stand there. ``units`` (a, b) are hidden units, as points. ``largest`` is the value
    of full colour, by default that of ``gamma``; ``bar`` labels a colour bar.

    >>> a = b = np.linspace(-1, 1, 5)
    >>> fig = parameter_plane(np.outer(a, b), a, b, rays=[0.5], bar="$a b$")
    """
    values, x, y = (np.asarray(array, dtype=float) for array in (gamma, a, b))
    if values.shape != (len(x), len(y)) or not np.isfinite(values).all():
        raise ValueError(f"gamma has shape {values.shape}; finite numbers ({len(x)}, {len(y)}) are needed")
    fig, ax = axes_of(ax, width=3.5, height=3.3)
    size = (np.abs(values).max() or 1.0) if largest is None else largest
    mesh = ax.pcolormesh(x, y, values.T, cmap="RdBu_r", vmin=-size, vmax=size, shading="nearest", rasterized=True)
    if bar is not None:
        figure_of(ax).colorbar(mesh, ax=ax, label=bar, ticks=[-size, 0, size], format="%.2g")
    edge = [1.5 * x[0] - 0.5 * x[1], 1.5 * x[-1] - 0.5 * x[-2]]
    frame = [1.5 * y[0] - 0.5 * y[1], 1.5 * y[-1] - 0.5 * y[-2]]
    for place in rays:
        ax.plot(edge, [place * end for end in edge], ":", color="black", linewidth=1.2)
    if units is not None:
        ax.plot(*units, "o", color="black", markersize=3, markeredgecolor="white", markeredgewidth=0.5)
    ax.set(xlim=edge, ylim=frame, xlabel="$a$", ylabel="$b$")
    return fig


def _cloud(ax: Axes, xy: np.ndarray, classes: np.ndarray, *, size: float) -> None:
    found = np.unique(classes)
    if not set(found.tolist()) <= set(range(len(_MARKERS))):
        raise ValueError(f"labels = {found}: classes are integers from 0 to {len(_MARKERS) - 1}")
    for c in found:
        mine = xy[classes == c]
        ax.scatter(mine[:, 0], mine[:, 1], s=size, marker=_MARKERS[c], color=CLASSES[c], alpha=0.6, linewidths=0)


def _star(ax: Axes, point: Any, size: float) -> None:
    ax.plot(*point, "*", color="#F0E442", markersize=size, markeredgecolor="black", markeredgewidth=0.8, zorder=7)


def _halo_text(ax: Axes, point: Any, text: str, colour: str, size: float) -> None:
    options: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "path_effects": _HALO}
    ax.text(point[0], point[1], text, color=colour, size=size, zorder=6, **options)


def _note(ax: Axes, text: str, point: tuple[float, float], offset: tuple[float, float]) -> None:
    """Text beside a point, on the side to which ``offset`` (in points) leads."""
    side: Any = {"ha": "left" if offset[0] > 0 else "right", "path_effects": _HALO, "zorder": 5}
    ax.annotate(text, point, offset, textcoords="offset points", **side)


def _middle(x: np.ndarray, y: np.ndarray, region: np.ndarray) -> tuple[float, float]:
    """The point of a region where a word, wider than high with its margins, has most room."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1), sampling=(1.5 / len(y), 1 / len(x)))[1:-1, 1:-1]
    ties = np.flatnonzero(depth > 0.999 * depth.max())
    row, column = np.unravel_index(ties[len(ties) // 2], depth.shape)
    return float(x[column]), float(y[row])
