"""Slide decks: what of a chapter they show, and how they look on a screen of 1280 by 720, from the disk."""

from __future__ import annotations

import re
from pathlib import Path

import browser
import pytest
import slides
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
CHAPTERS = ("layers/order-and-chaos", "geometry/natural-gradient")

PAGE = r"""<html><head><script>window.MathJax = {"tex": {}}</script></head><body><article class="bd-article"><section>
<h1>7. A chapter<a class="headerlink" href="#top">#</a></h1>
<p>Why is it so?</p><div class="objectives">After this</div>
<section><h2>One</h2>
<p>Plain prose. More of it. Will it grow?</p>
<div class="cell"><details>Source</details><div class="cell_input">code</div>
  <figure><img alt="A curve" src="../../_images/a.png"><figcaption>It grows.</figcaption></figure></div>
<p>Let <em>x</em> &lt; 1. Its square is</p><div class="math">\[x^2\]</div><p>where <em>x</em> is small.</p>
<div class="proof theorem"><section><p>All is well. Is it?</p></section></div><div class="proof"><p>Clear.</p></div>
<div class="cell"><div class="claim">first</div></div><p>Between.</p>
<div class="cell"><div class="claim">second</div></div>
<section><h3>Below</h3><p>See <a href="other.html#x">there</a>. Which?</p></section></section>
<section><h2>Two misconceptions</h2><p>“It is large.” No.</p></section>
<section><h2>Exercises</h2><div class="exercise"><div class="math">\[y\]</div></div></section>
<section><h2>Summary</h2><ol><li>So it is.</li><li>And this.</li></ol><p>Sources.</p></section>
</section></article></body></html>"""


def test_what_a_deck_shows():
    title, text = slides.deck(PAGE, "https://site/book/part/seven.html")
    soup = BeautifulSoup(text, "html.parser")
    shown = [" ".join(slide.get_text(" ").split()) for slide in soup.select(".slides > section")]
    assert title == "7. A chapter" and shown[0].startswith(title)
    assert shown[1:] == [
        "Why is it so?",
        "After this",
        "One Plain prose. More of it. Will it grow?",
        "One It grows.",
        r"One Its square is \[x^2\] where x is small.",
        "One All is well. Is it?",
        "One first second",
        "One See there . Which?",
        "Two misconceptions “It is large.” No.",
        "Summary So it is. And this.",
    ]
    assert [len(slide.select("section")) for slide in soup.select(".slides > section")] == [0] * len(shown)
    assert soup.img["alt"] == "A curve" and soup.img["src"] == "images/a.png"
    assert soup.select_one("a:-soup-contains(there)")["href"] == "https://site/book/part/other.html#x"
    assert [points["start"] for points in soup.select("ol")] == ["1", "2"]


def test_of_a_long_paragraph_the_last_sentences_remain():
    def ending(html, letters):
        return slides._ending(BeautifulSoup(f"<p>{html}</p>", "html.parser").p, letters)

    assert ending("One. Two <em>is. Not</em> it. Three?", 0) == "Three?"
    assert ending("One. Two <em>is. Not</em> it. Three?", 24) == "Two <em>is. Not</em> it. Three?"
    assert ending("One. Two <em>is. Not</em> it. Three?", 100) == "One. Two <em>is. Not</em> it. Three?"
    assert ending(r"See eq. (3). <span>\(x\)</span> &lt; 1", 0) == r"<span>\(x\)</span> &lt; 1"
    assert ending("Only <b>one</b>", 0) == "Only <b>one</b>"


SEEN = """() => Reveal.getSlides().map(slide => {
  const images = [...slide.querySelectorAll('img')].filter(e => !e.hidden), math = [...slide.querySelectorAll('.math')];
  return {
    name: slide.innerText.slice(0, 60),
    cut: slide.scrollHeight > slide.clientHeight || slide.scrollWidth > slide.clientWidth,
    letters: parseFloat(getComputedStyle(slide).fontSize),
    small: images.filter(e => e.clientHeight < 200 || e.clientWidth < 400 || !e.naturalWidth).map(e => e.alt),
    unset: math.filter(e => !e.querySelector('mjx-container') || e.querySelector('mjx-merror')).map(e => e.innerText),
  };
})"""


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    if not (SITE / "index.html").is_file():
        browser.lacking("the book is not built: make book")
    target = tmp_path_factory.mktemp("slides") / "decks"
    files = slides.write(ROOT, target, [f"book/{name}" for name in CHAPTERS])
    assert re.findall(r'href="([\w-]+\.html)"', (target / "index.html").read_text("utf8")) == [f.name for f in files]
    return dict(zip(CHAPTERS, files, strict=True))


@pytest.mark.parametrize("name", CHAPTERS)
def test_deck_in_a_browser(decks, name):
    found = []
    with browser.chromium() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 720})
        page.on("console", lambda m: m.type == "error" and found.append(m.text))
        page.on("pageerror", lambda error: found.append(str(error)))
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or found.append(r.url))
        page.on("requestfailed", lambda r: found.append(r.url))
        page.goto(decks[name].as_uri())
        page.wait_for_function("() => window.Reveal?.isReady()", timeout=60_000)
        seen = page.evaluate(SEEN)
        # the arrow moves the explorer while it has the focus, and the deck otherwise
        at = page.evaluate("() => Reveal.getSlides().findIndex(slide => slide.querySelector('.dd-explorer'))")
        page.evaluate("at => Reveal.slide(at)", at)
        slider = page.locator(".present .dd-explorer input").first
        slider.press("ArrowRight")
        assert slider.input_value() == "1" and page.evaluate("() => Reveal.getIndices().h") == at
        page.evaluate("() => document.activeElement.blur()")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("() => Reveal.getIndices().h") == at + 1
    assert found == []
    assert 20 <= len(seen) <= 45  # a minute or two a slide
    assert [slide for slide in seen if slide["cut"] or slide["small"] or slide["unset"]] == []
    assert min(slide["letters"] for slide in seen) >= 18
    alts = [
        [image["alt"] for image in _soup(file).select("figure img")]
        for file in (decks[name], SITE / f"book/{name}.html")
    ]
    assert len(alts[0]) > 3 and all(alts[0]) and set(alts[0]) <= set(alts[1])


def _soup(file):
    return BeautifulSoup(file.read_text("utf8"), "html.parser")
