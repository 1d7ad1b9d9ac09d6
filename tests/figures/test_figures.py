"""The look of the book and its explorers: as arrays and HTML, in a real kernel and in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import browser
import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from deepdynamics import figures, meanfield
from deepdynamics.figures import sliders as explorers
from matplotlib.figure import Figure
from matplotlib.text import Text
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CSS = (ROOT / "book" / "_static" / "explorer.css").read_text("utf8")
RNG = np.random.default_rng(0)
PLANES = RNG.normal(size=(2, 3, 30, 2))


@pytest.fixture(autouse=True)
def book_style():
    with mpl.rc_context():
        figures.use_style()
        yield


def parabola(power=2.0, height=1.0):
    fig, ax = figures.figure(width=3.5)
    x = np.linspace(0, 1, 50)
    ax.plot(x, height * x**power)
    return fig


def diagram():
    """A made-up diagram whose critical line is known: chi_1 = weight_var / (1 + 2 bias_var)."""
    x, y = np.linspace(0.5, 3, 60), np.linspace(0, 0.5, 40)
    chi = x[None, :] / (1 + 2 * y[:, None])
    # chi_1 = 1 on a grid point would make the depth scale infinite there: that must not disturb the picture.
    with np.errstate(divide="ignore"):
        xi = 1 / np.abs(np.log(chi))
    fields = dict.fromkeys(("q_star", "chi_1", "c_star", "chi_c_star"), chi) | dict.fromkeys(("xi_q", "xi_c"), xi)
    return SimpleNamespace(weight_vars=x, bias_vars=y, xi_grad=-1 / np.log(chi * 1.001), **fields)


def png(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


PICTURES = {
    "phase_diagram": lambda: figures.phase_diagram(diagram(), mark={"trains": (1.5, 0.25), "explodes": (3.0, 0.1)}),
    "cobweb": lambda: figures.cobweb(lambda c: 0.4 + 0.5 * c, 0.1, 20, fixed_point=0.8),
    "spectrum": lambda: figures.spectrum(np.linspace(0, 1, 500), lambda x: np.ones_like(x)),
    "particles": lambda: figures.particles(np.arange(60).reshape(30, 2) % 7, np.arange(30) % 10),
    "particle_grid": lambda: figures.particle_grid(
        PLANES, np.arange(30) % 3, rows=["start", "end"], columns=["1", "2", "3"], mark=0
    ),
    "parameter_plane": lambda: figures.parameter_plane(
        np.outer(np.arange(-3, 4), np.arange(-2, 3)), np.arange(-3, 4), np.arange(-2, 3), rays=[0.5], bar="$R$"
    ),
    "images": lambda: figures.images(np.arange(300).reshape(3, 10, 10), ["a", "b", "c"]),
    "panels": lambda: figures.figure(columns=2, rows=2)[0],
}


# Style


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_deterministic_legible_opaque_and_unknown_to_pyplot(name):
    first, second = PICTURES[name](), PICTURES[name]()
    assert png(first) == png(second)
    assert plt.get_fignums() == []
    assert first.get_figwidth() in (3.5, 7)
    assert min(text.get_fontsize() for text in first.findobj(Text) if text.get_text().strip()) >= 9
    with Image.open(io.BytesIO(png(first))) as picture:
        assert picture.width == 200 * first.get_figwidth()  # twice the 100 pixels an inch of the page
        assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    assert not any(ax.get_title() for ax in first.axes)


def test_svg_is_deterministic():
    def svg():
        stream = io.BytesIO()
        parabola().savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()

    assert svg() == svg()


def test_colours_stand_out_from_white():
    """WCAG 2.1, 1.4.11: a graphical object needs a contrast of 3 to its background."""

    def luminance(colour):
        c = np.array(mpl.colors.to_rgb(colour))
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    for name, colour in figures.COLOURS.items():
        assert 1.05 / (luminance(colour) + 0.05) >= 3, name
    assert len({figures.COLOURS[k] for k in ("ordered", "critical", "chaotic")}) == 3
    assert not mpl.rcParams["axes.spines.top"] and not mpl.rcParams["axes.spines.right"]


def test_the_book_has_one_grey():
    pages = [*(ROOT / "book").rglob("*.md"), *(ROOT / "lib" / "deepdynamics" / "figures").glob("*.py")]
    grey = re.compile(r'colors?=\(?"(0?\.\d+|\w*gr[ea]y)"|"(light|dark|dim)gr[ea]y"|"#7F7F7F"')
    found = [(page.name, line) for page in pages for line in page.read_text("utf8").splitlines() if grey.search(line)]
    assert found == [("style.py", f'GREY = "{figures.GREY}"')]


# Recurring pictures


def test_phase_diagram_draws_the_critical_line_and_names_the_phases_where_they_are():
    fig = figures.phase_diagram(diagram(), field="xi_grad", mark={"here": (1.5, 0.25)})
    ax = fig.axes[0]
    lines = [c for c in ax.collections if type(c).__name__ == "QuadContourSet"]
    points = lines[-1].get_paths()[0].vertices
    # linear interpolation on a grid: chi is bilinear up to second order, here within 1e-3
    assert np.allclose(points[:, 0], 1 + 2 * points[:, 1], atol=2e-3)
    place = {text.get_text(): text.get_position() for text in ax.texts}
    assert place["ordered"][0] < 1 + 2 * place["ordered"][1] and place["chaotic"][0] > 1 + 2 * place["chaotic"][1]
    assert "here" in place


def test_phase_diagram_of_the_theory():
    d = meanfield.phase_diagram("tanh", np.linspace(0.5, 4, 80), np.linspace(0, 0.5, 40))
    for field in ("q_star", "chi_1", "c_star", "chi_c_star", "xi_q", "xi_c", "xi_grad"):
        (line,) = figures.phase_diagram(d, field=field).axes[0].collections[-1].get_paths()
    inner = line.vertices[line.vertices[:, 1] > 0.02]
    exact, _ = meanfield.critical_weight_var("tanh", inner[:, 1])
    # linear interpolation of chi_1 on this grid costs up to 1.2e-3, at the smallest bias variances
    assert np.allclose(inner[:, 0], exact, rtol=4e-3)


def test_phase_diagram_with_one_phase_only_and_with_gaps():
    d = diagram()
    one = SimpleNamespace(**{**vars(d), "chi_1": np.full_like(d.chi_1, 0.5)})
    assert [t.get_text() for t in figures.phase_diagram(one, field="chi_1").axes[0].texts] == ["ordered"]
    gap = SimpleNamespace(**{**vars(d), "q_star": np.where(d.chi_1 > 2, np.nan, 1.0)})
    png(figures.phase_diagram(gap, field="q_star"))


def test_cobweb_stairs_alternate_between_map_and_diagonal():
    fig = figures.cobweb(np.cos, 0.2, 6, fixed_point=0.739)
    diagonal, curve, stairs = fig.axes[0].lines[:3]
    assert np.allclose(curve.get_ydata(), np.cos(curve.get_xdata())) and np.ptp(diagonal.get_xdata()) == 1
    x, y = stairs.get_data()
    assert np.allclose(y[1::2], np.cos(x[1::2])) and np.allclose(x[2::2], y[2::2])
    assert fig.axes[0].get_xlim() == (0, 1)
    assert figures.cobweb(lambda c: c / 2, -0.5, 3).axes[0].get_xlim() == (-1, 1)


def test_spectrum_is_a_density_also_when_cut():
    values = np.concatenate([RNG.uniform(0, 1, 7500), RNG.uniform(5, 6, 2500)]).reshape(100, 100)
    for cut, mass in ((None, 1.0), ((0.0, 1.0), 0.75)):
        heights, edges, _ = figures.spectrum(values, range=cut).axes[0].patches[0].get_data()
        assert np.isclose(heights @ np.diff(edges), mass)


def test_particles_name_each_class_at_its_middle():
    points, labels = RNG.normal(size=(200, 2)), np.arange(200) % 4
    ax = figures.particles(points, labels, names=["a", "b", "c", "d"], limits=(-4, 4, -3, 3)).axes[0]
    for k, text in enumerate(ax.texts):
        assert text.get_text() == "abcd"[k] and np.allclose(text.get_position(), np.median(points[labels == k], axis=0))
    shapes = {c.get_paths()[0].vertices.tobytes() for c in ax.collections}
    assert len(shapes) == 4  # told apart without colour
    assert ax.axis() == (-4, 4, -3, 3)


def test_particle_grid_shows_every_cloud_in_one_frame():
    planes, labels = RNG.normal(size=(2, 3, 60, 2)), np.arange(60) % 3
    axes = figures.particle_grid(planes, labels, rows=["a", "b"], columns=["x", "y", "z"], mark=5).axes
    assert len(axes) == 6 and len({ax.axis() for ax in axes}) == 1
    for k, ax in enumerate(axes):
        cloud = planes[k // 3, k % 3]
        for c, drawn in enumerate(ax.collections):
            assert np.allclose(drawn.get_offsets(), cloud[labels == c])
        assert np.allclose(ax.lines[0].get_xydata(), cloud[5])
    assert [ax.get_xlabel() for ax in axes] == ["", "", "", "x", "y", "z"]
    assert [ax.get_ylabel() for ax in axes] == ["a", "", "", "b", "", ""]
    with pytest.raises(ValueError, match=r"planes has shape \(2, 3, 60, 2\)"):
        figures.particle_grid(planes, labels, rows=["a"], columns=["x", "y", "z"])


def test_particle_grid_shows_every_plane_in_one_frame():
    labels = np.arange(30) % 3
    fig = figures.particle_grid(PLANES, labels, rows=["start", "end"], columns=["1", "2", "3"], mark=7)
    assert len({ax.axis() for ax in fig.axes}) == 1
    for plane, ax in zip(PLANES.reshape(6, 30, 2), fig.axes, strict=True):
        shown = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
        assert np.allclose(shown, np.concatenate([plane[labels == c] for c in range(3)]))
        assert np.allclose(ax.lines[0].get_xydata(), plane[7])
    assert [ax.get_ylabel() for ax in fig.axes[::3]] == ["start", "end"]
    assert [ax.get_xlabel() for ax in fig.axes[3:]] == ["1", "2", "3"]


def test_theory_and_experiment_shows_mean_and_standard_error():
    _, ax = figures.figure()
    x, samples = np.arange(5.0), RNG.normal(size=(9, 5))
    figures.theory_and_experiment(ax, x, 0 * x, samples, colour="trained", label="law")
    line, points = ax.lines[0], ax.containers[0]
    assert line.get_color() == points[0].get_color() == figures.COLOURS["trained"]
    assert np.allclose(points[0].get_ydata(), samples.mean(axis=0))
    ends = np.array([segment[:, 1] for segment in points[2][0].get_segments()])
    assert np.allclose((ends[:, 1] - ends[:, 0]) / 2, samples.std(axis=0, ddof=1) / 3)
    assert ax.texts[0].get_text() == "law"


def test_images_share_one_scale():
    grey = [ax.images[0] for ax in figures.images(np.array([np.ones((4, 4)), np.full((4, 4), 0.5)])).axes]
    assert {image.get_clim() for image in grey} == {(0, 1)}
    signed = [ax.images[0] for ax in figures.images(np.array([np.eye(4), -3 * np.eye(4)])).axes]
    assert {image.get_clim() for image in signed} == {(-3, 3)}


def test_parameter_plane_is_white_at_zero_and_has_a_ray_for_each_place():
    a, b = np.linspace(-3, 3, 7), np.linspace(-4, 4, 5)
    fig, (left, right) = figures.figure(columns=2)
    assert figures.parameter_plane(np.outer(a + 1, b), a, b, rays=[0.5, -1.0], units=([1.0], [2.0]), ax=left) is fig
    (mesh,) = left.collections
    assert mesh.get_clim() == (-16, 16) and np.allclose(mesh.to_rgba(0.0)[:3], 1, atol=0.05)
    assert np.array_equal(np.asarray(mesh.get_array()), np.outer(a + 1, b).T)  # a to the right, b upwards
    assert [line.get_ydata()[-1] / line.get_xdata()[-1] for line in left.lines] == [0.5, -1.0, 2.0]
    assert left.get_xlim() == (-3.5, 3.5) and left.get_ylim() == (-5, 5)
    figures.parameter_plane(np.zeros((7, 5)), a, b, largest=2.0, bar="$R$", ax=right)
    assert right.collections[0].get_clim() == (-2, 2) and fig.axes[-1].get_ylabel() == "$R$"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.figure(width=5), "width = 5"),
        (lambda: figures.parameter_plane(np.ones((2, 3)), [0, 1, 2], [0, 1]), "gamma has shape"),
        (lambda: figures.phase_diagram(diagram(), field="xi"), "field = 'xi'"),
        (lambda: figures.cobweb(np.cos, 0.5, 0), "steps = 0"),
        (lambda: figures.spectrum([1.0, np.nan]), "samples"),
        (lambda: figures.spectrum([]), "samples"),
        (lambda: figures.particles(np.ones((3, 3)), [0, 1, 2]), "points"),
        (lambda: figures.particles(np.ones((11, 2)), np.arange(11)), "labels"),
        (lambda: figures.particles(np.ones((1, 2)), np.array([0.5])), "labels"),
        (lambda: figures.theory_and_experiment(plt.Figure().subplots(), [1, 2], [1, 2], [[1, 2]]), "samples"),
        (lambda: figures.theory_and_experiment(plt.Figure().subplots(), [1], [1, 2], [[1], [2]]), "theory"),
        (lambda: figures.particle_grid(PLANES, np.zeros(30, int), rows=["a"], columns=["b"]), "planes"),
        (lambda: figures.images(np.ones((3, 3))), "stack"),
        (lambda: figures.images(np.ones((2, 3, 3)), ["a"]), "labels"),
    ],
)
def test_bad_input_of_pictures(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Explorer: the HTML


class Tree(HTMLParser):
    """The start tags of a page with their attributes, and whether every element is closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def two_sliders(**options):
    grid = {"power": [1.0, 2.0, 3.5], "height": [1, 2]}
    return figures.explorer(parabola, grid, label=["power p", 'height "h" <'], unit=["", "metres"], **options)


