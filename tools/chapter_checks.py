"""What a chapter needs, read from its files without executing anything: one sentence for each thing that is missing.

A chapter is a page ``book/<part>/<slug>.md``. The build calls ``check`` before it executes anything; ``make chapter``
and the tests call it as well. What claims need is in ``claim_checks``, and part of that is known only when they have
been executed.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import claim_checks
from bookfiles import Book, Cell, Chapter, Unreadable, in_a_part

CELL_LINES = 24
KINDS = ("equation", "figure", "experiment", "statement", "next-step")
ROW = dict.fromkeys(("id", "source", "kind", "where", "says", "chapter", "claims")).keys()
Finding = tuple[str | None, str]  # the slug of the chapter that it is about (None: of every one), and the sentence


def check(root: Path, only: str | None = None) -> list[str]:
    """What the chapters under ``root`` lack; with ``only``, the slug of one of them, what that one lacks."""
    try:
        book = Book.read(root)
    except Unreadable as error:
        return [str(error)]
    found = [*_files(book), *_map(book)]
    waived = claim_checks.unrevised(book.map)
    for chapter in book.chapters.values():
        needs = _needs(chapter, book.references, revised=chapter.slug not in waived)
        found += [(chapter.slug, sentence) for sentence in needs]
    found += [*_claims_made_twice(book), *_sources(book), *_teaching(book)]
    return [sentence for slug, sentence in found if only is None or slug in (None, only)]


# The lists of the book ------------------------------------------------------------------------------------------------


def _files(book: Book) -> Iterator[Finding]:
    for page in book.pages:
        if page not in book.files:
            yield None, f"_toc.yml names {page}, and there is no file {page}.md."
    for file in book.files:
        if in_a_part(file) and file not in book.pages:
            yield file.rsplit("/", 1)[-1], f"{file}.md is not in _toc.yml: its part there needs '- file: {file}'."
        elif not in_a_part(file) and "```{code-cell}" in (book.root / f"{file}.md").read_text("utf8"):
            yield (
                file.rsplit("/", 1)[-1],
                f"{file}.md has code: a chapter lies in the folder of its part, book/<part>/.",
            )
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


def _needs(chapter: Chapter, references: set[str], *, revised: bool) -> list[str]:
    if chapter.broken:
        return [chapter.broken]
    where = f"{chapter.docname}.md"
    found = [f"{where} needs {thing}." for thing in [*_page(chapter), *_exercises(chapter)]]
    for cell in chapter.cells:
        place = f"{where}, code cell {cell.number} (line {cell.line})"
        found += [f"{place}, {sentence}." for sentence in _cell(cell)]
    claims = claim_checks.written(chapter, references, revised=revised)
    found += [f"{where}: {sentence}" for sentence in claims]
    return found


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
    lines = len(cell.source.splitlines())
    if lines > CELL_LINES:
        yield f"has {lines} lines; at most {CELL_LINES} are allowed, what is longer belongs to the library"
    options = cell.options.get("mystnb") or {}
    figure, image = options.get("figure") or {}, options.get("image") or {}
    if figure or image or _draws(cell.last):
        wanted = {"a caption": figure.get("caption"), "a name": figure.get("name"), "an alt text": image.get("alt")}
        lacking = [name for name, text in wanted.items() if not str(text or "").strip()]
        if lacking:
            form = "mystnb: {figure: {caption: …, name: …}, image: {alt: …}}"
            yield f"draws a figure that needs {' and '.join(lacking)} in the options of the cell, {form}"


def _draws(last: ast.expr | None) -> bool:
    """Whether a cell shows a figure that is no explorer: ``fig``, or a function of ``figures``."""
    if isinstance(last, ast.Name):
        return last.id == "fig"
    function = last.func if isinstance(last, ast.Call) else None
    module = function.value if isinstance(function, ast.Attribute) else None
    return getattr(module, "id", None) == "figures" and function.attr not in ("explorer", "use_style")
