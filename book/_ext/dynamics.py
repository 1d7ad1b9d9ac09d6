"""The book's own Sphinx extension: pages that are generated from the executed chapters, and repairs of the theme.

Directives: ``chapter-map`` and ``showcase`` (landing page), ``chapter-head`` (time, prerequisites and claims of a
chapter), ``ledger``, ``ledger-summary`` and ``ledger-sources``, ``build-report``. Every number in them is read from
the execution cache.
"""

from __future__ import annotations

import base64
import importlib.metadata
import math
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parent))
import records
import yaml
from deepdynamics import data, results
from deepdynamics.claims import percent, with_error
from docutils import nodes
from docutils.parsers.rst import directives
from pybtex.database import parse_file
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

WORDS_PER_MINUTE = 180
GENERATED = re.compile(r"```\{(chapter-map|chapter-head|showcase|ledger|ledger-summary|ledger-sources|build-report)\}")
VERDICTS = ("replicates", "holds", "corrected", "refuted", "undecided", "theory only", "skipped")
PACKAGES = ("torch", "numpy", "scipy", "matplotlib", "jupyter-book", "sphinx", "myst-nb", "deepdynamics")


def root_of(app: Sphinx) -> Path:
    return Path(app.srcdir)


def chapters(root: Path) -> list[dict[str, Any]]:
    """All chapters, written or planned, with part, number and (where written) docname."""
    written = {name.rsplit("/", 1)[-1]: name for name in records.documents(root)}
    parts = yaml.safe_load((root / "book" / "chapters.yml").read_text("utf8"))
    rows = [chapter | {"part": part["part"]} for part in parts for chapter in part["chapters"]]
    return [row | {"number": number, "docname": written.get(row["slug"])} for number, row in enumerate(rows, 1)]


def executed(root: Path) -> list[records.Record]:
    return [record for name in records.notebooks(root) if (record := records.find(root, name))]


