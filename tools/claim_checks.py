"""What the claims of a chapter need: read from its code before anything runs (``written``), and from the JSON that its
claims left when it was executed (``executed``).

Chapters that are marked ``unrevised: true`` in ``book/chapters.yml`` are older than these rules, or have just begun:
they are held to their sources and keys only.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from bookfiles import Cell, Chapter, argument, bibliography, records
from deepdynamics.claims import source_key

LEAST, MOST, UNDECIDED = 6, 15, 2
BOUNDS = ("at_least", "at_most")
FOUND = ("measured", "samples")
HIDING = ("raises-exception", "remove-cell", "remove-output", "skip-execution")  # tags of a cell
CASTS = ("float", "int", "float32", "float64", "array", "asarray", "tensor")


def unrevised(rows: list[dict[str, Any]]) -> set[str]:
    """The slugs of the chapters whose claims are not held to the rules yet."""
    return {row["slug"] for row in rows if row.get("unrevised")}


# Before anything runs -------------------------------------------------------------------------------------------------


def written(chapter: Chapter, references: set[str], *, revised: bool) -> Iterator[str]:
    """What is wrong with the calls of ``claim`` in a chapter, one sentence each."""
    typed, assigned = _typed_names(chapter), _assigned(chapter)
    for cell, call, key in chapter.claims:
        place = f"claim {key or ast.unparse(call)[:40]!r} (line {cell.line})"
        sentences = [_unshown(cell, call), unknown(argument(call, "source"), references)]
        sentences += [*_open(call, key), *_typed(call, typed), *_circular(call, assigned)] if revised else []
        yield from (f"{place} {sentence}" for sentence in sentences if sentence)
    yield from _twice(chapter) if revised else ()
    for cell in chapter.cells:
        yield from (f"the cell in line {cell.line} {sentence}" for sentence in _unseen(cell))


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
    values = [statement.value for statement in cell.tree.body if isinstance(statement, ast.Expr)]
    displays = [value for value in values if isinstance(value, ast.Call) and value in cell.calls("display")]
    shown = [argument for display in displays for argument in display.args]
    if not cell.source.rstrip().endswith(";"):
        shown.append(cell.last)
    if call not in shown:
        return (
            "has to be the last expression of its cell, or in a display(…) of its own, without a condition and without "
            "a semicolon: otherwise neither the page nor the ledger shows it."
        )
    tags = {tag.replace("_", "-") for tag in cell.options.get("tags", [])}
    hiding = [tag for tag in HIDING if tag in tags]
    return f"stands in a cell with the tag {hiding[0]}: then nobody sees whether it holds." if hiding else None


def _unseen(cell: Cell) -> Iterator[str]:
    """Other ways to a claim than a call of ``claim`` that can be read."""
    if cell.source.lstrip().startswith("%%") and "claim(" in cell.source:
        yield "makes a claim under a cell magic, where it cannot be read: leave the magic out."
    called = [node.func for node in ast.walk(cell.tree) if isinstance(node, ast.Call)]
    for node in ast.walk(cell.tree):
        named = (getattr(node, "id", None), getattr(node, "attr", None))  # as a variable, or in a module
        defined = isinstance(node, ast.FunctionDef | ast.arg) and "claim" in vars(node).values()
        renamed = isinstance(node, ast.alias) and node.name == "claim" and node.asname
        if defined or renamed or ("claim" in named and node not in called):
            yield "gives claim another name or another meaning: call it as claim(…)."
        if "Claim" in named and node in called:
            yield "makes a Claim by hand: claim(…) makes it."


def _open(call: ast.Call, key: str | None) -> Iterator[str]:
    """What has to be read in the call itself, so that what is claimed cannot follow what was found."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if key is None:
        yield "needs its key written out: a claim is made once, and found by its key."
    if None in given and not ("rival" in given and given.keys() & set(FOUND)):
        yield "hides its rival or what it measured behind **: both stand in the call."
    if "rival" in given and not (isinstance(given["rival"], ast.Tuple) and len(given["rival"].elts) == 2):
        yield "needs its rival written as rival=('its name', value or samples)."
    for name in ("side", "hypothesis", "paired"):
        if name in given and not isinstance(given[name], ast.Constant):
            yield f"computes {name}={ast.unparse(given[name])}: what is claimed is written down before the run."
    claimed = [value for name, value in given.items() if name not in FOUND]
    claimed += [part for value in claimed if isinstance(value, ast.Tuple) for part in value.elts]
    claimed += [node for value in call.args for node in ast.walk(value)]
    if any(isinstance(node, ast.IfExp | ast.BoolOp) for node in claimed):
        yield "decides with an if what it claims: what is claimed is written down before the run."


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


