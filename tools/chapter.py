"""Begin a chapter, and say what it needs. ``make chapter NAME=…`` calls this.

python tools/chapter.py NAME                     a new chapter: its file, and a row in every list of the book
python tools/chapter.py NAME --part FOLDER       in which part (the last one that has chapters, unless it is planned)
python tools/chapter.py NAME --title "A title"   its title (the one in book/chapters.yml, where it is planned)
python tools/chapter.py NAME                     again: what the chapter lacks; nothing is written
python tools/chapter.py                          what all chapters lack

NAME is the last part of the file name. The chapter (tools/chapter.md is its template) passes all checks as it is, and
tools/chapter_checks.py says what they are. A new chapter is marked "unrevised" in book/chapters.yml: it is not held to
the rules for claims (tools/claim_checks.py) until the mark is taken away.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from bookfiles import Book, Unreadable
from chapter_checks import check
from claim_checks import executed, until_revised

PROJECT = Path(__file__).resolve().parents[1]
TOC, MAP, SOURCES, TEACHING = "_toc.yml", "book/chapters.yml", "book/sources.yml", "book/teaching.md"


class Refused(Exception):
    """Why there is no new chapter, in one sentence."""


def begin(root: Path, slug: str, folder: str | None = None, title: str | None = None) -> list[str]:
    """Write the chapter ``slug`` and its rows; returns the names of the files. Nothing is written where it raises."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        raise Refused(f"NAME={slug}: small letters, digits and single hyphens are allowed, such as my-chapter.")
    book = Book.read(root)
    folders = _folders(book)
    planned = next((row for row in book.map if row["slug"] == slug), None)
    part = planned["part"] if planned else _part(book, folders, folder)
    if planned and folder not in (None, folders[part]):
        raise Refused(f"PART={folder}: {MAP} plans {slug} in the part {part!r}, whose folder is {folders[part]}.")
    if planned and title not in (None, planned["title"]):
        raise Refused(f"TITLE={title}: {MAP} plans {slug} as {planned['title']!r}; change it there.")
    title = planned["title"] if planned else title or slug.replace("-", " ").capitalize()
    name = f"book/{folders[part]}/{slug}"
    before = {file: (root / file).read_text("utf8") for file in (TOC, MAP, SOURCES, TEACHING)}
    texts = dict(before)
    texts[MAP] = _marked(texts[MAP], slug) if planned else _row_of_the_map(texts[MAP], part, slug, title)
    order = re.findall(r"slug: ([\w-]+)", texts[MAP])
    texts[TOC] = _entry_of_the_toc(texts[TOC], part, name, order, book)
    rows = [row for row in book.sources["rows"] if row.get("chapter") == slug]
    texts[SOURCES] = _sections_of_the_sources(texts[SOURCES], slug)
    texts[TEACHING] = _link_of_the_plans(texts[TEACHING], slug, title if planned else None)
    texts[f"{name}.md"] = _chapter(slug, title, rows)
    (root / name).parent.mkdir(exist_ok=True)
    changed = [file for file, text in texts.items() if file not in before or before[file] != text]
    for file in changed:
        (root / file).write_text(texts[file], "utf8")
    return changed


def _folders(book: Book) -> dict[str, str]:
    """The folder of each part: that of its chapters, or its name in small letters where it has none yet."""
    names = {row["part"]: re.sub(r"[^a-z0-9]+", "-", row["part"].lower()).strip("-") for row in book.map}
    for row in book.map:
        if row["slug"] in book.chapters:
            names[row["part"]] = book.chapters[row["slug"]].docname.split("/")[1]
    return names


def _part(book: Book, folders: dict[str, str], folder: str | None) -> str:
    if folder is None:
        return [row["part"] for row in book.map if row["slug"] in book.chapters][-1]
    found = [part for part, name in folders.items() if name == folder]
    if not found:
        allowed = ", ".join(folders.values())
        raise Refused(f"PART={folder}: allowed are {allowed}. A new part begins with a '- part:' in {MAP}.")
    return found[0]


def _row_of_the_map(text: str, part: str, slug: str, title: str) -> str:
    """A row at the end of its part."""
    lines = text.splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith("- part:")] + [len(lines)]
    start = next(i for i in heads if yaml.safe_load(lines[i])[0]["part"] == part)
    end = next(i for i in heads if i > start)
    while not lines[end - 1].strip():
        end -= 1
    shows = json.dumps("One sentence on what it shows.")
    lines.insert(end, f"    - {{slug: {slug}, title: {_quoted(title)}, shows: {shows}, unrevised: true}}")
    return "\n".join(lines) + "\n"


