"""The picture of which chapter needs which says what the heads of the chapters say."""

from pathlib import Path
from xml.etree import ElementTree

import prerequisites
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
