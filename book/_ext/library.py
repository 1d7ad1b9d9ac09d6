"""The library in the book: a page for each subject, made from its source, and links from every chapter to what it uses.

Directives: ``library-map`` (the subjects, with the chapters that use them) and ``library`` (all that one offers).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import docstrings
import records
from docutils import nodes
from doors import LIBRARY, Entry, Library, Module, used
from generated import Generated, chapters, root_of
from sphinx import addnodes
from sphinx.application import Sphinx
from theme import project_urls

TOOLS = "Tools"  # the group of the subjects that every chapter uses


class LibraryMap(Generated):
    """The subjects by group, each with what it has and the chapters that use it."""

    def markdown(self) -> str:
        library, lines = Library(self.root / "lib"), list[str]()
        for heading, subjects in library.groups():
            lines += [f"## {heading}", ""]
            for subject, has in subjects:
                names = {entry.name for entry in library.entries(subject)}
                users = [docname for docname, found in uses(self.root).items() if names & set(found)]
                lines += [f"**{{ref}}`library-{subject}`**", f": {docstrings.inline(has, code)}.", ""]
                lines[-2] += f" {in_chapters(self.root, users)}" if users else ""
        return "\n".join(lines)


class LibraryPage(Generated):
    """All that a subject offers: signatures, docstrings, and the chapters that use it."""

    required_arguments = 1

    def markdown(self) -> str:
        return page(self.root, self.arguments[0])


def page(root: Path, subject: str) -> str:
    """The page of a subject in Markdown."""
    library = Library(root / "lib")
    entries, (door, *rooms) = (
        library.entries(subject),
        [library.module(f"{LIBRARY}.{subject}"), *library.rooms(subject)],
    )
    assert door is not None

    def link(name: str) -> str:
        return reference(library, subject, name)

    lines = [f"```{{py:module}} {door.name}\n```", "", docstrings.markdown(door.doc, link), ""]
    for room in rooms:
        lines += [f"```{{rubric}} {room.name.split('.', 2)[2]}\n```", docstrings.markdown(room.doc, link), ""]
    lines += [*overview(entries, link), "", source(root, door), ""]
    for entry in entries:
        users = [docname for docname, found in uses(root).items() if entry.name in found]
        lines += [described(entry, link, in_chapters(root, users)), ""]
    return "\n".join(lines)


def overview(entries: list[Entry], link: Any) -> list[str]:
    """Every name with its first sentence."""
    lines = ["```{rubric} What it offers\n```", ""]
    for entry in entries:
        says = docstrings.summary(entry.doc, link).rstrip(".")
        lines.append(f"- {{py:obj}}`{entry.short} <{entry.name}>`" + (f": {says}." if says else "."))
    return lines


def described(entry: Entry, link: Any, users: str = "", depth: int = 5) -> str:
    """An entry as a directive of Sphinx' Python domain, with its members in it."""
    fence = "`" * depth
    name = entry.name.rsplit(".", 1)[-1] if depth < 5 else entry.short
    content = [docstrings.markdown(entry.doc, link), users]
    content += [described(member, link, depth=depth - 1) for member in entry.members]
    body = "\n\n".join(filter(None, content))
    return "\n".join([f"{fence}{{py:{entry.kind}}} {name}{entry.call}", *entry.options, "", body, fence])


def reference(library: Library, subject: str, name: str) -> str:
    """A name in a docstring: a link where it is a public one, else code."""
    public = names(library.lib)
    bare = name.removeprefix("~").removesuffix("()")
    places = (bare, f"{LIBRARY}.{bare}", f"{LIBRARY}.{subject}.{bare}")
    full = next((place for place in places if place in public), None)
    if full:
        return f"{{py:obj}}`{bare.rsplit('.', 1)[-1]} <{full}>`"
    room = re.fullmatch(rf"{LIBRARY}\.(\w+)(\.\w+)*", bare)
    return f"{{ref}}`{bare} <library-{room[1]}>`" if room and room[1] in library.subjects else code(bare)


@cache
def names(lib: Path) -> set[str]:
    """The full names of all that the library offers."""
    library = Library(lib)
    return {entry.name for subject in library.subjects for entry in library.entries(subject)}


