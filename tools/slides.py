"""Make a slide deck of each chapter of the built book: ``make slides`` calls this after ``make book``.

python tools/slides.py              _build/slides/<chapter>.html, and index.html, which lists them
python tools/slides.py --root DIR   of another book of the same layout

A deck shows what a teacher points at, taken from the chapter's page: title, question, objectives, figures and
explorers, displayed formulas, definitions and theorems, claims, misconceptions, summary. Of the prose it keeps what
asks a question and what leads to a formula. The folder needs no network and can be copied.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from html import escape
from itertools import chain
from pathlib import Path
from urllib.parse import urljoin

from bs4 import BeautifulSoup, NavigableString, Tag

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import records
from bookfiles import in_a_part

PROJECT = Path(__file__).resolve().parents[1]

LEFT_OUT = ".exercise, .solution, .dropdown, details, .cell_input, .headerlink, .claim-link"
FIGURE, CLAIM = "figure, .dd-explorer", ".claim"
STATEMENTS = {"definition", "theorem", "lemma", "proposition", "corollary", "algorithm"}
LETTERS = 900  # of text on a slide
SENTENCES = 320  # letters of a question

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
{head}
</head>
<body class="tex2jax_ignore mathjax_ignore">
{body}
</body>
</html>
"""
HEAD = """<link rel="stylesheet" href="reveal/reset.css">
<link rel="stylesheet" href="reveal/reveal.css">
<link rel="stylesheet" href="slides.css">
<script>{mathjax}</script>
<script defer src="mathjax/tex-chtml-full.js"></script>
<script defer src="reveal/reveal.js"></script>
<script defer src="slides.js"></script>"""


def deck(page: str, address: str) -> tuple[str, str]:
    """Title and HTML of the deck of a chapter, from its page; ``address`` is where the page is published."""
    soup = BeautifulSoup(page, "html.parser")
    chapter = soup.select_one("article.bd-article > section")
    assert chapter is not None and chapter.h1 is not None, f"{address} is not a page of the book"
    for tag in chapter.select(LEFT_OUT):
        tag.decompose()
    for part in chapter.select(".proof section"):
        part.unwrap()  # to reveal.js every section is a slide
    for link in chapter.select("a[href]"):
        link["href"] = urljoin(address, str(link["href"]))
    for image in chapter.select("img[src*='_images/']"):
        image["src"] = f"images/{Path(str(image['src'])).name}"
    mathjax = next(s.string for s in soup.select("script") if "window.MathJax" in (s.string or ""))
    slides = "\n".join(f"<section>{slide}</section>" for slide in _slides(chapter, address))
    body = f'<div class="reveal"><div class="slides">\n{slides}\n</div></div>'
    title = chapter.h1.get_text()
    return title, PAGE.format(title=escape(title), head=HEAD.format(mathjax=mathjax), body=body)


def _slides(chapter: Tag, address: str) -> Iterator[str]:
    question, objectives = chapter.find("p", recursive=False), chapter.select_one(".objectives")
    title = "The Dynamics of Deep Networks"
    yield f'<div class="title">{chapter.h1}<p>{title}</p><p><a href="{address}">{address}</a></p></div>'
    yield f'<div class="question">{question}</div>'
    yield str(objectives or "")
    for section in chapter.find_all("section", recursive=False):
        name = section.h2.get_text()
        if "ummary" in name:
            found = _packed(point for points in section.find_all("ol", recursive=False) for point in _points(points))
        elif re.search(r"isconception|not (mean|say)$", name):
            text = [block.extract() for block in list(_blocks(section)) if block.name in ("p", "ul", "ol")]
            found = chain(_packed(text), _shown(section))
        else:
            found = _shown(section)
        yield from (f"<h2>{section.h2.decode_contents()}</h2>{slide}" for slide in found)


def _blocks(section: Tag) -> Iterator[Tag]:
    for child in section.find_all(True, recursive=False):
        yield from _blocks(child) if child.name == "section" else [child]


