"""pyproject.toml (ranges), constraints.txt (tested versions) and environment.yml (Binder, conda) tell one story."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
CONSTRAINTS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf8"), flags=re.M))
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


TESTED = {normal(name): Version(version) for name, version in CONSTRAINTS.items()}
REQUIRED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
CONDA = {
    match[1]: match[2]
    for line in yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))["dependencies"]
    if (match := re.match(r"([\w-]+)(.*)", line))
}


@pytest.mark.parametrize("requirement", REQUIRED + EXTRAS, ids=str)
def test_tested_version_lies_in_the_range(requirement):
    assert requirement.specifier.contains(TESTED[normal(requirement.name)])


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_ranges_stay_open_so_that_the_library_installs_beside_others(requirement):
    assert all(part.operator == ">=" for part in requirement.specifier)


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_conda_environment_has_every_dependency_in_the_same_range(requirement):
    assert (name := CONDA_NAMES.get(requirement.name, requirement.name)) in CONDA
    if requirement.name == "torch":  # conda-forge: the CPU variant, same major version
        assert CONDA[name] == f"={TESTED['torch'].major}.*"
    else:
        assert CONDA[name] == str(requirement.specifier)


def test_conda_environment_has_all_that_the_book_is_made_with():
    named = ("jupyter-book", "jupytext", "numpy", "scipy", "torch", "matplotlib", "ipywidgets")
    assert {CONDA_NAMES.get(name, name) for name in named} <= set(CONDA)
    book = {requirement.name: requirement.specifier for requirement in EXTRAS}
    assert SpecifierSet(CONDA["jupyter-book"]) == book["jupyter-book"]


def test_binder_uses_the_same_environment_and_opens_markdown_as_notebooks():
    assert (ROOT / "binder" / "environment.yml").resolve() == ROOT / "environment.yml"
    assert {"jupyterlab", "jupytext", "ipykernel", "ipywidgets"} <= set(CONDA)
    assert "set-default-viewer" in (ROOT / "binder" / "postBuild").read_text("utf8")


def test_citation_names_the_version_and_licence_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf8"))
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format demands
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text("utf8")


def test_repo2docker_accepts_the_binder_files(monkeypatch):
    """Binder's own parser takes the conda environment, and runs postBuild."""
    application = pytest.importorskip("repo2docker.app").Repo2Docker()
    monkeypatch.chdir(ROOT)
    packs = (pack(application.base_image) for pack in application.buildpacks)
    found = next(pack for pack in packs if pack.detect())
    found.platform = "linux/amd64"
    assert type(found).__name__ == "CondaBuildPack" and found.binder_dir == "binder"
    assert found.environment_yaml == yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))
    assert found.python_version == "3.11" and found.get_post_build_scripts() == ["binder/postBuild"]
    written = found.render(build_args={})
    assert "binder/environment.yml" in written and "RUN ./binder/postBuild" in written


def test_addresses_are_set_in_one_place():
    slug = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    tracked = [
        p
        for p in ROOT.rglob("*")
        if p.suffix in {".py", ".md", ".yml", ".toml", ".cff"} and not {"_build", ".venv"} & set(p.parts)
    ]
    assert [p.name for p in tracked if slug in p.read_text("utf8", errors="ignore")] == ["pyproject.toml"]
