"""Print the built book into one PDF by Chromium: ``make pdf`` calls this after ``make book``.

python tools/pdf.py              _build/pdf/the-dynamics-of-deep-networks.pdf
python tools/pdf.py --root DIR   of another book of the same layout

All pages of _toc.yml, in its order, become one long page in print style, with links that stay inside it. It is printed
twice: the table of contents has the page numbers that the first print gave. What is folded, solutions, hints and
the code of figures, stays on the site.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import records

PROJECT = Path(__file__).resolve().parents[1]
NAME = "the-dynamics-of-deep-networks"
STYLE = Path(__file__).with_suffix(".css")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
LEFT_OUT = ".dropdown, details.hide, .headerlink, .claim-link, .dd-explorer img[hidden], script"
REFERENCES = ("for", "aria-labelledby", "aria-describedby", "aria-controls")
PAPER: Any = {"prefer_css_page_size": True}
NUMBER = "found => document.querySelectorAll('nav a').forEach(a => a.lastChild.textContent = found[a.hash.slice(1)])"

PAGE = """<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light">
<head>
<meta charset="utf-8">
<title>The Dynamics of Deep Networks</title>
{head}
<style>
{style}
</style>
</head>
<body>
<header><h1>The Dynamics of Deep Networks</h1><p><a href="{site}">{site}</a></p>
<p>Version {version}. Text and figures: CC BY 4.0, code: BSD 3-Clause. Solutions, hints and the code of figures are on
the site.</p></header>
<nav>{contents}</nav>
<main class="bd-main"><div class="bd-content"><div class="bd-article-container">
{articles}
</div></div></main>
</body>
</html>
"""


@dataclass
class Printed:
    """A page of the book as a part of the long one: what the table of contents says of it, and its article."""

    part: str
    title: str
    sections: list[tuple[str, str]]  # id and heading, of the page itself first
    article: str


def pages(root: Path) -> list[tuple[str, str]]:
    """Part and name of all pages of the book, in the order of the table of contents."""

    def below(entries: list[dict[str, Any]], part: str) -> Iterator[tuple[str, str]]:
        for entry in entries:
            yield part, entry["file"]
            yield from below(entry.get("sections", []), part)

    toc = records.read_yaml(root / "_toc.yml")
    parts = [*toc.get("parts", []), {"caption": "", "chapters": toc.get("chapters", [])}]
    found = [page for part in parts for page in below(part["chapters"], part["caption"])]
    return [("", toc["root"]), *found]


def printed(page: str, part: str, docname: str, numbers: dict[str, int], site: str) -> Printed:
    """A page, with ids of its own; ``numbers`` are those of the pages that are printed."""
    article = BeautifulSoup(page, "html.parser").select_one("article.bd-article")
    assert article is not None, f"{docname} has no article"
    mark = f"p{numbers[docname]}"
    for tag in article.select(LEFT_OUT):
        tag.decompose()
    for tag in article.select("[id]"):
        tag["id"] = f"{mark}-{tag['id']}"
    for name in REFERENCES:
        for tag in article.select(f"[{name}]"):
            tag[name] = " ".join(f"{mark}-{word}" for word in str(tag[name]).split())
    for name in ("href", "xlink:href"):
        for tag in article.find_all(attrs={name: True}):
            tag[name] = _target(str(tag[name]), docname, numbers, site)
    for image in article.select("img[src]:not([src^='data:'])"):
        image["src"] = "html/" + urljoin(docname, str(image["src"]))
    article["id"], article["style"] = mark, f"page: {mark}"
    headings = [heading for heading in article.select("h1, h2") if heading.find_parent(class_="admonition") is None]
    for number, heading in enumerate(headings):  # its section may begin on the page before
        heading["id"] = f"{mark}.{number}"
    sections = [(str(heading["id"]), heading.get_text()) for heading in headings]
    return Printed(part, sections[0][1], sections, str(article))


def _target(link: str, docname: str, numbers: dict[str, int], site: str) -> str:
    whole = urljoin(f"{docname}.html", link)
    address, anchor = urldefrag(whole)
    number = numbers.get(address.removesuffix(".html"))
    if number is None:
        return urljoin(site, whole)
    return f"#p{number}-{anchor}" if anchor else f"#p{number}"


def contents(book: list[Printed]) -> str:
    """The table of contents, with room for the numbers of the pages."""
    lines, part = ["<h1>Contents</h1>"], ""
    for page in book:
        if page.part != part:
            part = page.part
            lines.append(f"<h2>{escape(part)}</h2>")
        for level, (anchor, title) in enumerate(page.sections):
            kind = "section" if level else "chapter"
            lines.append(f'<p class="{kind}"><a href="#{anchor}">{escape(title)}<span></span></a></p>')
    return "\n".join(lines)


def places(pdf: bytes) -> dict[str, int]:
    """The numbers of the pages that links inside a PDF of Chromium lead to."""
    text = re.sub(rb"stream\r?\n.*?endstream", b"", pdf, flags=re.S).decode("latin1")
    order = {number: k for k, number in enumerate(re.findall(r"^(\d+) 0 obj\n<</Type /Page\n", text, flags=re.M), 1)}
    return {name: order[page] for name, page in re.findall(r"/(\S+) \[(\d+) 0 R /XYZ", text) if page in order}


def _head(page: str, docname: str) -> str:
    """The style sheets of a page, and what sets its formulas; none of the scripts of the theme."""
    soup = BeautifulSoup(page, "html.parser")
    wanted = soup.select("head link[rel=stylesheet], head script[src*=mathjax]")
    for tag in wanted:
        name = "href" if tag.name == "link" else "src"
        tag[name] = "html/" + urljoin(docname, str(tag[name]))
    settings = [script for script in soup.select("head script") if "window.MathJax" in (script.string or "")]
    return "\n".join(map(str, [*wanted, *settings]))


def write(root: Path, target: Path, chosen: list[tuple[str, str]]) -> bytes:
    """Print these pages (part and name) into ``target``; returns what was written."""
    html, project = root / "_build" / "html", tomllib.loads((root / "pyproject.toml").read_text("utf8"))["project"]
    site, numbers = project["urls"]["Homepage"].rstrip("/") + "/", {name: k for k, (_, name) in enumerate(chosen, 1)}
    texts = {name: (html / f"{name}.html").read_text("utf8") for _, name in chosen}
    book = [printed(texts[name], part, name, numbers, site) for part, name in chosen]
    values = {"site": site, "version": project["version"], "articles": "\n".join(page.article for page in book)}
    values["contents"] = contents(book)
    values["head"] = next(_head(text, name) for name, text in texts.items() if "window.MathJax" in text)
    values["style"] = STYLE.read_text("utf8") + "\n".join(
        f"@page p{number} {{ @top-right {{ content: {json.dumps(page.title)}; }} }}"
        for number, page in enumerate(book, 1)
    )
    long = html.with_name(f"{target.stem}.html")
    long.write_text(PAGE.format(**values), "utf8")
    target.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        view = browser.new_page()
        view.set_default_timeout(600_000)
        view.goto(long.as_uri())
        view.evaluate("() => MathJax.startup.promise.then(() => document.fonts.ready).then(() => true)")
        view.evaluate(NUMBER, places(view.pdf(**PAPER)))
        pdf = view.pdf(**PAPER, outline=True, tagged=True)
        browser.close()
    long.unlink()
    target.write_bytes(pdf)
    return pdf


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=PROJECT)
    root = parser.parse_args().root.resolve()
    book, target = pages(root), root / "_build" / "pdf" / f"{NAME}.pdf"
    if CHROMIUM is None:
        print("Chromium prints the book; on Debian and Ubuntu: apt install chromium", file=sys.stderr)
        return 1
    if not all((root / "_build" / "html" / f"{name}.html").is_file() for _, name in book):
        print("Build the book first (make book)", file=sys.stderr)
        return 1
    pdf = write(root, target, book)
    print(f"{pdf.count(b'/Type /Page' + bytes([10]))} pages in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