def test_static_explorer_is_accessible_html():
    bundle = two_sliders(start={"power": 2.0, "height": 2})._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    tree = Tree(bundle["text/html"])
    assert tree.open == [] and {tag for tag, _ in tree.tags} == {"div", "img", "label", "span", "input", "output"}
    assert not any("id" in attributes for _, attributes in tree.tags)
    (group,) = tree.all("div")
    assert group["class"] == "dd-explorer" and group["role"] == "group" and "power p" in group["aria-label"]
    images = tree.all("img")
    assert [image["alt"] for image in images[:3]] == [
        'power p = 1, height "h" < = 1 metres',
        'power p = 1, height "h" < = 2 metres',
        'power p = 2, height "h" < = 1 metres',
    ]
    visible = [k for k, image in enumerate(images) if "hidden" not in image]
    assert visible == [3] and images[3]["src"].endswith(bundle["image/png"])
    power, height = tree.all("input")
    assert (power["type"], power["min"], power["max"], power["step"], power["value"]) == ("range", "0", "2", "1", "1")
    assert power["aria-label"] == "power p" and power["aria-valuetext"] == "2"
    assert height["aria-label"] == 'height "h" <' and height["aria-valuetext"] == "2 metres"
    assert "min-height:44px" in power["style"] and json.loads(power["data-text"]) == ["1", "2", "3.5"]
    assert power["data-stride"] == "2" and height["data-stride"] == "1"


