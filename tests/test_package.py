"""The package as one meets it: `import deepdynamics`, its version, and a help that names the doors."""

import doctest
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import deepdynamics
import pytest

ROOT = Path(__file__).resolve().parents[1]
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


def test_help_names_the_modules_that_chapters_use_and_nothing_else():
    chapters = "".join(file.read_text("utf8") for file in (ROOT / "book").rglob("*.md"))
    used = set(re.findall(r"^from deepdynamics\.(\w+)", chapters, flags=re.M))
    for line in re.findall(r"^from deepdynamics import (.+)", chapters, flags=re.M):
        used |= {name.split()[0] for name in line.split(", ")}
    assert used <= NAMED
    assert {name for name in NAMED if importlib.util.find_spec(f"deepdynamics.{name}") is None} == set()


def test_every_module_can_be_reached_from_the_package():
    assert set(dir(deepdynamics)) >= NAMED
    assert deepdynamics.powerlaw.__name__ == "deepdynamics.powerlaw"
    with pytest.raises(AttributeError, match="has no attribute 'no_such_module'"):
        deepdynamics.no_such_module  # noqa: B018


def test_docstring_example():
    assert doctest.testmod(deepdynamics).failed == 0
