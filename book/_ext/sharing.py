"""What others than readers see of the site: search engines, previews of links, and who follows a link that is dead."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from docutils import nodes
from generated import chapters, root_of
from PIL import Image
from sphinx.application import Sphinx

LENGTH = 200  # of a description
SIZE = (1200, 630)  # of the preview of the whole book
PREVIEW = "_static/preview.png"
PICTURE = "fig-phase-diagram"  # the figure on it, one of those that the landing page shows

NOT_FOUND = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Page not found · {title}</title><link rel="icon" href="data:,"><meta name="robots" content="noindex">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1.2rem;
  color: light-dark(#222, #eee); background: light-dark(#fff, #121212); }}
a {{ color: light-dark(#0b57b0, #8ab8ff); }}
</style></head><body><main><article class="bd-article"><h1>There is no such page</h1>
<p>It may have moved: the chapters have new places as the book grows.</p>
<ul><li><a href="{site}{start}">The first page, with the map of the chapters</a></li>
<li><a href="{site}search.html">Search the book</a></li>
<li><a href="{site}book/ledger.html">The ledger of claims</a></li></ul></article></main></body></html>
"""


def describe_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Description and preview of a page: a chapter's sentence of the map, or the first paragraph; its first figure."""
    if doctree is None:
        return
    row = next((row for row in chapters(root_of(app)) if row["docname"] == page), None)
    says = shortened(row["shows"] if row else first_paragraph(doctree))
    picture, alt = first_picture(app, doctree) if row else ("", "")
    start = page == app.config.master_doc
    tags = {
        "og:type": "website" if start else "article",
        "og:site_name": app.config.html_title,
        "og:title": app.config.html_title if start else re.sub("<[^>]*>", "", context.get("title", "")),
        "og:description": says,
        "og:url": urljoin(app.config.html_baseurl, app.builder.get_target_uri(page)),
        "og:image": urljoin(app.config.html_baseurl, picture or PREVIEW),
        "og:image:alt": alt or "The phase diagram of a wide random network",
    }
    lines = [f'<meta property="{name}" content="{escape(value)}">' for name, value in tags.items()]
    lines += [f'<meta name="description" content="{escape(says)}">'] if says else []
    lines.append('<meta name="twitter:card" content="summary_large_image">')
    context["metatags"] = context.get("metatags", "") + "\n".join(lines) + "\n"


def first_paragraph(doctree: nodes.document) -> str:
    """The first paragraph of running text."""
    paragraphs = (p for p in doctree.findall(nodes.paragraph) if isinstance(p.parent, nodes.section))
    return next((text for p in paragraphs if (text := " ".join(p.astext().split()))), "")


def first_picture(app: Sphinx, doctree: nodes.document) -> tuple[str, str]:
    """Address and alt text of the first figure; empty where there is none."""
    for image in doctree.findall(nodes.image):
        for uri in (image["uri"], *image.get("candidates", {}).values()):
            if uri in app.env.images:
                return f"{app.builder.imagedir}/{app.env.images[uri][1]}", image.get("alt", "")
            if uri.startswith(f"{app.builder.imagedir}/"):
                return uri, image.get("alt", "")
    return "", ""


def shortened(text: str) -> str:
    """At most ``LENGTH`` signs, cut between words."""
    text = " ".join(text.split())
    return text if len(text) <= LENGTH else text[: LENGTH - 1].rsplit(" ", 1)[0] + "…"


def write_files(app: Sphinx, exception: Exception | None) -> None:
    """The list of the pages, the page for addresses that lead nowhere, and the preview of the book."""
    if exception or app.builder.format != "html":
        return
    site, out = app.config.html_baseurl, Path(app.outdir)
    addresses = [urljoin(site, app.builder.get_target_uri(name)) for name in sorted(app.env.found_docs)]
    rows = "".join(f"<url><loc>{escape(address)}</loc></url>\n" for address in addresses)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    (out / "sitemap.xml").write_text(f"{head}{rows}</urlset>\n", "utf8")
    start = app.builder.get_target_uri(app.config.master_doc)
    (out / "404.html").write_text(NOT_FOUND.format(title=app.config.html_title, site=site, start=start), "utf8")
    figure = root_of(app) / "_build" / "showcase" / f"{PICTURE}.png"
    if figure.is_file():
        preview(figure).save(out / PREVIEW, optimize=True)


def preview(figure: Path) -> Image.Image:
    """A figure in the middle of a white card of the size that previews have."""
    card, drawn = Image.new("RGB", SIZE, "white"), Image.open(figure).convert("RGBA")
    factor = min(0.92 * SIZE[0] / drawn.width, 0.92 * SIZE[1] / drawn.height)
    drawn = drawn.resize((round(drawn.width * factor), round(drawn.height * factor)), Image.Resampling.LANCZOS)
    card.paste(drawn, ((SIZE[0] - drawn.width) // 2, (SIZE[1] - drawn.height) // 2), drawn)
    return card
