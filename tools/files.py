"""The files of the project: those that git would take, or, in a downloaded archive, those that look like it."""

from __future__ import annotations

import subprocess
from pathlib import Path

MADE = {"_build", "build", "dist", "__pycache__", "node_modules"}  # folders that are made, not written


def project_files(root: Path) -> list[Path]:
    """All files of the project below ``root``, sorted, untracked ones included, without what git ignores."""
    try:
        command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
        listing = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.decode()
        found = [root / name for name in listing.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        found = [path for path in root.rglob("*") if not _made(path.relative_to(root))]
    return sorted(path for path in found if path.is_file())


def _made(path: Path) -> bool:
    hidden = [part for part in path.parts if part.startswith(".") and part not in (".ci", ".github", ".gitignore")]
    return bool(hidden) or any(part in MADE or part.endswith(".egg-info") for part in path.parts)
