"""Digests of code: what is code changes them, what is not does not."""

import ast
import importlib

import pytest
from deepdynamics.results import code, digest
from made_results import ROOT

ROUTINE = '''
    """What it does."""
    def f(x):
        """Doubles."""
        return 2 * x  # twice
'''


@pytest.mark.parametrize(
    "edited, changed",
    [
        (ROUTINE, False),
        (ROUTINE.replace("Doubles.", "Twice the argument."), False),
        (ROUTINE.replace("# twice", "# two times"), False),
        (ROUTINE.replace("2 * x", "(2\n          * x)"), False),
        (ROUTINE.replace('        """Doubles."""\n', ""), False),
        (ROUTINE.replace("2 * x", "3 * x"), True),
        (ROUTINE.replace("2 * x", "x * 2"), True),
        (ROUTINE.replace("def f(x)", "def f(x, y=None)"), True),
        (ROUTINE.replace("2 * x", '"2" * x'), True),
    ],
)
def test_a_digest_sees_code_and_no_prose(write, edited, changed):
    write("routine", ROUTINE)
    before = digest("planted.routine")
    write("routine", edited)
    assert (digest("planted.routine") != before) is changed


SYNTAX = '''
    import math as m
    from math import pi

    @m.sqrt
    class Law(list, key=None):
        """What it is."""
        bulk: tuple[int, ...] = (1, 2.5, 1e-300, 3j, -1, True, None, ...)

        def density(self, x, /, y=None, *rest, z: "float" = 0.1, **options) -> None:
            """A text."""
            text = f"{x!r:>{y}} {x + 1:.3f} and {y[0]}" "joined" r"\\d", b"bytes"
            if (n := len(rest)) > 1 and not (x < y <= z) or n in {1, *rest}:
                x @= [i ** 2 for i in rest if i for j in i] or {k: v for k, v in options.items()}
            elif x: return
            else: del x[1:2, ::3]
            try: raise ValueError from None
            except* (ValueError, KeyError) as error: pass
            finally: yield from (lambda *a, b=1: a)(*rest, c=2)

    async def flow(x):
        async with x as a, x: await a
        async for i in x: continue
        match x:
            case {"a": [1, *_], **rest} | Law(bulk=None) if rest: global q
            case _: return [i async for i in x]
'''


def test_a_digest_is_the_same_in_every_python(write):
    """Versions of Python add fields to their trees. The number is of 3.11; where the way digests are made has changed,
    and no result that is stored is current any more, there is a new one.
    """
    write("syntax", SYNTAX)
    assert digest("planted.syntax") == "08cccf36db846b7e"


@pytest.mark.parametrize("file", sorted((ROOT / "lib").rglob("*.py")), ids=lambda file: file.stem)
def test_comments_and_layout_of_the_library_are_no_code(file):
    """Python's own writer keeps the code and nothing of its layout."""
    source = file.read_text("utf8")
    written = ast.unparse(ast.parse(source))
    assert code._read_source(written, "deepdynamics.module", False) == code._read_source(
        source, "deepdynamics.module", False
    )


@pytest.mark.parametrize(
    "line",
    [
        "import planted.inner.deep",
        "from planted.inner import deep",
        "from planted.inner.deep import f",
        "from .inner import deep",
        "from .inner.deep import f",
        "from . import middle",
        "def g():\n    from planted import middle",
    ],
)
def test_a_digest_follows_imports_in_every_form(write, line):
    write("inner/__init__", "")
    write("inner/deep", "f = 1")
    write("middle", "from .inner.deep import f")
    write("other", "f = 1")
    write("top", line)
    before = digest("planted.top")
    write("other", "f = 2")
    assert digest("planted.top") == before
    write("inner/deep", "f = 2")
    assert digest("planted.top") != before


def test_a_digest_follows_a_package_to_what_its_front_imports(write):
    write("inner/__init__", "from . import deep")
    write("inner/deep", "f = 1")
    write("inner/side", "x = 1")
    write("top", "from planted.inner import side")
    before = digest("planted.top")
    write("inner/deep", "f = 2")
    assert digest("planted.top") != before


def test_imports_for_type_checking_and_modules_without_numbers_do_not_count(write):
    write("deep", "f = 1")
    write("figures", "f = 1")
    write(
        "top",
        """
        from typing import TYPE_CHECKING
        from planted import figures
        if TYPE_CHECKING:
            from planted.deep import f
        """,
    )
    before = digest("planted.top")
    write("deep", "f = 2")
    write("figures", "f = 2")
    assert digest("planted.top") == before


def test_a_digest_does_not_depend_on_what_is_loaded():
    before = digest("deepdynamics.jacobian.localised")
    importlib.import_module("deepdynamics.powerlaw")
    assert digest("deepdynamics.jacobian.localised") == before
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        digest("deepdynamics.no_such_module")
