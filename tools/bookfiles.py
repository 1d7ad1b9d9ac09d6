"""The files of the book that name chapters, and the chapters, as far as they can be read without executing anything."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import records
from IPython.core.inputtransformer2 import TransformerManager
from pybtex.database import parse_file

FRONT_MATTER = {
    "jupytext": "jupytext: {text_representation: {extension: .md, format_name: myst}}",
    "kernelspec": "kernelspec: {display_name: Python 3, language: python, name: python3}",
}


class Unreadable(Exception):
    """A file of the book that cannot be read, in one sentence."""


def bibliography(root: Path) -> set[str]:
    """The keys of ``book/references.bib``."""
    return set(parse_file(str(root / "book" / "references.bib"), "bibtex").entries)


@dataclass
class Book:
    """The lists that name chapters, and the chapters that are there."""

    root: Path
    pages: list[str]  # all that _toc.yml names
    files: list[str]  # all that are there
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
        names = [path.relative_to(root).with_suffix("").as_posix() for path in root.glob("book/**/*.md")]
        chapters = [Chapter(root, page) for page in pages if in_a_part(page)]
        return cls(
            root,
            pages,
            sorted(name for name in names if not re.search(r"/[._]", name)),
            _reading("book/chapters.yml", rows),
            _reading("book/sources.yml", sources),
            _reading("book/references.bib", lambda: bibliography(root)),
            _reading("book/teaching.md", lambda: (root / "book" / "teaching.md").read_text("utf8")),
            {chapter.slug: chapter for chapter in chapters if chapter.path.is_file()},
        )

    @property
    def written(self) -> set[str]:
        """Slugs of the chapters that are in _toc.yml or in the folder of a part."""
        return {name.rsplit("/", 1)[-1] for name in [*self.files, *self.pages] if in_a_part(name)}


def in_a_part(page: str) -> bool:
    """Whether a page is a chapter; the others, ``book/<name>`` and the library's pages, are front and back matter."""
    return re.fullmatch(r"book/(?!library/)[^/_.][^/]*/[^/]+", page) is not None


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
    def tree(self) -> ast.Module:
        return ast.parse(TransformerManager().transform_cell(self.source))

    @property
    def last(self) -> ast.expr | None:
        """The expression whose value the cell shows."""
        last = self.tree.body[-1] if self.tree.body else None
        return last.value if isinstance(last, ast.Expr) else None

    def calls(self, name: str) -> Iterator[ast.Call]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and name in (
                getattr(node.func, "id", None),
                getattr(node.func, "attr", None),
            ):
                yield node


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
        """Why no more can be said of it: one sentence, or None."""
        absent = _front_matter(self.text)
        if absent:
            return f"{self.docname}.md needs a front matter (between two lines --- at its top) with {absent}."
        try:
            cells = self.cells
        except Exception as error:  # whatever the reader of notebooks makes of it
            return f"{self.docname}.md cannot be read as a notebook: {' '.join(str(error).split())}."
        for cell in cells:
            try:
                _ = cell.tree
            except SyntaxError as error:
                where = f"{self.docname}.md, code cell {cell.number} (line {cell.line}),"
                return f"{where} is not Python: {error.msg} in its line {error.lineno}."
        return None

    @cached_property
    def claims(self) -> list[tuple[Cell, ast.Call, str | None]]:
        """Every call of ``claim`` with its key, where that is written out."""
        return [(cell, call, argument(call, "key", 0)) for cell in self.cells for call in cell.calls("claim")]

    @property
    def labels(self) -> set[str]:
        """The labels of sections, exercises and theorems."""
        return set(re.findall(r"^(?:\((?=.*\)=$)|:label: )([\w-]+)", self.text, flags=re.M))


def _front_matter(text: str) -> str:
    """What it lacks, as it has to be written."""
    match = re.match(r"---\n(.*?)\n---\n", text, flags=re.S)
    right = {
        "jupytext": lambda data: data["jupytext"]["text_representation"]["format_name"] == "myst",
        "kernelspec": lambda data: bool(data["kernelspec"]["name"]),
    }

    def there(name: str) -> bool:
        try:
            return match is not None and right[name](yaml.safe_load(match[1]))
        except (yaml.YAMLError, KeyError, TypeError):
            return False

    return " and ".join(repr(form) for name, form in FRONT_MATTER.items() if not there(name))


def argument(call: ast.Call, name: str, position: int | None = None) -> str | None:
    """An argument that is written out as a text."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == name]
    if not given and position is not None:
        given = call.args[position : position + 1]
    return given[0].value if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str) else None
