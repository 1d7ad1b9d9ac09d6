"""Progress bars that write to standard output, and only where somebody is looking.

Standard error stays empty: the build of the book treats anything a chapter writes there as a failure.
"""

import os
import sys
from typing import Any

from tqdm import tqdm

__all__ = ["bar", "somebody_looks"]


def somebody_looks() -> bool:
    """Whether standard output is a terminal or a live notebook (not a notebook that the book's build executes).

    >>> somebody_looks() in (True, False)
    True
    """
    if os.environ.get("DEEPDYNAMICS_EXPLORER") == "static":
        return False
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