def _marked(text: str, slug: str) -> str:
    """The row of a planned chapter with the mark of one that has begun."""
    return re.sub(rf"^( *- \{{slug: {re.escape(slug)},.*)\}} *$", r"\1, unrevised: true}", text, flags=re.M)


def _quoted(title: str) -> str:
    return title if re.fullmatch(r"[A-Za-z][\w -]*", title) else json.dumps(title, ensure_ascii=False)


def _entry_of_the_toc(text: str, part: str, name: str, order: list[str], book: Book) -> str:
    """An entry where the map has it: after the chapter before it in its part, or in a new part after the one before."""
    slug, parts = name.rsplit("/", 1)[-1], {row["slug"]: row["part"] for row in book.map} | {name: part}
    before = order[: order.index(slug)]
    lines = text.splitlines()
    files = {i: m[1] for i, line in enumerate(lines) if (m := re.search(r"file: ([^\s},]+)", line))}
    entries = {i: file.rsplit("/", 1)[-1] for i, file in files.items() if not file.startswith("book/library/")}
    captions = {m[1].strip("\"'"): i for i, line in enumerate(lines) if (m := re.match(r" *- caption: (.+?) *$", line))}
    earlier = [i for i, entry in entries.items() if entry in before]
    if not captions:
        raise Refused(f"{TOC} has no parts with captions, in one of which {name} could stand.")
    if part not in captions:
        place = max(earlier, default=min(captions.values()) - 1) + 1
        new = [f"  - caption: {_quoted(part)}", "    numbered: true", "    chapters:", f"      - file: {name}"]
    else:
        same = [i for i in earlier if parts.get(entries[i]) == part]
        place = max(same) + 1 if same else min(i for i in entries if i > captions[part])
        new = [f"      - file: {name}"]
    return "\n".join([*lines[:place], *new, *lines[place:]]) + "\n"


def _sections_of_the_sources(text: str, slug: str) -> str:
    """Every row of the chapter that nothing treats yet gets the section of the template that lists it."""
    row = re.compile(rf"^    chapter: {re.escape(slug)}\n    claims: \[\]\n(?!    section:)", flags=re.M)
    return row.sub(lambda match: f"{match[0]}    section: {slug}-sources\n", text)


def _link_of_the_plans(text: str, slug: str, planned: str | None) -> str:
    """A link in the place of a planned title, or in a line after the plans."""
    link, beside = f"{{ref}}`{slug}`", "Beside these plans: "
    if planned and f"*{planned}*" in text:
        return text.replace(f"*{planned}*", link)
    lines = text.splitlines()
    found = [i for i, line in enumerate(lines) if line.startswith(beside)]
    if found:
        lines[found[0]] = f"{lines[found[0]].rstrip('.')}, {link}."
    else:
        place = max((i for i, line in enumerate(lines) if line.startswith("|")), default=len(lines) - 1) + 1
        lines[place:place] = ["", f"{beside}{link}."]
    return "\n".join(lines) + "\n"


def _chapter(slug: str, title: str, rows: list[dict[str, Any]]) -> str:
    items = [f"- {{cite:t}}`{row['source']}`, {row['where']}: {row['says']}" for row in rows]
    head = [
        f"({slug}-sources)=",
        "## What the sources say",
        "",
        "What they have on the subject, and what is not treated yet:",
        "",
    ]
    sources = "\n".join(["", *head, *items, ""]) if items else ""
    template = (PROJECT / "tools" / "chapter.md").read_text("utf8")
    return template.replace("SLUG", slug).replace("TITLE", title).replace("SOURCES\n", f"{sources}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("--part", metavar="FOLDER")
    parser.add_argument("--title")
    parser.add_argument("--root", type=Path, default=PROJECT)
    arguments = parser.parse_args()
    root, slug = arguments.root.resolve(), arguments.name or None
    try:
        there = slug is None or slug in Book.read(root).written
        written = [] if there else begin(root, slug, arguments.part or None, arguments.title or None)
    except (Refused, Unreadable) as error:
        print(error, file=sys.stderr)
        return 1
    if written:
        print(f"Written: {', '.join(written)}.")
    found = check(root, slug)
    pages = [] if found else [c.docname for c in Book.read(root).chapters.values() if slug in (None, c.slug)]
    found += executed(root, pages)
    later = until_revised(root, pages)
    print("\n".join(found) if found else f"{slug or 'Every chapter'} has what a chapter needs.")
    if later:
        print("\n".join([f"Before the mark 'unrevised' in {MAP} can go:", *later]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
