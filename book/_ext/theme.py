"""Repairs of the theme: the repository's address, buttons, scripts, lists, and a site that asks no other host."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

from generated import root_of
from sphinx.application import Sphinx


def project_urls(root: Path) -> dict[str, str]:
    """The addresses of the project, from the one place where they are set."""
    return tomllib.loads((root / "pyproject.toml").read_text("utf8"))["project"]["urls"]


def set_repository(app: Sphinx, config: Any) -> None:
    urls = project_urls(root_of(app)) if (root_of(app) / "pyproject.toml").is_file() else {}
    if "Repository" in urls:
        config.html_theme_options = (config.html_theme_options or {}) | {"repository_url": urls["Repository"]}
        config.html_baseurl = urls["Homepage"].rstrip("/") + "/"


def mend_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep one copy of Thebe's inline script (two are a script error), let Colab open the notebook instead of the
    Markdown, and make the bibliography a list of list items (docutils gives them a role that no list may contain).
    """
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
    seen = False
    for script in list(context.get("script_files", [])):
        if "THEBE_JS_URL" in (getattr(script, "attributes", {}).get("body") or ""):
            if seen:
                context["script_files"].remove(script)
            seen = True
    for button in context.get("header_buttons", []):
        for entry in button.get("buttons", []) if button.get("label") == "launch-buttons" else []:
            if "colab.research" in entry.get("url", ""):
                entry["url"] = re.sub(r"/blob/[^/]+/(.*)\.md$", r"/blob/notebooks/\1.ipynb", entry["url"])


def complete_site(app: Sphinx, exception: Exception | None) -> None:
    """Put MathJax (one script and its fonts) beside the pages, so that they ask no other host, and mend the redirect
    at the root.
    """
    if exception or app.builder.format != "html":
        return
    start = f"{app.config.master_doc}.html"
    head = f'<meta charset="utf-8"><title>{app.config.html_title}</title><link rel="icon" href="data:,">'
    page = f'<!DOCTYPE html>\n<html lang="en"><head>{head}<meta http-equiv="refresh" content="0; url={start}"></head>'
    Path(app.outdir, "index.html").write_text(
        f'{page}<body><a href="{start}">Open the book</a></body></html>\n', "utf8"
    )
    for file in importlib.metadata.distribution("sphinx-mathjax-offline").files or []:
        inside = str(file).partition("static/mathjax/")[2]
        if inside == "tex-chtml-full.js" or (
            inside.startswith("output/chtml/fonts/woff-v2/") and inside.endswith(".woff")
        ):
            target = Path(app.outdir, "_static", "mathjax", inside)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)
