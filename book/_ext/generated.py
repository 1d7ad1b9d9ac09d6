"""Pages that are generated from the executed chapters: what their directives share."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import records
from deepdynamics import data, results
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DIRECTIVES = (
    "chapter-map chapter-head showcase moving-picture ledger ledger-summary ledger-sources stored-results build-report "
    "library-map library prerequisites benchmarks benchmarks-growth chapter-times large-runs"
)
GENERATED = re.compile(rf"```\{{({DIRECTIVES.replace(' ', '|')})\}}")


def root_of(app: Sphinx) -> Path:
    return Path(app.srcdir)


def chapters(root: Path) -> list[dict[str, Any]]:
    """All chapters with their part, and those that are written with docname and number, as in the table of contents."""
    written = {name.rsplit("/", 1)[-1]: name for name in records.documents(root)}
    parts = records.read_yaml(root / "book" / "chapters.yml")
    rows = [chapter | {"part": part["part"]} for part in parts for chapter in part["chapters"]]
    numbers = itertools.count(1)
    return [
        row | {"number": next(numbers) if row["slug"] in written else None, "docname": written.get(row["slug"])}
        for row in rows
    ]


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


def chapter_times(root: Path) -> list[str]:
    """What each chapter took, as a table."""
    lines = ["| chapter | seconds | of them on the CPU | peak memory (MB) | claims |", "|---|--:|--:|--:|--:|"]
    names = {row["docname"]: row["slug"] for row in chapters(root)}
    for record in executed(root):
        name = f"{{ref}}`{names[record.docname]}`" if record.docname in names else f"`{record.docname}`"
        notes = record.data
        times = f"{notes['execution_seconds']:.1f} | {notes['cpu_seconds']:.1f}"
        lines.append(f"| {name} | {times} | {notes['peak_mb']} | {len(record.claims)} |")
    return lines


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
