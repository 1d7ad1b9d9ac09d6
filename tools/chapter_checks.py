"""What a chapter needs, read from its files without executing anything: one sentence for each thing that is missing.

A chapter is a page ``book/<part>/<slug>.md``. The build calls ``check`` before it executes anything and
``unknown_sources`` after it has executed everything, since the source of a claim may be computed; ``make chapter`` and
the tests call ``check`` as well.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import records
from deepdynamics.claims import source_key
from IPython.core.inputtransformer2 import TransformerManager
from pybtex.database import parse_file

CELL_LINES = 24
KINDS = ("equation", "figure", "experiment", "statement", "next-step")
ROW = dict.fromkeys(("id", "source", "kind", "where", "says", "chapter", "claims")).keys()
FRONT_MATTER = {
    "jupytext": "jupytext: {text_representation: {extension: .md, format_name: myst}}",
    "kernelspec": "kernelspec: {display_name: Python 3, language: python, name: python3}",
}

Finding = tuple[str | None, str]  # the slug of the chapter that it is about, and the sentence


class Unreadable(Exception):
    """A file of the book that cannot be read, in one sentence."""


def check(root: Path, only: str | None = None) -> list[str]:
    """What the chapters under ``root`` lack; with ``only``, the slug of one of them, what that one lacks."""
    try:
        book = Book.read(root)
    except Unreadable as error:
        return [str(error)]
    found = [*_files(book), *_map(book)]
    for chapter in book.chapters.values():
        found += [(chapter.slug, sentence) for sentence in _needs(chapter, book.references)]
    found += [*_claims_made_twice(book), *_sources(book), *_teaching(book)]
    return [sentence for slug, sentence in found if only is None or slug in (None, only)]


def unknown_sources(root: Path, docnames: list[str]) -> list[str]:
    """Claims of executed chapters whose source ``book/references.bib`` does not have."""
    known = bibliography(root)
    found = []
    for docname in docnames:
        record = records.find(root, docname)
        for claim in record.claims if record else []:
            sentence = _unknown(claim["source"], known)
            if sentence:
                found.append(f"{docname}.md: claim {claim['key']!r} {sentence}")
    return found


def bibliography(root: Path) -> set[str]:
    """The keys of ``book/references.bib``."""
    return set(parse_file(str(root / "book" / "references.bib"), "bibtex").entries)


@dataclass
class Book:
    """The lists that name chapters, and the chapters that are there."""

    pages: list[str]  # all that _toc.yml names
    files: list[str]  # the pages that lie in the folders of the parts
    map: list[dict[str, Any]]  # rows of chapters.yml
    sources: dict[str, Any]
    references: set[str]
    teaching: str
    chapters: dict[str, Chapter]  # in _toc.yml, and there

    @classmethod
    def read(cls, root: Path) -> Book:
        def documents() -> list[str]:
            return [str(page) for page in records.documents(root)]

        def rows() -> list[dict[str, Any]]:
            parts = yaml.safe_load((root / "book" / "chapters.yml").read_text("utf8"))
            return [row | {"part": part["part"], "slug": row["slug"]} for part in parts for row in part["chapters"]]

        def sources() -> dict[str, Any]:
            table = yaml.safe_load((root / "book" / "sources.yml").read_text("utf8"))
            return {"sources": dict(table["sources"]), "rows": [dict(row) for row in table["rows"]]}

        pages = _reading("_toc.yml", documents)
        chapters = [Chapter(root, page) for page in pages if page.count("/") == 2]
        return cls(
            pages,
            sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.glob("book/[!_.]*/[!_.]*.md")),
            _reading("book/chapters.yml", rows),
            _reading("book/sources.yml", sources),
            _reading("book/references.bib", lambda: bibliography(root)),
            _reading("book/teaching.md", lambda: (root / "book" / "teaching.md").read_text("utf8")),
            {chapter.slug: chapter for chapter in chapters if chapter.path.is_file()},
        )

    @property
    def written(self) -> set[str]:
        """Slugs of the chapters that are in _toc.yml or in the folder of a part."""
        return {name.rsplit("/", 1)[-1] for name in [*self.files, *self.pages]}


def _reading(name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # whatever can be wrong with a file that a person writes
        reason = " ".join(str(error).split())
        raise Unreadable(f"{name} cannot be read: {type(error).__name__}: {reason}.") from error


@dataclass
class Cell:
    """A code cell: its number, the line where it begins, its code and its options."""

    number: int
    line: int
    source: str
    options: dict[str, Any]

    @cached_property
    def tree(self) -> ast.Module | SyntaxError:
        try:
            return ast.parse(TransformerManager().transform_cell(self.source))
        except SyntaxError as error:
            return error

    @property
    def last(self) -> ast.expr | None:
        """The expression whose value the cell shows."""
        body = self.tree.body if isinstance(self.tree, ast.Module) else []
        return body[-1].value if body and isinstance(body[-1], ast.Expr) else None

    def calls(self, name: str) -> Iterator[ast.Call]:
        if isinstance(self.tree, ast.Module):
            yield from (node for node in ast.walk(self.tree) if _calls(node, name))


@dataclass
class Chapter:
    """A page of the book by its name in the table of contents."""

    root: Path
    docname: str

    @property
    def slug(self) -> str:
        return self.docname.rsplit("/", 1)[-1]

    @property
    def path(self) -> Path:
        return self.root / f"{self.docname}.md"

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf8")

    @cached_property
    def cells(self) -> list[Cell]:
        notebook = records.read_notebook(str(self.path))
        code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        lines = notebook.metadata.source_map
        return [Cell(number, lines[i], cell.source, cell.metadata) for number, (i, cell) in enumerate(code, 1)]

    @cached_property
    def broken(self) -> str | None:
        """Why nothing can be said about its cells: one sentence, or None."""
        absent = _front_matter(self.text)
        if absent:
            return f"{self.docname}.md needs a front matter (between two lines --- at its top) with {absent}."
        try:
            return None if self.cells else f"{self.docname}.md needs code: it has no {{code-cell}}."
        except Exception as error:
            return f"{self.docname}.md cannot be read as a notebook: {' '.join(str(error).split())}."

    @cached_property
    def claims(self) -> list[tuple[Cell, ast.Call, str | None]]:
        """Every call of ``claim`` with its key, where that is written out."""
        return [(cell, call, _argument(call, "key", 0)) for cell in self.cells for call in cell.calls("claim")]

    @property
    def labels(self) -> set[str]:
        """The labels of sections, exercises and theorems."""
        return set(re.findall(r"^(?:\((?=.*\)=$)|:label: )([\w-]+)", self.text, flags=re.M))


# The lists of the book ------------------------------------------------------------------------------------------------


def _files(book: Book) -> Iterator[Finding]:
    for page in book.pages:
        if page not in book.files and page.count("/") == 2:
            yield page.rsplit("/", 1)[-1], f"_toc.yml names {page}, and there is no file {page}.md."
    for file in book.files:
        if file not in book.pages:
            yield file.rsplit("/", 1)[-1], f"{file}.md is not in _toc.yml: its part there needs '- file: {file}'."
    slugs = Counter(page.rsplit("/", 1)[-1] for page in book.pages)
    for slug in (slug for slug, count in slugs.items() if count > 1):
        yield slug, f"_toc.yml names {slugs[slug]} pages {slug}: the last part of its file name is a chapter's name."


def _map(book: Book) -> Iterator[Finding]:
    slugs = Counter(row["slug"] for row in book.map)
    for row in book.map:
        for field in ("title", "shows"):
            if not row.get(field):
                yield row["slug"], f"book/chapters.yml: the row of {row['slug']} needs {field!r}."
    for slug in (slug for slug, count in slugs.items() if count > 1):
        yield slug, f"book/chapters.yml has {slugs[slug]} rows for {slug}; a chapter has one."
    for slug in book.chapters:
        if slug not in slugs:
            yield slug, f'book/chapters.yml needs a row for {slug}: - {{slug: {slug}, title: …, shows: "…"}}.'


def _sources(book: Book) -> Iterator[Finding]:
    rows = book.sources["rows"]
    count = Counter(row.get("id") for row in rows)
    untreated: dict[str, list[str]] = {}
    for row in rows:
        where, slug = f"book/sources.yml, row {row.get('id')!r},", str(row.get("chapter"))
        broken = list(_row(row, book, count))
        yield from ((slug, f"{where} {sentence}.") for sentence in broken)
        chapter = book.chapters.get(slug)
        if broken or (chapter is None and slug in book.written) or (chapter and chapter.broken):
            continue
        made = {key for _, _, key in chapter.claims} if chapter else set()
        for claim in sorted(set(row["claims"]) - made):
            yield slug, f"{where} names the claim {claim!r}, which the chapter {slug} does not make."
        if "section" in row and row["section"] not in (chapter.labels if chapter else ()):
            yield slug, f"{where} names the section {row['section']!r}, a label that the chapter {slug} does not have."
        if chapter and not row["claims"] and "section" not in row:
            untreated.setdefault(slug, []).append(row["id"])
    for slug, lost in untreated.items():
        sentence = f"book/sources.yml: each row of {slug} needs the claims, or the section, that treat it"
        yield slug, f"{sentence}; missing in {', '.join(lost)}."


def _row(row: dict[str, Any], book: Book, count: Counter[Any]) -> Iterator[str]:
    slug = row.get("chapter")
    if set(row) - {"section"} != ROW:
        yield f"has the fields {', '.join(row)}; it needs {', '.join(ROW)}, and may have section"
        return
    if not re.fullmatch("[a-z0-9-]+", str(row["id"])):
        yield "needs an id of small letters, digits and hyphens"
    if count[row["id"]] > 1:
        yield "needs an id of its own"
    if row["kind"] not in KINDS:
        yield f"needs a kind among {', '.join(KINDS)}, not {row['kind']!r}"
    if row["source"] not in book.sources["sources"]:
        yield f"names the source {row['source']!r}, which the list of sources above it does not have"
    if slug not in book.written and slug not in [chapter["slug"] for chapter in book.map]:
        yield f"names the chapter {slug!r}, which book/chapters.yml does not have"
    if not isinstance(row["claims"], list):
        yield "needs a list of claims, [] where there is none yet"
    if not str(row["says"]).endswith("."):
        yield "needs one sentence in says, with its full stop"


def _teaching(book: Book) -> Iterator[Finding]:
    for row in book.map:
        slug, title = row["slug"], f"*{row.get('title')}*"
        link = f"{{ref}}`{slug}`"
        linked, planned, written = link in book.teaching, title in book.teaching, slug in book.written
        if written and not linked:
            yield slug, f"book/teaching.md needs a link to the chapter {slug}: {link}."
        elif written and planned:
            yield slug, f"book/teaching.md names {slug} as planned, {title}: it is written, so that {link} is enough."
        elif linked and not written:
            yield (
                slug,
                f"book/teaching.md links to {slug}, which is not written: {title} is how a planned one is named.",
            )
        elif not written and not planned:
            yield slug, f"book/teaching.md needs the planned chapter {slug} in its plans: {title}."


def _claims_made_twice(book: Book) -> Iterator[Finding]:
    readable = [chapter for chapter in book.chapters.values() if not chapter.broken]
    made = [(key, chapter.slug) for chapter in readable for _, _, key in chapter.claims if key]
    for key in (key for key, count in Counter(key for key, _ in made).items() if count > 1):
        slugs = [slug for name, slug in made if name == key]
        where = " and in ".join(dict.fromkeys(slugs))
        yield slugs[-1], f"The claim {key!r} occurs more than once, in {where}: its key is its name."


# One chapter ----------------------------------------------------------------------------------------------------------


def _needs(chapter: Chapter, references: set[str]) -> list[str]:
    if chapter.broken:
        return [chapter.broken]
    where = f"{chapter.docname}.md"
    found = [f"{where} needs {thing}." for thing in [*_page(chapter), *_exercises(chapter)]]
    for cell in chapter.cells:
        place = f"{where}, code cell {cell.number} (line {cell.line})"
        found += [f"{place}, {sentence}." for sentence in _cell(cell)]
    for cell, call, key in chapter.claims:
        place = f"{where}: claim {key or ast.unparse(call)[:40]!r} (line {cell.line})"
        found += [f"{place} {sentence}" for sentence in _claim(cell, call, references)]
    return found


def _front_matter(text: str) -> str:
    match = re.match(r"---\n(.*?)\n---\n", text, flags=re.S)
    try:
        data = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        data = None
    data = data if isinstance(data, dict) else {}
    form = ((data.get("jupytext") or {}).get("text_representation") or {}).get("format_name")
    there = {"jupytext": form == "myst", "kernelspec": bool((data.get("kernelspec") or {}).get("name"))}
    return " and ".join(repr(FRONT_MATTER[name]) for name in FRONT_MATTER if not there[name])


def _page(chapter: Chapter) -> Iterator[str]:
    if not re.search(rf"^\({re.escape(chapter.slug)}\)=\n+# \S", chapter.text, flags=re.M):
        yield f"the label ({chapter.slug})= on a line of its own, right above its title '# …'"
    if not re.search(r"^[`:]{3,}\{chapter-head\}", chapter.text, flags=re.M):
        yield "the directive ```{chapter-head}, which shows its times, needs and claims"
    if not any(True for cell in chapter.cells for _ in cell.calls("explorer")):
        yield "an explorer, a cell that ends with figures.explorer(draw, {…}, label=…)"
    if not chapter.claims:
        yield 'a claim, a cell that ends with claim("chapter.subject", …)'
    for fence in re.finditer(r"^([`:]{3,})\{(figure|image)\}.*\n((?:.*\n)*?)\1", chapter.text, flags=re.M):
        if not re.search(r"^:alt: *\S", fence[3], flags=re.M):
            yield f"an alt text (:alt:) for its {fence[2]} in line {chapter.text[: fence.start()].count(chr(10)) + 1}"


def _exercises(chapter: Chapter) -> Iterator[str]:
    exercises = re.findall(r"^[`:]{3,}\{exercise(?:-start)?\}(.*)\n((?::.*\n)*)", chapter.text, flags=re.M)
    if not exercises:
        yield "an exercise with its solution, the directives {exercise} and {solution-start} … {solution-end}"
        return
    labels = {match[1] for _, options in exercises if (match := re.search(r"^:label: *(\S+)", options, flags=re.M))}
    for title, options in exercises:
        if ":label:" not in options:
            yield f"a :label: for its exercise {title.strip()!r}"
    solutions = re.findall(r"^[`:]{3,}\{solution(?:-start)?\} *(\S*)", chapter.text, flags=re.M)
    for label in set(solutions) - labels if len(labels) == len(exercises) else ():
        yield f"an exercise {label!r}, of which it has a solution"
    executed = re.findall(r"^[`:]{3,}\{solution-start\}(.*?)\{solution-end\}", chapter.text, flags=re.M | re.S)
    if not any("{code-cell}" in solution for solution in executed):
        yield "a solution whose code is executed, a code cell between {solution-start} and {solution-end}"


def _cell(cell: Cell) -> Iterator[str]:
    if isinstance(cell.tree, SyntaxError):
        yield f"is not Python: {cell.tree.msg} in its line {cell.tree.lineno}"
    lines = len(cell.source.splitlines())
    if lines > CELL_LINES:
        yield f"has {lines} lines; at most {CELL_LINES} are allowed, what is longer belongs to the library"
    options = cell.options.get("mystnb") or {}
    figure, image = options.get("figure") or {}, options.get("image") or {}
    if options or _draws(cell.last):
        wanted = {"a caption": figure.get("caption"), "a name": figure.get("name"), "an alt text": image.get("alt")}
        lacking = [name for name, text in wanted.items() if not str(text or "").strip()]
        if lacking:
            form = "mystnb: {figure: {caption: …, name: …}, image: {alt: …}}"
            yield f"draws a figure that needs {' and '.join(lacking)} in the options of the cell, {form}"


def _claim(cell: Cell, call: ast.Call, references: set[str]) -> Iterator[str]:
    shown = [cell.last, *(call.args[0] for call in cell.calls("display") if call.args)]
    if call not in shown:
        yield "has to be the last expression of its cell: otherwise neither the page nor the ledger shows it."
    unknown = _unknown(_argument(call, "source"), references)
    if unknown:
        yield unknown


def _unknown(source: str | None, known: set[str]) -> str | None:
    """What is wrong with the source of a claim, or None."""
    if source is None:
        return None
    try:
        key = source_key(source)
    except ValueError as error:
        return f"has an improper source: {error}."
    if key in known:
        return None
    return f"cites {key!r}, a key that book/references.bib does not have (source = {source!r})."


# Syntax ---------------------------------------------------------------------------------------------------------------


def _calls(node: ast.AST | None, name: str) -> bool:
    return isinstance(node, ast.Call) and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))


def _argument(call: ast.Call, name: str, position: int | None = None) -> str | None:
    """An argument that is written out as a text."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == name]
    if not given and position is not None:
        given = call.args[position : position + 1]
    return given[0].value if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str) else None


def _draws(last: ast.expr | None) -> bool:
    """Whether a cell shows a figure that is no explorer: ``fig``, or a function of ``figures``."""
    if isinstance(last, ast.Name):
        return last.id == "fig"
    function = last.func if isinstance(last, ast.Call) else None
    module = function.value if isinstance(function, ast.Attribute) else None
    return getattr(module, "id", None) == "figures" and function.attr not in ("explorer", "use_style")
