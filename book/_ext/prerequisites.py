"""Which chapter needs which: a picture made from what the chapters' heads say.

A chapter that others need has a line in a colour of its own, from its row down; a chapter lies on the lines of those
that it needs. A line that ends in a ring is one that helps.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from docutils import nodes
from generated import chapters
from sphinx.util.docutils import SphinxDirective

ROW, LANE, WIDTH = 24, 13, 372
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F", "#E69F00", "#56B4E9")  # told apart by all


@dataclass(frozen=True)
class Need:
    """``chapter`` needs ``other``, or is helped by it: slugs."""

    chapter: str
    other: str
    helps: bool


def needs(slug: str, text: str) -> list[Need]:
    """The chapters to which the option ``needs`` of a chapter's head refers; a clause with "help" names what helps."""
    found = re.search(r"\{chapter-head\}\n(?::.*\n)*?:needs:(.*)", text)
    clauses = found[1].split(";") if found else []
    return [
        Need(slug, other, "help" in clause) for clause in clauses for other in re.findall(r"\{ref\}`([\w-]+)`", clause)
    ]


def all_needs(root: Path) -> list[Need]:
    written = [row for row in chapters(root) if row["docname"]]
    found = [need for row in written for need in needs(row["slug"], (root / f"{row['docname']}.md").read_text("utf8"))]
    return [need for need in found if need.other in {row["slug"] for row in written}]


def in_words(root: Path) -> str:
    titles = {row["slug"]: row["title"] for row in chapters(root)}
    words = {True: "is helped by", False: "needs"}
    return "; ".join(f"{titles[n.chapter]} {words[n.helps]} {titles[n.other]}" for n in all_needs(root))


def picture(root: Path, addresses: dict[str, str]) -> str:
    """The picture as SVG; ``addresses`` has the page of each written chapter by its slug."""
    written = [row for row in chapters(root) if row["slug"] in addresses]
    rows = [row | {"number": number} for number, row in enumerate(written, 1)]  # as in the table of contents
    every = [need for need in all_needs(root) if need.other in addresses and need.chapter in addresses]
    place, y, labels, part = dict[str, int](), 0, list[str](), None
    hubs = [row["slug"] for row in rows if row["slug"] in {need.other for need in every}]
    left = LANE * (len(hubs) + 1)
    for row in rows:
        if row["part"] != part:
            part, y = row["part"], y + ROW
            labels.append(f'<text class="part" x="{left}" y="{y - 4}">{escape(part)}</text>')
        y += ROW
        place[row["slug"]] = y - ROW // 2 + 1
        text = f"{row['number']}. {escape(row['title'])}"
        labels.append(f'<a href="{escape(addresses[row["slug"]])}"><text x="{left}" y="{y - 7}">{text}</text></a>')
    lines = []
    for lane, (hub, colour) in enumerate(zip(hubs, itertools.cycle(COLOURS))):
        x, start = left - LANE * (lane + 1), place[hub]
        ends = [(place[need.chapter], need.helps) for need in every if need.other == hub]
        lines.append(f'<path d="M{left - 5} {start}H{x}V{max(end for end, _ in ends)}" stroke="{colour}"/>')
        lines.append(f'<circle cx="{left - 5}" cy="{start}" r="4" fill="{colour}" stroke="none"/>')
        for end, helps in ends:
            dashes = ' stroke-dasharray="3 3"' if helps else ""
            lines.append(f'<path d="M{x} {end}H{left - 5}" stroke="{colour}"{dashes}/>')
            fill = "var(--pst-color-background)" if helps else colour
            lines.append(f'<circle cx="{x}" cy="{end}" r="3.5" fill="{fill}" stroke="{colour}"/>')
    name = f"Which chapter needs which. {in_words(root)}."
    frame = f'viewBox="0 0 {WIDTH} {y + 6}" role="group" aria-label="{escape(name)}"'
    return (
        f'<svg class="prerequisites" {frame} xmlns="http://www.w3.org/2000/svg">'
        f'<g fill="none" stroke-width="2">{"".join(lines)}</g>{"".join(labels)}</svg>'
    )


class Prerequisites(SphinxDirective):
    """The picture, each chapter a link to its page."""

    def run(self) -> list[nodes.Node]:
        page, root = self.env.docname, Path(self.env.srcdir)
        address = self.env.app.builder.get_relative_uri
        addresses = {row["slug"]: address(page, row["docname"]) for row in chapters(root) if row["docname"]}
        return [nodes.raw("", picture(root, addresses), format="html")]
