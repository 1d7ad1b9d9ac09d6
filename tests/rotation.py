"""What is too long to be done with every chapter at every commit is done with some of them, in turn; with every chapter
in ``make check-all``.

The places go to chapters that changed in the last commits, all but one, and the rest to those whose turn it is: the
next commit begins one chapter further, so that none is left out for longer than there are chapters.
"""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

import build

LAST = 10  # commits


def todays(root: Path, chapters: list[str], places: int) -> list[str]:
    """As many of the ``chapters`` as there are ``places``, the same ones as long as the commit is the same.

    A chapter has changed with its page, its experiments or its stored results. Where git is missing, as in a downloaded
    archive, or knows the last commit only, none has, and the turn is drawn from all files of the project.
    """
    first = turn(root) % max(len(chapters), 1)
    ring = chapters[first:] + chapters[:first]
    touched = changed(root)
    new = [name for name in ring if any(file.startswith(sources(name)) for file in touched)][: places - 1]
    return new + [name for name in ring if name not in new][: places - len(new)]


def sources(chapter: str) -> tuple[str, ...]:
    """How the names of a chapter's own files begin."""
    slug = chapter.rsplit("/", 1)[-1]
    experiments = f"lib/deepdynamics/experiments/{slug.replace('-', '_')}/"
    return f"{chapter}.md", experiments, f"book/results/{slug}."


@lru_cache
def turn(root: Path) -> int:
    """The number of commits, or where they cannot be counted a number that the files of the project make."""
    count = git(root, "rev-list", "--count", "HEAD")
    if count and git(root, "rev-parse", "--is-shallow-repository") == ["false"]:
        return int(count[0])
    return int(build.stamp(root)[:8], 16)


@lru_cache
def changed(root: Path) -> tuple[str, ...]:
    """The files that differ from those of ``LAST`` commits ago."""
    return tuple(git(root, "diff", "--name-only", f"HEAD~{LAST}"))


def git(root: Path, *arguments: str) -> list[str]:
    """The lines that git answers; none where it is missing or ``root`` has no repository of its own."""
    command = ["git", f"--git-dir={root / '.git'}", *arguments]
    try:
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []
