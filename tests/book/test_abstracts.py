"""The Japanese abstracts: every chapter that is written and revised has one, in the order and the parts of the book."""

import re
from pathlib import Path

from generated import chapters

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "book" / "abstracts-ja.md").read_text("utf8")
ABSTRACT = re.compile(r"^\*\*\{ref\}`([^`<]+) <([\w-]+)>`\*\*\u3000(.+)$", re.M)
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def test_every_chapter_has_an_abstract_in_its_part():
    ready = [row for row in chapters(ROOT) if row["docname"] and not row.get("unrevised")]
    told = []
    for part in re.split(r"^## ", TEXT, flags=re.M)[1:]:
        name = re.match(r"\[.+\]\{\.language-ja\} · (.+)", part)
        assert name, f"a heading with both names of the part: {part.splitlines()[0]}"
        told += [(name[1], slug) for _, slug, _ in ABSTRACT.findall(part)]
    needed = [(row["part"], row["slug"]) for row in ready]
    assert set(needed) <= set(told), "book/abstracts-ja.md needs three to five sentences on each of these chapters"
    order = [(row["part"], row["slug"]) for row in chapters(ROOT) if row["docname"]]
    assert told == [row for row in order if row in told]


def test_abstracts_are_three_to_five_japanese_sentences():
    found = ABSTRACT.findall(TEXT)
    assert found and len(found) == len(re.findall(r"^\*\*\{ref\}", TEXT, flags=re.M))
    for title, slug, text in found:
        assert JAPANESE.search(title) or slug == "ntk", slug
        assert text.endswith("。") and 3 <= text.count("。") <= 5, f"{slug}: {text.count('。')} sentences"
        plain = re.sub(r"\$[^$]*\$", "", text)
        assert len(JAPANESE.findall(plain)) > 0.6 * len(plain), slug
        assert not re.search(r"[､｡，．]|です。|ます。", plain), f"{slug}: one style of signs and of endings"
