"""What the library offers, read from its source without importing it: subjects, public names, signatures, docstrings.

A subject is a module or package of `deepdynamics`; its door is what its ``__all__`` lists, and so for a room that a
door lists. Signatures are as they are written, so that a type has the name that the source gives it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

LIBRARY = "deepdynamics"
Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Module:
    """A source file: its full name, its place and its tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def doc(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @property
    def public(self) -> list[str]:
        """The names in ``__all__``."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and _name(node.targets[0]) == "__all__":
                return sorted(ast.literal_eval(node.value), key=str.lower)
        return []


@dataclass(frozen=True)
class Entry:
    """A public name: ``kind`` is function, class, data, method or property; ``call`` what follows its name."""

    name: str
    kind: str
    doc: str
    call: str = ""
    options: tuple[str, ...] = ()
    members: list[Entry] = field(default_factory=list)

    @property
    def short(self) -> str:
        """Its name within its subject, as ``gain.theory``."""
        return self.name.split(".", 2)[2]


class Library:
    """The subjects below ``lib``; the names that are not its own begin with an underscore."""

    def __init__(self, lib: Path) -> None:
        self.lib = lib
        folder = lib / LIBRARY
        modules = [file.stem for file in folder.glob("[!_]*.py")]
        self.subjects = sorted(modules + [file.parent.name for file in folder.glob("[!_]*/__init__.py")])

    def module(self, name: str) -> Module | None:
        """The module of a full name, or None where there is none."""
        return _module(self.lib, name)

    def groups(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """The subjects in the groups of the package's docstring: heading, and (subject, what it has)."""
        top = self.module(LIBRARY)
        assert top is not None
        found = []
        for heading, rows in re.findall(r"^(\S.*)\n((?: {4}\w+ {2,}\S.*\n)+)", top.doc, flags=re.M):
            found.append((heading, re.findall(r"^ {4}(\w+) {2,}(.*)$", rows, flags=re.M)))
        return found

    def entries(self, subject: str) -> list[Entry]:
        """All that a subject offers: its public names, and those of the rooms among them."""
        return list(self._entries(f"{LIBRARY}.{subject}"))

    def rooms(self, subject: str) -> list[Module]:
        """The public modules of a subject."""
        door = f"{LIBRARY}.{subject}"
        module = self.module(door)
        assert module is not None
        return [room for name in module.public if (room := self._room(module, name))]

    def _entries(self, door: str) -> Iterator[Entry]:
        module = self.module(door)
        assert module is not None
        for name in module.public:
            if room := self._room(module, name):
                yield from self._entries(room.name)
            else:
                yield self._entry(f"{door}.{name}", *self.definition(module, name))

    def _room(self, module: Module, name: str) -> Module | None:
        """The module that a door offers under this name; None where the name is that of something in it."""
        try:
            self.definition(module, name)
        except LookupError:
            return self.module(f"{module.name}.{name}")
        return None

    def definition(self, module: Module, name: str) -> tuple[Module, ast.stmt]:
        """The statement that gives a name its meaning, and the module in which it stands, followed through imports."""
        for node in reversed(module.tree.body):
            if isinstance(node, Definition) and node.name == name:
                return module, node
            if isinstance(node, ast.Assign | ast.AnnAssign) and name in map(_name, _targets(node)):
                return module, node
            if isinstance(node, ast.ImportFrom) and node.module != module.name:
                for alias in node.names:
                    source = self.module(node.module or "")
                    if name == (alias.asname or alias.name) and source:
                        return self.definition(source, alias.name)
        raise LookupError(f"{module.name} has no {name}")

    def _entry(self, name: str, module: Module, node: ast.stmt) -> Entry:
        if isinstance(node, ast.ClassDef):
            return self._class(name, module, node)
        if isinstance(node, ast.FunctionDef):
            return Entry(name, "function", ast.get_docstring(node) or "", _signature(node))
        value = self._value(module, node)
        return Entry(name, "data", _remark(module, node), options=(f":value: {value}",) if len(value) < 400 else ())

    def _value(self, module: Module, node: ast.stmt) -> str:
        """A constant as it is written; where it is the tuple of a dictionary's keys, these keys."""
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "tuple" and isinstance(value.args[0], ast.Name):
            _, table = self.definition(module, value.args[0].id)
            if isinstance(table, ast.Assign | ast.AnnAssign) and isinstance(table.value, ast.Dict):
                return str(tuple(ast.literal_eval(key) for key in table.value.keys if key))
        return ast.unparse(value) if value else ""

    def _class(self, name: str, module: Module, node: ast.ClassDef) -> Entry:
        members = [self._member(name, item) for item in node.body if isinstance(item, ast.FunctionDef)]
        bases = [base for base, _ in self._bases(module, node)]
        parents = f"A kind of {', '.join(f'``{base}``' for base in bases)}." if bases else ""
        doc = "\n\n".join(filter(None, [ast.get_docstring(node) or "", parents]))
        return Entry(name, "class", doc, self._constructor(module, node), members=[m for m in members if m])

    def _member(self, owner: str, node: ast.FunctionDef) -> Entry | None:
        """A method or a property with a docstring of its own; what overrides another's has that one's."""
        doc, public = ast.get_docstring(node), not node.name.startswith("_") or node.name == "__call__"
        if not (doc and public):
            return None
        decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
        if any(name in ("property", "cached_property") for name in decorators):
            returns = (f":type: {ast.unparse(node.returns)}",) if node.returns else ()
            return Entry(f"{owner}.{node.name}", "property", doc, options=returns)
        options = tuple(f":{name}:" for name in decorators if name in ("classmethod", "staticmethod"))
        return Entry(
            f"{owner}.{node.name}", "method", doc, _signature(node, bound="staticmethod" not in decorators), options
        )

    def _bases(self, module: Module, node: ast.ClassDef) -> list[tuple[str, tuple[Module, ast.ClassDef]]]:
        """The classes of the library that a class is made from, with their names."""
        found = []
        for base in map(_name, node.bases):
            try:
                where, definition = self.definition(module, base)
            except LookupError:
                continue
            if isinstance(definition, ast.ClassDef):
                found.append((base, (where, definition)))
        return found

    def _constructor(self, module: Module, node: ast.ClassDef) -> str:
        """How an object is made: by ``__init__``, or from the fields of a dataclass or a named tuple."""
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                return _signature(item, bound=True, returns=False)
        marks = [ast.unparse(mark) for mark in [*node.decorator_list, *node.bases]]
        if any(mark.startswith("dataclass") or mark == "NamedTuple" for mark in marks):
            every = self._fields(module, node)
            keywords = any("kw_only=True" in mark for mark in marks)
            return f"({', '.join((['*'] if keywords and every else []) + list(every.values()))})"
        bases = self._bases(module, node)
        return self._constructor(*bases[0][1]) if bases else ""

    def _fields(self, module: Module, node: ast.ClassDef) -> dict[str, str]:
        found: dict[str, str] = {}
        for _, base in self._bases(module, node):
            found |= self._fields(*base)
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and not _name(item.target).startswith("_"):
                kind, value = ast.unparse(item.annotation), ast.unparse(item.value) if item.value else ""
                if kind.startswith("ClassVar") or "init=False" in value:
                    continue
                value = "..." if value.startswith("field(") else value
                found[_name(item.target)] = f"{_name(item.target)}: {kind}" + (f" = {value}" if value else "")
        return found


@cache
def _module(lib: Path, name: str) -> Module | None:
    if name.split(".")[0] != LIBRARY:
        return None
    place = lib.joinpath(*name.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return Module(name, path, ast.parse(path.read_text("utf8"))) if path.is_file() else None


def _signature(node: ast.FunctionDef, *, bound: bool = False, returns: bool = True) -> str:
    arguments = node.args
    if bound:  # without self or cls
        first = (arguments.posonlyargs or arguments.args)[:1]
        arguments = ast.arguments(
            posonlyargs=[a for a in arguments.posonlyargs if a not in first],
            args=[a for a in arguments.args if a not in first],
            vararg=arguments.vararg,
            kwonlyargs=arguments.kwonlyargs,
            kw_defaults=arguments.kw_defaults,
            kwarg=arguments.kwarg,
            defaults=arguments.defaults,
        )
    result = f" -> {ast.unparse(node.returns)}" if returns and node.returns else ""
    plain = re.sub(
        r"\b(\d)(0{6,})\.0\b", lambda hit: f"{hit[1]}e{len(hit[2])}", ast.unparse(arguments)
    )  # 1e9 as written
    return f"({plain}){result}"


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _remark(module: Module, node: ast.stmt) -> str:
    """The remark at the end of the line that gives a constant its value, or the one above it."""
    lines = module.path.read_text("utf8").splitlines()[: node.lineno]
    above = lines[-2].removeprefix("# ") if len(lines) > 1 and lines[-2].startswith("# ") else ""
    return lines[-1].partition("  # ")[2] or above


def used(library: Library, sources: list[str]) -> list[str]:
    """The public names that code uses, in full: what it imports from a door, or takes from an imported module."""
    public = {entry.name for subject in library.subjects for entry in library.entries(subject)}
    called: dict[str, str] = {}  # a name in the code -> its full name
    found: set[str] = set()
    trees = [ast.parse(source) for source in sources]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == LIBRARY:
            for alias in node.names:
                called[alias.asname or alias.name] = full = f"{node.module}.{alias.name}"
                found.add(full)
        elif isinstance(node, ast.Import):
            called |= {LIBRARY: LIBRARY} if LIBRARY in [alias.name.split(".")[0] for alias in node.names] else {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        path = ast.unparse(node).split(".") if isinstance(node, ast.Attribute) else []
        if path and path[0] in called and all(map(str.isidentifier, path)):
            found.add(".".join([called[path[0]], *path[1:]]))
    return sorted(found & public, key=str.lower)
