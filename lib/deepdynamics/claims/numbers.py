"""Numbers as a reader sees them: with an error, as a share, and by a name in the text of a page."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np


def with_error(value: float, error: float | None) -> str:
    """A measured number with its standard error, to the second digit of the error; four digits without one.

    >>> with_error(59.0391, 1.13), with_error(1.4241, 0.14), with_error(0.5, None), with_error(1234.5, 210)
    ('59.0 ± 1.1', '1.42 ± 0.14', '0.5', '1230 ± 210')
    """
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    place = 1 - math.floor(math.log10(float(f"{error:.1e}")))
    if not -3 <= place <= 6:
        return f"{value:.4g} ± {error:.2g}"
    return f"{round(value, place):.{max(place, 0)}f} ± {round(error, place):.{max(place, 0)}f}"


def percent(share: float) -> str:
    """Two digits of a share, without an exponent wherever a reader could count the zeros.

    >>> percent(0.0345), percent(1.84), percent(2e-12)
    ('3.5 %', '180 %', 'under 0.01 %')
    """
    return "under 0.01 %" if 0 < share < 1e-4 else f"{float(f'{100 * share:.2g}'):g} %"


def times(factor: float) -> str:
    """How many standard errors (or tolerances) something is away, to two digits.

    >>> times(0.312), times(14.4), times(125.0), times(3e7)
    ('0.31', '14', '120', 'over 1000')
    """
    return "over 1000" if factor > 1000 else f"{float(f'{factor:.2g}'):g}"


def glue(key: str, value: Any) -> None:
    """Give ``value`` a name by which the text of the page can show it: ``{glue:text}`key:.3f` ``.

    Outside of a notebook it prints what it would give.

    >>> glue("demo-depth", np.float64(16.1234))
    {'application/papermill.record/text/plain': '16.1234'}
    """
    from IPython.display import display

    prefix = "application/papermill.record/"
    if isinstance(value, np.integer):
        value = operator.index(value)
    elif isinstance(value, np.floating):
        value = float(value)
    display(
        {prefix + "text/plain": repr(value)}, raw=True, metadata={"scrapbook": {"name": key, "mime_prefix": prefix}}
    )
