"""Export the chapters of the built book as plain notebooks: ``make notebooks`` calls this after ``make book``.

python tools/notebooks.py              _build/notebooks/<chapter>.ipynb, and the same in without-solutions/
python tools/notebooks.py --root DIR   of another book of the same layout

The build writes the notebooks while it writes the pages (book/_ext/notebook_writer.py). Here they get the present
commit into their first cell, and are searched for what plain Jupyter could not show.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import notebook_writer
import records

PROJECT = Path(__file__).resolve().parents[1]


def export(root: Path) -> tuple[list[Path], list[str]]:
    """The files written, and one message a thing that is wrong with them."""
    built, target = root / "_build" / "html" / notebook_writer.FOLDER, root / "_build" / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    written, problems = [], []
    for name in [
        f"{Path(folder, docname)}.ipynb" for folder in notebook_writer.VARIANTS for docname in records.notebooks(root)
    ]:
        if not (built / name).is_file():
            problems.append(f"{name} is missing: build the book first (make book)")
            continue
        notebook = nbformat.read(built / name, as_version=4)
        next(cell for cell in notebook.cells if cell.cell_type == "code").source = notebook_writer.install_cell(root)
        problems += [f"{name}, {message}" for message in notebook_writer.leftovers(notebook)]
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target / name)
        written.append(target / name)
    return written, problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=PROJECT)
    root = parser.parse_args().root.resolve()
    written, problems = export(root)
    print(f"{len(written)} notebooks in {root / '_build' / 'notebooks'}")
    print("\n".join([*problems, f"{len(problems)} problem(s)"] if problems else []), file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
