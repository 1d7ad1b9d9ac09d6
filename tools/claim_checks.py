"""What the claims of a chapter need: read from its code before anything runs (``written``), and from the JSON that its
claims left when it was executed (``executed``).

Chapters that are marked ``unrevised: true`` in ``book/chapters.yml`` are older than these rules, or have just begun:
they are held to their sources and keys only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from bookfiles import Cell, Chapter, argument, bibliography, records
from deepdynamics.claims import source_key

LEAST, MOST, UNDECIDED = 6, 15, 2
BOUNDS = ("at_least", "at_most")
FOUND = ("measured", "samples")


def unrevised(rows: list[dict[str, Any]]) -> set[str]:
    """The slugs of the chapters whose claims are not held to the rules yet."""
    return {row["slug"] for row in rows if row.get("unrevised")}


# Before anything runs -------------------------------------------------------------------------------------------------


def written(chapter: Chapter, references: set[str], *, revised: bool) -> Iterator[str]:
    """What is wrong with the calls of ``claim`` in a chapter, one sentence each."""
    typed = _typed_names(chapter)
    for cell, call, key in chapter.claims:
        place = f"claim {key or ast.unparse(call)[:40]!r} (line {cell.line})"
        sentences = [_unshown(cell, call), unknown(argument(call, "source"), references)]
        sentences += [*_typed(call, typed), *_circular(call)] if revised else []
        yield from (f"{place} {sentence}" for sentence in sentences if sentence)


def unknown(source: str | None, known: set[str]) -> str | None:
    """What is wrong with the source of a claim, or None."""
    if source is None:
        return None
    try:
        key = source_key(source)
    except ValueError as error:
        return f"has an improper source: {error}."
    if key in known:
        return None
    return f"cites {key!r}, a key that book/references.bib does not have (source = {source!r})."


def _unshown(cell: Cell, call: ast.Call) -> str | None:
    shown = [cell.last, *(call.args[0] for call in cell.calls("display") if call.args)]
    if call in shown:
        return None
    return "has to be the last expression of its cell: otherwise neither the page nor the ledger shows it."


def _typed(call: ast.Call, names: set[str]) -> Iterator[str]:
    """Numbers that stand in a claim as such: a rival, a bound, what was measured."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    rival = given.get("rival")
    value = rival.elts[1] if isinstance(rival, ast.Tuple) and len(rival.elts) == 2 else None
    bounds = [(name, given[name]) for name in BOUNDS if name in given]
    if not _cites(given.get("source")):
        if value is not None and _is_typed(value, names):
            rule = "a rival is measured in a control or computed from a formula or a cited source"
            yield f"types its rival, {ast.unparse(value)}: {rule}."
        for name, bound in bounds:
            if _is_typed(bound, names):
                rule = "a bound is measured in a control or computed from a formula or a cited source"
                yield f"types its bound, {name}={ast.unparse(bound)}: {rule}."
    for name in FOUND:
        if name in given and _is_typed(given[name], names, allowed=()):
            yield f"types what it measured, {name}={ast.unparse(given[name])}: the chapter computes it."


