"""What is checked on a built site. Every check returns its findings as texts; none means that all is well.

``visit`` looks at one page in a browser; ``links``, ``leftovers``, ``weights`` and ``launch_buttons`` read the files
of the whole site.
"""

from __future__ import annotations

import contextlib
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import browser
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page
from playwright.sync_api import TimeoutError as TooLate

CONTENT = "article.bd-article"
PAGE_BYTES = 5_000_000
EXPLORER_BYTES, EXPLORER_FRAMES = 2_000_000, 40

# What a reader must never see: an object's address, MyST that was not understood, a path of the machine that built the
# book.
LEFTOVERS = (
    r" at 0x[0-9a-f]{6,}",
    r"^\s*(```|:::)\s*\{",
    r"\{(ref|numref|cite|cite:[pt]|eq|glue|glue:\w+|term|doc|download|prf:ref)\}`",
    r"(?<![\w.])/(root|home|tmp|work|Users|mnt)/[\w.]",
    r"site-packages/",
    r"application/vnd\.jupyter",
)

# A region that scrolls, and that the keyboard cannot reach.
UNREACHABLE = """e => getComputedStyle(e).overflowX.match(/auto|scroll/) && e.scrollWidth > e.clientWidth + 1
  && e.tabIndex < 0 && !e.querySelector('a, button, input, summary, [tabindex="0"]')"""

_STATE = """selector => {
  const unreachable = UNREACHABLE;
  const content = document.querySelector(selector);
  const inside = content ? [...content.querySelectorAll('*')] : [];
  // A formula in the line that runs out of the text, where nothing around it can be scrolled.
  const edge = content ? content.getBoundingClientRect().right : 0;
  const scrolls = e => getComputedStyle(e).overflowX.match(/auto|scroll/) && e.scrollWidth > e.clientWidth + 1;
  const cutOff = e => {
    if (!e.matches('mjx-container:not([display]) > mjx-math')) return false;
    if (e.getBoundingClientRect().right <= edge + 1) return false;
    for (let p = e.parentElement; p !== content; p = p.parentElement) if (scrolls(p)) return false;
    return true;
  };
  // A displayed formula that is wider than its place.
  const tooWide = e => {
    if (!e.matches('mjx-container[display]')) return false;
    for (let p = e; p !== content; p = p.parentElement) if (scrolls(p)) return true;
    return false;
  };
  return {
    content: !!content,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    formulas: inside.filter(e => e.matches('.math') && !e.querySelector('mjx-container')).map(e => e.textContent),
    broken: inside.filter(e => e.matches('mjx-merror, [data-mjx-error]')).map(e => e.textContent),
    unreachable: inside.filter(unreachable).map(e => e.textContent),
    cut: inside.filter(cutOff).map(e => e.textContent),
    scrolled: inside.filter(tooWide).map(e => e.closest('.math').id || e.closest('.math').textContent),
    alt: inside.filter(e => e.matches('img') && !(e.alt || '').trim()).map(e => e.src.slice(-60)),
    empty: inside.filter(e => e.matches('img') && !e.hidden && !e.naturalWidth).map(e => e.src.slice(-60)),
  };
}""".replace("UNREACHABLE", UNREACHABLE)


# All formulas are set, once a script that sets them has been asked for.
_TYPESET = """selector => {
  if (!document.querySelector('script[src*="mathjax" i]')) return document.fonts.status === 'loaded';
  const set = window.MathJax?.startup?.promise;
  return set && set.then(() => document.fonts.ready)
    .then(() => ![...document.querySelectorAll(selector + ' .math')].some(e => !e.querySelector('mjx-container')));
}"""
_REACHABLE = """selector => !document.querySelector(selector) || ![...document.querySelectorAll(selector + ' *')].some(
  UNREACHABLE)""".replace("UNREACHABLE", UNREACHABLE)


# Code is coloured token by token, thousands of them, and axe-core looks at each: one of each kind and place is enough.
# So it is with formulas, whose hundreds of parts MathJax sets in one way, and with the rows of a table, of which the
# ledger has hundreds: those stay that have something of a new kind.
_THIN = """selector => { const seen = new Set();
  const fresh = kind => !seen.has(kind) && seen.add(kind);
  for (const token of document.querySelectorAll(selector + ' .highlight pre span'))
    if (!fresh(token.closest('.highlight').parentElement.className + ' ' + token.className))
      token.replaceWith(...token.childNodes);
  for (const formula of document.querySelectorAll(selector + ' mjx-container')) {
    const place = formula.parentElement.parentElement;
    if (!fresh('formula ' + place.tagName + place.className)) formula.replaceChildren();
  }
  for (const row of document.querySelectorAll(selector + ' table tbody tr')) {
    const kind = e => [row.closest('table').className, row.className, e.parentElement.tagName, e.tagName,
      e.getAttribute('class'), e.getAttribute('style'), e.getAttribute('role'), !e.textContent.trim()].join(' ');
    if (![row, ...row.querySelectorAll('*')].filter(e => fresh(kind(e))).length) row.remove();
  } }"""