class Generated(SphinxDirective):
    """A directive whose content is Markdown that ``markdown`` returns."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(Path(__file__)))
        return self.parse_text_to_nodes(self.markdown(), allow_section_headings=True)

    @property
    def root(self) -> Path:
        return Path(self.env.srcdir)

    def markdown(self) -> str:
        raise NotImplementedError


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
            lines += [f":::{{grid-item-card}} {row['number']} {row['title']}", *state, f"{row['shows']}{note}", ":::"]
        return "\n".join([*lines, "::::"])


class ChapterHead(Generated):
    """Reading time, running time, prerequisites and the number of checked claims of the page it stands on."""

    option_spec: ClassVar = {"needs": directives.unchanged}

    def markdown(self) -> str:
        text = (self.root / f"{self.env.docname}.md").read_text("utf8")
        minutes = round(len(re.sub(r"```\{code-cell\}.*?```", "", text, flags=re.S).split()) / WORDS_PER_MINUTE)
        record = records.find(self.root, self.env.docname)
        claims = record.claims if record else []
        counts = Counter(claim["verdict"] for claim in claims)
        found = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
        seconds = record.data["cpu_seconds"] if record else 0
        needs = f" You need {self.options['needs']}." if "needs" in self.options else ""
        time = f"Reading: {minutes} minutes. Running: under {10 * math.ceil(seconds / 10)} s on one CPU thread, no GPU."
        return f":::{{div}} chapter-head\n{time} [{len(claims)} checked claims](#ledger): {found}.{needs}\n:::"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _cite(source: str | None, known: set[str]) -> str:
    """A citation such as 'poole2016exponential, eq. (5)' with its key made a reference."""
    if not source:
        return ""
    key, _, place = source.partition(",")
    name = f"{{cite:t}}`{key.strip()}`" if key.strip() in known else key
    return name + (f",{place}" if place else "")


def _expected(claim: dict[str, Any]) -> str:
    sign = {"=": "", "≥": "≥ ", "≤": "≤ "}[claim["relation"]]
    ours = "" if claim["expected"] is None else f"{sign}{claim['expected']:.4g}"
    says = claim["source_says"]
    theirs = "" if says is None else f"source: {says if isinstance(says, str) else format(says, '.4g')}"
    return "; ".join(part for part in (ours, theirs) if part)


def _measured(claim: dict[str, Any]) -> str:
    if claim["measured"] is None:
        return "–"
    return with_error(claim["measured"], claim["standard_error"])


def _resolution(claim: dict[str, Any]) -> str:
    if claim["resolution"] is None:
        return "–"
    return "identity" if claim["identity"] else percent(claim["resolution"])


def _summary(claims: list[dict[str, Any]]) -> str:
    counts = Counter(claim["verdict"] for claim in claims)
    experiments = [claim for claim in claims if not claim["identity"]]
    parts = [f"**{counts[verdict]}** {verdict}" for verdict in VERDICTS if counts[verdict]]
    blunt = sum(
        claim["resolution"] is not None and claim["resolution"] > 0.5 and claim["relation"] == "="
        for claim in experiments
    )
    return (
        f"**{len(claims)} claims**: {', '.join(parts)}. {len(claims) - len(experiments)} of them are identities. "
        f"**{sum(claim['counts'] for claim in claims)}** count as evidence "
        f"(resolution of at most 20 %, or the rejection of a source or a bound); "
        f"{blunt} would not have noticed a deviation of 50 %."
    )


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


def _figure(cell: Any) -> dict[str, Any]:
    return cell.metadata.get("mystnb", {}).get("figure", {})


class Ledger(Generated):
    """All claims of the book by chapter."""

    def markdown(self) -> str:
        known = bibliography_keys(self.root)
        found = executed(self.root)
        every = [claim for record in found for claim in record.claims]
        lines = [*_missing_data(self.root), _summary(every), "", *_stored(self.root), ""]
        for record in found:
            row = next((c for c in chapters(self.root) if c["docname"] == record.docname), None)
            title = f"Chapter {row['number']}: {row['title']}" if row else record.docname
            lines += [f"### {title}", "", _summary(record.claims), ""]
            lines += ["| verdict | claim | expected | measured | would notice | source |", "|---|---|---|---|---|---|"]
            for claim in record.claims:
                cells = (
                    claim["verdict"],
                    f"[{_cell(claim['statement'])}](#{claim['anchor']})",
                    _expected(claim),
                    _measured(claim),
                )
                lines.append("| " + " | ".join([*cells, _resolution(claim), _cite(claim["source"], known)]) + " |")
            lines.append("")
        return "\n".join(lines)


class LedgerSummary(Generated):
    """The counts of the ledger in one paragraph."""

    def markdown(self) -> str:
        every = [claim for record in executed(self.root) for claim in record.claims]
        return "\n".join([*_missing_data(self.root), _summary(every)])


class LedgerSources(Generated):
    """Every row of book/sources.yml with what became of it."""

    def markdown(self) -> str:
        table = yaml.safe_load((self.root / "book" / "sources.yml").read_text("utf8"))
        written = {row["slug"]: row for row in chapters(self.root)}
        claims = {claim["key"]: claim for record in executed(self.root) for claim in record.claims}
        entries = bibliography(self.root)
        lines: list[str] = []
        for source in table["sources"]:
            rows = [row for row in table["rows"] if row["source"] == source]
            treated = sum(written[row["chapter"]]["docname"] is not None for row in rows)
            lines += ["", f"### {short_citation(entries[source])}", ""]
            lines += [f"{{cite:t}}`{source}`: {len(rows)} rows, {treated} of them in chapters that are written.", ""]
            lines += ["| where | what it has | chapter | what became of it |", "|---|---|---|---|"]
            for row in rows:
                chapter = written[row["chapter"]]
                link = f"{{ref}}`{row['chapter']}`" if chapter["docname"] else f"{chapter['number']} {chapter['title']}"
                lines.append(
                    f"| {_cell(row['where'])} | {_cell(row['says'])} | {link} | {self.outcome(row, chapter, claims)} |"
                )
        return "\n".join(lines)

    def outcome(self, row: dict[str, Any], chapter: dict[str, Any], claims: dict[str, dict[str, Any]]) -> str:
        if chapter["docname"] is None:
            return "planned"
        found = [claims[key] for key in row.get("claims") or [] if key in claims]
        parts = [f"[{claim['verdict']}](#{claim['anchor']})" for claim in found]
        if row.get("section"):
            parts.append(f"{{ref}}`{row['section']}`")
        return ", ".join(parts)


class BuildReport(Generated):
    """Versions, commit, machine, execution table, data found."""

    def markdown(self) -> str:
        lines = ["| | |", "|---|---|", f"| commit | {commit(self.root)} |", f"| Python | {platform.python_version()} |"]
        lines += [f"| {name} | {importlib.metadata.version(name)} |" for name in PACKAGES]
        lines += [f"| machine | {platform.system()} {platform.machine()}, one thread a chapter |", ""]
        lines += ["| chapter | seconds | of them on the CPU | peak memory (MB) | claims |", "|---|--:|--:|--:|--:|"]
        found = executed(self.root)
        for record in found:
            row = next((c for c in chapters(self.root) if c["docname"] == record.docname), None)
            name = f"{{ref}}`{row['slug']}`" if row else f"`{record.docname}`"
            notes = record.data
            times = f"{notes['execution_seconds']:.1f} | {notes['cpu_seconds']:.1f}"
            lines.append(f"| {name} | {times} | {notes['peak_mb']} | {len(record.claims)} |")
        lines += [
            "",
            "| data | found |",
            "|---|---|",
            *(f"| {name} | {version} |" for name, version in data.inventory().items()),
            "",
        ]
        return "\n".join(lines + _stored(self.root))


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


def _missing_data(root: Path) -> list[str]:
    found = data.inventory()
    absent = [name for name in records.data_sets(root, records.notebooks(root)) if found.get(name) == "absent"]
    if not absent:
        return []
    text = (
        f"Built without the real data of: {', '.join(absent)}. Claims about them are skipped; `make data` fetches them."
    )
    return [":::{warning}", text, ":::", ""]


def _stored(root: Path) -> list[str]:
    """The stored results with their state, as a table."""
    files = sorted((root / "book" / "results").glob("*.npz"))
    if not files:
        return []
    lines = ["| stored result | state | computed on | computed with | date |", "|---|---|---|---|---|"]
    for file in files:
        provenance, state = results.load(file.stem).attrs, results.state(file.stem)
        if state.name == "contradicted":
            raise ValueError(f"the stored result {file.stem} is {state}")
        machine: Any = provenance.get("machine", {})
        where = f"{machine.get('cores', '?')} cores of {machine.get('processor', '?')}"
        versions = ", ".join(f"{name} {number}" for name, number in machine.get("versions", {}).items())
        cells = (where, f"Python {machine.get('python', '?')}, {versions}", str(provenance.get("date", "")))
        lines.append(f"| `{file.stem}` | {state} | {' | '.join(_cell(cell) for cell in cells)} |")
    return lines


def bibliography(root: Path) -> dict[str, Any]:
    return (
        parse_file(str(root / "book" / "references.bib")).entries
        if (root / "book" / "references.bib").is_file()
        else {}
    )


def bibliography_keys(root: Path) -> set[str]:
    return set(bibliography(root))


def short_citation(entry: Any) -> str:
    """'Poole et al., 2016', 'Amari, 1972', or the title where no author is known."""
    people = [" ".join(person.prelast_names + person.last_names) for person in entry.persons.get("author", [])]
    names = (
        people[0] + (" et al." if len(people) > 2 else f" and {people[1]}" if len(people) == 2 else "")
        if people
        else entry.fields["title"]
    )
    return re.sub(r"[{}]", "", f"{names}, {entry.fields['year']}" if "year" in entry.fields else names)


def _claim_source(entries: dict[str, Any], bibliography_page: str, match: re.Match[str]) -> str:
    """A source as the card shows it: 'Poole et al., 2016, eq. (5)', linked where the key is in the bibliography."""
    key, comma, place = match[1].partition(",")
    key = key.strip()
    label = key
    if key in entries:
        label = f'<a href="{bibliography_page}#cite-{key}">{short_citation(entries[key])}</a>'
    return f'<span class="claim-source">{label}{comma}{place}</span>'


def finish_claims(app: Sphinx, document: nodes.document) -> None:
    """Give every claim card an anchor that Sphinx knows, and its source a readable name that links to the
    bibliography.
    """
    entries = bibliography(root_of(app))
    standard = app.env.get_domain("std")
    for raw in document.findall(nodes.raw):
        if 'class="claim claim-' not in raw.astext():
            continue
        for anchor, statement in re.findall(
            r'id="(claim-[\w-]+)".*?</b></span> (.*?) <a class="claim-link"', raw.astext(), flags=re.S
        ):
            standard.note_hyperlink_target(anchor, app.env.docname, anchor, statement)
        to_bibliography = "../" * app.env.docname.count("/") + "book/bibliography.html"
        name = partial(_claim_source, entries, to_bibliography)
        text = re.sub(r'<span class="claim-source" data-source="([^"]*)">.*?</span>', name, raw.astext())
        raw.children = [nodes.Text(text)]
        raw.rawsource = text


def outdated(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Generated pages depend on what was executed, which Sphinx does not see."""
    return [name for name in env.all_docs if GENERATED.search(Path(env.doc2path(name)).read_text("utf8"))]


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


def setup(app: Sphinx) -> dict[str, Any]:
    for name, directive in {
        "chapter-map": ChapterMap,
        "chapter-head": ChapterHead,
        "showcase": Showcase,
        "ledger": Ledger,
        "ledger-summary": LedgerSummary,
        "ledger-sources": LedgerSources,
        "build-report": BuildReport,
    }.items():
        app.add_directive(name, directive)
    app.setup_extension("notebook_writer")
    app.connect("config-inited", set_repository, priority=900)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-read", finish_claims)
    app.connect("html-page-context", mend_page, priority=900)
    app.connect("build-finished", complete_site, priority=100)  # before the stock redirect is written
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
