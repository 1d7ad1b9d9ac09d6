"""The book as a stranger may meet it: a downloaded archive, without git and without the data sets.

It builds on the stand-in, says so, and skips what it cannot claim. All pages are made, every warning an error; what is
executed once more without the data, and looked at in a browser, is a part of the chapters that name some, in turn
(tests/rotation.py). The outputs of the others are taken from the build with the data. With
``DEEPDYNAMICS_ALL_PAGES=1``, in ``make check-all``, nothing is taken that a data set could have changed.
"""

import os
import shutil

import browser
import house
import pytest
import records
import rotation
import site_checks
from deepdynamics import data
from jupyter_cache.base import CacheBundleIn

CHAPTERS = records.notebooks(house.ROOT)
EVERY = os.environ.get("DEEPDYNAMICS_ALL_PAGES") == "1"


def naming(chapter):
    """The data sets that a chapter names in its code: it loads them, or claims what a stored result found on them."""
    text = (house.ROOT / f"{chapter}.md").read_text("utf8")
    return {name for name in data.inventory() if f'"{name}"' in text}


NAMING = [chapter for chapter in CHAPTERS if naming(chapter)]
TODAYS = NAMING if EVERY else rotation.todays(house.ROOT, NAMING, 3)


def keep(root, chapter):
    """Let the build in ``root`` take what was executed with the data for what is executed without."""
    record = records.find(root, chapter)
    if record is not None:
        notes = record.data | {"inventory": dict.fromkeys(data.inventory(), "absent")}
        bundle = CacheBundleIn(record.notebook, str(root / f"{chapter}.md"), data=notes)
        records.open_cache(root).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = house.copy(tmp_path_factory.mktemp("archive") / "book")
    executed = house.ROOT / "_build" / ".jupyter_cache"
    if executed.is_dir():
        shutil.copytree(executed, root / "_build" / ".jupyter_cache")
    if not EVERY:
        for chapter in set(CHAPTERS) - set(TODAYS):
            keep(root, chapter)
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


@pytest.mark.parametrize("chapter", TODAYS)
def test_chapter_without_real_data_names_its_stand_in_or_skips_a_claim(archive, chapter):
    record = records.find(archive, chapter)
    assert set(record.data["inventory"].values()) == {"absent"}
    skipped = [claim["skipped"] for claim in record.claims if claim["verdict"] == "skipped"]
    assert set(skipped) <= naming(chapter)
    assert skipped or "STAND-IN" in (archive / "_build" / "html" / f"{chapter}.html").read_text("utf8")


@pytest.fixture(scope="module")
def visit(archive):
    with browser.chromium() as chromium, browser.served(archive / "_build" / "html") as address:
        yield lambda *view: site_checks.visit(chromium, address, *view)


@pytest.mark.parametrize("chapter", CHAPTERS if EVERY else TODAYS)
def test_chapter_without_real_data_in_a_browser(visit, chapter):
    size = list(browser.SIZES)[CHAPTERS.index(chapter) % 2]  # both sizes are seen, not each by every chapter
    assert visit(f"{chapter}.html", size, "light") == []
