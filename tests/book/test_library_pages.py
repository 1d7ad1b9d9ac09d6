"""The pages of the library: every public name is on one, called as it is called, and linked with the chapters."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import deepdynamics
import docstrings
import library
import pytest
import records
import site_checks
from bookfiles import in_a_part
from doors import Library, used

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
DOORS = Library(ROOT / "lib")
SUBJECTS = [name for name in dir(deepdynamics) if not name.startswith("_")]


def public(module):
    """The public names of a door by their full names, with those of the rooms among them."""
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if isinstance(value, ModuleType):
            yield from public(value)
        else:
            yield f"{module.__name__}.{name}", value


def offered(subject):
    return dict(public(importlib.import_module(f"deepdynamics.{subject}")))


def test_every_subject_has_its_page():
    assert DOORS.subjects == sorted(SUBJECTS)
    assert sorted(subject for _, rows in DOORS.groups() for subject, _ in rows) == DOORS.subjects
    toc = records.read_yaml(ROOT / "_toc.yml")
    sections = [page["file"] for part in toc["parts"] for row in part["chapters"] for page in row.get("sections", [])]
    assert sorted(sections) == [f"book/library/{subject}" for subject in DOORS.subjects]
    for subject in DOORS.subjects:
        text = f"(library-{subject})=\n# {subject}\n\n```{{library}} {subject}\n```\n"
        assert (ROOT / "book" / "library" / f"{subject}.md").read_text("utf8") == text
    assert not in_a_part("book/library/ntk") and in_a_part("book/geometry/ntk")


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_public_name_is_on_the_page_of_its_subject(subject):
    entries = {entry.name: entry for entry in DOORS.entries(subject)}
    assert set(entries) == set(offered(subject))
    text = library.page(ROOT, subject)
    for entry in entries.values():
        assert f"`{{py:{entry.kind}}} {entry.short}{entry.call}\n" in text


@pytest.mark.parametrize("subject", SUBJECTS)
def test_names_are_called_as_python_calls_them(subject):
    values = offered(subject)
    for entry in DOORS.entries(subject):
        assert entry.kind == ("data" if not entry.call and not inspect.isclass(values[entry.name]) else entry.kind)
        owner = values[entry.name]
        pairs = [
            (entry, owner),
            *((member, getattr(owner, member.name.rsplit(".", 1)[-1])) for member in entry.members),
        ]
        for shown, value in pairs:
            if shown.call:
                names = [name for name in inspect.signature(value).parameters if name != "self" and name[0] != "_"]
                assert names == parameters(shown.call), shown.name


def parameters(call):
    (function,) = ast.parse(f"def f{call}: ...").body
    arguments = function.args
    stars = [[arguments.vararg] if arguments.vararg else [], [arguments.kwarg] if arguments.kwarg else []]
    return [a.arg for a in [*arguments.posonlyargs, *arguments.args, *stars[0], *arguments.kwonlyargs, *stars[1]]]


# Docstrings

DOC = """First sentence, of ``code`` and :func:`get`. Second one
with x_{l-1}, λ_max, q̂^0_ab and |a| * b.

    K_ab = Σ_l q̃^l_ab,   q_1

.. math:: a = b, \\qquad c = d

- one *word*
- two
  lines

>>> 1 + 1
2
"""


def test_docstring_becomes_markdown():
    prose, formula, math, items, example = docstrings.markdown(DOC, lambda name: f"<{name}>").split("\n\n")
    assert prose == (
        "First sentence, of <code> and <get>. Second one with x{sub}`l-1`, λ{sub}`max`, q̂{sup}`0`{sub}`ab` and "
        r"\|a\| \* b."
    )
    assert formula == "```text\nK_ab = Σ_l q̃^l_ab,   q_1\n```"
    assert math == "$$\n\\begin{gathered}\na = b, \\\\\nc = d\n\\end{gathered}\n$$"
    assert items == "- one *word*\n- two lines" and example == "```pycon\n>>> 1 + 1\n2\n```"
    assert docstrings.summary(DOC, library.code) == "First sentence, of `code` and `get`."


def test_long_formula_has_rows_for_a_phone():
    long = r"a = (b + c) + \frac{d + e}{f}" + r" \cdot g_{x}" * 8
    assert docstrings._rows(long) == ["a", "= (b + c)", long.removeprefix("a = (b + c) ")]
    assert docstrings._rows("a = b + c") == ["a = b + c"]


@pytest.mark.parametrize("text", ["weight_var", "leaky_relu (slope 0.01)", "a < b & *c", "[x]{y}", "n_out + _", "2^n"])
def test_prose_stays_as_it_is(text):
    assert docstrings.literal(text).replace("\\", "") == text


def test_names_in_docstrings_are_links_where_there_is_something_to_link_to():
    def link(name):
        return library.reference(DOORS, "fisher", name)

    assert link("dual") == "{py:obj}`dual <deepdynamics.fisher.dual>`"
    assert link("deepdynamics.activations.get") == "{py:obj}`get <deepdynamics.activations.get>`"
    assert link("~deepdynamics.ntk.empirical") == "{py:obj}`empirical <deepdynamics.ntk.empirical>`"
    assert link("deepdynamics.jacobian.gram") == "{ref}`deepdynamics.jacobian.gram <library-jacobian>`"
    assert link("nowhere") == "`nowhere`" and link("_checks.real") == "`_checks.real`"


def test_names_that_code_uses():
    code = [
        "from deepdynamics import ntk as kernels, figures\nfrom deepdynamics.meanfield import MeanField as M, gain",
        "kernels.infinite_width([[1.0]])\nM('tanh', 1.0).phase\ngain.theory(1)\nfigures.no_such_name\nother.figure()",
    ]
    assert used(DOORS, code) == [
        f"deepdynamics.{name}" for name in ("meanfield.gain.theory", "meanfield.MeanField", "ntk.infinite_width")
    ]


# The built book

built = pytest.mark.skipif(not (SITE / "book" / "library.html").is_file(), reason="the book is not built: make book")


@built
@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_public_name_has_its_anchor(subject):
    page = site_checks.read(SITE / "book" / "library" / f"{subject}.html")
    assert {entry.name for entry in DOORS.entries(subject)} <= page.ids


@built
def test_chapters_and_names_link_to_each_other():
    for docname, names in library.uses(ROOT).items():
        chapter = site_checks.read(SITE / f"{docname}.html")
        assert "From the library." in chapter.texts
        links = {urlsplit(link).fragment for link in chapter.links if "library/" in link}
        assert {
            name for name in names if name.split(".")[1] not in ("claims", "data", "figures", "results")
        } - links <= {"deepdynamics.experiments.compute"}
        for subject in {name.split(".")[1] for name in names if name.split(".")[1] not in ("claims", "figures")}:
            back = site_checks.read(SITE / "book" / "library" / f"{subject}.html").links
            assert any(link.partition("#")[0] == f"../{docname.removeprefix('book/')}.html" for link in back)