def test_frames_are_palette_pngs_at_twice_the_size():
    bundle = figures.explorer(parabola, {"power": [1.0, 2.0]}, label="p").static()
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.mode == "P" and picture.width == 700
        assert len(picture.getcolors()) <= 64
    assert all("width:350px" in image["style"] for image in Tree(bundle["text/html"]).all("img"))


def test_explorer_is_deterministic():
    assert two_sliders().static() == two_sliders().static()


def test_values_are_told_apart_in_their_texts():
    explorer = figures.explorer(parabola, {"power": [1.0, 1.00001, 2.0]}, label="p")
    assert len(set(explorer.texts[0])) == 3
    assert figures.explorer(parabola, {"power": np.linspace(1, 4, 25)}, label="p").texts[0][1] == "1.125"


def test_a_figure_that_draw_leaves_open_is_not_shown_again():
    def careless(power):
        fig, _ = plt.subplots(figsize=(3.5, 2))
        return fig

    figures.explorer(careless, {"power": [1, 2]}, label="p").static()
    assert plt.get_fignums() == []


def test_explorer_that_is_too_heavy_says_so(monkeypatch):
    assert explorers.MAX_BYTES == 2_000_000 and explorers.MAX_FRAMES == 40
    monkeypatch.setattr(explorers, "MAX_BYTES", 10_000)
    with pytest.raises(ValueError, match=r"the 6 frames take \d{5} bytes; at most 10000"):
        two_sliders().static()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.explorer(parabola, {"power": np.linspace(1, 2, 41)}, label="p"), "41 frames; at most 40"),
        (
            lambda: figures.explorer(parabola, {"power": range(1, 8), "height": range(1, 8)}, label=["p", "h"]),
            "49 frames",
        ),
        (lambda: figures.explorer(parabola, {}, label=[]), "one or two sliders"),
        (
            lambda: figures.explorer(parabola, {"a": [1, 2], "b": [1, 2], "c": [1, 2]}, label=["a", "b", "c"]),
            "one or two sliders",
        ),
        (lambda: figures.explorer(parabola, {"power": [1.0]}, label="p"), "at least two values"),
        (lambda: figures.explorer(parabola, {"power": [1.0, np.nan]}, label="p"), "not finite"),
        (lambda: figures.explorer(parabola, {"power": [1.0, 1.0]}, label="p"), "twice"),
        (lambda: figures.explorer(parabola, {"power": [None, 1]}, label="p"), "dtype"),
        (lambda: figures.explorer(parabola, {"power": [1.0, 2.0]}, label=["p", "q"]), "label"),
        (lambda: figures.explorer(parabola, {"power": [1.0, 2.0]}, label="p", start={"power": 1.5}), "not on the grid"),
        (lambda: figures.explorer(parabola, {"power": [1.0, 2.0]}, label="p", start={"p": 1}), r"start names \['p'\]"),
        (lambda: figures.explorer(lambda n: None, {"n": [1, 2]}, label="n").static(), "NoneType"),
        (lambda: figures.explorer(lambda n: Figure((n, 2)), {"n": [1, 2]}, label="n").static(), "different sizes"),
    ],
)
def test_bad_input_of_explorers(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Explorer: live


def test_live_widget_recomputes_between_the_grid_points():
    calls = []

    def draw(**values):
        calls.append(values)
        return parabola(**values)

    grid = {"power": [1.0, 2.0, 3.0], "height": [1, 2, 5]}
    box = figures.explorer(draw, grid, label=["p", "h"], unit=["", "m"], start={"power": 2.0}).widget()
    picture, power, height = box.children
    assert calls == [{"power": 2.0, "height": 1}] and (power.min, power.max) == (1, 3)
    before = picture.value
    power.value = 2.345
    assert calls[-1] == {"power": 2.345, "height": 1} and picture.value != before
    assert 'alt="p = 2.345, h = 1 m"' in picture.value
    height.index = 2
    assert calls[-1] == {"power": 2.345, "height": 5} and height.description == "h (m)"


def test_live_widget_says_why_it_cannot_draw():
    def draw(power):
        if power > 1:
            raise ValueError("power < 2 is needed")
        return parabola(power)

    picture, slider = figures.explorer(draw, {"power": [1, 2]}, label="p").widget().children
    slider.index = 1
    assert picture.value == "<pre>ValueError: power &lt; 2 is needed</pre>"
    slider.index = 0
    assert picture.value.startswith("<img")


def test_live_is_for_kernels_outside_colab_and_build(monkeypatch):
    monkeypatch.delenv("DEEPDYNAMICS_EXPLORER", raising=False)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=None))
    assert explorers._live()
    monkeypatch.setenv("DEEPDYNAMICS_EXPLORER", "static")
    assert not explorers._live()
    monkeypatch.delenv("DEEPDYNAMICS_EXPLORER")
    monkeypatch.setitem(__import__("sys").modules, "google.colab", SimpleNamespace())
    assert not explorers._live()


