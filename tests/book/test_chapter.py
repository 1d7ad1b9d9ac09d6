"""A chapter passes as it is begun, and whatever is taken from it is named in one sentence before anything runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import browser
import chapter
import chapter_checks
import claim_checks
import house
import pytest
import records
import site_checks
import yaml
from files import project_files

NAME = "book/mini/my-chapter"
FILE, TOC, MAP = f"{NAME}.md", "_toc.yml", "book/chapters.yml"
SOURCES, TEACHING, REFERENCES = "book/sources.yml", "book/teaching.md", "book/references.bib"
OTHER = "book/mini/order-and-chaos.md"
PARTS = """format: jb-book
root: book/index
parts:
  - caption: Layers as time
    numbered: true
    chapters:
      - file: book/mini/layers-as-time
      - file: book/mini/order-and-chaos
  - caption: Back matter
    chapters:
      - file: book/ledger
      - file: book/about
"""
ROWS = """sources:
  planck1900law: {title: On a law, where: Berlin, unknown: nothing}
rows:
  - id: planck-eq1
    source: planck1900law
    kind: equation
    where: eq. (1)
    says: A law.
    chapter: my-chapter
    claims: []
    section: my-chapter-length
  - id: planck-later
    source: planck1900law
    kind: next-step
    where: the end
    says: There is more to do.
    chapter: ntk
    claims: []"""


def make(root):
    """The small book, with a part and a chapter that has just begun in it."""
    house.make(root)
    (root / TOC).write_text(PARTS, "utf8")
    (root / REFERENCES).write_text("@article{planck1900law, title={On a law}, year={1900}}\n", "utf8")
    chapter.begin(root, "my-chapter")
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("chapter") / "book")
    (root / SOURCES).write_text(ROWS, "utf8")
    return root


def cell(text):
    """The pattern of a code cell that has ``text`` in it."""
    return rf"```\{{code-cell\}} ipython3\n(?:(?!```).*\n)*?(?!```).*{text}.*\n(?:(?!```).*\n)*```\n"


LONG = "\n".join(f"x = {number}" for number in range(25))
LACKS = {  # the thing that is missing or wrong: the file, a pattern in it, what stands there instead, what is said
    "entry of the table of contents": (TOC, f"      - file: {NAME}\n", "", [FILE, "is not in _toc.yml"]),
    "file of an entry": (TOC, f"{NAME}\n", f"{NAME}\n      - file: book/mini/none\n", ["no file book/mini/none.md"]),
    "page of an entry": (TOC, "book/about", "book/abuot", ["no file book/abuot.md"]),
    "folder of a chapter": ("book/about.md", r"\Z", "\n```{code-cell}\n1\n```\n", ["book/about.md", "book/<part>/"]),
    "its row of the map": (MAP, r"    - \{slug: my-chapter.*\n", "", [MAP, "needs a row for my-chapter"]),
    "one row only": (MAP, r"(    - \{slug: my-chapter.*\n)", r"\1\1", [MAP, "2 rows for my-chapter"]),
    "title in the map": (MAP, "(my-chapter), title: My chapter", r"\1", [MAP, "my-chapter needs 'title'"]),
    "sentence in the map": (MAP, "(title: My chapter), shows: .*}", r"\1}", [MAP, "my-chapter needs 'shows'"]),
    "map that can be read": (MAP, r"slug: my-chapter,", "", [MAP, "cannot be read", "slug"]),
    "link of the plans": (TEACHING, "{ref}`my-chapter`", "this", [TEACHING, "link to the chapter my-chapter"]),
    "link and no plan": (TEACHING, "(.ref.`my-chapter`)", r"\1 *My chapter*", [TEACHING, "my-chapter as planned"]),
    "planned chapter": (TEACHING, r"- \*Loss landscapes.*\n", "", [TEACHING, "planned chapter landscapes"]),
    "link to a chapter": (TEACHING, r"\*Loss land.*\n", "{ref}`landscapes`\n", [TEACHING, "landscapes, which is not"]),
    "front matter": (FILE, r"\A---\n.*\n.*\n---\n", "", [FILE, "front matter", "jupytext", "kernelspec"]),
    "format": (FILE, "jupytext: .*\n", "", [FILE, "front matter", "format_name: myst"]),
    "form of the kernel": (FILE, "kernelspec: .*", "kernelspec: python3", [FILE, "front matter", "kernelspec: {"]),
    "kernel": (FILE, "kernelspec: .*\n", "", [FILE, "front matter", "kernelspec: "]),
    "label": (FILE, r"\(my-chapter\)=\n", "", [FILE, "label (my-chapter)="]),
    "title": (FILE, "# My chapter\n", "", [FILE, "above its title"]),
    "head": (FILE, r"```\{chapter-head\}\n.*\n```\n", "", [FILE, "{chapter-head}"]),
    "explorer": (FILE, cell(r"figures\.explorer"), "", [FILE, "an explorer"]),
    "claim": (FILE, cell(r'claim\("'), "", [FILE, "a claim"]),
    "claim that is shown": (FILE, r"(, unscaled\)\))\n", r"\1\nwidth\n", [FILE, ".length'", "last expression"]),
    "name of a claim": (OTHER, "mini.samples", "my-chapter.length", ["'my-chapter.length'", "more than once"]),
    "source": (FILE, "samples=lengths", 'samples=lengths, source="nobody2099nothing, eq. (5)"',
               [FILE, "'my-chapter.length'", "'nobody2099nothing'", REFERENCES]),
    "source in its form": (FILE, "samples=lengths", 'samples=lengths, source="Planck, 1900 and later"',
                           [FILE, "'my-chapter.length'", "'Planck'", REFERENCES]),
    "source with a key": (FILE, "samples=lengths", 'samples=lengths, source="On a law"',
                          [FILE, "'my-chapter.length'", "source = 'On a law'", "a key of the bibliography"]),
    "exercise": (FILE, r"````\{exercise\}(.*\n)*?````\n", "", [FILE, "an exercise with its solution"]),
    "label of an exercise": (FILE, ":label: ex-.*\n", "", [FILE, ":label:", "'How sure? ★'"]),
    "exercise of a solution": (FILE, "start} ex-my-chapter-variance", "start} ex-other", [FILE, "'ex-other'"]),
    "solution": (FILE, r"```\{solution-start\}(.*\n)*?```\{solution-end\}\n```\n", "", [FILE, "a solution"]),
    "code of a solution": (FILE, cell("assert"), "", [FILE, "a solution whose code is executed"]),
    "Python of the explorer": (FILE, "def draw", "define draw", [FILE, "code cell 4 (line", "is not Python"]),
    "caption": (FILE, "    caption: .*\n", "", [FILE, "code cell 3 (line", "a caption"]),
    "name of a figure": (FILE, "    name: .*\n", "", [FILE, "code cell 3 (line", "a name"]),
    "alt text": (FILE, "  image:\n.*\n", "", [FILE, "code cell 3 (line", "an alt text"]),
    "words in an alt text": (FILE, "    alt: .*\n", '    alt: ""\n', [FILE, "code cell 3 (line", "an alt text"]),
    "figure that is told": (FILE, r"(ipython3\n)---\n(?:.*\n)*?---\n", r"\1",
                            [FILE, "code cell 3 (line", "a caption and a name and an alt text"]),
    "alt text of a drawing": (FILE, r"\Z", "\n```{figure} ../_static/logo.svg\nTwo.\n```\n", [FILE, ":alt:", "line 1"]),
    "short cell": (FILE, r"width, layers = 100, 1000\n", LONG + "\nwidth, layers = 100, 1000\n",
                   [FILE, "code cell 2 (line", "28 lines", "at most 24"]),
    "Python": (FILE, "generator = np", "generator = = np", [FILE, "code cell 2 (line", "is not Python"]),
    "treatment of a row": (SOURCES, "    section: .*\n", "", [SOURCES, "each row of my-chapter", "planck-eq1"]),
    "section of a row": (SOURCES, "section: .*", "section: nowhere", [SOURCES, "'planck-eq1'", "'nowhere'"]),
    "section that is there": (FILE, r"\(my-chapter-length\)=\n", "", [SOURCES, "'planck-eq1'", "'my-chapter-length'"]),
    "claim of a row": (SOURCES, r"claims: \[\]", "claims: [a.b]", [SOURCES, "'planck-eq1'", "'a.b'", "does not make"]),
    "plan of a row": (SOURCES, r"claims: \[\]\Z", "claims: [ntk.eye]", [SOURCES, "'planck-later'", "'ntk.eye'"]),
    "chapter of a row": (SOURCES, "chapter: ntk", "chapter: nkt", [SOURCES, "'planck-later'", "'nkt'"]),
    "fields of a row": (SOURCES, "    where: eq.*\n", "", [SOURCES, "'planck-eq1'", "needs id, source, kind, where"]),
    "kind of a row": (SOURCES, "kind: equation", "kind: equality", [SOURCES, "'planck-eq1'", "'equality'"]),
    "source of a row": (SOURCES, "source: planck", "source: xplanck", [SOURCES, "'planck-eq1'", "xplanck"]),
    "list of a row": (SOURCES, r"claims: \[\]", "claims:", [SOURCES, "'planck-eq1'", "list of claims"]),
    "sentence of a row": (SOURCES, "A law.", "A law", [SOURCES, "'planck-eq1'", "full stop"]),
    "table of sources": (SOURCES, "rows:", "lines:", [SOURCES, "cannot be read"]),
}  # fmt: skip


@pytest.fixture
def planted(small):
    """Change a file of the small book for one test."""
    before = {}

    def plant(file, pattern, new):
        text = before.setdefault(small / file, (small / file).read_text("utf8"))
        found, count = re.subn(pattern, new, text, flags=0 if "(.*\n)" in pattern else re.M, count=1)
        assert count == 1, f"{pattern!r} is not in {file}"
        (small / file).write_text(found, "utf8")

    yield plant
    for path, text in before.items():
        path.write_text(text, "utf8")


def test_chapter_passes_as_it_is_begun(small):
    assert chapter_checks.check(small) == []


@pytest.mark.parametrize("thing", LACKS)
def test_what_is_missing_is_named_in_one_sentence(small, planted, thing):
    file, pattern, new, words = LACKS[thing]
    planted(file, pattern, new)
    found = chapter_checks.check(small)
    assert len(found) == 1, found
    assert all(word in found[0] for word in words), found[0]
    assert found[0].endswith(".") and "\n" not in found[0]


@pytest.mark.parametrize("file", [FILE, TEACHING, SOURCES, MAP, REFERENCES])
def test_file_that_is_missing_is_named_in_one_sentence(small, planted, file):
    planted(file, r"\A", "")
    (small / file).unlink()
    found = chapter_checks.check(small)
    assert len(found) == 1 and file.removesuffix(".md") in found[0], found


def test_what_an_editor_left_behind_is_no_chapter(small):
    left = small / "book/mini/.ipynb_checkpoints/my-chapter-checkpoint.md"
    left.parent.mkdir()
    shutil.copyfile(small / FILE, left)
    assert chapter_checks.check(small) == []


def test_one_chapter_hears_only_of_itself(small, planted):
    planted(FILE, r"\(my-chapter\)=\n", "")
    planted(OTHER, r"\(order-and-chaos\)=\n", "")
    assert len(chapter_checks.check(small)) == 2
    (found,) = chapter_checks.check(small, "my-chapter")
    assert "my-chapter" in found


def test_planned_chapters_need_no_file(small):
    slugs = {row["slug"] for part in yaml.safe_load((small / MAP).read_text("utf8")) for row in part["chapters"]}
    assert len(slugs) > 15 and len(list(small.glob("book/mini/*.md"))) == 3
    assert chapter_checks.check(small) == []


def test_sources_of_what_was_executed(small, monkeypatch):
    """A source that was computed is known only from the record."""
    (small / "_build").mkdir(exist_ok=True)
    sources = {"a.one": "planck1900law", "a.two": "planck1900law, eq. (5)", "a.three": None, "a.four": "Planck1900law"}
    record = SimpleNamespace(claims=[{"key": k, "source": source, "anchors": [k]} for k, source in sources.items()])
    monkeypatch.setattr(records, "find", lambda root, name: record if name == NAME else None)
    (found,) = claim_checks.executed(small, [NAME, "book/mini/order-and-chaos"])
    assert all(word in found for word in (FILE, "'a.four'", "'Planck1900law'", REFERENCES))


# make chapter ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path):
    """The text of the real book, without its library and its results."""
    for file in project_files(house.ROOT):
        name = file.relative_to(house.ROOT).as_posix()
        if name.startswith(("book/", "tools/", "_toc", "Makefile")) and not name.startswith("book/results"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, tmp_path / name)
    return tmp_path


def run_make(root, *arguments):
    command = ["make", "-s", "-o", "environment", "chapter", f"PY={sys.executable}", *arguments]
    environment = os.environ | {"PYTHONPATH": str(house.ROOT / "lib")}
    return subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment)


def test_make_chapter(real, monkeypatch, capsys):
    run = run_make(real, "NAME=my-chapter", "PART=spectra", 'TITLE=It\'s: "mine"')
    assert run.returncode == 0, run.stdout + run.stderr
    assert "has what a chapter needs" in run.stdout
    text = (real / "book/spectra/my-chapter.md").read_text("utf8")
    assert '# It\'s: "mine"\n' in text and "SLUG" not in text and "TITLE" not in text and "SOURCES" not in text
    assert chapter_checks.check(real) == []
    house.edit(real / "book/spectra/my-chapter.md", "(my-chapter)=\n", "")
    monkeypatch.setattr(sys, "argv", ["chapter.py", "my-chapter", "--root", str(real)])
    assert chapter.main() == 1
    again = capsys.readouterr().out
    assert "label (my-chapter)=" in again and "Written" not in again


def test_make_chapter_without_a_name_begins_nothing():
    """A shell may have a NAME of its own: only the one on the command line counts."""
    command = ["make", "-n", "-o", ".venv/installed", "chapter"]
    environment = os.environ | {"NAME": "host"}
    for arguments, named in (([], False), (["NAME=one"], True)):
        run = subprocess.run([*command, *arguments], cwd=house.ROOT, capture_output=True, text=True, env=environment)
        assert run.returncode == 0 and ("$NAME" in run.stdout) == named


def test_planned_chapters_are_begun_in_their_place(real):
    """Rows of the sources, plans of lectures and the order of the map are theirs; a part without chapters is new."""
    with (real / MAP).open("a", encoding="utf8") as plan:
        plan.write('- part: A new part\n  chapters:\n    - {slug: last, title: Last, shows: "What is new."}\n')
    row, place = '    - {slug: planned, title: Planned, shows: "What is new."}\n', "    - {slug: kernel-spectra,"
    house.edit(real / MAP, place, row + place)
    with (real / SOURCES).open("a", encoding="utf8") as rows:
        rows.write(
            "  - id: planned-row\n    source: actx2022freeprobability\n    kind: statement\n    where: section 1\n"
        )
        rows.write("    says: What a source has on it.\n    chapter: planned\n    claims: []\n")
    for slug in ("last", "planned"):
        chapter.begin(real, slug)
    assert chapter_checks.check(real) == []
    toc = yaml.safe_load((real / TOC).read_text("utf8"))
    parts = {part["caption"]: [entry["file"] for entry in part["chapters"]] for part in toc["parts"]}
    planned = [part["part"] for part in yaml.safe_load((real / MAP).read_text("utf8"))]
    begun = [name for name in parts if name in planned]
    assert begun == [name for name in planned if name in begun] and list(parts)[-1] == "Back matter"
    assert parts["A new part"] == ["book/a-new-part/last"] and toc["parts"][-2]["numbered"]
    geometry = parts["Information geometry"]
    assert geometry.index("book/geometry/planned") + 1 == geometry.index("book/geometry/kernel-spectra")
    text = (real / "book/geometry/planned.md").read_text("utf8")
    rows = [r for r in yaml.safe_load((real / SOURCES).read_text("utf8"))["rows"] if r["chapter"] == "planned"]
    assert rows and all(row["section"] == "planned-sources" and row["says"] in text for row in rows)


def test_part_of_a_new_chapter(real):
    assert "book/layers/one.md" in chapter.begin(real, "one", "layers")
    assert "book/transport/two.md" in chapter.begin(real, "two", "transport")
    assert "book/joined/three.md" in chapter.begin(real, "three")
    assert chapter_checks.check(real) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("My Chapter",), "NAME=My Chapter: small letters"),
        (("../up",), "NAME=../up: small letters"),
        (("one", "nowhere"), "PART=nowhere: allowed are layers, pretraining, spectra"),
        (("freeness", "layers"), "PART=layers: .* plans freeness in the part 'Random matrices'"),
        (("freeness", None, "Free"), "TITLE=Free: .* plans freeness as 'Asymptotic freeness'"),
    ],
)
def test_what_cannot_begin_is_refused_and_leaves_nothing(real, arguments, message):
    before = {path: path.read_bytes() for path in real.rglob("*") if path.is_file()}
    with pytest.raises(chapter.Refused, match=message):
        chapter.begin(real, *arguments)
    assert before == {path: path.read_bytes() for path in real.rglob("*") if path.is_file()}


# The build ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The new chapter alone, so that it is all that is executed."""
    root = make(tmp_path_factory.mktemp("built") / "book")
    for slug, title in (("layers-as-time", "Layers as time"), ("order-and-chaos", "Order and chaos")):
        (root / f"book/mini/{slug}.md").unlink()
        house.edit(root / TOC, f"      - file: book/mini/{slug}\n", "")
        house.edit(root / TEACHING, f"{{ref}}`{slug}`", f"*{title}*")
    run = house.build(root)
    assert run.returncode == 0, run.stdout + run.stderr
    return root


