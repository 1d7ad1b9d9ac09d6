"""Pages that are generated from the executed chapters: what their directives share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import records
from deepdynamics import data, results
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DIRECTIVES = (
    "chapter-map chapter-head showcase ledger ledger-summary ledger-sources stored-results build-report "
    "library-map library prerequisites"
)
GENERATED = re.compile(rf"```\{{({DIRECTIVES.replace(' ', '|')})\}}")


def root_of(app: Sphinx) -> Path:
    return Path(app.srcdir)


def chapters(root: Path) -> list[dict[str, Any]]:
    """All chapters, written or planned, with part, number and (where written) docname."""
    written = {name.rsplit("/", 1)[-1]: name for name in records.documents(root)}
    parts = records.read_yaml(root / "book" / "chapters.yml")
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


def table_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def missing_data(root: Path) -> list[str]:
    found = data.inventory()
    absent = [name for name in records.data_sets(root, records.notebooks(root)) if found.get(name) == "absent"]
    if not absent:
        return []
    text = (
        f"Built without the real data of: {', '.join(absent)}. Claims about them are skipped; `make data` fetches them."
    )
    return [":::{warning}", text, ":::", ""]


def stored_results(root: Path) -> list[str]:
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
        lines.append(f"| `{file.stem}` | {state} | {' | '.join(table_cell(cell) for cell in cells)} |")
    return lines
