"""`make environment`, which all other commands begin with: an old Python, no network, a copied folder, a wheel."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))


def checkout(folder: Path) -> Path:
    """A folder with what the environment is made from."""
    shutil.copytree(ROOT / "lib", folder / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", ".gitignore"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def make(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", "environment", f"PYTHON={sys.executable}"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=outer | environment,
        timeout=120,
    )


def test_older_python_is_refused_at_once(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "sitecustomize.py").write_text("import sys\nsys.version_info = (3, 10, 13, 'final', 0)\n")
    folder = checkout(tmp_path / "book")
    run = make(folder, PYTHONPATH=str(tmp_path / "old"))
    assert run.returncode != 0 and not (folder / ".venv").exists()
    assert "Python 3.11 or newer is needed, this is 3.10. With another one: make PYTHON=python3.12\n" in run.stderr


def test_without_a_network_it_says_so(tmp_path):
    closed = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    run = make(checkout(tmp_path / "book"), **closed)
    assert run.returncode != 0
    assert "The packages cannot be downloaded. The first build needs a network" in run.stderr
    assert "ResolutionImpossible" not in run.stdout + run.stderr


@pytest.fixture
def installed(tmp_path):
    """A folder with an environment of its own that borrows the packages of this one."""
    folder = checkout(tmp_path / "original")
    venv = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    (next(venv.glob("lib/python*/site-packages")) / "borrowed.pth").write_text(PACKAGES)
    python = venv / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", folder], check=True
    )
    state = "import environment; environment.write(environment.versions(), str(environment.PROJECT))"
    subprocess.run([python, "-c", state], cwd=folder / "tools", check=True)
    assert library(folder) == folder / "lib" / "deepdynamics" / "__init__.py"
    return folder


def library(folder: Path) -> Path:
    code = "import deepdynamics; print(deepdynamics.__file__)"
    run = subprocess.run([folder / ".venv" / "bin" / "python", "-c", code], capture_output=True, text=True, cwd="/")
    return Path(run.stdout.strip() or run.stderr)


def test_copied_folder_takes_its_own_library(installed):
    run = make(installed)
    assert (run.returncode, run.stdout) == (0, "")  # nothing has changed
    run = subprocess.run([sys.executable, "tools/environment.py"], cwd=installed, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")  # as those begin who have no make: README.md
    copy = installed.with_name("copie à côté")
    shutil.copytree(installed, copy, symlinks=True)
    assert library(copy).is_relative_to(installed)
    run = make(copy)
    assert run.returncode == 0 and "The folder has moved" in run.stdout, run.stderr
    shutil.rmtree(installed)
    assert library(copy) == copy / "lib" / "deepdynamics" / "__init__.py"


def test_wheel_has_the_modules_of_today_and_leaves_nothing_behind(tmp_path):
    folder = checkout(tmp_path / "book")
    before = {path for path in folder.rglob("*") if "__pycache__" not in path.parts}
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, folder]
    subprocess.run(command, check=True)
    assert {path for path in folder.rglob("*") if "__pycache__" not in path.parts} == before
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    modules = {path.relative_to(folder / "lib").as_posix() for path in (folder / "lib").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert "deepdynamics/results.sha256" in names
