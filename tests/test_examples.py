"""Every public function, class and method of the library has an example in its docstring, and all examples are true.

Public is what ``__all__`` names, and without it what begins with no underscore and is defined in the module. A method
may be shown by an example of its class. What needs none: exceptions (whoever raises one shows when), properties and the
fields of dataclasses. ``deepdynamics.experiments`` is exempt: its functions run the book's experiments from the command
line, for minutes, on data sets, or read what these have stored; the chapters that show them are their examples. Those
that they have are run all the same.
"""

import doctest
import importlib
import inspect
import pkgutil
import re
import types

import deepdynamics
import pytest

MODULES = [info.name for info in pkgutil.walk_packages(deepdynamics.__path__, "deepdynamics.")]
NAMES = ["deepdynamics", *(name for name in MODULES if not name.endswith("__main__"))]
LIBRARY = [name for name in NAMES if not name.startswith("deepdynamics.experiments")]


def public(module):
    """(name, object) of the functions and classes that ``module`` offers as its own."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in names:
        found = getattr(module, name)
        own = getattr(found, "__module__", None) == module.__name__
        exception = inspect.isclass(found) and issubclass(found, BaseException)
        if own and (inspect.isclass(found) or callable(found)) and not exception:
            yield name, found


def examples(thing):
    """The source of the examples in the docstring of a function or a class, its own or inherited."""
    text = inspect.getdoc(thing) or ""
    return "".join(example.source for example in doctest.DocTestParser().get_examples(text))


def methods(cls):
    for name, value in vars(cls).items():
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if inspect.isfunction(function) and not name.startswith("_"):
            yield name


def without_example(module):
    for name, thing in public(module):
        shown = examples(thing)
        if not shown:
            yield name
        if inspect.isclass(thing):
            for method in methods(thing):
                used = r"\(" if method == "forward" else rf"\b{method}\b"  # a module's forward is what calling it runs
                if not examples(getattr(thing, method)) and not re.search(used, shown):
                    yield f"{name}.{method}"


class Shown:
    """A class.

    >>> Shown().used()
    """

    def used(self):
        """Used above."""

    def own(self):
        """One of its own.

        >>> 1
        1
        """

    def forgotten(self):
        """None."""

    def _private(self):
        """None."""


class Bare(Shown):
    def used(self):  # the docstring of Shown.used is inherited, without an example
        pass

    def own(self):
        pass


def function():
    """No example: > > >."""


def test_what_counts_as_an_example():
    module = types.ModuleType(__name__)
    module.Shown, module.Bare, module.function, module._private = Shown, Bare, function, function
    module.Error, module.other, module.number = type("Error", (ValueError,), {"__module__": __name__}), re.search, 3
    assert list(without_example(module)) == ["Shown.forgotten", "function"]


@pytest.mark.parametrize("name", LIBRARY)
def test_everything_public_has_an_example(name):
    missing = list(without_example(importlib.import_module(name)))
    assert not missing, f"{name}: no example of {', '.join(missing)}"


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
