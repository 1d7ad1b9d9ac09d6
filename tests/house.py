"""A small book in the same house, for tests that plant faults or edit files: the real runner, extension,
configuration and library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import yaml

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
    for name in ("chapters.yml", "ledger.md", "about.md"):
        shutil.copyfile(ROOT / "book" / name, root / "book" / name)
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


def teaching(root: Path) -> str:
    """Plans that name every chapter of the map; the small book has written two."""
    parts = yaml.safe_load((root / "book" / "chapters.yml").read_text("utf8"))
    rows = [(row["slug"], row["title"]) for part in parts for row in part["chapters"]]
    names = [f"{{ref}}`{slug}`" if slug in WRITTEN else f"*{title}*" for slug, title in rows]
    return "(teaching)=\n# Teaching\n\n" + "\n".join(f"- {name}" for name in names) + "\n"


def files(root: Path = ROOT) -> list[str]:
    """The files of a checkout, by their names in it: what git tracks and what is new and not ignored; without git
    everything that .gitignore does not name.
    """
    command = ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = []
    if not any(names):
        ignored = [".git", *(line.strip("/") for line in (root / ".gitignore").read_text("utf8").split())]
        every = (path.relative_to(root) for path in root.rglob("*"))
        kept = [path for path in every if not any(fnmatch(part, name) for part in path.parts for name in ignored)]
        names = [path.as_posix() for path in kept]
    return sorted(name for name in names if (root / name).is_file())


def copy(root: Path, source: Path = ROOT) -> Path:
    """A copy of the files of a checkout in ``root``."""
    for name in files(source):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, root / name)
    return root


def build(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the book's own build on ``root``, with the library that lies there."""
    environment = os.environ | {"PYTHONPATH": str(root / "lib"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(ROOT / "tools" / "build.py"), "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf8")
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new), "utf8")
