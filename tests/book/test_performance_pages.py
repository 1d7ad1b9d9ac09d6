"""The pages on performance and on runs at full size: made from what benchmarks and runs have stored."""

from __future__ import annotations

import ast
import json
import re
import sys

import largeruns
import performance
import pytest
from deepdynamics import experiments
from generated import GENERATED
from house import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import stored as benchmark

OURS, PEER = benchmark.Times([0.002, 0.003]), benchmark.Times([0.02, 0.04])


def test_stored_rows_become_the_lines_of_the_page(tmp_path):
    file = tmp_path / "book" / "results" / "benchmarks.json"
    rows = [
        benchmark.comparison("f, n = 3", "numpy", OURS, PEER, accuracy="error 1e-16", memory=(5, 1234.5)),
        benchmark.comparison("g | h", "once", 2.0, 1.0),
    ]
    grown = benchmark.growth("f", "points", (10, 100, 1000), [1e-5, 1e-3, 0.1])
    file.parent.mkdir(parents=True)
    benchmark.store("one", rows, [grown], file=file)
    benchmark.store("two", [], file=file)  # each keeps the others
    found = performance.stored(tmp_path)
    assert set(found) == {"one", "two"}
    *_, first, second = performance.comparisons(found["one"]["comparisons"])
    assert first == "| f, n = 3 | 2.0 ms | numpy | 10 × (6.7 to 20) | error 1e-16 | 5.0 and 1,234 MB |"
    assert second == r"| g \| h | 2.0 s | once | 0.50 × | – | – |".replace("0.50", "0.5")
    assert performance.growth(found["one"]["growth"])[-1] == (
        "| f | points | 10: 10 µs, 100: 1.0 ms, 1,000: 100 ms | 2.0 |"
    )


def test_nothing_of_the_machine_but_words_is_stored():
    text = (ROOT / "book" / "results" / "benchmarks.json").read_text("utf8")
    for entry in json.loads(text).values():
        assert set(entry) == {"clock", "comparisons", "date", "growth", "machine"}
        assert set(entry["machine"]) == {"cores", "processor", "python", "system", "versions"}
        assert all(row["ratio"] > 0 and row["seconds"] > 0 for row in entry["comparisons"])


def test_every_benchmark_stores_what_it_finds_under_its_name():
    for file in (ROOT / "benchmarks").glob("bench_*.py"):
        name = file.stem.removeprefix("bench_")
        tree = ast.parse(file.read_text("utf8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        stores = [call.args[0].value for call in calls if getattr(call.func, "id", "") == "store"]
        assert stores == [name]
    assert set(performance.stored(ROOT)) <= set(performance.programs(ROOT))


@pytest.mark.parametrize(
    ("provenance", "text"),
    [
        ({"cpu_seconds": 610, "seconds_since_resumed": 5}, "10"),
        ({"cpu_seconds": 3}, "1"),
        ({"seconds_since_resumed": 610}, "≥ 10"),
        ({"seconds_since_resumed": 2}, "–"),
    ],
)
def test_minutes_of_a_run(provenance, text):
    assert largeruns.minutes(provenance) == text


def test_pages_are_made_by_directives_that_are_known():
    text = "".join((ROOT / "book" / f"{name}.md").read_text("utf8") for name in ("performance", "large-runs"))
    names = ["benchmarks", "benchmarks-growth", "chapter-times", "large-runs"]
    assert GENERATED.findall(text) == names == re.findall(r"```\{([\w-]+)\}", text)


def test_every_run_has_its_command(monkeypatch):
    directive = type("Here", (largeruns.LargeRuns,), {"__init__": lambda self: None, "root": ROOT})()
    text = directive.markdown()
    assert re.findall(r"make results CHAPTER=([\w-]+)", text) == list(experiments.EXPERIMENTS)
    keys = [key for found in experiments.EXPERIMENTS.values() for key in found]
    assert re.findall(r"\| `([\w.-]+)` \|", text) == keys