def visit(chromium: Browser, site: str, page_name: str, size: str, mode: str) -> list[str]:
    """Open a page as a reader would; ``size`` is a key of ``browser.SIZES``, ``mode`` "light" or "dark"."""
    found: list[str] = []
    page = chromium.new_page(viewport=browser.SIZES[size], color_scheme=mode, reduced_motion="reduce")
    page.on("request", lambda r: _foreign(r.url, site) and found.append(f"request to another host: {r.url[:90]}"))
    page.on("requestfailed", lambda r: found.append(f"failed request: {r.url[:90]}"))
    page.on("response", lambda r: r.status >= 400 and found.append(f"status {r.status}: {r.url[:90]}"))
    page.on("console", lambda m: m.type == "error" and found.append(f"console: {m.text[:200]}"))
    page.on("pageerror", lambda error: found.append(f"script error: {str(error)[:200]}"))
    try:
        page.goto(site + page_name, wait_until="load", timeout=120_000)
        _settled(page)
        state = page.evaluate(_STATE, CONTENT)
        if state["wide"] > 0:
            found.append(f"{state['wide']} px wider than the screen")
        if not state["content"]:  # the theme's own search page has none
            return found if page_name == "search.html" else [*found, f"there is no {CONTENT}"]
        for name, what in (
            ("formulas", "formula not typeset"),
            ("broken", "formula with an error"),
            ("cut", "formula cut off at the edge of the text"),
            ("unreachable", "region that scrolls and that the keyboard cannot reach"),
            ("scrolled", "displayed formula that has to be scrolled"),
            ("alt", "image without alt text"),
            ("empty", "image that does not load"),
        ):
            found += [f"{what}: {text.strip()[:80]}" for text in state[name]]
        found += _accessibility(page)
        for explorer in page.locator(f"{CONTENT} .dd-explorer").all():
            found += _explorer(explorer)
    finally:
        page.close()
    return list(dict.fromkeys(found))


def _settled(page: Page) -> None:
    """Wait for what happens after a page has loaded, however slow the machine: formulas, fonts, and the theme's marks
    on the regions that scroll. What does not come is found by the checks.
    """
    for event in (_TYPESET, _REACHABLE):
        with contextlib.suppress(TooLate):
            page.wait_for_function(event, arg=CONTENT, timeout=60_000 if event is _TYPESET else 5_000)
    page.wait_for_load_state("networkidle", timeout=120_000)


def _foreign(url: str, site: str) -> bool:
    return not url.startswith((site, "data:", "blob:"))


def _accessibility(page) -> list[str]:
    """What axe-core calls serious or critical in our content; the theme's own frame is outside of it."""
    page.evaluate(_THIN, CONTENT)
    # preload would fetch what style sheets import, from an address of axe's own making: failed requests that no reader
    # has.
    options = {"resultTypes": ["violations"], "preload": False}
    violations = Axe().run(page, context=CONTENT, options=options).response["violations"]
    return [
        f"axe {v['impact']}, {v['id']}: {v['help']}; {len(v['nodes'])} × {v['nodes'][0]['html'][:120]}"
        for v in violations
        if v["impact"] in ("serious", "critical")
    ]


def _explorer(explorer: Locator) -> list[str]:
    """Move every slider of an explorer, by mouse to its end and by keyboard to its start and one step on."""
    found = []
    for slider in explorer.locator("input[type=range]").all():
        label, last = slider.get_attribute("aria-label"), slider.get_attribute("max")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        if box is None or box["height"] < 44:
            found.append(f"slider {label!r} is not 44 px high")
            continue
        slider.click(position={"x": box["width"] - 2, "y": box["height"] / 2})
        seen = []
        for key, value in ((None, last), ("Home", "0"), ("ArrowRight", "1")):
            if key:
                slider.press(key)
            if slider.input_value() != value:
                found.append(f"slider {label!r} is at {slider.input_value()}, not {value}, after {key or 'a click'}")
            text = slider.get_attribute("aria-valuetext")
            alts = [image.get_attribute("alt") for image in explorer.locator("img").all() if image.is_visible()]
            if not text or len(alts) != 1 or f"{label} = {text}" not in alts[0]:
                found.append(f"slider {label!r} at {value} says {text!r} and shows {alts}")
            seen.append(text)
        if seen[1] in (seen[0], seen[2]):
            found.append(f"slider {label!r} says {seen} at its end, its start and one step on")
    return found


