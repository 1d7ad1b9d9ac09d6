"""The digest of the code that a stored result has run.

Code is the static import closure of the experiment's module within this library: the syntax trees without docstrings,
comments and layout. A package whose door is imported counts with all that the door imports. Modules that cannot change
a number of a cell do not count.
"""

import ast
import functools
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

__all__ = ["digest"]

# Modules and packages that show, store or download: the data that a result was computed from have a digest of their
# own. And what all experiments share, which names, labels and compares.
_NOT_NUMBERS = ("_progress", "claims", "data.fetch", "data.registry", "figures", "results")
_SHARED = ("experiments", "experiments._experiment", "experiments._table")


def digest(module: str) -> str:
    """Digest of a module and of all of its package that it imports, directly or not, as their sources are now.

    What counts is which modules are named in import statements (those for type checking apart), not what happens to be
    loaded. Raises ModuleNotFoundError where there is no such module.

    >>> digest("deepdynamics.margins") == digest("deepdynamics.margins") != digest("deepdynamics.sweeps")
    True
    """
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources or not _has_numbers(name) or (path := _source_of(name)) is None:
            continue
        sources[name], imported = _read_source(path.read_text("utf-8"), name, path.name == "__init__.py")
        waiting += [*imported, name.rpartition(".")[0]]
    if module not in sources:
        raise ModuleNotFoundError(f"no module {module!r} whose source could be read")
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:16]


def _has_numbers(module: str) -> bool:
    """Whether a module can change a number of a cell."""
    inside = module.partition(".")[2]
    return inside not in _SHARED and not f"{inside}.".startswith(tuple(f"{name}." for name in _NOT_NUMBERS))


def _source_of(module: str) -> Path | None:
    """The file of a module within its package (not of the package itself); nothing is imported."""
    package, _, rest = module.partition(".")
    spec = importlib.util.find_spec(package) if rest else None
    for root in (spec.submodule_search_locations or ()) if spec else ():
        inside = Path(root, *rest.split("."))
        for path in (inside.with_suffix(".py"), inside / "__init__.py"):
            if path.is_file():
                return path
    return None


@functools.lru_cache(maxsize=256)
def _read_source(source: str, module: str, is_package: bool) -> tuple[str, tuple[str, ...]]:
    """Hash of the tree of a source, and the names that it imports from its own package, modules or not."""
    tree = ast.parse(source)
    imported: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            base = parts[: len(parts) - node.level + is_package] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            imported |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    own = (name for name in imported if name.split(".")[0] == module.split(".")[0])
    return hashlib.sha256(_canonical(tree).encode()).hexdigest()[:16], tuple(sorted(own))


def _canonical(node: Any) -> str:
    """A syntax tree as text, the same in every version of Python: empty fields, which newer ones add, are left out, and
    so are empty pieces of f-strings, which some versions of 3.12 add.
    """
    if isinstance(node, ast.JoinedStr):
        pieces = [piece for piece in node.values if not (isinstance(piece, ast.Constant) and piece.value == "")]
        return f"JoinedStr(values={_canonical(pieces)})"
    if isinstance(node, ast.AST):
        fields = (f"{name}={_canonical(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_canonical, node))}]" if isinstance(node, list) else repr(node)