def _circular(call: ast.Call, assigned: dict[str, ast.expr]) -> Iterator[str]:
    """What is expected, the rival or the tolerance made from what was measured, be it through names."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    found = set()
    for value in (_bare(given[name]) for name in FOUND if name in given):
        found.add(ast.dump(value))
        while isinstance(value, ast.Name) and value.id in assigned:
            value = _bare(assigned[value.id])
            if (form := ast.dump(value)) in found:
                break
            found.add(form)
    for name in ("theory", *BOUNDS, "rival", "tolerance"):
        nodes = _reached(given[name], assigned) if name in given else ()
        if any(ast.dump(node) in found for node in nodes if not isinstance(node, ast.Constant)):
            yield f"takes its {name} from what it measured: then it cannot fail."


def _reached(value: ast.expr, assigned: dict[str, ast.expr]) -> Iterator[ast.AST]:
    """The parts of an expression, and of what its names stand for."""
    waiting, seen = [value], set()
    while waiting:
        for node in ast.walk(waiting.pop()):
            yield node
            if isinstance(node, ast.Name) and node.id in assigned and node.id not in seen:
                seen.add(node.id)
                waiting.append(assigned[node.id])


def _twice(chapter: Chapter) -> Iterator[str]:
    """Claims that are another one with its sign flipped, its sides exchanged or its words changed."""
    changing = {name for name, times in _stores(chapter).items() if times > 1}
    first: dict[tuple[str | None, frozenset[str], str], str | None] = {}
    for _, call, key in chapter.claims:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        found = [given[name] for name in FOUND if name in given]
        rival = given.get("rival")
        if not found or not isinstance(rival, ast.Tuple):
            continue
        sides = [
            found[0],
            rival.elts[-1],
            *(given[name] for name in ("theory", *BOUNDS, "source_says") if name in given),
        ]
        if changing & {node.id for value in sides for node in ast.walk(value) if isinstance(node, ast.Name)}:
            continue
        forms = [ast.dump(_bare(side.operand if isinstance(side, ast.UnaryOp) else side)) for side in sides]
        duel = argument(call, "source"), frozenset(forms[:2]), " ".join(forms[2:])
        if duel in first:
            yield f"the claims {first[duel]!r} and {key!r} are one duel, told twice: one of them is enough."
        first.setdefault(duel, key)


def _bare(value: ast.expr) -> ast.expr:
    """An expression without float(…), np.array(…) and their like around it."""
    if not isinstance(value, ast.Call) or len(value.args) != 1:
        return value
    name = getattr(value.func, "id", None) or getattr(value.func, "attr", None)
    return _bare(value.args[0]) if name in CASTS else value


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
    return {
        name
        for name, value in _assigned(chapter).items()
        if _is_typed(value, set())
        and any(isinstance(node, ast.Constant) and isinstance(node.value, float) for node in ast.walk(value))
    }


def _assigned(chapter: Chapter) -> dict[str, ast.expr]:
    """What the names stand for to which the chapter gives a value once."""
    values: dict[str, ast.expr] = {}
    times = _stores(chapter)
    for node in (node for cell in chapter.cells for node in ast.walk(cell.tree)):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                values |= dict(_pairs(target, node.value))
    return {name: value for name, value in values.items() if times[name] == 1}


def _stores(chapter: Chapter) -> Counter[str]:
    """How often each name is given a value."""
    nodes = (node for cell in chapter.cells for node in ast.walk(cell.tree))
    return Counter(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Names with their values, also in ``low, high = 0.3, 0.7``."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, other in zip(target.elts, value.elts, strict=True):
            yield from _pairs(one, other)


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
    if claim["standard_error"] is not None and claim["dof"] is None:
        yield "gives a standard_error without its dof: with few samples, the quantile is another one."
    if claim["hypothesis"] and claim["source"] is None:
        yield "is a hypothesis without a source: what is only ours holds or fails."


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
