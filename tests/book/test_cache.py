"""What re-executes what: one small book, built, edited and built again."""

import os
import re

import house
import pytest
import records

FIRST, SECOND = "book/mini/layers-as-time", "book/mini/order-and-chaos"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    root = house.make(tmp_path_factory.mktemp("cache") / "book")
    run = house.build(root)
    assert run.returncode == 0, run.stdout + run.stderr
    assert executed(run) == {FIRST, SECOND}
    return root


def executed(run) -> set[str]:
    return set(re.findall(r"^  (book/\S+): [\d.]+ s", run.stdout, flags=re.M))


def test_nothing_changed_builds_nothing(book):
    run = house.build(book)
    assert run.returncode == 0 and "Nothing has changed" in run.stdout


def test_library_module_re_executes_only_the_chapters_that_use_it(book):
    module = book / "lib" / "deepdynamics" / "activations" / "named.py"
    module.write_text(module.read_text() + "\n# touched\n")
    run = house.build(book)
    assert run.returncode == 0, run.stderr
    assert executed(run) == {FIRST}


def test_prose_and_captions_execute_nothing(book):
    house.edit(book / f"{FIRST}.md", "Prose.", "Other prose, worth reading.")
    run = house.build(book)
    assert run.returncode == 0, run.stderr
    assert executed(run) == set()
    assert "worth reading" in (book / "_build" / "html" / f"{FIRST}.html").read_text()


def test_captions_and_alt_texts_execute_nothing_and_the_page_shows_the_new_ones(book):
    cell, page = "{code-cell} ipython3\n", book / f"{FIRST}.md"
    before, code = cell, "from deepdynamics import figures"
    for caption in ("A first caption", "Another caption"):
        after = f"{cell}:mystnb: {{image: {{alt: The words}}, figure: {{caption: {caption}, name: fig-a}}}}\n"
        house.edit(page, before + code, after + code)
        before = after
        run = house.build(book)
        assert run.returncode == 0, run.stderr
        assert executed(run) == set()
        html = (book / "_build" / "html" / f"{FIRST}.html").read_text()
        assert caption in html and html.count('class="dd-explorer"') == 1
    assert records.open_cache(book).list_project_records() == []  # what myst-nb itself had to execute


def test_chapter_code_re_executes_that_chapter_and_the_ledger_follows(book):
    house.edit(book / f"{SECOND}.md", "the mean is one", "the average is one")
    run = house.build(book)
    assert executed(run) == {SECOND}
    assert "the average is one" in (book / "_build" / "html" / "book" / "ledger.html").read_text()


def test_stored_result_is_a_dependency(book):
    house.edit(
        book / f"{SECOND}.md", "from deepdynamics.claims", "open('../results/x.txt').read()\nfrom deepdynamics.claims"
    )
    (book / "book" / "results").mkdir(exist_ok=True)
    for content in "12":
        (book / "book" / "results" / "x.txt").write_text(content)
        assert executed(house.build(book, "--chapter", "order-and-chaos")) == {SECOND}
    assert executed(house.build(book, "--chapter", "order-and-chaos")) == set()


def test_tested_versions_are_a_dependency_of_every_chapter(book):
    (book / "constraints.txt").write_text((book / "constraints.txt").read_text() + "# another version\n")
    assert executed(house.build(book)) == {FIRST, SECOND}


def test_pages_are_complete(book):
    html = (book / "_build" / "html" / f"{FIRST}.html").read_text()
    assert 'id="claim-mini-tanh"' in html and "tanh has slope one at 0</span></a>" in html
    assert (book / "_build" / "html" / "_static" / "mathjax" / "tex-chtml-full.js").is_file()
    ledger = (book / "_build" / "html" / "book" / "ledger.html").read_text()
    assert "2 claims" in ledger and "layers-as-time.html#claim-mini-tanh" in ledger
    assert os.path.basename(str(book)) and str(book) not in html + ledger
