"""Progress bars that write to standard output, and only where somebody is looking.

Standard error stays empty: the build of the book treats anything a chapter writes there as a failure. The environment
variable DEEPDYNAMICS_PROGRESS has the last word: 0 shows no bar, 1 shows them wherever output goes (a log, say).
"""

import os
import sys
from typing import Any

from tqdm import tqdm

__all__ = ["bar", "somebody_looks"]


def somebody_looks() -> bool:
    """Whether to show bars: what DEEPDYNAMICS_PROGRESS says, and without it whether standard output is a terminal or a
    live notebook.

    Raises ValueError where the variable is neither 0 nor 1.

    >>> os.environ["DEEPDYNAMICS_PROGRESS"] = "0"
    >>> somebody_looks()
    False
    >>> del os.environ["DEEPDYNAMICS_PROGRESS"]
    """
    if said := os.environ.get("DEEPDYNAMICS_PROGRESS"):
        if said not in ("0", "1"):
            raise ValueError(f"DEEPDYNAMICS_PROGRESS = {said!r}: 0 (no progress bars) or 1 (bars) is needed")
        return said == "1"
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return sys.stdout.isatty() or hasattr(shell, "kernel")


def bar(total: int | None, label: str, *, show: bool = True, **options: Any) -> "tqdm[Any]":
    """A tqdm bar on standard output, silent unless `show` is true and `somebody_looks()`.

    >>> with bar(10, "cells") as progress:
    ...     _ = progress.update(3)
    """
    return tqdm(
        total=total,
        desc=label,
        file=sys.stdout,
        disable=not (show and somebody_looks()),
        **options,
    )
