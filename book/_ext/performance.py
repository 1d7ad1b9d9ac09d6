"""The page on performance: what `make bench` stored in book/results/benchmarks.json, and what the chapters took."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

from generated import Generated, chapter_times, table_cell

SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def number(value: float) -> str:
    """Two digits, or all before the point.

    >>> number(1234.5), number(12.34), number(1.234), number(0.1234)
    ('1,235', '12', '1.2', '0.12')
    """
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


def time(seconds: float) -> str:
    """A time with its unit: '12 ms'."""
    size, unit = next((pair for pair in SCALES if seconds >= pair[0]), SCALES[-1])
    return f"{number(seconds / size)} {unit}"


def stored(root: Path) -> dict[str, Any]:
    file = root / "book" / "results" / "benchmarks.json"
    return dict(json.loads(file.read_text("utf8"))) if file.is_file() else {}


def programs(root: Path) -> dict[str, str]:
    """What each benchmark says of itself in its first sentence, by its name."""
    found = {}
    for file in sorted((root / "benchmarks").glob("bench_*.py")):
        text = " ".join((ast.get_docstring(ast.parse(file.read_text("utf8"))) or "").split())
        found[file.stem.removeprefix("bench_")] = text.partition(". ")[0].rstrip(".") + "."
    return found


def comparisons(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of a table: ours, the peer, its time over ours with the spread, accuracy, memory."""
    lines = ["| routine | our time | peer | its time over ours | accuracy | memory |", "|---|--:|---|--:|---|--:|"]
    for row in rows:
        ratio = f"{number(row['ratio'])} ×"
        if row["spread"]:
            ratio += f" ({' to '.join(map(number, row['spread']))})"
        memory = "–"
        if row["memory"]:
            memory = " and ".join(f"{number(value)}" for value in row["memory"]) + " MB"
        cells = (row["routine"], time(row["seconds"]), row["peer"], ratio, row["accuracy"] or "–", memory)
        lines.append(f"| {' | '.join(map(table_cell, cells))} |")
    return lines


def exponent(row: dict[str, Any]) -> float:
    """The power of the size with which the time grows between the two largest sizes."""
    (small, large), (before, after) = row["sizes"][-2:], row["seconds"][-2:]
    return math.log(after / before) / math.log(large / small)


def growth(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| routine | what grows | time at each size | at the end like the power |", "|---|---|---|--:|"]
    for row in rows:
        times = ", ".join(f"{size:,}: {time(t)}" for size, t in zip(row["sizes"], row["seconds"], strict=True))
        cells = (row["routine"], row["size"], times, f"{exponent(row):.1f}")
        lines.append(f"| {' | '.join(map(table_cell, cells))} |")
    return lines


class Benchmarks(Generated):
    """Every comparison with a peer, by benchmark; and those that have not run."""

    def markdown(self) -> str:
        found, known = stored(self.root), programs(self.root)
        lines: list[str] = []
        for name in [name for name in known if name in found]:
            entry = found[name]
            where = f"`bench_{name}.py`, {entry['clock']}, {entry['date']}"
            lines += [f"**{known[name]}** ({where})", "", *comparisons(entry["comparisons"]), ""]
        missing = [f"`bench_{name}.py`: {known[name]}" for name in known if name not in found]
        if missing:
            lines += ["These have not run; `make bench` runs them all:", "", *(f"- {text}" for text in missing), ""]
        machines = {machine(entry["machine"]) for entry in found.values()}
        return "\n".join([*lines, *(f"Measured on {text}." for text in sorted(machines))])


def machine(entry: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
    return f"{entry['cores']} cores of {entry['processor']}, {entry['system']}, Python {entry['python']}, {versions}"


class BenchmarksGrowth(Generated):
    """How the time of the main routines grows with the size of what they are given."""

    def markdown(self) -> str:
        found = stored(self.root)
        return "\n".join(growth([row for name in sorted(found) for row in found[name]["growth"]]))


class ChapterTimes(Generated):
    """Seconds and memory of every chapter, as this build executed it."""

    def markdown(self) -> str:
        return "\n".join(chapter_times(self.root))