class _Page(HTMLParser):
    """Ids, links, sources of a page, and the text that is seen, with alt texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.texts: list[str] = []
        self.refresh = False
        self._silent = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.ids |= {attributes[name] for name in ("id", "name") if name in attributes}
        self._silent += tag in ("script", "style")
        self.refresh |= tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh"
        if tag == "meta" and self.refresh and "url=" in attributes.get("content", "").lower():
            self.links.append(re.split("url=", attributes["content"], flags=re.I)[1])
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        stylesheet = tag == "link" and attributes.get("rel") in ("stylesheet", "icon", "preload", "shortcut icon")
        if stylesheet and "href" in attributes:
            self.sources.append(attributes["href"])
        if tag in ("img", "script", "iframe", "source") and "src" in attributes:
            self.sources.append(attributes["src"])
        self.texts.append(attributes.get("alt", ""))

    def handle_endtag(self, tag):
        self._silent -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._silent:
            self.texts.append(data)


@cache
def read(file: Path) -> _Page:
    return _Page(file.read_text("utf8"))


def pages(root: Path) -> list[str]:
    """The pages of a site, without those that only redirect."""
    files = sorted(path for path in root.rglob("*.html") if "_static" not in path.relative_to(root).parts)
    return [file.relative_to(root).as_posix() for file in files if not read(file).refresh]


def links(root: Path) -> list[str]:
    """Internal links, anchors and sources that lead nowhere, and sources on other hosts."""
    found = []
    for file in sorted(path for path in root.rglob("*.html") if "_static" not in path.relative_to(root).parts):
        name = file.relative_to(root).as_posix()
        for source in read(file).sources:
            if urlsplit(source).scheme in ("http", "https") or source.startswith("//"):
                found.append(f"{name}: source on another host: {source}")
        for link in read(file).links + read(file).sources:
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            address = urlsplit(urljoin(name, link))
            target = root / unquote(address.path)
            if not target.resolve().is_relative_to(root.resolve()) or not target.exists():
                found.append(f"{name}: no such file: {link}")
            elif address.fragment and target.suffix == ".html" and unquote(address.fragment) not in read(target).ids:
                found.append(f"{name}: no such anchor: {link}")
    return found


def leftovers(root: Path, *secrets: str) -> list[str]:
    """Traces of the machinery in the text of the pages; ``secrets`` are further strings that must not occur."""
    patterns = [re.compile(p, re.M) for p in (*LEFTOVERS, *map(re.escape, secrets))]
    found = []
    for name in pages(root):
        text = "".join(read(root / name).texts)
        if name == "book/library/claims.html":
            text = text.replace("{glue:text}`key:.3f`", "")  # what the docstring of glue shows
        places = [match.span() for pattern in patterns for match in pattern.finditer(text)]
        found += [f"{name}: {text[max(0, start - 20) : end + 40]!r}" for start, end in places]
    return found


def weights(root: Path) -> list[str]:
    """Pages of more than 5 MB (HTML with its explorers, and images), and explorers over their budget."""
    found = []
    for name in pages(root):
        file, text = root / name, (root / name).read_text("utf8")
        own = {root / unquote(urljoin(name, s)) for s in read(file).sources if "_static" not in s and ":" not in s}
        total = file.stat().st_size + sum(image.stat().st_size for image in own if image.is_file())
        if total > PAGE_BYTES:
            found.append(f"{name}: {total} bytes of content; at most {PAGE_BYTES} are allowed")
        for part in re.findall(r'<div class="dd-explorer".*?</div>', text, flags=re.S):
            if len(part) > EXPLORER_BYTES or part.count("<img ") > EXPLORER_FRAMES:
                found.append(f"{name}: an explorer of {len(part)} bytes and {part.count('<img ')} frames")
        for library in ("require.js", "html-manager", "widget-state"):
            if library in text:
                found.append(f"{name}: loads a widget library ({library})")
    return found


def launch_buttons(root: Path, project: Path, repository: str) -> list[str]:
    """Pages made from notebooks whose Binder or Colab button is missing or leads elsewhere than to that notebook.

    Binder opens the Markdown file of the repository; Colab, which cannot, the notebook of the same name that the
    publishing workflow exports.
    """
    found = []
    home = repository.removeprefix("https://github.com/").strip("/")
    for name in pages(root):
        source = (project / name).with_suffix(".md")
        if not source.is_file() or "kernelspec:" not in source.read_text("utf8").split("\n---", 1)[0]:
            continue
        stem = name.removesuffix(".html")
        shapes = {
            "mybinder.org": rf"https://mybinder\.org/v2/gh/{home}/[\w.-]+\?urlpath=(lab/)?tree/{stem}\.md",
            "colab.research.google.com": rf"https://[\w.]+/github/{home}/blob/[\w.-]+/{stem}\.ipynb",
        }
        for host, shape in shapes.items():
            buttons = [link for link in read(root / name).links if urlsplit(link).netloc == host]
            if not any(re.fullmatch(shape, unquote(link)) for link in buttons):
                found.append(f"{name}: no button to this notebook on {host}: {buttons}")
    return found
