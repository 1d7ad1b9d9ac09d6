"""The whole book as a stranger may meet it: a downloaded archive, without git and without the data sets.

It builds on the stand-in, says so, and skips what it cannot claim; the pages are looked at like those with the data.
A chapter that loads no data is not executed again: the build finds it in what was executed before, if anything was.
"""

import os
import re
import shutil

import browser
import house
import pytest
import records
import site_checks

CHAPTERS = records.notebooks(house.ROOT)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = house.copy(tmp_path_factory.mktemp("archive") / "book")
    executed = house.ROOT / "_build" / ".jupyter_cache"
    if executed.is_dir():
        shutil.copytree(executed, root / "_build" / ".jupyter_cache")
    nothing = root.parent / "nothing"
    nothing.mkdir()
    environment = os.environ | {"DEEPDYNAMICS_DATA": str(nothing), "XDG_CACHE_HOME": str(nothing), "PATH": str(nothing)}
    run = house.build(root, environment=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return root


def test_book_without_real_data_says_so(archive):
    ledger = (archive / "_build" / "html" / "book" / "ledger.html").read_text("utf8")
    missing = records.data_sets(archive, CHAPTERS)
    assert "mnist" in missing and f"Built without the real data of: {', '.join(missing)}" in ledger
    claims = [claim for name in CHAPTERS for claim in records.find(archive, name).claims]
    skipped = [claim for claim in claims if claim["verdict"] == "skipped"]
    assert skipped and {claim["skipped"] for claim in skipped} <= set(missing)
    pages = "".join(p.read_text("utf8") for p in (archive / "_build" / "html").rglob("*.html"))
    assert len(re.findall("STAND-IN", pages))


@pytest.fixture(scope="module")
def visit(archive):
    with browser.chromium() as chromium, browser.served(archive / "_build" / "html") as address:
        yield lambda *view: site_checks.visit(chromium, address, *view)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_without_real_data_in_a_browser(visit, chapter):
    size = list(browser.SIZES)[CHAPTERS.index(chapter) % 2]  # both sizes are seen, not each by every chapter
    assert visit(f"{chapter}.html", size, "light") == []