def _circular(call: ast.Call) -> Iterator[str]:
    """What is expected, or the rival, made from what was measured."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    found = [ast.dump(_bare(given[name])) for name in FOUND if name in given]
    for name in ("theory", *BOUNDS, "rival"):
        nodes = ast.walk(given[name]) if name in given else ()
        if any(ast.dump(node) in found for node in nodes if not isinstance(node, ast.Constant)):
            yield f"takes its {name} from what it measured: then it cannot fail."


def _bare(value: ast.expr) -> ast.expr:
    """An expression without float(…) or int(…) around it."""
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("float", "int") and len(value.args) == 1:
        return _bare(value.args[0])
    return value


def _cites(source: ast.expr | None) -> bool:
    return source is not None and not (isinstance(source, ast.Constant) and source.value is None)


def _is_typed(value: ast.expr, names: set[str], allowed: tuple[float, ...] = (0, 1)) -> bool:
    """Whether an expression has nothing in it but numbers, other than the ``allowed`` ones."""
    value = _bare(value)
    if isinstance(value, ast.Name):
        return value.id in names
    if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
        return value.value not in allowed
    if any(isinstance(node, ast.Name | ast.Call) for node in ast.walk(value)):
        return False
    return any(isinstance(node, ast.Constant) and isinstance(node.value, int | float) for node in ast.walk(value))


def _typed_names(chapter: Chapter) -> set[str]:
    """Names to which the chapter gives a decimal number that is typed, and nothing else: ``bound = 0.3``."""
    numbers, others = set(), set()
    for cell in chapter.cells:
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                decimal = isinstance(node.value, ast.Constant) and isinstance(node.value.value, float)
                (numbers if decimal and _is_typed(node.value, set()) else others).add(node.targets[0].id)
    return numbers - others


# After everything has run ---------------------------------------------------------------------------------------------


def executed(root: Path, docnames: list[str]) -> list[str]:
    """What is wrong with the claims of executed chapters, one sentence each."""
    known, claims = bibliography(root), _claims(root, docnames)
    held = set(claims) - set(_waived(root, docnames))
    found = []
    for docname, made in claims.items():
        sentences = [(claim["key"], unknown(claim["source"], known)) for claim in made]
        found += [f"{docname}.md: claim {key!r} {sentence}" for key, sentence in sentences if sentence]
        found += lacking(docname, made) if docname in held else []
    return found + list(_anchors_twice(claims))


def until_revised(root: Path, docnames: list[str]) -> list[str]:
    """What the claims of chapters that are marked "unrevised" lack before the mark can go."""
    claims = _claims(root, _waived(root, docnames))
    return [sentence for docname, made in claims.items() for sentence in lacking(docname, made)]


def lacking(docname: str, claims: list[dict[str, Any]]) -> list[str]:
    """What the claims of a chapter lack that is held to all rules."""
    found = [f"{docname}.md: claim {claim['key']!r} {sentence}" for claim in claims for sentence in _one(claim)]
    undecided = [claim["key"] for claim in claims if not claim["counts"]]
    counting = len(claims) - len(undecided)
    if not LEAST <= counting <= MOST:
        rule = f"a chapter has {LEAST} to {MOST}, and what is undecided does not count"
        found.append(
            f"{docname}.md has {counting} claim{'s' * (counting != 1)} that count{'s' * (counting == 1)}: {rule}."
        )
    if len(undecided) > UNDECIDED:
        names = ", ".join(undecided)
        rule = f"a chapter has at most {UNDECIDED}; draw more samples, or leave the claim out"
        found.append(f"{docname}.md has {len(undecided)} undecided claims, {names}: {rule}.")
    return found


def _one(claim: dict[str, Any]) -> Iterator[str]:
    if claim["rival"] is None:
        yield "names no rival: rival=('its name', value or samples) is what it would have measured if it were wrong."
    if claim["unquoted"]:
        yield "judges its source and does not quote it: quote='…' has the source's own words."
    if claim["exact"]:
        yield "agrees to rounding: an identity is no claim, and check(…) shows it in one line."


def _anchors_twice(claims: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Old and new anchors that two claims share; keys that occur twice are the build's own finding."""
    places = [(anchor, claim["key"]) for made in claims.values() for claim in made for anchor in claim["anchors"]]
    keys: dict[str, set[str]] = {}
    for anchor, key in places:
        keys.setdefault(anchor, set()).add(key)
    for anchor, owners in keys.items():
        if len(owners) > 1:
            yield f"The anchor {anchor} belongs to the claims {', '.join(sorted(owners))}: keys and aliases are unique."


def _claims(root: Path, docnames: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The claims of the chapters that were executed as they are now."""
    if not (root / "_build").is_dir():
        return {}
    return {name: record.claims for name in docnames if (record := records.find(root, name))}


def _waived(root: Path, docnames: list[str]) -> list[str]:
    parts = yaml.safe_load((root / "book" / "chapters.yml").read_text("utf8"))
    marked = unrevised([row for part in parts for row in part["chapters"]])
    return [name for name in docnames if name.rsplit("/", 1)[-1] in marked]
