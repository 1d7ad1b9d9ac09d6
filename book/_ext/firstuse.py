"""A term of the glossary is a link to it where a chapter first uses the term in running text.

The links are put into the tree of a page when it has been read, so that no chapter is edited, and nothing that is
executed changes. Headings, code, formulas, links, captions, tables, boxes and exercises stay as they are, and so does a
term that the chapter links by itself, with the role ``term``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from docutils import nodes
from generated import chapters, root_of
from sphinx import addnodes
from sphinx.application import Sphinx

GLOSSARY = "book/glossary"
RUNNING = (
    *(nodes.section, nodes.bullet_list, nodes.enumerated_list, nodes.list_item),
    *(nodes.paragraph, nodes.strong, nodes.emphasis),
)
# Words that also mean something else, or need no link; a chapter that uses one as a term says {term}`index`.
EVERYDAY = ("contribution", "critical point", "depth", "gain", "index", "layer", "noise", "particle", "score", "width")


@lru_cache(maxsize=4)
def terms(text: str) -> tuple[str, ...]:
    """The terms of a page with a glossary."""
    block = re.search(r"^```\{glossary\}\n(.*?)^```", text, flags=re.M | re.S)
    return tuple(re.findall(r"^\S.*$", block[1], flags=re.M)) if block else ()


def forms(term: str) -> tuple[str, str]:
    """A term, and its plural."""
    for ending, plural in (("trix", "trices"), ("um", "a"), ("y", "ies"), ("", "s")):
        if term.endswith(ending):
            return term, term.removesuffix(ending) + plural
    raise AssertionError


class Finder:
    """Finds terms in a text, the longer ones first, with a small or a capital letter at their beginning."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self.term = {form.lower(): term for term in wanted for form in forms(term)}
        every = sorted((form for term in wanted for form in forms(term)), key=len, reverse=True)
        self.pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(map(self._pattern, every))})(?![\w-])")

    @staticmethod
    def _pattern(form: str) -> str:
        words = r"\s+".join(map(re.escape, form.split()))
        return f"[{form[0].lower()}{form[0].upper()}]{words.removeprefix(re.escape(form[0]))}"

    def __call__(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where the terms stand in a text, and which they are."""
        for found in self.pattern.finditer(text):
            yield *found.span(), self.term[" ".join(found[0].split()).lower()]


def running(text: nodes.Text) -> bool:
    """Whether a text stands in a paragraph or a list of the page itself, and in nothing else."""
    node, kinds = text.parent, list[type]()
    while node is not None and not isinstance(node, nodes.document):
        kinds.append(type(node))
        node = node.parent
    return nodes.paragraph in kinds and all(kind in RUNNING for kind in kinds)


def link(document: nodes.document, wanted: tuple[str, ...], page: str) -> None:
    """Make the first use of each wanted term a reference to it."""
    own = [node["reftarget"].lower() for node in document.findall(addnodes.pending_xref) if node["reftype"] == "term"]
    left = {term for term in wanted if term.lower() not in own}
    find = Finder(wanted)
    for text in [text for text in document.findall(nodes.Text) if running(text)]:
        words, pieces, end = text.astext(), list[nodes.Node](), 0
        for start, stop, term in find(words):
            if term in left:
                left.remove(term)
                pieces += [nodes.Text(words[end:start]), _reference(words[start:stop], term, page)]
                end = stop
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(words[end:])])


def _reference(words: str, term: str, page: str) -> addnodes.pending_xref:
    place = {"refdomain": "std", "reftype": "term", "reftarget": term, "refdoc": page}
    shown = nodes.inline(words, words, classes=["first-use"])
    return addnodes.pending_xref("", shown, refexplicit=True, refwarn=True, **place)


def link_first_uses(app: Sphinx, document: nodes.document) -> None:
    root, page = root_of(app), app.env.docname
    if GLOSSARY not in app.env.found_docs or page not in [row["docname"] for row in chapters(root)]:
        return
    file = root / f"{GLOSSARY}.md"
    app.env.note_dependency(str(file))
    link(document, tuple(term for term in terms(file.read_text("utf8")) if term not in EVERYDAY), page)
