"""A small book in the same house, for tests that plant faults or edit files: the real runner, extension,
configuration and library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from files import project_files

ROOT = Path(__file__).resolve().parents[1]

HEAD = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""

REST = """
```{code-cell} ipython3
from deepdynamics import figures

def draw(power):
    fig, ax = figures.figure(width=3.5)
    ax.plot([0, 1], [0, power])
    return fig

figures.explorer(draw, {"power": [1, 2]}, label="p")
```

```{exercise}
:label: ex-NAME

Add one and one.
```

```{solution-start} ex-NAME
```

```{code-cell} ipython3
assert 1 + 1 == 2
```

```{solution-end}
```
"""

CHAPTER = (
    HEAD
    + """(layers-as-time)=
# A chapter

```{chapter-head}
```

```{code-cell} ipython3
from deepdynamics import activations
from deepdynamics.claims import claim
PLANTED_CODE
```

```{code-cell} ipython3
tanh = activations.get("tanh")
claim("mini.tanh", "tanh has slope one at 0", theory=1.0, measured=tanh(1e-6) / 1e-6, tolerance=1e-9)
```

Prose. PLANTED_PROSE See {ref}`claim-mini-tanh` and the [ledger](#ledger).
"""
    + REST.replace("NAME", "first")
)

SECOND = (
    HEAD
    + """(order-and-chaos)=
# Another chapter

```{chapter-head}
```

```{code-cell} ipython3
from deepdynamics.claims import claim
claim("mini.samples", "the mean is one", theory=1.0, samples=[0.9, 1.1, 1.0, 1.02, 0.98, 0.97, 1.03, 1.01])
```
"""
    + REST.replace("NAME", "second")
)

WRITTEN = ("layers-as-time", "order-and-chaos")

TOC = """format: jb-book
root: book/index
chapters:
  - file: book/mini/layers-as-time
  - file: book/mini/order-and-chaos
  - file: book/ledger
  - file: book/about
"""


def make(root: Path, *, code: str = "", prose: str = "") -> Path:
    """Write the small book into ``root``, with ``code`` planted into its first cell and ``prose`` into its text."""
    shutil.copytree(ROOT / "lib", root / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for folder in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / folder, root / "book" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_config.yml", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, root / name)
    for name in ("ledger.md", "about.md"):
        shutil.copyfile(ROOT / "book" / name, root / "book" / name)
    (root / "book" / "chapters.yml").write_text(chapter_map(), "utf8")
    (root / "book" / "mini").mkdir()
    (root / "book" / "teaching.md").write_text(teaching(root), "utf8")
    (root / "book" / "references.bib").write_text("")
    (root / "book" / "sources.yml").write_text("sources: {}\nrows: []\n")
    (root / "book" / "index.md").write_text("# A small book\n\n```{chapter-map}\n```\n")
    (root / "book" / "mini" / "layers-as-time.md").write_text(
        CHAPTER.replace("PLANTED_CODE", code).replace("PLANTED_PROSE", prose)
    )
    (root / "book" / "mini" / "order-and-chaos.md").write_text(SECOND)
    (root / "_toc.yml").write_text(TOC)
    return root


def chapter_map() -> str:
    """The book's own map, in which the chapters that are written are not held to the rules for claims."""
    lines = (ROOT / "book" / "chapters.yml").read_text("utf8").replace(", unrevised: true}", "}").splitlines()
    for number, line in enumerate(lines):
        if any(f"{{slug: {slug}," in line for slug in WRITTEN):
            lines[number] = f"{line.rstrip().removesuffix('}')}, unrevised: true}}"
    return "\n".join(lines) + "\n"


def teaching(root: Path) -> str:
    """Plans that name every chapter of the map; the small book has written two."""
    parts = yaml.safe_load((root / "book" / "chapters.yml").read_text("utf8"))
    rows = [(row["slug"], row["title"]) for part in parts for row in part["chapters"]]
    names = [f"{{ref}}`{slug}`" if slug in WRITTEN else f"*{title}*" for slug, title in rows]
    return "(teaching)=\n# Teaching\n\n" + "\n".join(f"- {name}" for name in names) + "\n"


def copy(root: Path, source: Path = ROOT) -> Path:
    """A copy of the files of a checkout in ``root``."""
    for file in project_files(source):
        target = root / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return root


def command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "tools" / "build.py"), "--root", str(root), *arguments]


def build(root: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the book's own build on ``root``, with the library that lies there."""
    environment = (os.environ if environment is None else environment) | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command(root, *arguments),
        capture_output=True,
        text=True,
        env=environment,
        timeout=1800,
        stdin=subprocess.DEVNULL,
    )


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf8")
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new), "utf8")
