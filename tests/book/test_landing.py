"""The first screen of the first page: what the book is, a picture that moves, and the four ways in."""

from pathlib import Path

import browser
import pytest

ROOT = Path(__file__).resolve().parents[2]
START = "book/index.html"
SITE = ROOT / "_build" / "html"
WAYS = ("Read.", "Run.", "Teach.", "Use.")
MOVED = "() => document.querySelector('.moving-picture input').value"


@pytest.fixture(scope="module")
def address():
    if not (SITE / START).is_file():
        browser.lacking("the book is not built: make book")
    with browser.served(SITE) as address:
        yield address


@pytest.fixture(scope="module")
def reader():
    with browser.chromium() as chromium:
        yield chromium


def opened(reader, address, motion):
    page = reader.new_page(viewport=browser.SIZES["desktop"], reduced_motion=motion)
    page.goto(address + START, wait_until="load", timeout=120_000)
    return page


def test_picture_runs_once_by_itself_and_again_by_its_button(reader, address):
    page = opened(reader, address, "no-preference")
    slider, button = page.locator(".moving-picture input").first, page.locator(".moving-picture button")
    last = slider.get_attribute("max")
    page.wait_for_function(f"{MOVED} === '{last}'", timeout=30_000)
    button.click()
    page.wait_for_function(f"{MOVED} === '1'", timeout=30_000)
    assert page.locator(".moving-picture img:visible").get_attribute("alt").startswith("layer l = 1,")
    slider.press("End")  # whoever takes a slider stops it
    page.wait_for_timeout(1500)
    assert slider.input_value() == last
    page.close()


def test_first_screen_without_motion(reader, address):
    page = opened(reader, address, "reduce")
    slider = page.locator(".moving-picture input").first
    page.wait_for_timeout(1500)
    assert slider.input_value() == slider.get_attribute("value")
    shown = [
        page.locator("article.bd-article h1"),
        page.locator(".moving-picture img:visible"),
        page.locator(".moving-picture button"),
    ]
    for part in [*shown, *(page.get_by_text(way, exact=True) for way in WAYS)]:
        box = part.bounding_box()
        assert box["y"] + box["height"] <= browser.SIZES["desktop"]["height"], part
    page.close()
