"""The ledger and the cards on the pages are made from the JSON of the claims, by the library's one formatter."""

from __future__ import annotations

import re
from types import SimpleNamespace

import ledger
import records
from deepdynamics.claims import MIME, VERDICTS, card, claim
from docutils import nodes
from docutils.utils import new_document
from house import ROOT
from pybtex.database import parse_string

ONE = [0.9, 1.1, 1.05, 0.95, 1.02, 0.97, 1.01, 1.0]
TWO = [value + 1 for value in reversed(ONE)]
SOURCE = {"source": "planck1900law, eq. (5)"}
PLANCK = parse_string("@article{planck1900law, author={Planck, Max}, title={On a law}, year={1900}}", "bibtex").entries


def output(made):
    shown, metadata = made._repr_mimebundle_()
    return SimpleNamespace(data=shown, metadata=metadata, get=lambda name, default: {"metadata": metadata}[name])


def record(*claims):
    plain = {"data": {"text/html": "<p>no claim</p>"}, "metadata": {}}
    cells = [{"outputs": [output(made)]} for made in claims]
    return records.Record("book/mini/x", SimpleNamespace(cells=[*cells, {"outputs": [plain]}, {}]), {})


def row(**arguments):
    made = claim("t.row", "a statement", **arguments)
    *_, line = ledger.table([made.data()], {"planck1900law"})
    cells = re.split(r"(?<!\\)\|", line)[1:-1]
    return [cell.strip() for cell in cells]


def test_row_of_the_ledger():
    cells = row(
        theory=1.0, samples=ONE, of="networks", rival=("the control", TWO), source_says=3.0, quote="3", **SOURCE
    )
    assert cells == [
        "corrected",
        "[a statement](#claim-t-row)",
        "1; source: 3, 92 standard errors away",
        "1.000 ± 0.022 (8 networks)",
        "the control 2.000 ± 0.022 (8 networks), 33 standard errors away",
        "17 %",
        "{cite:t}`planck1900law`, eq. (5)",
    ]


def test_number_of_a_source_that_is_the_rival_is_told_once():
    cells = row(theory=1.0, samples=ONE, source_says=2.0, quote="2", **SOURCE)
    assert cells[2] == "1" and cells[4].startswith("the source's number 2, ")


def test_rows_of_sides_and_of_claims_without_a_rival():
    side = row(side="above", samples=TWO, rival=("the control", ONE))
    assert side[2] == "above its rival" and "; difference 1 (0.829 to 1.17)" in side[4]
    assert row(theory=1.0, samples=ONE)[4] == "–"


def test_signs_of_markdown_are_text_in_the_ledger():
    made = claim("t.signs", "|a| < *b* [c] `d` $e$", theory=1.0, samples=ONE, rival=("x | y", 2.0))
    *_, line = ledger.table([made.data()], set())
    assert r"\|a\| \< \*b\* \[c\] \`d\` \$e\$" in line and r"x \| y 2, 46" in line


def test_claims_of_a_record_are_its_json_in_the_order_of_the_page():
    one, two = (claim(f"t.{name}", name, theory=1.0, samples=ONE) for name in ("one", "two"))
    found = record(two, one)
    assert [data["key"] for data in found.claims] == ["t.two", "t.one"]
    assert found.cards[one._repr_html_()] == one._repr_mimebundle_()[1][MIME]


def test_cards_on_a_page_are_made_again_with_the_name_of_their_source(monkeypatch):
    made = claim("t.card", "a < b", theory=1.0, samples=ONE, aliases=["old.card"], **SOURCE)
    document, anchors = new_document("x"), {}
    others = ["<p>no claim</p>", made._repr_html_() + " "]  # the same but for a space: not what the claim showed
    document += [nodes.raw(text=text, format="html") for text in (others[0], made._repr_html_(), others[1])]
    domain = SimpleNamespace(note_hyperlink_target=lambda name, page, anchor, title: anchors.update({name: title}))
    env = SimpleNamespace(docname="book/mini/x", get_domain=lambda name: domain)
    monkeypatch.setattr(records, "notebooks", lambda root: ["book/mini/x"])
    monkeypatch.setattr(records, "find", lambda root, name: record(made))
    monkeypatch.setattr(ledger, "bibliography", lambda root: dict(PLANCK.items()))
    ledger.finish_claims(SimpleNamespace(env=env, srcdir="."), document)
    first, second, third = (raw.astext() for raw in document.findall(nodes.raw))
    link = "../../book/bibliography.html#cite-planck1900law"
    assert second == card.html(made.data(), source=("Planck, 1900", link))
    assert f'<a href="{link}">Planck, 1900</a>, eq. (5)' in second and [first, third] == others
    assert anchors == {"claim-t-card": "a < b", "claim-old-card": "a < b"}


def test_every_verdict_has_a_colour():
    """Green is what a card has by itself; a verdict that is missing in the style would look as if it held."""
    style = (ROOT / "book" / "_static" / "book.css").read_text("utf8")
    selectors = re.findall(r"^([^{}\n]*) \{ --claim-colour:", style, flags=re.M)
    coloured = {name for selector in selectors for name in re.findall(r"\.claim-([a-z-]+)", selector)}
    assert {v.replace(" ", "-") for v in VERDICTS} - coloured == {"holds", "replicates", "supported"}