def _shown(section: Tag) -> Iterator[str]:
    """What a section shows, a slide each; claims that follow each other share some."""
    claims: list[Tag] = []
    blocks = list(_blocks(section))
    for before, block, after in zip([None, *blocks], blocks, [*blocks[1:], None], strict=False):
        slides: list[str] = []
        if block.name == "p" and block.get_text().strip().endswith("?"):
            slides = [f'<div class="question"><p>{_ending(block, SENTENCES)}</p></div>']
        elif "math" in block.get("class", []):
            lead = f"<p>{_ending(before, 0)}</p>" if before is not None and before.name == "p" else ""
            where = after if after is not None and re.match(r"[a-z].*\.$", after.get_text().strip(), re.S) else ""
            slides = [f'<div class="formula">{lead}{block}{where}</div>']
        elif STATEMENTS & set(block.get("class", [])):
            slides = [str(block)]
        elif "cell" in block.get("class", []):
            slides = [str(figure) for figure in block.select(FIGURE)]
        if slides:
            yield from _packed(claims)
            claims = []
        yield from slides
        claims += block.select(CLAIM) if "cell" in block.get("class", []) else []
    yield from _packed(claims)


def _ending(paragraph: Tag, letters: int) -> str:
    """The last sentence of a paragraph, with those before it as far as all of them have so many letters."""
    found, after = "", ""
    for child in reversed(paragraph.contents):
        if isinstance(child, NavigableString):
            for end in reversed([end.end() for end in re.finditer(r"[.?!]\s+(?=[A-Z]|$)", child)]):
                text = escape(child[end:], quote=False) + after
                if found and len(BeautifulSoup(text, "html.parser").get_text()) > letters:
                    return found
                found = text if text.strip() else found
            after = escape(child, quote=False) + after
        else:
            after = str(child) + after
    return after if not found or len(paragraph.get_text()) <= letters else found


def _points(points: Tag) -> Iterator[Tag]:
    """A list of one point for each point of a list."""
    for number, item in enumerate(points.find_all("li", recursive=False), 1):
        yield item.wrap(BeautifulSoup().new_tag(points.name, start=number))


def _packed(pieces: Iterable[Tag]) -> Iterator[str]:
    """As many pieces to a slide as can be read at ease."""
    slide: list[Tag] = []
    for piece in pieces:
        if slide and sum(len(p.get_text()) for p in [*slide, piece]) > LETTERS:
            yield "".join(map(str, slide))
            slide = []
        slide.append(piece)
    if slide:
        yield "".join(map(str, slide))


def write(root: Path, target: Path, docnames: Iterable[str]) -> list[Path]:
    """Write the decks of these chapters, and what they need, into a new folder; returns the decks."""
    html, titles = root / "_build" / "html", {}
    site = tomllib.loads((root / "pyproject.toml").read_text("utf8"))["project"]["urls"]["Homepage"].rstrip("/") + "/"
    (target / "images").mkdir(parents=True)
    for docname in docnames:
        file = target / f"{docname.rsplit('/', 1)[-1]}.html"
        titles[file], text = deck((html / f"{docname}.html").read_text("utf8"), f"{site}{docname}.html")
        file.write_text(text, "utf8")
        for name in re.findall(r'src="images/([^"]+)"', text):
            shutil.copyfile(html / "_images" / name, target / "images" / name)
    links = "\n".join(f'<li><a href="{file.name}">{escape(title)}</a></li>' for file, title in titles.items())
    body = f'<main class="list"><h1>Slides of The Dynamics of Deep Networks</h1>\n<ul>\n{links}\n</ul></main>'
    style = '<link rel="stylesheet" href="slides.css">'
    (target / "index.html").write_text(PAGE.format(title="Slides", head=style, body=body), "utf8")
    shutil.copytree(html / "_static" / "mathjax", target / "mathjax")
    for suffix in (".css", ".js"):
        shutil.copy(Path(__file__).with_suffix(suffix), target)
    (target / "reveal").mkdir()
    for part in importlib.metadata.distribution("sphinx-revealjs").files or []:
        if re.search(r"revealjs/(dist/(reset\.css|reveal\.css|reveal\.js)|LICENSE)$", str(part)):
            shutil.copyfile(str(part.locate()), target / "reveal" / part.name)
    return list(titles)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=PROJECT)
    root = parser.parse_args().root.resolve()
    chapters = [docname for docname in records.notebooks(root) if in_a_part(docname)]
    if not all((root / "_build" / "html" / f"{docname}.html").is_file() for docname in chapters):
        print("Build the book first (make book)", file=sys.stderr)
        return 1
    target = root / "_build" / "slides"
    shutil.rmtree(target, ignore_errors=True)
    print(f"{len(write(root, target, chapters))} decks. Open {target / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
