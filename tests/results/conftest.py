"""A folder of stored results, and a package that tests write."""

import importlib
import sys
import textwrap

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPDYNAMICS_RESULTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def write(tmp_path, monkeypatch):
    """The function that writes a module of a package which nothing has imported."""
    package = tmp_path / "code" / "planted"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(package.parent))

    def write(name, source):
        path = package / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        for loaded in [each for each in sys.modules if each.split(".")[0] == "planted"]:
            del sys.modules[loaded]

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "planted"]:
        del sys.modules[name]
