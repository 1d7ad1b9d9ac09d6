"""The book on paper: two chapters printed as all of them are."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import browser
import pdf
import pdf_text
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
CHAPTERS = [("One part", "book/layers/order-and-chaos"), ("Another part", "book/layers/other-architectures")]


def test_pages_are_those_of_the_table_of_contents():
    names = [name for _, name in pdf.pages(ROOT)]
    toc = (ROOT / "_toc.yml").read_text("utf8")
    assert names == re.findall(r"(?:root|file): (\S+)", toc) and len(names) > 40


def test_links_stay_inside_where_they_can():
    page = """<article class="bd-article"><section id="top"><h1>A<a class="headerlink">#</a></h1>
    <a href="#top">a</a><a href="../two.html#there">b</a><a href="../two.html">c</a><a href="../x.html#y">d</a>
    <a href="https://else/#z">e</a><img src="../../_images/i.png"><span aria-labelledby="top other"></span>
    <div class="dropdown">folded</div><div class="dd-explorer"><img src="data:,1"><img src="data:,2" hidden></div>
    <section id="s"><h2>B</h2></section></section></article>"""
    found = pdf.printed(page, "part", "book/part/one", {"book/part/one": 1, "book/two": 2}, "https://site/")
    links = re.findall(r'href="([^"]+)"', found.article)
    assert links == ["#p1-top", "#p2-there", "#p2", "https://site/book/x.html#y", "https://else/#z"]
    assert re.findall(r'src="([^"]+)"', found.article) == ["html/_images/i.png", "data:,1"]
    assert found.sections == [("p1.0", "A"), ("p1.1", "B")] and "folded" not in found.article
    assert 'aria-labelledby="p1-top p1-other"' in found.article


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    if not (SITE / "index.html").is_file():
        browser.lacking("the book is not built: make book")
    if pdf.CHROMIUM is None:
        browser.lacking("no Chromium is installed")
    file = tmp_path_factory.mktemp("pdf") / "two.pdf"
    printed = pdf.write(ROOT, file, CHAPTERS)
    assert file.read_bytes() == printed and not (SITE.parent / "two.html").exists()
    return pdf_text.pages(printed)


def test_two_chapters_on_paper(paper):
    assert 25 <= len(paper) <= 60
    assert paper[0].text.startswith("The Dynamics of Deep Networks")
    assert all(f" {number} " in f" {page.text[:80]} " for number, page in enumerate(paper[1:], 2))
    assert "?" * 3 not in paper[3].text


def test_table_of_contents_says_the_page(paper):
    said = re.findall(r"(\d+\.(?:\d+\.)? [A-Z][^.?]+\??) (\d+)(?= |$)", paper[1].text)
    assert len(said) > 20
    assert [title for title, number in said if title not in paper[int(number) - 1].text] == []


def test_words_and_formulas_are_text(paper):
    text = " ".join(page.text for page in paper)
    for words in (
        "Take a network nobody has trained",
        "How many layers a correlation survives",
        "Theorem 2.1",
        "definition",
    ):
        assert words in text, words
    assert text.count("χ") > 20 and text.count("σ") > 20  # of formulas


def test_no_figure_is_cut(paper):
    shown = [number for page in paper for number in page.images]
    figures = sum((SITE / f"{name}.html").read_text("utf8").count("<figure") for _, name in CHAPTERS)
    assert len(shown) == len(set(shown)) >= figures  # none is on two pages
    for page in paper:
        for left, bottom, right, top in page.images.values():
            assert left >= 0 and bottom >= 0 and right <= page.size[0] and top <= page.size[1]


def test_a_cut_figure_would_be_found():
    picture = f'<img src="data:image/png;base64,{base64.b64encode(_png()).decode()}"'
    with browser.chromium() as chromium:
        view = chromium.new_page()
        view.set_content(f'{picture} style="width: 10mm; height: 400mm">')
        found = pdf_text.pages(view.pdf(**pdf.PAPER))
    shown = [number for page in found for number in page.images]
    assert (
        len(shown) == 2 and len(set(shown)) == 1 and min(box[1] for page in found for box in page.images.values()) < 0
    )


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()