def test_without_ipywidgets_a_kernel_shows_the_static_form(monkeypatch):
    monkeypatch.setattr(explorers, "_live", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    assert "dd-explorer" in two_sliders()._repr_mimebundle_()["text/html"]


def no_slider(*args, **options):
    raise TypeError("unexpected keyword argument 'readout_format'")


def plain(*args, **options):
    return SimpleNamespace(observe=lambda *a, **k: None, value=1.0)


@pytest.mark.parametrize(
    "ipywidgets",
    [
        SimpleNamespace(),  # none of the names
        SimpleNamespace(HTML=plain, FloatSlider=plain, SelectionSlider=plain, VBox=plain),  # 7.7: no MIME bundle
        SimpleNamespace(HTML=plain, FloatSlider=no_slider, SelectionSlider=no_slider, VBox=plain),
    ],
)
def test_what_another_ipywidgets_cannot_do_is_shown_static(monkeypatch, ipywidgets):
    monkeypatch.setattr(explorers, "_live", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", ipywidgets)
    bundle = figures.explorer(parabola, {"power": [1.0, 2.0]}, label="p")._repr_mimebundle_()
    assert "dd-explorer" in bundle["text/html"]


def test_the_static_form_does_not_hide_a_mistake_of_draw(monkeypatch):
    monkeypatch.setattr(explorers, "_live", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", SimpleNamespace())
    with pytest.raises(ZeroDivisionError):
        figures.explorer(lambda p: parabola(1 / (p - 1)), {"p": [1.0, 2.0]}, label="p")._repr_mimebundle_()


def test_in_a_kernel_figures_show_once_and_the_explorer_obeys_the_build(monkeypatch):
    for name in ("DEEPDYNAMICS_EXPLORER", "MPLBACKEND"):  # a kernel chooses its own backend
        monkeypatch.delenv(name, raising=False)
    cells = [
        "import os; os.environ['DEEPDYNAMICS_EXPLORER'] = 'static'\n"
        "from deepdynamics import figures\nfigures.use_style()\n"
        "draw = lambda power: figures.cobweb(lambda c: c**power, .5, 3)",
        "draw(2.0)",
        "import matplotlib.pyplot as plt\nplt.subplots()[1].plot([1, 2]);",
        "figures.explorer(draw, {'power': [1.0, 2.0]}, label='p')",
        "del os.environ['DEEPDYNAMICS_EXPLORER']\nfigures.explorer(draw, {'power': [1.0, 2.0]}, label='p')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, timeout=60, kernel_name="python3")
    with client.setup_kernel():
        for k in range(4):
            client.execute_cell(notebook.cells[k], k)
        assert client.widget_state == {}  # a built page loads no widget library
        client.execute_cell(notebook.cells[4], 4)
        assert client.widget_state
    silent, figure, pyplot, static, live = (cell.outputs for cell in notebook.cells)
    assert silent == []
    (shown,) = figure
    assert shown.output_type == "execute_result" and "image/png" in shown.data and "image/svg+xml" not in shown.data
    assert shown.metadata["image/png"]["width"] == 350  # 3.5 inches, stored at twice that
    (shown,) = pyplot
    assert shown.metadata["image/png"]["width"] == 700
    assert set(static[0].data) == {"text/html", "image/png", "text/plain"} and len(static) == 1
    assert "application/vnd.jupyter.widget-view+json" in live[0].data and len(live) == 1


# Explorer: in a browser


@pytest.fixture(scope="module")
def page():
    """Four explorers under the site's style sheet; the second has two sliders, the last a long label."""
    with mpl.rc_context():
        figures.use_style()
        one = figures.explorer(parabola, {"power": np.linspace(1, 3, 6)}, label="power p", start={"power": 1.4})
        wordy = "the variance of the weights of every layer but the last, relative to its critical value"
        long = figures.explorer(parabola, {"power": [1.0, 2.0]}, label=wordy)
        pages = [explorer.static()["text/html"] for explorer in (one, two_sliders(), one, long)]
        html = "".join(f'<div class="cell_output">{page}</div>' for page in pages)
    with browser.chromium() as chromium:
        page = chromium.new_page(viewport=browser.SIZES["phone"])
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.html = f"<!DOCTYPE html><html lang=en><title>x</title><style>{CSS}</style><main class=bd-content>{html}"
        yield page
        assert errors == []


@pytest.fixture
def groups(page):
    page.set_viewport_size(browser.SIZES["phone"])
    page.set_content(page.html)
    return [page.locator(".dd-explorer").nth(k) for k in range(4)]


def seen(group):
    (image,) = [image for image in group.locator("img").all() if image.is_visible()]
    assert group.locator("img:not([hidden])").count() == 1 and image.get_attribute("hidden") is None
    return image.get_attribute("alt")


def test_slider_moves_by_keyboard_and_leaves_others_alone(groups):
    first, second, third, _ = groups
    others = seen(second), seen(third)
    slider = first.get_by_role("slider", name="power p")
    assert seen(first) == "power p = 1.4"
    slider.focus()
    for key, value in (("ArrowRight", "1.8"), ("ArrowRight", "2.2"), ("End", "3"), ("Home", "1")):
        slider.press(key)
        assert seen(first) == f"power p = {value}"
        assert slider.get_attribute("aria-valuetext") == value
        assert first.locator("output").inner_text() == value
    assert (seen(second), seen(third)) == others


def test_slider_moves_by_mouse(page, groups):
    slider = groups[2].locator("input")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box["height"] >= 44
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert seen(groups[2]) == "power p = 3"


def test_two_sliders_choose_the_frame_of_both_values(groups):
    group = groups[1]
    power, height = group.locator("input").all()
    for i, p in enumerate(("1", "2", "3.5")):
        for j, h in enumerate(("1 metres", "2 metres")):
            power.fill(str(i))
            height.fill(str(j))
            assert seen(group) == f'power p = {p}, height "h" < = {h}'
            assert height.get_attribute("aria-valuetext") == h


@pytest.mark.parametrize("width", [360, 390, 1440])
def test_nothing_is_wider_than_the_screen(page, groups, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert all(group.locator("input").first.bounding_box()["width"] >= 150 for group in groups)


def test_print_shows_the_current_frame_only(page, groups):
    groups[0].locator("input").press("End")
    page.emulate_media(media="print")
    assert seen(groups[0]) == "power p = 3" and not groups[0].locator("input").is_visible()
    page.emulate_media(media="screen")


def test_first_frame_shows_without_script_and_where_images_are_blocks(page):
    """The classic notebook's style sheet makes every image a block, which outweighs the hidden attribute."""
    plain = page.context.browser.new_page(java_script_enabled=False)
    plain.set_content("<style>img {display: block}</style>" + page.html)
    assert seen(plain.locator(".dd-explorer").first) == "power p = 1.4"
    plain.close()