def test_page_of_a_new_chapter(built):
    site = built / "_build" / "html"
    page = (site / f"{NAME}.html").read_text("utf8")
    for part in (
        'id="claim-my-chapter-length"',
        'class="dd-explorer"',
        'id="fig-my-chapter-length"',
        "independent squares",
    ):
        assert part in page
    assert site_checks.links(site) == [] and site_checks.leftovers(site, str(built)) == []
    repository = tomllib.loads((built / "pyproject.toml").read_text("utf8"))["project"]["urls"]["Repository"]
    assert site_checks.launch_buttons(site, built, repository) == [] and site_checks.weights(site) == []
    notebooks = [
        (site / "notebooks" / folder / f"{NAME}.ipynb").read_text("utf8") for folder in ("", "without-solutions")
    ]
    assert ["Solution of exercise" in text for text in notebooks] == [True, False]


def test_page_of_a_new_chapter_in_a_browser(built):
    with browser.chromium() as chromium, browser.served(built / "_build" / "html") as address:
        assert site_checks.visit(chromium, address, f"{NAME}.html", "phone", "light") == []


def test_build_says_what_is_missing_and_executes_nothing(built):
    text = (built / FILE).read_text("utf8")
    (built / FILE).write_text(text.replace("(my-chapter)=\n", "").replace("samples=", 'source="x1", samples='), "utf8")
    try:
        run = house.build(built)
    finally:
        (built / FILE).write_text(text, "utf8")
    assert run.returncode == 1 and "Executing" not in run.stdout and "Traceback" not in run.stderr
    assert "label (my-chapter)=" in run.stderr and "'x1'" in run.stderr and "2 missing or wrong" in run.stderr


