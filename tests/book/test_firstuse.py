"""Terms of the glossary are links where a chapter first uses them in running text, and nowhere else."""

import re
from pathlib import Path

import firstuse
import pytest
from docutils import nodes
from docutils.utils import new_document
from generated import chapters
from sphinx import addnodes

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
GLOSSARY = "# Terms\n\n```{glossary}\nJacobian\n  A matrix.\n\nrandom matrix\n  A matrix, too.\n\nnoise\n  x\n```\n"


def page(*parts):
    """A page with one section and a title that uses every term."""
    plain = new_document("x")
    document = addnodes.document(plain.settings, plain.reporter)  # as Sphinx makes it
    section = nodes.section("", nodes.title("", "The Jacobian of a random matrix"))
    section += parts
    document += section
    return document


def linked(document, wanted=("Jacobian", "random matrix")):
    text = document.astext()
    firstuse.link(document, wanted, "book/a/b")
    assert document.astext() == text  # no word is lost, and the order stays
    return [(node["reftarget"], node.astext()) for node in document.findall(addnodes.pending_xref)]


def test_terms_are_those_of_the_page():
    assert firstuse.terms(GLOSSARY) == ("Jacobian", "random matrix", "noise") and firstuse.terms("# None") == ()
    own = firstuse.terms((ROOT / "book" / "glossary.md").read_text("utf8"))
    assert len(own) > 80 and set(firstuse.EVERYDAY) < set(own)


def test_forms():
    plurals = {"random matrix": "random matrices", "global optimum": "global optima", "entropy": "entropies"}
    plurals |= {"singular value": "singular values", "K-FAC": "K-FACs", "gain": "gains"}
    assert {term: firstuse.forms(term)[1] for term in plurals} == plurals


def test_first_use_is_linked_once():
    text = "Random\nmatrices and Jacobians. A random matrix has a Jacobian."
    listed = nodes.bullet_list("", nodes.list_item("", nodes.paragraph("", "", nodes.strong("", "Jacobian"))))
    assert linked(page(nodes.paragraph("", text), listed)) == [
        ("random matrix", "Random\nmatrices"),
        ("Jacobian", "Jacobians"),
    ]
    assert linked(page(listed.deepcopy())) == [("Jacobian", "Jacobian")]


def test_longer_terms_come_first_and_parts_of_words_are_none():
    wanted = ("Fisher information", "Fisher information matrix", "matrix")
    assert linked(page(nodes.paragraph("", "Fisher information matrices, matrix-free")), wanted) == [
        ("Fisher information matrix", "Fisher information matrices")
    ]
    assert linked(page(nodes.paragraph("", "Jacobianly, semi-Jacobian"))) == []


def test_what_is_no_running_text_stays_as_it_is():
    word = "Jacobian"
    others = [
        nodes.literal_block(word, word),
        nodes.note("", nodes.paragraph("", word)),
        nodes.figure("", nodes.caption("", word)),
        nodes.container("", nodes.paragraph("", word)),
        nodes.block_quote("", nodes.paragraph("", word)),
        nodes.paragraph("", "", nodes.literal(word, word), nodes.math(word, word)),
        nodes.paragraph("", "", nodes.reference("", word, refuri="x")),
        nodes.paragraph("", "", addnodes.pending_xref("", nodes.inline("", word), reftype="ref", reftarget="x")),
        nodes.table("", nodes.tgroup("", nodes.tbody("", nodes.row("", nodes.entry("", nodes.paragraph("", word)))))),
    ]
    assert linked(page(*others)) == [("x", word)]
    assert linked(page(*others, nodes.paragraph("", word)))[-1] == ("Jacobian", word)


def test_a_term_that_the_chapter_links_is_left_to_it():
    own = addnodes.pending_xref("", nodes.inline("", "J"), reftype="term", reftarget="jacobian")
    assert linked(page(nodes.paragraph("", "The Jacobian."), nodes.paragraph("", "", own))) == [("jacobian", "J")]


@pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="the book is not built: make book")
def test_built_chapters_link_each_term_once():
    counts = []
    for row in (row for row in chapters(ROOT) if row["docname"]):
        text = (SITE / f"{row['docname']}.html").read_text("utf8")
        found = re.findall(r'<a class="reference internal" href="([^"]*)"><span class="first-use">', text)
        assert len(found) == len(set(found)) and all("glossary.html#term-" in address for address in found)
        assert not re.search(
            r'<h\d[^>]*>(?:(?!</h).)*class="first-use"|<figcaption(?:(?!</figc).)*class="first-use"', text
        )
        counts.append(len(found))
    assert min(counts) > 0 and max(counts) < 40
