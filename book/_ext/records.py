"""What executed chapters left in the execution cache: outputs, claims, times, dependencies.

The runner (tools/execute.py) writes the cache before Sphinx starts; the directives of the book (dynamics.py) read it.
"""

from __future__ import annotations

import copy
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from deepdynamics.claims import MIME
from executioncache import ExecutionCache
from jupyter_cache.readers import get_reader

DATA_CALL = re.compile(r"""(?:load|load_pretrained)\(\s*["']([\w-]+)["']""")

read_notebook = get_reader({"name": "myst_nb_md", "type": "plugin"})


@dataclass(frozen=True)
class Record:
    """One executed chapter: its document name, the notebook with outputs, and what the runner noted."""

    docname: str
    notebook: Any
    data: dict[str, Any]

    @property
    def claims(self) -> list[dict[str, Any]]:
        """The claims in the order of the page, as the JSON that they left."""
        return [output.metadata[MIME] for output in self._outputs]

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """The claims by the HTML that they showed."""
        return {output.data["text/html"]: output.metadata[MIME] for output in self._outputs}

    @property
    def _outputs(self) -> list[Any]:
        outputs = [output for cell in self.notebook.cells for output in cell.get("outputs", [])]
        return [output for output in outputs if MIME in output.get("metadata", {})]


def open_cache(root: Path) -> ExecutionCache:
    """The cache in the folder that myst-nb uses by default."""
    return ExecutionCache(root / "_build" / ".jupyter_cache")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, which is parsed once while it stays the same."""
    return copy.deepcopy(_yaml(path.read_text("utf8")))


_yaml = lru_cache(maxsize=8)(yaml.safe_load)


def documents(root: Path) -> list[str]:
    """Names of the pages of the parts, in the order of the table of contents."""
    toc = read_yaml(root / "_toc.yml")
    chapters = [chapter for part in toc.get("parts", []) for chapter in part["chapters"]] + toc.get("chapters", [])
    return [toc["root"]] + [chapter["file"] for chapter in chapters]


def notebooks(root: Path) -> list[str]:
    """Names of the pages that have code to execute."""
    return [name for name in documents(root) if "```{code-cell}" in (root / f"{name}.md").read_text("utf8")]


def data_sets(root: Path, docnames: list[str]) -> list[str]:
    """Names of the data sets and pretrained networks that these chapters load."""
    return sorted(
        {name for docname in docnames for name in DATA_CALL.findall((root / f"{docname}.md").read_text("utf8"))}
    )


def find(root: Path, docname: str) -> Record | None:
    """The record of a chapter in its present form, or None when it was not executed."""
    cache = open_cache(root)
    try:
        record = cache.match_cache_notebook(
            _notebook(str(root / f"{docname}.md"), (root / f"{docname}.md").read_bytes())
        )
    except KeyError:
        return None
    return Record(docname, cache.get_cache_bundle(record.pk).nb, record.data)


@lru_cache(maxsize=64)
def _notebook(path: str, content: bytes) -> Any:
    """A chapter as a notebook, read once while its ``content`` stays the same."""
    return read_notebook(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"
