"""The ledger of claims, and the claims on their pages: both are made from the JSON that executed claims left."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import records
from deepdynamics.claims import card, source_key
from docutils import nodes
from generated import Generated, chapters, executed, missing_data, root_of, stored_results, table_cell
from pybtex.database import parse_file
from sphinx.application import Sphinx

UNREVISED = "Its claims were made before a claim had to name its rival, and are being revised."


class Ledger(Generated):
    """All claims of the book by chapter."""

    def markdown(self) -> str:
        known = set(bibliography(self.root))
        lines: list[str] = []
        for record in executed(self.root):
            row = next((c for c in chapters(self.root) if c["docname"] == record.docname), None)
            title = f"Chapter {row['number']}: {row['title']}" if row else record.docname
            note = f" {UNREVISED}" if row and row.get("unrevised") else ""
            lines += [f"### {title}", "", card.summary(record.claims) + note, ""]
            lines += ["::::{div} claims-table", *table(record.claims, known), "::::", ""]
        return "\n".join(lines)


def table(claims: list[dict[str, Any]], known: set[str]) -> list[str]:
    """Claims as the lines of a table; ``known`` are the keys of the bibliography."""
    lines = ["| verdict | claim | expected | measured | rival | resolution | source |", "|---|---|---|---|---|---|---|"]
    for claim in claims:
        says, between = card.source_says(claim), card.difference(claim)
        expected = [card.expected(claim), says and not card.is_the_source(claim["rival"]) and f"source: {says}"]
        cells = (
            claim["verdict"],
            f"[{literal(claim['statement'])}](#{claim['anchor']})",
            "; ".join(filter(None, expected)),
            card.measured(claim) or "–",
            literal("; ".join(filter(None, [card.rival(claim), between and f"difference {between}"]))) or "–",
            card.resolution(claim) or "–",
            _cite(claim["source"], known),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def literal(text: str) -> str:
    """A text whose signs Markdown would take for its own, in one line."""
    return re.sub(r"([\\`*_\[\]<>$|])", r"\\\1", " ".join(text.split()))


class LedgerSummary(Generated):
    """The counts of the ledger in one paragraph."""

    def markdown(self) -> str:
        every = [claim for record in executed(self.root) for claim in record.claims]
        return "\n".join([*missing_data(self.root), card.summary(every)])


class StoredResults(Generated):
    """The stored results with their state."""

    def markdown(self) -> str:
        return "\n".join(stored_results(self.root)) or "There are none."


class LedgerSources(Generated):
    """Every row of book/sources.yml with what became of it."""

    def markdown(self) -> str:
        table = records.read_yaml(self.root / "book" / "sources.yml")
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
                cells = (table_cell(row["where"]), table_cell(row["says"]), link, self.outcome(row, chapter, claims))
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def outcome(self, row: dict[str, Any], chapter: dict[str, Any], claims: dict[str, dict[str, Any]]) -> str:
        if chapter["docname"] is None:
            return "planned"
        found = [claims[key] for key in row.get("claims") or [] if key in claims]
        parts = [f"[{claim['verdict']}](#{claim['anchor']})" for claim in found]
        if row.get("section"):
            parts.append(f"{{ref}}`{row['section']}`")
        return ", ".join(parts)


def _cite(source: str | None, known: set[str]) -> str:
    """A citation such as 'poole2016exponential, eq. (5)' with its key made a reference."""
    if not source:
        return ""
    key = source_key(source)
    name = f"{{cite:t}}`{key}`" if key in known else key
    return name + source.removeprefix(key)


def bibliography(root: Path) -> dict[str, Any]:
    file = root / "book" / "references.bib"
    return dict(parse_file(str(file)).entries.items()) if file.is_file() else {}


def short_citation(entry: Any) -> str:
    """'Poole et al., 2016', 'Amari, 1972', or the title where no author is known."""
    people = [" ".join(person.prelast_names + person.last_names) for person in entry.persons.get("author", [])]
    names = (
        people[0] + (" et al." if len(people) > 2 else f" and {people[1]}" if len(people) == 2 else "")
        if people
        else entry.fields["title"]
    )
    return re.sub(r"[{}]", "", f"{names}, {entry.fields['year']}" if "year" in entry.fields else names)


def finish_claims(app: Sphinx, document: nodes.document) -> None:
    """Make the card of every claim again, from its JSON, now that its source has a name and an address; and let Sphinx
    know its anchors.
    """
    docname, root = app.env.docname, root_of(app)
    record = records.find(root, docname) if docname in records.notebooks(root) else None
    cards = record.cards if record else {}
    entries, standard = bibliography(root), app.env.get_domain("std")
    for raw in document.findall(nodes.raw):
        claim = cards.get(raw.astext())
        if claim is None:
            continue
        for anchor in claim["anchors"]:
            standard.note_hyperlink_target(anchor, docname, anchor, claim["statement"])
        raw.rawsource = card.html(claim, source=_link(claim["source"], entries, docname))
        raw.children = [nodes.Text(raw.rawsource)]


def _link(source: str | None, entries: dict[str, Any], docname: str) -> tuple[str, str] | None:
    """Name and address of a source, as its claim shows it."""
    key = source_key(source) if source else None
    if key is None or key not in entries:
        return None
    return short_citation(entries[key]), f"{'../' * docname.count('/')}book/bibliography.html#cite-{key}"
