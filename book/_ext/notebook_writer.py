"""Every chapter as a plain notebook, with and without solutions, in ``notebooks/`` beside the pages.

When Sphinx writes a page, its document tree has everything resolved: numbers, citations, glued values, links. The same
tree is written here as Jupyter Markdown and code, so that a notebook needs neither MyST nor the book. Outputs stay
empty. A link to a section, formula, figure, theorem or exercise of the chapter stays in the notebook, with an anchor
before its goal; the others, to claims with their results too, are absolute and lead to the published site.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import nbformat
import records
from docutils import nodes
from nbformat import v4
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx_design.dropdown import dropdown_main
from sphinx_design.shared import PassthroughTextElement
from sphinx_exercise.nodes import is_exercise_enumerable_node, is_extension_node, is_solution_node

logger = logging.getLogger(__name__)

FOLDER = "notebooks"
VARIANTS = {"": True, "without-solutions": False}  # folder -> whether solutions are in
INSTALL = """\
# Installs the book's library where it is missing (on Colab, say), {version}.
# Where it is there, nothing happens. Other packages are added only where they are
# missing: the torch, numpy and matplotlib that are there stay as they are.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("deepdynamics") is None:
    print("Installing deepdynamics")
    source = "git+{repository}{commit}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)"""

_ANCHOR = '<a id="{}"></a>'
_COMMENT = re.compile(r"\s*(<!--.*?-->\s*)+", re.S)
_MATH = re.compile(r"\$\$.*?\$\$|(?<!\\)\$[^$]*(?<!\\)\$", re.S)
_LEFTOVERS = {
    "a directive": re.compile(r"^[\s>]*(?:`{3,}|~{3,}|:{3,})\s*\{.*", re.M),
    "a colon fence": re.compile(r"^[\s>]*:{3,}.*", re.M),
    "a role": re.compile(r"\{[a-z][\w:.+-]*\}`[^`]*`?"),
    "a label": re.compile(r"^\([\w:.-]+\)=\s*$", re.M),
    "a relative link": re.compile(r"\]\((?!https?://|mailto:)[^)]*\)|(?:href|src)=[\"'](?!https?://)[^\"']*"),
    "a tool of the build": re.compile(r".*\bmyst_nb\b.*"),
}
_INVISIBLE = (nodes.Invisible, nodes.comment, nodes.target, addnodes.index, addnodes.tabular_col_spec)
_TRANSPARENT = (nodes.inline, nodes.title_reference, nodes.abbreviation, nodes.generated, PassthroughTextElement)


def leftovers(notebook: Any) -> list[str]:
    """What a reader in plain Jupyter would stumble over, one message each."""
    found = []
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    inside = {f"](#{name})" for source in sources for name in re.findall(_ANCHOR.format("(.*?)"), source)}
    for cell in notebook.cells:
        for name, pattern in _LEFTOVERS.items():
            if cell.cell_type == "markdown" or name == "a tool of the build":
                text = _MATH.sub("", cell.source) if name == "a relative link" else cell.source
                hits = [hit[0].strip() for hit in pattern.finditer(text) if hit[0] not in inside]
                found += [f"{cell.id}: {name} was left over: {hit}" for hit in hits]
    return found


def install_cell(root: Path) -> str:
    """The first code cell: installs the library from the repository, at the present commit where it is known.

    A downloaded archive does not know its commit, nor can it be asked where git is missing: the cell then installs the
    newest version, and says so.
    """
    commit = _commit(root)
    unknown = "in its newest version (this\n# notebook was made from a copy of the book that did not know its own)"
    version = "as it was when this notebook\n# was made" if commit else unknown
    urls = tomllib.loads((root / "pyproject.toml").read_text("utf8"))["project"]["urls"]
    return INSTALL.format(repository=urls["Repository"], commit=f"@{commit}" if commit else "", version=version)


