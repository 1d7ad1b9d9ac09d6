"""The table of what the sources contain: complete in its numbered equations and figures.

That each row is well formed, and tied to its chapter, is what tools/chapter_checks.py looks at (test_chapter.py).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pybtex.database import parse_file

BOOK = Path(__file__).resolve().parents[2] / "book"

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


def of(source: str, kind: str) -> list[dict]:
    return [row for row in ROWS if row["source"] == source and row["kind"] == kind]


def test_the_table_has_sources_and_rows():
    assert set(TABLE) == {"sources", "rows"}


def test_every_source_says_what_its_text_does_not():
    for key, source in TABLE["sources"].items():
        assert set(source) == {"title", "where", "unknown"}, f"book/sources.yml: {key} needs title, where and unknown"


def test_every_source_is_in_the_bibliography():
    entries = parse_file(str(BOOK / "references.bib")).entries
    for key in TABLE["sources"]:
        assert key in set(entries), f"book/references.bib needs {key}, a source of book/sources.yml"
        assert "note" in entries[key].fields, f"book/references.bib: {key} needs a note on what its text does not say"


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
    for kind in ("experiment", "next-step"):
        assert of(source, kind), f"book/sources.yml has no row of kind {kind} for {source}"
