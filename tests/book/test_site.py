"""The built book as a reader meets it: every page in a real browser, and the files of the whole site.

By default every page at both sizes (those of the library on a phone) and four pages in both colour modes; with
``DEEPDYNAMICS_ALL_PAGES=1`` every page at all four. The checks themselves are tried on a small site with one fault of
each kind.
"""

from __future__ import annotations

import itertools
import os
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import browser
import pytest
import site_checks
import yaml
from deepdynamics import figures

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
BUILT = (SITE / "index.html").is_file()
PAGES = site_checks.pages(SITE) if BUILT else []
FOUR = [f"book/{name}.html" for name in ("index", "layers/layers-as-time", "layers/order-and-chaos", "ledger")]
MODES = list(itertools.product(browser.SIZES, ("light", "dark")))


def views():
    every = os.environ.get("DEEPDYNAMICS_ALL_PAGES") == "1"
    both = [mode for mode in MODES if mode[1] == "light"]  # a formula that is too wide shows on a phone only
    phone = [("phone", "light")]  # pages of the library are all of one kind
    usual = {page: phone if page.startswith("book/library/") else both for page in PAGES}
    return [(page, *mode) for page in PAGES for mode in (MODES if every or page in FOUR else usual[page])]


@pytest.fixture(scope="module")
def built():
    if not BUILT:
        browser.lacking("the book is not built: make book")
    return SITE


@pytest.fixture(scope="module")
def reader():
    with browser.chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def address(built):
    with browser.served(built) as address:
        yield address


# The built book


def test_the_four_pages_are_there(built):
    absent = sorted(set(FOUR) - set(PAGES))
    assert not absent, f"_build/html has no page {', '.join(absent)}"


@pytest.mark.parametrize(("page", "size", "mode"), views() or [pytest.param("index", "desktop", "light", id="unbuilt")])
def test_page_in_a_browser(built, reader, address, page, size, mode):
    assert site_checks.visit(reader, address, page, size, mode) == []


def test_links_and_anchors_resolve(built):
    assert site_checks.links(built) == []


def test_no_leftovers_in_the_text(built):
    assert site_checks.leftovers(built, str(ROOT)) == []


def test_weights(built):
    assert site_checks.weights(built) == []


def test_launch_buttons(built):
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]["urls"]["Repository"]
    assert site_checks.launch_buttons(built, ROOT, repository) == []


def test_every_chapter_has_an_explorer(built):
    parts = yaml.safe_load((ROOT / "book" / "chapters.yml").read_text("utf8"))
    slugs = {chapter["slug"] for part in parts for chapter in part["chapters"]}
    chapters = [page for page in PAGES if Path(page).stem in slugs and not page.startswith("book/library/")]
    assert chapters, "no page of _build/html is a chapter of book/chapters.yml"
    without = [page for page in chapters if 'class="dd-explorer"' not in (built / page).read_text("utf8")]
    assert not without, f"figures.explorer(…) is missing in: {', '.join(without)}"


# The checks

FRAME = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">'
    '</head><body><main><article class="bd-article"><h1 id="top">A page</h1>{}</article></main></body></html>'
)


def draw(power):
    fig, ax = figures.figure(width=3.5)
    ax.plot([0, 1], [0, power])
    return fig


