"""The package as one meets it: `import deepdynamics`, its version, and a help that names the doors."""

import doctest
import importlib.metadata
import pkgutil
import re
import subprocess
import sys

import deepdynamics
import pytest

NAMED = {
    name
    for line in re.findall(r"^    ([a-z, ]+?)  +\S", deepdynamics.__doc__, flags=re.M)
    for name in line.replace(" ", "").split(",")
}


def test_the_version_is_the_installed_one():
    assert deepdynamics.__version__ == importlib.metadata.version("deepdynamics")


def test_importing_the_package_is_light():
    code = "import deepdynamics, sys; print(sorted({'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_help_names_every_subject_and_nothing_else():
    modules = {module.name for module in pkgutil.iter_modules(deepdynamics.__path__)}
    assert {name for name in modules if not name.startswith("_")} == NAMED


def test_every_subject_can_be_reached_from_the_package():
    assert set(dir(deepdynamics)) == NAMED | {"__version__"}
    assert deepdynamics.powerlaw.__name__ == "deepdynamics.powerlaw"
    with pytest.raises(AttributeError, match="has no attribute 'no_such_module'"):
        deepdynamics.no_such_module  # noqa: B018


def test_what_is_the_librarys_own_is_no_attribute_of_it():
    code = "import deepdynamics; print(hasattr(deepdynamics, '_checks'), hasattr(deepdynamics, 'powerlaw'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False True\n", "")


def test_docstring_example():
    assert doctest.testmod(deepdynamics).failed == 0