def code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def source(root: Path, door: Module) -> str:
    """Where the source of a subject can be read."""
    place = door.path.parent if door.path.name == "__init__.py" else door.path
    name = place.relative_to(root).as_posix()
    return f"Its source is [{docstrings.literal(name)}]({project_urls(root)['Repository']}/tree/main/{name})."


# Chapters -------------------------------------------------------------------------------------------------------------


@cache
def uses(root: Path) -> dict[str, list[str]]:
    """The public names that the code of each chapter uses."""
    library, found = Library(root / "lib"), {}
    for docname in records.notebooks(root):
        cells = [cell.source for cell in records.read_notebook(str(root / f"{docname}.md")).cells if is_code(cell)]
        found[docname] = used(library, [re.sub(r"^[%!].*", "", cell, flags=re.M) for cell in cells])
    return found


def is_code(cell: Any) -> bool:
    return bool(cell.cell_type == "code")


def in_chapters(root: Path, docnames: list[str]) -> str:
    """'Used in …' with links; nothing where no chapter does."""
    rows = [row for row in chapters(root) if row["docname"] in docnames]
    if len(rows) > 1 and len(rows) == len(uses(root)):
        return "*Used in every chapter.*"
    links = ", ".join(f"{{ref}}`{row['slug']}`" for row in rows)
    return f"*Used in* {links}." if rows else ""


def name_library(app: Sphinx, document: nodes.document) -> None:
    """At the end of a chapter, links to what it has from the library; of the tools, to their pages only."""
    docname, root = app.env.docname, root_of(app)
    if docname not in uses(root):
        return
    paragraph = nodes.paragraph("", "", nodes.strong(text="From the library."), nodes.Text(" "))
    groups = Library(root / "lib").groups()
    tools = [subject for heading, subjects in groups if heading == TOOLS for subject, _ in subjects]
    mark = ""
    for subject in [subject for _, subjects in groups for subject, _ in subjects]:
        found = [name for name in uses(root)[docname] if name.startswith(f"{LIBRARY}.{subject}.")]
        if not found or f"book/library/{subject}" not in app.env.found_docs:
            continue
        paragraph += nodes.Text(mark)
        mark = ", " if subject in tools else "; "
        paragraph += _link("std", "ref", f"library-{subject}", nodes.inline(text=subject), docname)
        for position, name in enumerate(found if subject not in tools else []):
            paragraph += nodes.Text(", " if position else ": ")
            paragraph += _link("py", "obj", name, nodes.literal(text=name.split(".", 2)[2]), docname)
    if mark:
        paragraph += nodes.Text(".")
        last = [node for node in document.children if isinstance(node, nodes.section)][-1]
        while isinstance(last.children[-1], nodes.section):
            last = last.children[-1]
        last += paragraph


def _link(domain: str, kind: str, target: str, text: nodes.Element, docname: str) -> addnodes.pending_xref:
    return addnodes.pending_xref(
        "", text, refdomain=domain, reftype=kind, reftarget=target, refdoc=docname, refexplicit=True, refwarn=True
    )


def mend_signatures(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Arguments in lines of their own are a list without terms in Sphinx' HTML, which no list may be: lines instead."""

    def lines(match: re.Match[str]) -> str:
        inner = match[2].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
        return f'{match[1]}<span class="sig-lines">{inner}</span>'

    if page.startswith("book/library/"):
        context["body"] = re.sub(
            r'(<span class="sig-paren">\(</span>)\s*<dl>(.*?)</dl>', lines, context["body"], flags=re.S
        )


def configure(app: Sphinx, config: Any) -> None:
    """Names without their module, long signatures with a line for each argument; and the types that signatures name are
    links where the book has a page for them, and words where it has none.
    """
    config.add_module_names = False
    config.maximum_signature_line_length = 76
    config.toc_object_entries_show_parents = "hide"
    config.html_domain_indices = False
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, ("py:class", ".*")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("library-map", LibraryMap)
    app.add_directive("library", LibraryPage)
    app.connect("config-inited", configure)
    app.connect("doctree-read", name_library)
    app.connect("html-page-context", mend_signatures)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
