"""The table of what the sources contain: complete in its numbered equations and figures, and tied to the chapters."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from pybtex.database import parse_file

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
KINDS = {"equation", "figure", "experiment", "statement", "next-step"}
FIELDS = {"id", "source", "kind", "where", "says", "chapter", "claims"}

# The numbers that the sources print. The report and the slides number neither equations nor figures.
EQUATIONS = {
    "informationflow": ["1"],
    "mototake2015analysis": ["1", "2", "3", "4", "5a", "5b"],
    "actx2022freeprobability": [],
    "karakida2020slides": [],
    "sonoda2018recent": [str(number) for number in range(1, 25)],
}
FIGURES = {
    "informationflow": 3,
    "mototake2015analysis": 5,
    "actx2022freeprobability": 0,
    "karakida2020slides": 0,
    "sonoda2018recent": 7,
}

TABLE = yaml.safe_load((BOOK / "sources.yml").read_text("utf8"))
ROWS = TABLE["rows"]


@cache
def chapters() -> dict[str, str | None]:
    """Every slug of the map of the book, with the Markdown of its chapter where it is written."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    written = {entry["file"].rsplit("/", 1)[-1]: entry["file"] for part in toc["parts"] for entry in part["chapters"]}
    parts = yaml.safe_load((BOOK / "chapters.yml").read_text("utf8"))
    return {
        chapter["slug"]: (ROOT / f"{written[chapter['slug']]}.md").read_text("utf8")
        if chapter["slug"] in written
        else None
        for part in parts
        for chapter in part["chapters"]
    }


def claims_in(text: str) -> set[str]:
    """The keys of the claims that a chapter makes."""
    return set(re.findall(r"""\bclaim\(\s*["']([\w.-]+)["']""", text))


def labels_in(text: str) -> set[str]:
    """The labels of sections, exercises and theorems."""
    return set(re.findall(r"^(?:\((?=.*\)=$)|:label: )([\w-]+)", text, flags=re.M))


def of(source: str, kind: str) -> list[dict]:
    return [row for row in ROWS if row["source"] == source and row["kind"] == kind]


def test_every_row_has_the_same_fields_and_its_own_id():
    assert set(TABLE) == {"sources", "rows"}
    for row in ROWS:
        assert set(row) in (FIELDS, FIELDS | {"section"}), row
        assert row["kind"] in KINDS, row["id"]
        assert row["source"] in TABLE["sources"], row["id"]
        assert row["chapter"] in chapters(), row["id"]
        assert isinstance(row["claims"], list), row["id"]
        assert re.fullmatch(r"[a-z0-9-]+", row["id"]), row["id"]
        assert row["says"].endswith("."), f"{row['id']}: one sentence"
    identities = [row["id"] for row in ROWS]
    assert len(set(identities)) == len(identities)


def test_every_source_says_what_its_text_does_not():
    for key, source in TABLE["sources"].items():
        assert set(source) == {"title", "where", "unknown"}, key


def test_every_source_is_in_the_bibliography():
    entries = parse_file(str(BOOK / "references.bib")).entries
    assert set(TABLE["sources"]) <= set(entries)
    for key in TABLE["sources"]:
        assert "note" in entries[key].fields, key


@pytest.mark.parametrize("source", EQUATIONS)
def test_every_numbered_equation_has_one_row(source):
    rows = (re.fullmatch(r"eq\. \((\w+)\)", row["where"]) for row in of(source, "equation"))
    assert [match[1] for match in rows if match] == EQUATIONS[source]


@pytest.mark.parametrize("source", FIGURES)
def test_every_numbered_figure_has_one_row(source):
    rows = (re.fullmatch(r"Fig\. (\d+)", row["where"]) for row in of(source, "figure"))
    assert sorted(int(match[1]) for match in rows if match) == list(range(1, FIGURES[source] + 1))


@pytest.mark.parametrize("source", TABLE["sources"])
def test_every_source_has_experiments_and_next_steps(source):
    # The survey among them, too: each of the five reports an experiment and announces further work.
    assert of(source, "experiment")
    assert of(source, "next-step")


def test_rows_of_written_chapters_name_what_treats_them():
    lost = []
    for row in ROWS:
        text = chapters()[row["chapter"]]
        if text is not None and not (claims_in(text) & set(row["claims"]) or row.get("section") in labels_in(text)):
            lost.append(row["id"])
    assert not lost, f"neither a claim nor a section of its chapter: {', '.join(lost)}"


def test_every_named_claim_and_section_exists_in_its_chapter():
    for row in ROWS:
        text = chapters()[row["chapter"]] or ""
        assert set(row["claims"]) <= claims_in(text), row["id"]
        if "section" in row:
            assert row["section"] in labels_in(text), row["id"]


def test_teaching_plans_link_to_exactly_the_written_chapters():
    text = (BOOK / "teaching.md").read_text("utf8")
    titles = {
        chapter["slug"]: chapter["title"]
        for part in yaml.safe_load((BOOK / "chapters.yml").read_text("utf8"))
        for chapter in part["chapters"]
    }
    for slug, chapter in chapters().items():
        linked, planned = f"{{ref}}`{slug}`" in text, f"*{titles[slug]}*" in text
        assert (linked, planned) == ((True, False) if chapter is not None else (False, True)), slug
