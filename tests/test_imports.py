"""The library as a house: floors without circles, rooms behind doors, and chapters that use the doors."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import records

ROOT = Path(__file__).resolve().parents[1]
LIB = ROOT / "lib"
FILES = {  # every module and package of the library by its full name
    ".".join(file.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted((LIB / "deepdynamics").rglob("*.py"))
}
CHAPTERS = records.notebooks(ROOT)


def imports(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) of every import of the library in Python source, those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "deepdynamics":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.name.split(".")[0] == "deepdynamics")


def target(module: str, name: str) -> str:
    """The module that an import reaches: a room where ``name`` is one, else the module that has the name."""
    return full if (full := f"{module}.{name}") in FILES else module


def subject(module: str) -> str:
    return ".".join(module.split(".")[:2])


def circles(edges: Iterable[tuple[str, str]]) -> list[str]:
    """Circles that a walk along the edges closes, as 'a > b > a': none only where there is none."""
    follows: dict[str, list[str]] = {}
    for start, end in sorted(set(edges)):
        follows.setdefault(start, []).append(end)
    found, done = [], set()

    def walk(path: list[str]) -> None:
        for end in follows.get(path[-1], []):
            if end in path:
                found.append(" > ".join([*path[path.index(end) :], end]))
            elif end not in done:
                walk([*path, end])
        done.add(path[-1])

    for start in follows:
        if start not in done:
            walk([start])
    return found


EDGES = [
    (name, target(*imported))
    for name, file in FILES.items()
    if not name.endswith("__main__")  # a command: nothing imports it
    for imported in imports(file.read_text("utf8"))
]


def test_circles_are_found():
    assert circles([("a", "b"), ("b", "c"), ("a", "c")]) == []
    assert circles([("a", "b"), ("b", "c"), ("c", "b"), ("a", "c")]) == ["b > c > b"]


def test_subjects_lie_on_floors():
    between = {(subject(a), subject(b)) for a, b in EDGES}
    assert len(between) > 50
    assert circles((a, b) for a, b in between if a != b) == []


def test_rooms_lie_on_floors():
    assert circles((a, b) for a, b in EDGES if subject(a) == subject(b)) == []


def listed(module: str, name: str) -> bool:
    """Whether the door ``module`` offers ``name``."""
    if name.startswith("_"):
        return False
    if module == "deepdynamics":
        return f"{module}.{name}" in FILES
    door = importlib.import_module(module)
    return name in getattr(door, "__all__", vars(door))


def open_to_all(module: str, name: str) -> bool:
    """Whether a chapter may import ``name`` from ``module``: from a subject, from a room that the door of its subject
    lists, or from a chapter's experiments.
    """
    parts = module.split(".")
    if parts[:2] == ["deepdynamics", "experiments"] and len(parts) > 2:
        return not any(part.startswith("_") for part in [*parts, name])
    doors = [(".".join(parts[:i]), parts[i]) for i in range(1, len(parts))]
    return all(listed(*door) for door in [*doors, (module, name)] if door[1])


def test_open_is_what_a_door_lists():
    assert open_to_all("deepdynamics", "jacobian")
    assert open_to_all("deepdynamics.meanfield", "gain") and open_to_all("deepdynamics.meanfield.gain", "theory")
    assert open_to_all("deepdynamics.experiments.cnn_jacobian", "small")
    assert not open_to_all("deepdynamics", "_checks") and not open_to_all("deepdynamics.jacobian", "bases")
    assert not open_to_all("deepdynamics.jacobian.bases", "inner") and not open_to_all("deepdynamics.claims", "none")
    assert not open_to_all("deepdynamics.experiments._experiment", "Point")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapters_use_the_doors(chapter):
    cells = records.read_notebook(str(ROOT / f"{chapter}.md")).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert [found for found in imports(code) if not open_to_all(*found)] == []


@pytest.mark.parametrize("file", sorted((ROOT / "tests" / "book").glob("*.py")), ids=lambda file: file.stem)
def test_tests_of_the_book_use_the_doors(file):
    assert [found for found in imports(file.read_text("utf8")) if not open_to_all(*found)] == []
