"""A figure with one or two sliders that works with and without a kernel.

``explorer(draw, grid, label=...)`` shows itself in one of two ways. *Static*: every frame is drawn once and stored in
the page as a small palette PNG; a native range input swaps them with an inline handler, so that a published page needs
neither a kernel nor a widget library. *Live*: where a kernel and ipywidgets are there, a widget calls ``draw`` again
on the continuous range of the grid. The build asks for the static form with ``DEEPDYNAMICS_EXPLORER=static``; Colab,
which keeps no widget, gets it as well.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["Explorer", "explorer"]

MAX_FRAMES = 40
MAX_BYTES = 2_000_000
DPI = 200
COLOURS_IN_PALETTE = 64

# Runs on the slider that moved: `closest` instead of ids keeps any number of explorers on a page apart.
_ON_INPUT = (
    "var e=this.closest('.dd-explorer'),k=0,t=JSON.parse(this.dataset.text)[this.value];"
    "e.querySelectorAll('input').forEach(function(s){k+=s.value*s.dataset.stride});"
    "e.querySelectorAll('img').forEach(function(f,i){f.hidden=i!==k;f.style.display=i===k?'block':'none'});"
    "this.setAttribute('aria-valuetext',t);this.nextElementSibling.value=t"
)
_ROW = "display:flex;flex-wrap:wrap;align-items:center;gap:0 .75em;margin:0"
_INPUT = "flex:1 1 12em;min-width:0;min-height:44px;margin:0;padding:0"


class Explorer:
    """What :func:`explorer` returns; it shows itself when it is the last expression of a cell.

    >>> explorer(lambda power: Figure((2, 1)), {"power": [1, 2]}, label="p").count
    2
    """

    def __init__(
        self,
        draw: Callable[..., Figure],
        grid: Mapping[str, Any],
        label: str | Sequence[str],
        unit: str | Sequence[str],
        start: Mapping[str, Any] | None,
    ) -> None:
        self.draw = draw
        self.grid = {name: _grid_values(name, values) for name, values in grid.items()}
        if not 1 <= len(self.grid) <= 2:
            raise ValueError(f"grid = {list(self.grid)}: one or two sliders are allowed")
        self.count = math.prod(map(len, self.grid.values()))
        if self.count > MAX_FRAMES:
            raise ValueError(f"grid has {self.count} frames; at most {MAX_FRAMES} are allowed")
        self.labels = _one_each("label", label, len(self.grid))
        self.units = _one_each("unit", unit, len(self.grid))
        self.start = _start_indices(self.grid, start)
        self.texts = [
            [f"{text} {unit}".strip() for text in _texts(values)]
            for values, unit in zip(self.grid.values(), self.units, strict=True)
        ]
        self._bundle: dict[str, str] | None = None

    def __repr__(self) -> str:
        ranges = ", ".join(
            f"{label} from {texts[0]} to {texts[-1]}" for label, texts in zip(self.labels, self.texts, strict=True)
        )
        return f"Explorer: {ranges}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if _live():
            try:
                return self.widget()._repr_mimebundle_()
            except Exception:  # no ipywidgets, or another version's: whatever it cannot do, the static form can
                pass
        return self.static()

    def static(self) -> dict[str, str]:
        """The kernel-free form: ``text/html`` with every frame, ``image/png`` of the first state, ``text/plain``.

        >>> page = explorer(lambda power: Figure((2, 1)), {"power": [1, 2]}, label="p").static()
        >>> sorted(page), page["text/html"].count("<img")
        (['image/png', 'text/html', 'text/plain'], 2)
        """
        if self._bundle is None:
            frames, width = self._frames()
            page = self._html(frames, width)
            if len(page) > MAX_BYTES:
                raise ValueError(
                    f"draw: the {self.count} frames take {len(page)} bytes; at most {MAX_BYTES} are allowed"
                )
            self._bundle = {"text/html": page, "image/png": frames[self._first()], "text/plain": repr(self)}
        return self._bundle

    def _first(self) -> int:
        """Number of the first visible frame; the last slider of the grid runs fastest."""
        return int(np.ravel_multi_index(self.start, [len(v) for v in self.grid.values()]))

    def _frames(self) -> tuple[list[str], float]:
        """The frames as base64, and their width in pixels of the page."""
        pictures = [
            _palette_png(_drawn(self.draw, dict(zip(self.grid, values, strict=True))))
            for values in itertools.product(*self.grid.values())
        ]
        if len(sizes := sorted({size for _, size in pictures})) > 1:
            raise ValueError(
                f"draw returned figures of different sizes in pixels, {sizes}; all frames must have one size"
            )
        return [data for data, _ in pictures], sizes[0][0] / 2

    def _alt(self, texts: Sequence[str]) -> str:
        return ", ".join(f"{label} = {text}" for label, text in zip(self.labels, texts, strict=True))

    def _html(self, frames: list[str], width: float) -> str:
        first = self._first()
        images = [
            _image(data, self._alt(texts), width, hidden=k != first)
            for k, (data, texts) in enumerate(zip(frames, itertools.product(*self.texts), strict=True))
        ]
        strides = [math.prod(map(len, self.texts[i + 1 :])) for i in range(len(self.texts))]
        sliders = [_slider(*parts) for parts in zip(self.labels, self.texts, strides, self.start, strict=True)]
        name = html.escape("Explorer: " + ", ".join(self.labels))
        return f'<div class="dd-explorer" role="group" aria-label="{name}">{"".join(images)}{"".join(sliders)}</div>'

    def widget(self) -> Any:
        """The live form: an ipywidgets box whose sliders call ``draw``. ImportError where ipywidgets is missing.

        >>> explorer(lambda power: Figure((2, 1)), {"power": [1, 2]}, label="p").widget()  # doctest: +SKIP
        VBox(children=(HTML(value='<img …
        """
        import ipywidgets

        parts = zip(self.grid.values(), self.start, self.texts, self.labels, self.units, strict=True)
        sliders = dict(zip(self.grid, (_live_slider(ipywidgets, *part) for part in parts), strict=True))
        picture = ipywidgets.HTML()

        def update(change: Any = None) -> None:
            values = {name: slider.value for name, slider in sliders.items()}
            texts = [
                f"{_texts([value])[0]} {unit}".strip() for value, unit in zip(values.values(), self.units, strict=True)
            ]
            try:
                figure = _drawn(self.draw, values)
            except Exception as error:  # a widget's callback has no cell to raise in: the old picture would stay
                picture.value = f"<pre>{html.escape(f'{type(error).__name__}: {error}')}</pre>"
            else:
                data, size = _palette_png(figure)
                picture.value = _image(data, self._alt(texts), size[0] / 2)

        update()
        for slider in sliders.values():
            slider.observe(update, names="value")
        return ipywidgets.VBox([picture, *sliders.values()])


def explorer(
    draw: Callable[..., Figure],
    grid: Mapping[str, Any],
    *,
    label: str | Sequence[str],
    unit: str | Sequence[str] = "",
    start: Mapping[str, Any] | None = None,
) -> Explorer:
    """A figure with one or two sliders, live where there is a kernel with ipywidgets and static everywhere else.

    ``draw(**values)`` returns a matplotlib Figure, always of the same size. ``grid`` maps the names of its arguments
    to the values of the static frames, ``{"weight_var": np.linspace(1, 4, 25)}``: at most 40 frames in all, for two
    sliders the product, and at most 2 MB. Live, an evenly spaced grid of floats becomes a continuous slider from its
    smallest to its largest value; integers, words and uneven grids keep their own steps. ``label`` (and ``unit``, if
    there is one) is a str, or one str a slider. ``start`` maps names to the grid values of the first state; by default
    the first of each.

    Raises ValueError for more sliders, frames or bytes than allowed, a ``start`` that is not on the grid, figures of
    different sizes.

    >>> from deepdynamics import figures
    >>> def draw(power):
    ...     fig, ax = figures.figure(width=3.5)
    ...     line = ax.plot([k**power for k in range(9)])
    ...     return fig
    >>> explorer(draw, {"power": [1, 2, 3]}, label="power p", start={"power": 2})
    Explorer: power p from 1 to 3
    """
    return Explorer(draw, grid, label, unit, start)


def _live() -> bool:
    """Whether a kernel is there that can show widgets, and nobody asked for the static form."""
    if (
        os.environ.get("DEEPDYNAMICS_EXPLORER") == "static"
        or "google.colab" in sys.modules
        or "IPython" not in sys.modules
    ):
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def _grid_values(name: str, values: Any) -> list[Any]:
    array = np.asarray(values)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"grid[{name!r}] has shape {array.shape}; a list of at least two values is needed")
    if array.dtype.kind not in "iufU":
        raise ValueError(f"grid[{name!r}] has dtype {array.dtype}; numbers or words are allowed")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"grid[{name!r}] = {array} has values that are not finite")
    if len(np.unique(array)) < len(array):
        raise ValueError(f"grid[{name!r}] = {array} has a value twice")
    return array.tolist()


def _one_each(name: str, value: str | Sequence[str], count: int) -> list[str]:
    values = [value] * (count if name == "unit" else 1) if isinstance(value, str) else list(value)
    if len(values) != count:
        raise ValueError(f"{name} = {value!r}: {count} are needed, one a slider")
    return values


def _start_indices(grid: Mapping[str, list[Any]], start: Mapping[str, Any] | None) -> list[int]:
    start = {} if start is None else start
    if unknown := set(start) - set(grid):
        raise ValueError(f"start names {sorted(unknown)}; the sliders are {list(grid)}")
    indices = []
    for name, values in grid.items():
        wanted = start.get(name, values[0])
        near = [
            v == wanted
            if isinstance(v, str) or isinstance(wanted, str)
            else math.isclose(v, wanted, rel_tol=1e-9, abs_tol=1e-12)
            for v in values
        ]
        if not any(near):
            raise ValueError(f"start[{name!r}] = {wanted!r} is not on the grid {values}")
        indices.append(near.index(True))
    return indices


def _texts(values: Sequence[Any]) -> list[str]:
    """The values as short texts, with as many digits as it takes to tell them apart."""
    if not isinstance(values[0], float):
        return [str(v) for v in values]
    return next(
        texts for digits in range(4, 18) if len(set(texts := [f"{v:.{digits}g}" for v in values])) == len(values)
    )


def _image(data: str, alt: str, width: float, *, hidden: bool = False) -> str:
    # hidden is what it means; display is what holds where a style sheet gives images a display of their own.
    attribute, shown = (" hidden", "none") if hidden else ("", "block")
    return (
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}"{attribute} '
        f'style="display:{shown};width:{width:.0f}px;max-width:100%;height:auto">'
    )


def _slider(label: str, texts: list[str], stride: int, start: int) -> str:
    name, now, data = html.escape(label), html.escape(texts[start]), html.escape(json.dumps(texts, ensure_ascii=False))
    # autocomplete=off: Firefox would otherwise restore a moved slider over the first frame. The value is announced by
    # aria-valuetext, so the visible <output>, a live region by itself, is hidden from screen readers.
    return (
        f'<label style="{_ROW}"><span>{name}</span>'
        f'<input type="range" min="0" max="{len(texts) - 1}" step="1" value="{start}" autocomplete="off" '
        f'aria-label="{name}" aria-valuetext="{now}" data-stride="{stride}" data-text="{data}" '
        f'style="{_INPUT}" oninput="{_ON_INPUT}">'
        f'<output aria-hidden="true" style="min-width:{max(map(len, texts))}ch">{now}</output></label>'
    )


def _live_slider(ipywidgets: Any, values: list[Any], index: int, texts: list[str], label: str, unit: str) -> Any:
    common = {
        "description": f"{label} ({unit})" if unit else label,
        "style": {"description_width": "initial"},
        "layout": {"width": "100%", "max_width": "700px"},
    }
    if isinstance(values[0], float) and np.allclose(steps := np.diff(values), steps[0]):
        low, high = min(values), max(values)
        step = (high - low) / 300
        return ipywidgets.FloatSlider(value=values[index], min=low, max=high, step=step, readout_format=".4g", **common)
    return ipywidgets.SelectionSlider(options=list(zip(texts, values, strict=True)), index=index, **common)


def _drawn(draw: Callable[..., Figure], values: dict[str, Any]) -> Figure:
    figure = draw(**values)
    if not isinstance(figure, Figure):
        raise ValueError(f"draw({values}) returned {type(figure).__name__}; a matplotlib Figure is needed")
    plt.close(figure)  # a figure that draw left open in pyplot would be shown a second time at the end of the cell
    return figure


def _palette_png(figure: Figure) -> tuple[str, tuple[int, int]]:
    """The figure as a base64 palette PNG (half the size of SVG for lines, a twentieth for clouds of points), and its
    size in pixels.
    """
    canvas, small = FigureCanvasAgg(figure), io.BytesIO()
    figure.set_dpi(DPI)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    opaque = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    # No optimize=True: it takes five times as long, for files that are 3 % smaller.
    opaque.quantize(COLOURS_IN_PALETTE, dither=Image.Dither.NONE).save(small, format="PNG")
    return base64.b64encode(small.getvalue()).decode("ascii"), opaque.size
