"""The picture of which chapter needs which says what the heads of the chapters say."""

import re
from pathlib import Path
from xml.etree import ElementTree

import prerequisites
import records
from generated import chapters
from prerequisites import Need

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def test_needs_are_the_references_of_a_head():
    head = '```{chapter-head}\n:needs: "{ref}`a` with its line, and {ref}`b`; {ref}`c` helps"\n```\nSee {ref}`d`.'
    assert prerequisites.needs("x", head) == [Need("x", "a", False), Need("x", "b", False), Need("x", "c", True)]
    assert prerequisites.needs("x", "```{chapter-head}\n```\n:needs: {ref}`a`") == []


def test_picture_has_every_chapter_and_every_need():
    written = [row for row in chapters(ROOT) if row["docname"]]
    drawn = ElementTree.fromstring(prerequisites.picture(ROOT, {row["slug"]: f"{row['slug']}.html" for row in written}))
    assert [link.get("href") for link in drawn.iter(f"{SVG}a")] == [f"{row['slug']}.html" for row in written]
    found = prerequisites.all_needs(ROOT)
    marks = [circle for circle in drawn.iter(f"{SVG}circle") if circle.get("r") == "3.5"]
    assert len(marks) == len(found) > 10
    assert sum(circle.get("fill") != circle.get("stroke") for circle in marks) == sum(need.helps for need in found)
    assert "Order and chaos needs Layers as time" in drawn.get("aria-label")
    order = [row["slug"] for row in written]
    assert all(order.index(need.other) < order.index(need.chapter) for need in found)


def test_chapters_have_the_numbers_of_the_table_of_contents():
    rows = chapters(ROOT)
    written = [row["docname"] for row in rows if row["docname"]]
    assert [row["number"] for row in rows if row["number"]] == list(range(1, len(written) + 1))
    assert written == [name for name in records.documents(ROOT) if name in written]
    assert all((row["number"] is None) == (row["docname"] is None) for row in rows)


def test_plans_of_lectures_have_what_a_chapter_needs_before_it():
    found = [(need.chapter, need.other) for need in prerequisites.all_needs(ROOT) if not need.helps]
    written = {row["slug"] for row in chapters(ROOT) if row["docname"]}
    text = (ROOT / "book" / "teaching.md").read_text("utf8")
    plans = dict(re.findall(r"^## (Two|Six|Twelve) lectures\n(.*?)(?=^## )", text, flags=re.M | re.S))
    orders = {name: re.findall(r"\{ref\}`([\w-]+)`", plan) for name, plan in plans.items()}
    assert [len(re.findall(r"^\| \d", plan, flags=re.M)) for plan in plans.values()] == [2, 6, 12]
    assert set(orders["Twelve"]) == written
    for order in orders.values():
        assert all(order.index(other) < order.index(chapter) for chapter, other in found if chapter in order)
