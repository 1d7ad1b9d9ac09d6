"""The files of the project: what git tracks and what is new; in a downloaded archive, what .gitignore does not name."""

from __future__ import annotations

import subprocess
from fnmatch import fnmatch
from pathlib import Path


def project_files(root: Path) -> list[Path]:
    """All files below ``root`` that were written and not made, sorted."""
    command = ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        found = [root / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        found = []
    if not found:  # no git, no repository, or one around it that ignores it
        found = [path for path in root.rglob("*") if not _ignored(path.relative_to(root), _patterns(root))]
    return sorted(path for path in found if path.is_file())


def _patterns(root: Path) -> list[str]:
    """The names in .gitignore; the project's are names of files or folders, or patterns of them."""
    file = root / ".gitignore"
    lines = file.read_text("utf8").split() if file.is_file() else ["_build", ".venv", "__pycache__"]
    return [".git", *(line.strip("/") for line in lines)]


def _ignored(path: Path, patterns: list[str]) -> bool:
    return any(fnmatch(part, pattern) for part in path.parts for pattern in patterns)
