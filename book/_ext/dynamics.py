"""The book's own Sphinx extension: pages that are generated from the executed chapters, and repairs of the theme.

Directives: ``chapter-map``, ``showcase`` and ``moving-picture`` (landing page), ``chapter-head`` (time, prerequisites
and claims of a chapter), ``ledger``, ``ledger-summary``, ``ledger-sources`` and ``stored-results``, ``build-report``,
``prerequisites``, ``benchmarks``, ``benchmarks-growth`` and ``chapter-times``, ``large-runs``. Every number in them is
read from the execution cache or from what is stored.
"""

from __future__ import annotations

import base64
import importlib.metadata
import math
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parent))
import records
from deepdynamics import data
from deepdynamics.claims import card
from docutils import nodes
from docutils.parsers.rst import directives
from firstuse import link_first_uses
from generated import GENERATED, Generated, chapter_times, chapters, stored_results
from largeruns import LargeRuns
from ledger import Ledger, LedgerSources, LedgerSummary, StoredResults, finish_claims
from performance import Benchmarks, BenchmarksGrowth, ChapterTimes
from prerequisites import Prerequisites
from sharing import describe_page, write_files
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from theme import complete_site, mend_page, set_repository

WORDS_PER_MINUTE = 180
PACKAGES = ("torch", "numpy", "scipy", "matplotlib", "jupyter-book", "sphinx", "myst-nb", "deepdynamics")


class ChapterMap(Generated):
    """The map of the book: a card a chapter, by part; planned chapters are shown without a link."""

    def markdown(self) -> str:
        lines, part = [], None
        for row in chapters(self.root):
            if row["part"] != part:
                lines += ["::::", ""] if part else []
                part = row["part"]
                lines += [
                    f"```{{rubric}} {part}",
                    "```",
                    "::::{grid} 1 2 3 3",
                    ":gutter: 2",
                    ":class-container: chapter-map",
                    "",
                ]
            state = [f":link: {row['slug']}", ":link-type: ref"] if row["docname"] else [":class-card: planned"]
            note = "" if row["docname"] else " *(planned)*"
            lines += [
                f":::{{grid-item-card}} {row['number'] or ''} {row['title']}",
                *state,
                f"{row['shows']}{note}",
                ":::",
            ]
        return "\n".join([*lines, "::::"])


class ChapterHead(Generated):
    """Reading time, running time, prerequisites and the number of checked claims of the page it stands on."""

    option_spec: ClassVar = {"needs": directives.unchanged}

    def markdown(self) -> str:
        text = (self.root / f"{self.env.docname}.md").read_text("utf8")
        minutes = round(len(re.sub(r"```\{code-cell\}.*?```", "", text, flags=re.S).split()) / WORDS_PER_MINUTE)
        record = records.find(self.root, self.env.docname)
        claims = record.claims if record else []
        found = ", ".join(card.verdicts(claims))
        seconds = record.data["cpu_seconds"] if record else 0
        needs = f" You need {self.options['needs']}." if "needs" in self.options else ""
        time = f"Reading: {minutes} minutes. Running: under {10 * math.ceil(seconds / 10)} s on one CPU thread, no GPU."
        return f":::{{div}} chapter-head\n{time} [{len(claims)} checked claims](#ledger): {found}.{needs}\n:::"


class Showcase(SphinxDirective):
    """A figure of a chapter, shown on another page: ``{showcase} slug figure-name``. Picture, alt text and caption
    are the chapter's.
    """

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        slug, name = self.arguments
        root = Path(self.env.srcdir)
        docname = next(row["docname"] for row in chapters(root) if row["slug"] == slug)
        source = records.read_notebook(str(root / f"{docname}.md"))
        code = [cell for cell in source.cells if cell.cell_type == "code"]
        position = next((i for i, cell in enumerate(code) if _figure(cell).get("name") == name), None)
        if position is None:
            raise self.error(f"showcase: {docname} has no figure {name!r}")
        executed_cell = records.find(root, docname).notebook.cells[position]  # the cache keeps the code cells
        picture = next(o.data["image/png"] for o in executed_cell.outputs if "image/png" in o.get("data", {}))
        file = root / "_build" / "showcase" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(picture))
        cell = code[position].metadata["mystnb"]
        text = f"```{{image}} /_build/showcase/{name}.png\n:alt: {cell['image']['alt']}\n```\n\n"
        return self.parse_text_to_nodes(text + f"{{numref}}`{name}`: {cell['figure']['caption']}")


class MovingPicture(SphinxDirective):
    """The first explorer of a chapter on another page, ``{moving-picture} slug``, with a button that runs its first
    slider (book.js); the content is the caption.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        docname = next(row["docname"] for row in chapters(root) if row["slug"] == self.arguments[0])
        record = records.find(root, docname)
        cells = record.notebook.cells if record else []
        pages = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell.get("outputs", [])]
        page = next((page for page in pages if page.startswith('<div class="dd-explorer"')), None)
        if page is None:
            raise self.error(f"moving-picture: {docname} shows no explorer")
        button = '<button type="button" hidden>Play</button>'  # shown by the script that makes it work
        picture = nodes.raw("", f'<div class="moving-picture">{page}{button}</div>', format="html")
        return [picture, *self.parse_text_to_nodes("\n".join(self.content))]


def _figure(cell: Any) -> dict[str, Any]:
    return cell.metadata.get("mystnb", {}).get("figure", {})


class BuildReport(Generated):
    """Versions, commit, machine, execution table, data found."""

    def markdown(self) -> str:
        lines = ["| | |", "|---|---|", f"| commit | {commit(self.root)} |", f"| Python | {platform.python_version()} |"]
        lines += [f"| {name} | {importlib.metadata.version(name)} |" for name in PACKAGES]
        lines += [f"| machine | {platform.system()} {platform.machine()}, one thread a chapter |", ""]
        lines += [
            *chapter_times(self.root),
            "",
            "| data | found |",
            "|---|---|",
            *(f"| {name} | {version} |" for name, version in data.inventory().items()),
            "",
        ]
        return "\n".join(lines + stored_results(self.root))


def commit(root: Path) -> str:
    """Short hash of the commit, marked when the working tree differs from it."""
    git = ["git", "-C", str(root)]
    try:
        name = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"`{name}`" + (" with changes" if dirty else "")


def outdated(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Generated pages depend on what was executed, which Sphinx does not see."""
    return [name for name in env.all_docs if GENERATED.search(Path(env.doc2path(name)).read_text("utf8"))]


def setup(app: Sphinx) -> dict[str, Any]:
    for name, directive in {
        "chapter-map": ChapterMap,
        "chapter-head": ChapterHead,
        "showcase": Showcase,
        "moving-picture": MovingPicture,
        "ledger": Ledger,
        "ledger-summary": LedgerSummary,
        "ledger-sources": LedgerSources,
        "stored-results": StoredResults,
        "build-report": BuildReport,
        "prerequisites": Prerequisites,
        "benchmarks": Benchmarks,
        "benchmarks-growth": BenchmarksGrowth,
        "chapter-times": ChapterTimes,
        "large-runs": LargeRuns,
    }.items():
        app.add_directive(name, directive)
    app.setup_extension("notebook_writer")
    app.setup_extension("library")
    app.connect("config-inited", set_repository, priority=900)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-read", finish_claims)
    app.connect("doctree-read", link_first_uses)
    app.connect("html-page-context", mend_page, priority=900)
    app.connect("html-page-context", describe_page)
    app.connect("build-finished", write_files)
    app.connect("build-finished", complete_site, priority=100)  # before the stock redirect is written
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
