"""Two cold executions of a chapter give the same outputs, to the last digit and the last pixel."""

from pathlib import Path

import execute
import pytest
import records
import rotation
import torch
from deepdynamics import data

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = records.notebooks(ROOT)
TODAYS = rotation.todays(ROOT, CHAPTERS, 1)


def outputs(notebook) -> list[dict]:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = [(o.get("data") or {}) | {"text": o.get("text")} for cell in cells for o in cell.outputs]
    return [{kind: str(value) for kind, value in data.items()} for data in found]


@pytest.mark.parametrize("chapter", [c if c in TODAYS else pytest.param(c, marks=pytest.mark.long) for c in CHAPTERS])
def test_second_execution_gives_the_same_outputs(chapter):
    first = records.find(ROOT, chapter)
    if first is None:
        pytest.skip("not built yet: make book")
    if first.data["inventory"] != data.inventory():
        pytest.skip("built with other data than there are now: make book")
    failure, notebook, _ = execute.run(ROOT, chapter)
    assert failure is None, failure
    before, after = outputs(first.notebook), outputs(notebook)
    assert len(before) == len(after)
    for number, (one, two) in enumerate(zip(before, after, strict=True)):
        assert one == two, f"{chapter}: output {number} differs ({', '.join(k for k in one if one[k] != two.get(k))})"


def test_print_that_arrives_in_two_parts_is_one_output(tmp_path):
    (tmp_path / "lib").symlink_to(ROOT / "lib")
    (tmp_path / "book").mkdir()
    head = "---\nkernelspec: {display_name: Python 3, language: python, name: python3}\n---\n"
    cell = "```{code-cell} ipython3\nprint('one', flush=True)\nprint('two', flush=True)\n```\n"
    (tmp_path / "book" / "two.md").write_text(head + cell, "utf8")
    failure, notebook, _ = execute.run(tmp_path, "book/two")
    assert failure is None and outputs(notebook) == [{"text": "one\ntwo\n"}]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_keeps_its_budget(chapter):
    """90 s on one thread (with AVX-512) and 1.5 GiB, no widget state, no addresses of objects."""
    record = records.find(ROOT, chapter)
    if record is None:
        pytest.skip("not built yet: make book")
    # CPU seconds and not those on the wall, which other work lengthens. Without AVX-512 a tanh takes three times as
    # long, and a chapter that trains thousands of networks half as long again; beside other work, which shares caches
    # and memory with it, CPU seconds grow by a tenth or two, too.
    fast = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert record.data["cpu_seconds"] <= (90 if fast else 155)
    assert record.data["peak_mb"] <= 1536
    assert "widgets" not in record.notebook.metadata
    assert not [o for o in outputs(record.notebook) if " at 0x" in str(o.get("text/plain", "")) + str(o["text"])]