GOOD = figures.explorer(draw, {"power": [1, 2, 3]}, label="p").static()["text/html"]
FAULTS = {  # what is planted, and what a check must say
    "foreign": ('<img alt="x" src="http://192.0.2.1/x.png">', "request to another host"),
    "missing": ('<img alt="x" src="nowhere.png">', "status 404"),
    "console": ("<script>console.error('planted')</script>", "console: planted"),
    "script": ("<script>throw Error('planted')</script>", "script error: planted"),
    "formula": (r'<span class="math">\(x^2\)</span>', "formula not typeset"),
    "mathjax": ('<span class="math"><mjx-container><mjx-merror>x</mjx-merror></mjx-container></span>', "with an error"),
    "cut": (
        '<p style="overflow:hidden;width:300px"><mjx-container><mjx-math style="display:inline-block;width:900px">x'
        "</mjx-math></mjx-container></p>",
        "formula cut off at the edge of the text: x",
    ),
    "scrolled": (
        '<div class="math" style="overflow:auto;width:200px"><mjx-container display="true"><mjx-math '
        'style="display:inline-block;width:900px">x</mjx-math></mjx-container></div>',
        "displayed formula that has to be scrolled: x",
    ),
    "unreachable": (
        '<div style="overflow-x:auto;width:200px"><p style="width:900px">wide</p></div>',
        "region that scrolls and that the keyboard cannot reach: wide",
    ),
    "wide": ('<div style="width:3000px">wide</div>', "px wider than the screen"),
    "alt": ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">', "image without alt text"),
    "contrast": ('<p style="color:#bbb;background:#fff">pale</p>', "axe serious, color-contrast"),
    "row": (
        f"<table><tbody>{'<tr><td>x</td></tr>' * 9}<tr><td>y</td><td style='color:#bbb;background:#fff'>pale</td></tr>"
        "</tbody></table>",
        "axe serious, color-contrast",
    ),
    "frozen": (GOOD.replace("oninput", "onnothing"), "slider 'p' says ['1', '1', '1']"),
    "unnamed": (GOOD.replace("aria-label", "data-x"), "slider None"),
    "low": (GOOD.replace("min-height:44px", "height:20px"), "not 44 px high"),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A site with a page a fault, and one without."""
    folder = tmp_path_factory.mktemp("site")
    for name, (body, _) in FAULTS.items():
        (folder / f"{name}.html").write_text(FRAME.format(body), "utf8")
    (folder / "well.html").write_text(FRAME.format(GOOD + '<a href="#top">top</a>'), "utf8")
    return folder


def test_checks_pass_a_page_that_is_well(faulty, reader):
    with browser.served(faulty) as address:
        for mode in MODES[::3]:
            assert site_checks.visit(reader, address, "well.html", *mode) == []


LATE = """<script src="mathjax.js"></script><script>
window.MathJax = {startup: {promise: new Promise(done => setTimeout(() => {
  document.querySelector('.math').innerHTML = '<mjx-container>x</mjx-container>'; done(); }, 1500))}};
</script>"""


def test_checks_wait_for_formulas_however_slow_the_machine(faulty, reader):
    (faulty / "mathjax.js").write_text("")
    (faulty / "late.html").write_text(FRAME.format(LATE + r'<span class="math">\(x\)</span>'), "utf8")
    with browser.served(faulty) as address:
        assert site_checks.visit(reader, address, "late.html", "desktop", "light") == []


def test_name_in_the_sidebar_fits_into_its_picture_whatever_the_font():
    logo = ElementTree.parse(ROOT / "book" / "_static" / "logo.svg").getroot()
    width = float(logo.get("viewBox").split()[2])
    texts = logo.findall(".//{http://www.w3.org/2000/svg}text")
    assert " ".join(text.text for text in texts) == "The Dynamics of Deep Networks"
    assert all(float(text.get("x")) + float(text.get("textLength")) <= width for text in texts)


@pytest.mark.parametrize("fault", FAULTS)
def test_checks_find_a_planted_fault(faulty, reader, fault):
    with browser.served(faulty) as address:
        found = site_checks.visit(reader, address, f"{fault}.html", "phone", "light")
    assert any(FAULTS[fault][1] in finding for finding in found), found


def test_checks_of_files_find_planted_faults(tmp_path):
    site = tmp_path / "html"
    (site / "book").mkdir(parents=True)
    body = (
        '<a href="other.html#there">a</a> <a href="other.html#not%20there">b</a> <a href="gone.html">c</a>'
        '<a href="../../outside.html">d</a> <script src="https://cdn.example/x.js"></script>'
        "<p>&lt;Thing at 0x7f00deadbeef&gt;</p><p>{ref}`x`</p><p>/srv/secret/book</p><script>'{ref}`x`'</script>"
    )
    (tmp_path / "outside.html").write_text("")
    (site / "book" / "one.html").write_text(FRAME.format(body), "utf8")
    (site / "book" / "other.html").write_text(FRAME.format('<p id="there">x</p>' + GOOD * 41), "utf8")
    found = site_checks.links(site)
    assert len(found) == 4 and all(
        any(text in finding for finding in found)
        for text in ("anchor: other.html#not%20there", "file: gone.html", "file: ../../outside.html", "cdn.example")
    )
    assert len(site_checks.leftovers(site, "/srv/secret")) == 3
    assert site_checks.weights(site) == []
    heavy = GOOD.replace("<img ", "<img x=" + "0" * 50_000 + " ")
    (site / "book" / "heavy.html").write_text(FRAME.format(heavy * 14 + heavy * 20), "utf8")
    assert any("heavy.html" in finding and "bytes of content" in finding for finding in site_checks.weights(site))


def test_check_of_launch_buttons(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "one.md").write_text("---\nkernelspec: {name: python3}\n---\n# One\n")
    (tmp_path / "html" / "book").mkdir(parents=True)
    page = tmp_path / "html" / "book" / "one.html"
    binder = "https://mybinder.org/v2/gh/who/book/main?urlpath=lab/tree/book/one.md"
    colab = "https://colab.research.google.com/github/who/book/blob/notebooks/book/one."

    def found(*links):
        page.write_text(FRAME.format("".join(f'<a href="{link}">x</a>' for link in links)))
        site_checks.read.cache_clear()
        return site_checks.launch_buttons(tmp_path / "html", tmp_path, "https://github.com/who/book")

    assert found(binder, colab + "ipynb") == []
    assert len(found(binder, colab + "md")) == 1 and len(found(colab + "ipynb")) == 1
    assert len(found(binder.replace("who", "you"), colab + "ipynb")) == 1
