"""What others than readers see of the site: descriptions and previews of pages, the list of pages, and the page for
addresses that lead nowhere; and what paper shows.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from xml.etree import ElementTree

import browser
import pytest
import sharing
import site_checks
from docutils import nodes
from docutils.utils import new_document
from PIL import Image
from theme import project_urls

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
PAPER = {"width": 673, "height": 986}  # A4 less the margins, in CSS pixels


@pytest.fixture(scope="module")
def built():
    if not (SITE / "404.html").is_file():
        browser.lacking("the book is not built: make book")
    return SITE


def test_description_is_cut_between_words():
    assert sharing.shortened("one  two\nthree") == "one two three"
    cut = sharing.shortened("word " * 100)
    assert len(cut) <= sharing.LENGTH and cut.endswith(" word…")


def test_first_paragraph_is_running_text():
    document, section = new_document("x"), nodes.section()
    section += [nodes.title("", "T"), nodes.note("", nodes.paragraph("", "a note")), nodes.paragraph("", "The\ntext.")]
    document += section
    assert sharing.first_paragraph(document) == "The text." and sharing.first_paragraph(new_document("y")) == ""


def test_preview_has_the_size_of_previews(tmp_path):
    Image.new("RGB", (300, 200), "black").save(tmp_path / "figure.png")
    card = sharing.preview(tmp_path / "figure.png")
    assert card.size == sharing.SIZE
    assert card.getpixel((600, 315)) == (0, 0, 0) and card.getpixel((5, 5)) == (255, 255, 255)


def test_list_of_pages_has_every_page(tmp_path):
    config = SimpleNamespace(html_baseurl="https://x.org/b/", master_doc="book/index", html_title="T")
    builder = SimpleNamespace(format="html", get_target_uri=lambda name: f"{name}.html")
    env = SimpleNamespace(found_docs={"book/index", "book/a"})
    sharing.write_files(
        SimpleNamespace(config=config, builder=builder, env=env, outdir=tmp_path, srcdir=tmp_path), None
    )
    found = [element.text for element in ElementTree.parse(tmp_path / "sitemap.xml").findall(".//{*}loc")]
    assert found == ["https://x.org/b/book/a.html", "https://x.org/b/book/index.html"]
    assert 'href="https://x.org/b/book/index.html"' in (tmp_path / "404.html").read_text("utf8")


# The built book


def meta(text):
    return dict(re.findall(r'<meta (?:property|name)="([\w:]+)" content="([^"]*)"', text))


def test_every_page_says_what_it_is_about(built):
    site, seen = project_urls(ROOT)["Homepage"].rstrip("/") + "/", set()
    addresses = [element.text for element in ElementTree.parse(built / "sitemap.xml").findall(".//{*}loc")]
    assert len(addresses) > 20
    for address in addresses:
        found = meta((built / address.removeprefix(site)).read_text("utf8"))
        assert found["og:url"] == address and found["og:title"] and found["og:image:alt"]
        assert 20 <= len(found["description"]) <= 300, address  # with signs that HTML writes as names
        assert (built / found["og:image"].removeprefix(site)).is_file(), found["og:image"]
        seen.add(found["description"])
    assert len(seen) == len(addresses)


def test_the_page_for_dead_links_stands_alone(built):
    page = site_checks.read(built / "404.html")
    site = project_urls(ROOT)["Homepage"].rstrip("/") + "/"
    assert all(
        link.startswith(site) and (built / urlsplit(link.removeprefix(site)).path).is_file() for link in page.links
    )
    assert len(page.links) == 3 and page.sources == ["data:,"]


# On paper

PRINTED = """() => {
  const shown = e => e && getComputedStyle(e).display !== 'none' && e.getBoundingClientRect().height > 0;
  const frame = ['.bd-header-article', '.bd-sidebar-primary', '.bd-sidebar-secondary', '.prev-next-footer', '.copybtn',
    '.headerlink', 'footer', '.dd-explorer input'];
  const article = document.querySelector('article.bd-article'), right = document.documentElement.clientWidth;
  const wide = [...article.querySelectorAll('img, table, pre, mjx-container[display], figure, .claim, p')].filter(
    e => shown(e) && e.getBoundingClientRect().right > right + 1);
  return {
    wide: document.documentElement.scrollWidth - right,
    outside: wide.map(e => e.outerHTML.slice(0, 120)),
    frame: frame.filter(s => [...document.querySelectorAll(s)].some(shown)),
    tall: [...article.querySelectorAll('img')].filter(e => e.getBoundingClientRect().height > 900).length,
    open: article.querySelectorAll('.solution.dropdown:not(.toggle-hidden)').length,
    folded: article.querySelectorAll('.solution.dropdown').length,
  };
}"""


@pytest.mark.parametrize("name", ["layers/order-and-chaos", "ledger", "library/meanfield", "teaching"])
def test_page_on_paper(built, name):
    with browser.chromium() as chromium, browser.served(built) as address:
        page = chromium.new_page(viewport=PAPER)
        page.goto(f"{address}book/{name}.html", wait_until="load", timeout=120_000)
        site_checks._settled(page)
        page.emulate_media(media="print")
        found = page.evaluate(PRINTED)
        page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
        after = page.evaluate(PRINTED)
        assert page.pdf(format="A4").startswith(b"%PDF")
    assert found["wide"] <= 0 and found["outside"] == [] and found["frame"] == [] and found["tall"] == 0
    assert after["open"] == 0 and (found["folded"] > 0) == name.startswith("layers")  # printing opens no solution