def _commit(root: Path) -> str:
    """The commit that is checked out in ``root``; empty without git, and where ``root`` is not the top of a repository
    (an archive may lie inside another one)."""
    git = ["git", "-C", str(root), "rev-parse", "--show-prefix", "HEAD"]
    try:
        run = subprocess.run(git, capture_output=True, text=True)
    except OSError:
        return ""
    prefix, _, commit = run.stdout.partition("\n")
    return "" if run.returncode or prefix else commit.strip()


class NotebookWriter:
    """One document tree as a list of cells."""

    def __init__(self, app: Sphinx, docname: str, *, solutions: bool) -> None:
        self.app, self.env, self.docname, self.solutions = app, app.env, docname, solutions
        self.site = app.config.html_baseurl
        self.page = urljoin(self.site, app.builder.get_target_uri(docname))
        self.numbers = app.env.toc_fignumbers.get(docname, {})
        self.sections = app.env.toc_secnumbers.get(docname, {})
        self.macros = app.config.mathjax3_config.get("tex", {}).get("macros", {})
        if arguments := [name for name, value in self.macros.items() if not isinstance(value, str)]:
            raise ExtensionError(f"macros with arguments cannot be written into notebooks: {arguments}")
        self.source = records.read_notebook(app.env.doc2path(docname)).cells
        self.cells: list[Any] = []
        self.inside: set[str] = set()  # anchors to which links of the notebook lead
        self.level = 0
        self.in_table = False

    def notebook(self, document: nodes.document) -> Any:
        self.inside = self.goals(document)
        self.walk(document)
        for number, cell in enumerate(self.cells):
            cell["id"] = f"cell-{number}"
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        return v4.new_notebook(cells=self.cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})

    # Links -----------------------------------------------------------------------------------------------------------

    def goals(self, document: nodes.document) -> set[str]:
        """The names of what links of the chapter lead to, as far as it is in the notebook."""
        addresses = [self.address(node) for node in document.findall(nodes.reference)]
        wanted = {address.partition("#")[2] for address in addresses if address.startswith(f"{self.page}#")}
        written = document.deepcopy()
        if not self.solutions:
            for node in list(written.findall(is_solution_node)):
                node.parent.remove(node)
        return wanted & {name for node in written.findall(nodes.Element) for name in node.get("ids", [])}

    def anchor(self, node: nodes.Node) -> str:
        names = node.get("ids", []) if isinstance(node, nodes.Element) else []
        return "".join(_ANCHOR.format(name) for name in names if name in self.inside)

    def address(self, node: nodes.Element) -> str:
        return urljoin(self.page, node["refuri"] if "refuri" in node else f"#{node.get('refid', '')}")

    def target(self, node: nodes.Element) -> str:
        page, _, name = self.address(node).partition("#")
        address = f"#{name}" if page == self.page and name in self.inside else self.address(node)
        return address.replace("(", "%28").replace(")", "%29")

    # Cells -----------------------------------------------------------------------------------------------------------

    def add(self, text: str, *, new: bool = False) -> None:
        """Add a block of Markdown to the present cell, or start one."""
        if not text:
            return
        if new or not self.cells or self.cells[-1].cell_type == "code":
            self.cells.append(v4.new_markdown_cell(text))
        else:
            self.cells[-1].source += f"\n\n{text}"

    def walk(self, parent: nodes.Element, skip: int = 0) -> None:
        """Write ``parent`` without its first ``skip`` children: headings and cells, and the rest as Markdown."""
        for node in parent.children[skip:]:
            if isinstance(node, nodes.section):
                self.section(node)
            elif _is_cell(node):
                self.cell(node)
            elif is_extension_node(node):
                self.exercise(node)
            elif isinstance(node, nodes.Element) and node.next_node(_is_cell):
                self.walk(node)
            elif not (isinstance(node, nodes.raw) and isinstance(parent, nodes.document)):  # scripts of the page
                self.add(self.block(node))

    def section(self, node: nodes.section) -> None:
        if not isinstance(node.children[0], nodes.title):
            return self.walk(node)
        self.level += 1
        keys = ["" if self.level == 1 else f"#{name}" for name in node["ids"]]
        number = next((_dotted(self.sections[key]) + ". " for key in keys if key in self.sections), "")
        self.heading(node, self.level, f"{number}{self.inline(node.children[0])}")
        if self.level == 1:
            variant = "" if self.solutions else " This copy has no solutions."
            book = f"[{self.app.config.html_title}]({self.site})"
            self.add(f"*A chapter of {book}. [Read it with its results]({self.page}).{variant}*")
            self.cells.append(v4.new_code_cell(install_cell(Path(self.app.srcdir))))
            self.hidden_cells(after=-1)
        self.walk(node, skip=1)
        self.level -= 1
        return None

    def heading(self, node: nodes.Element, level: int, title: str) -> None:
        """A new cell with a heading, behind the anchor of its section."""
        self.add("\n\n".join(filter(None, [self.anchor(node), f"{'#' * level} {title}"])), new=True)

    def cell(self, node: nodes.Element) -> None:
        """A code cell, under it the captions of its figures, and then the cells that the page leaves out."""
        self.cells.append(v4.new_code_cell(self.source[node["cell_index"]].source))
        for figure in node.findall(nodes.figure):
            self.add(self.anchor(figure) + self.caption(figure))
        self.hidden_cells(after=node["cell_index"])

    def hidden_cells(self, after: int) -> None:
        """The cells with the tag remove-cell up to the next visible one: later cells may use what they define."""
        for cell in self.source[after + 1 :]:
            if cell.cell_type == "code":
                if "remove-cell" not in cell.metadata.get("tags", []):
                    return
                self.cells.append(v4.new_code_cell(cell.source))

    def exercise(self, node: nodes.Element) -> None:
        """An exercise or a solution under a heading of its own; it may hold code cells."""
        title = self.inline(node.children[0]).strip()
        if is_solution_node(node):
            if not self.solutions:
                return
            target = self.env.sphinx_exercise_registry[node["target_label"]]["node"]
            number = self.number("exercise", target)
            title = f"Solution of exercise {number}" if number else title
        elif is_exercise_enumerable_node(node):
            title = f"Exercise {self.number('exercise', node)} {title}".strip()
        self.heading(node, self.level + 1 + is_solution_node(node), title)
        for part in node.children[1:]:
            self.walk(part)

    # Markdown blocks -------------------------------------------------------------------------------------------------

    def blocks(self, parent: Iterable[nodes.Node]) -> str:
        return "\n\n".join(text for node in parent if (text := self.block(node)))

    def block(self, node: nodes.Node) -> str:
        """A node as Markdown, behind its anchor where a link leads to it."""
        return "\n\n".join(filter(None, [self.anchor(node), self.bare_block(node)]))

    def bare_block(self, node: nodes.Node) -> str:
        """A node as Markdown; what has no form in a notebook is a warning, which fails the build."""
        match node:
            case nodes.paragraph() | nodes.rubric() | PassthroughTextElement():
                text = _escape_start(self.inline(node))
                return f"**{text}**" if isinstance(node, nodes.rubric) else text
            case nodes.math_block():
                return self.display(node)
            case nodes.literal_block() | nodes.doctest_block():
                text = node.astext().rstrip()
                fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
                language = re.sub("ipython3?|default|none", "", node.get("language", ""))
                return f"{fence}{language}\n{text}\n{fence}"
            case nodes.bullet_list() | nodes.enumerated_list():
                return self.listing(node)
            case nodes.definition_list() | nodes.field_list():
                entries = (f"**{self.inline(item.children[0])}**: {self.blocks(item.children[-1])}" for item in node)
                return "\n".join(f"- {_indent(entry, 2)}" for entry in entries)
            case nodes.block_quote() | nodes.topic():
                return _quote(self.blocks(node.children))
            case nodes.attribution():
                return f"— {self.inline(node)}"
            case nodes.title():  # of a topic or a sidebar
                return f"**{self.inline(node)}**" if node.children else ""
            case nodes.line_block():
                return "  \n".join(self.inline(line) for line in node.findall(nodes.line))
            case nodes.table():
                return self.table(node)
            case nodes.figure():
                return f"{self.span(node.children[0])}\n\n{self.caption(node)}"
            case nodes.image():
                return self.inline([node])
            case nodes.footnote():
                return f"<sup>{node.children[0].astext()}</sup> {self.blocks(node.children[1:])}"
            case nodes.citation():
                return f"[{node.children[0].astext()}] {self.blocks(node.children[1:])}"
            case nodes.sidebar():
                return _quote(self.blocks(node.children))
            case nodes.transition():
                return "" if "footnotes" in node["classes"] else "---"
            case dropdown_main():
                return _details(self.inline(node.children[0]), self.blocks(node.children[1:]))
            case nodes.Admonition():
                return self.admonition(node)
            case nodes.container() if node.get("design_component") == "card":
                return self.card(node)
            case nodes.container() | nodes.compound() | nodes.section() | addnodes.only():
                return self.blocks(node.children)
            case nodes.raw() if node["format"] != "html" or _COMMENT.fullmatch(node.astext()):
                return ""
            case _ if isinstance(node, _INVISIBLE):
                return ""
        logger.warning("%s cannot be written into a notebook", type(node).__name__, location=node)
        return ""

    def listing(self, node: nodes.Element) -> str:
        items = []
        for number, item in enumerate(node.children, node.get("start", 1)):
            mark = "- " if isinstance(node, nodes.bullet_list) else f"{number}. "
            text = ""
            for child in item.children:
                tight = isinstance(child, nodes.bullet_list | nodes.enumerated_list)
                text += ("" if not text else "\n" if tight else "\n\n") + self.block(child)
            items.append(mark + _indent(text, len(mark)))
        return "\n".join(items)

    def admonition(self, node: nodes.Element) -> str:
        """Notes as quotations, folded ones as details; theorems and their kin with their number; proofs open."""
        children = list(node.children)
        title = self.inline(children.pop(0)).strip() if children and isinstance(children[0], nodes.title) else ""
        if "realtype" in node:
            name = f"{node['realtype'].title()} {self.number(node['countertype'], node)}".strip()
            text = self.blocks(children)
            gap = "\n\n" if re.match(r"\$\$|[-|>!`]|\d+\. ", text) else " "
            return _quote(f"**{f'{name} {title}'.strip()}.**{gap}{text}")
        if "proof" in node["classes"] or type(node).__name__ == "proof_node":
            return re.sub(r"^Proof\.", "*Proof.*", self.blocks(children))
        title = title or type(node).__name__.replace("seealso", "see also").capitalize()
        if "dropdown" in node["classes"]:
            return _details(title, self.blocks(children))
        return _quote(f"**{title}**\n\n{self.blocks(children)}")

    def card(self, node: nodes.Element) -> str:
        links = [link for link in node.findall(nodes.reference) if "sd-stretched-link" in link["classes"]]
        titles = [c for c in node.findall(nodes.container) if c.get("design_component") == "card-title"]
        text = " ".join(self.inline(title.children) for title in titles)
        if links:
            text = f"[{text or links[0].astext()}]({self.target(links[0])})"
        done = [*titles, *(link.parent for link in links)]
        body = [child for part in node.children if part not in done for child in part.children if child not in done]
        return _quote("\n\n".join(filter(None, [f"**{text}**" if text else "", self.blocks(body)])))

    def table(self, node: nodes.Element) -> str:
        self.in_table = True
        heads = [row for head in node.findall(nodes.thead) for row in head.children]
        rows = [
            self.row(row) for row in [*heads, *(row for body in node.findall(nodes.tbody) for row in body.children)]
        ]
        first = next(iter(node.findall(nodes.row)))
        marks = {"text-right": "--:", "text-center": ":-:"}
        rule = [next((marks[c] for c in entry["classes"] if c in marks), "---") for entry in first.children]
        self.in_table = False
        width = max(map(len, rows))
        rows = [row + [""] * (width - len(row)) for row in ([] if heads else [[]]) + rows]
        rows.insert(1, rule + ["---"] * (width - len(rule)))
        lines = [f"| {' | '.join(row)} |" for row in rows]
        title = [self.caption(node)] if isinstance(node.children[0], nodes.title) else []
        return "\n\n".join([*title, "\n".join(lines)])

    def row(self, node: nodes.Element) -> list[str]:
        cells = []
        for entry in node.children:
            cells.append("<br>".join(self.block(child).replace("\n", " ") for child in entry.children))
            cells += [""] * entry.get("morecols", 0)
        return cells

    def caption(self, node: nodes.Element) -> str:
        """'**Fig. 1.2** What it shows' of a figure or table, with the number that the text refers to it by."""
        kind = "table" if isinstance(node, nodes.table) else "figure"
        number = self.number(kind, node)
        label = f"**{self.app.config.numfig_format[kind] % number}** " if number else ""
        text = " ".join(self.inline(part) for part in node if isinstance(part, nodes.caption | nodes.title))
        legend = self.blocks(part for part in node.children if isinstance(part, nodes.legend))
        return "\n\n".join(filter(None, [(label + text).strip(), legend]))

    def number(self, kind: str, node: nodes.Element) -> str:
        found = self.numbers.get(kind, {})
        return next((_dotted(found[name]) for name in node["ids"] if name in found), "")

    # Mathematics -----------------------------------------------------------------------------------------------------

    def tex(self, text: str) -> str:
        """TeX with the macros of the book written out: not every notebook remembers a definition in another cell."""
        for name, value in self.macros.items():
            text = re.sub(rf"([\^_]\s*)\\{name}(?![A-Za-z])", lambda hit, v=value: f"{hit[1]}{{{v}}}", text)
            text = re.sub(rf"\\{name}(?![A-Za-z])", lambda hit, v=value: v, text)
        if self.in_table:
            text = text.replace(r"\|", r"\Vert ").replace("|", r"\vert ").replace("\n", " ")
        return text

    def display(self, node: nodes.math_block) -> str:
        text = "\n".join(line for line in self.tex(node.astext()).strip().split("\n") if line.strip())
        number = self.number("displaymath", node)
        if match := re.fullmatch(r"\\begin\{(equation|align|gather)\*?\}(.*)\\end\{\1\*?\}", text, re.S):
            kind, text = match[1], match[2].strip()
            text = text if kind == "equation" else f"\\begin{{{kind}ed}}\n{text}\n\\end{{{kind}ed}}"
        elif node.get("nowrap"):
            return text
        elif r"\\" in re.sub(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", "", text, flags=re.S):  # as Sphinx does
            text = f"\\begin{{split}}\n{text}\n\\end{{split}}"
        if self.in_table:
            return f"$\\displaystyle {text}$"
        tag = f" \\tag{{{number}}}" if number else ""
        return f"$$\n{text}{tag}\n$$"

    # Inside a line ---------------------------------------------------------------------------------------------------

    def inline(self, parent: Iterable[nodes.Node]) -> str:
        return "".join(map(self.span, parent))

    def span(self, node: nodes.Node) -> str:
        match node:
            case nodes.Text():
                return _escape(node.astext().replace("\n", " "), self.in_table)
            case nodes.emphasis():
                return f"*{self.inline(node)}*"
            case nodes.strong():
                return f"**{self.inline(node)}**"
            case nodes.literal():
                text = node.astext().replace("|", r"\|") if self.in_table else node.astext()
                return f"`` {text} ``" if "`" in text else f"`{text}`"
            case nodes.math():
                return f"${self.tex(node.astext()).strip()}$"
            case nodes.reference():
                return f"[{self.inline(node)}]({self.target(node)})"
            case addnodes.download_reference():
                return f"[{self.inline(node)}]({urljoin(self.site, '_downloads/' + node['filename'])})"
            case nodes.image():
                stored = self.env.images[node["uri"]][1] if node["uri"] in self.env.images else None
                address = urljoin(self.site, f"{self.app.builder.imagedir}/{stored}") if stored else node["uri"]
                return f"![{node.get('alt', '')}]({address})"
            case nodes.footnote_reference():
                return f"<sup>{node.astext()}</sup>"
            case nodes.superscript() | nodes.subscript():
                tag = type(node).__name__[:3]
                return f"<{tag}>{self.inline(node)}</{tag}>"
            case nodes.raw():
                return "<br>" if node.astext().strip() in ("<br>", "<br />") else ""  # otherwise icons
            case nodes.term() | nodes.classifier():
                return self.inline(node)
            case nodes.target():
                return self.anchor(node)
            case _ if isinstance(node, _TRANSPARENT):
                return self.inline(node)
            case _ if isinstance(node, _INVISIBLE):
                return ""
        logger.warning("%s cannot be written into a notebook", type(node).__name__, location=node)
        return ""


def _is_cell(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def _dotted(number: Iterable[int]) -> str:
    return ".".join(map(str, number))


def _indent(text: str, width: int) -> str:
    return re.sub(r"\n(?=[^\n])", "\n" + " " * width, text)


def _escape(text: str, in_table: bool) -> str:
    """Text whose signs Markdown would take for its own."""
    text = re.sub(r"([\\`*$~<])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)", r"\\\g<0>", text)
    return text.replace("|", r"\|") if in_table else text


def _escape_start(text: str) -> str:
    """A paragraph that is no heading, list or rule, whatever it starts with."""
    text = re.sub(r"^(#{1,6}(?=\s|$)|[-+](?=\s|$)|>|---)", r"\\\1", text)
    return re.sub(r"^(\d+)(?=[.)](\s|$))", r"\1\\", text)


def _quote(text: str) -> str:
    """A quotation; displayed mathematics on one line, since Jupyter takes the signs '>' inside it for TeX."""
    text = re.sub(r"\$\$\n(.*?)\n\$\$", lambda hit: "$$" + hit[1].replace("\n", " ") + "$$", text, flags=re.S)
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _details(summary: str, text: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


# Sphinx --------------------------------------------------------------------------------------------------------------


def write_notebooks(app: Sphinx, document: nodes.document, docname: str) -> None:
    if app.builder.name != "html" or not document.next_node(_is_cell):
        return
    for folder, solutions in VARIANTS.items():
        notebook = NotebookWriter(app, docname, solutions=solutions).notebook(document)
        path = Path(app.outdir, FOLDER, folder, f"{docname}.ipynb")
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)


def offer_notebooks(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The download button offers our notebooks, not the unresolved one that the theme has put among the sources."""
    if not Path(app.outdir, FOLDER, f"{page}.ipynb").is_file():
        return
    Path(app.outdir, "_sources", f"{page}.ipynb").unlink(missing_ok=True)
    for group in context.get("header_buttons", []):
        buttons = group.get("buttons", [])
        for button in [b for b in buttons if b.get("label") == "download-notebook-button"]:
            button["url"] = context["pathto"](f"{FOLDER}/{page}.ipynb", 1)
            bare = context["pathto"](f"{FOLDER}/without-solutions/{page}.ipynb", 1)
            text = {"text": ".ipynb without solutions", "tooltip": "Download notebook file without solutions"}
            buttons.insert(buttons.index(button) + 1, button | text | {"url": bare})


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", write_notebooks, priority=900)
    app.connect("html-page-context", offer_notebooks, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