def test_source_and_key_that_are_computed_are_found_after_execution_every_time(built):
    house.edit(built / FILE, "samples=lengths", 'samples=lengths, source="nobody2099" + "nothing, eq. (5)"')
    again = 'claim("my-chapter." + "length", "again", theory=1.0, samples=lengths)'
    house.edit(built / FILE, "## Summary", f"```{{code-cell}} ipython3\n{again}\n```\n\n## Summary")
    for _ in range(2):
        run = house.build(built)
        assert run.returncode == 1, run.stdout
        assert all(word in run.stderr for word in (FILE, "'my-chapter.length'", "'nobody2099nothing'", REFERENCES))
        assert "occurs more than once" in run.stderr


# The book -------------------------------------------------------------------------------------------------------------


def test_chapters_of_the_book_have_what_they_need():
    found = chapter_checks.check(house.ROOT)
    assert not found, "\n".join(found)


# Copies of the checkout -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_git", [True, False])
def test_copies_have_what_is_new_and_not_what_is_ignored(tmp_path, with_git, monkeypatch):
    source = tmp_path / "a checkout, où"
    kept = {".gitignore", "one.md", "book/new chapter, où.md"}
    for name in [*kept, "_build/html/index.html", "book/__pycache__/x.pyc", "lib/deepdynamics.egg-info/x"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x", "utf8")
    shutil.copyfile(house.ROOT / ".gitignore", source / ".gitignore")
    if with_git and shutil.which("git") is None:
        pytest.skip("git is not installed")
    if with_git:
        for command in (["init", "-q"], ["add", "one.md"]):
            subprocess.run(["git", "-C", str(source), *command], check=True)
    else:
        monkeypatch.setenv("PATH", "")
    copy = house.copy(tmp_path / "copy", source)
    assert {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()} == kept
