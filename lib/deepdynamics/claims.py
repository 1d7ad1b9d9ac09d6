"""Claims: a statement of theory beside its measurement, and a verdict that is computed.

A claim compares one number that was *measured* with one that was *expected*. The measurement is a list of independent
samples (their mean and standard error are computed here), or a number with its standard error and degrees of freedom,
or a deterministic number with an argued tolerance. With t the two-sided Student quantile at level 1e-4, the claim
holds when

    |measured - theory| <= tolerance + t * standard_error,

or, for a bound, when the whole interval lies on its right side. Its *resolution*, (tolerance + t * standard_error) /
|theory|, is the smallest relative deviation that it would have noticed.

A *source* is a key of the bibliography, ``"poole2016exponential"``, or that key, a comma and the place,
``"poole2016exponential, eq. (5)"``: the key is what stands before the first comma (:func:`source_key`). A key that
``book/references.bib`` does not have fails the build of the book.
"""

from __future__ import annotations

import html
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 1e-4
MIME = "application/vnd.deepdynamics.claim+json"
VERDICTS = ("holds", "replicates", "corrected", "undecided", "refuted", "theory only", "skipped", "fails")
IDENTITY_RESOLUTION = 1e-4

_RELATIONS = {"=": "theory", "≥": "at least", "≤": "at most"}


class ClaimError(AssertionError):
    """A claim of the book does not hold.

    >>> try:
    ...     claim("demo.two", "one is two", theory=2.0, measured=1.0, tolerance=0.1)
    ... except ClaimError as error:
    ...     print(str(error).splitlines()[0])
    demo.two: one is two
    """


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
    """Two digits of a share, without an exponent.

    >>> percent(0.0345), percent(1.84)
    ('3.5 %', '180 %')
    """
    return f"{float(f'{100 * share:.2g}'):g} %"


def source_key(source: str) -> str:
    """The key of a source, which is what stands before its first comma.

    Raises ``ValueError`` unless ``source`` is a key without spaces, alone or with a comma and a place after it.

    >>> source_key("poole2016exponential"), source_key("poole2016exponential, eq. (5), first line")
    ('poole2016exponential', 'poole2016exponential')
    """
    match = re.fullmatch(r"([^\s,{}%\"'#]+)(,\s*\S.*)?", source) if isinstance(source, str) else None
    if match is None:
        example = "'poole2016exponential' or 'poole2016exponential, eq. (5)'"
        raise ValueError(
            f"source = {source!r}: a key of the bibliography is needed, or a key, a comma and a place: {example}"
        )
    return match[1]


@dataclass(frozen=True)
class Claim:
    """One checked statement. Made by :func:`claim`; every field that is not an input of it is computed.

    >>> claim("demo.pi", "22/7 is near pi", theory=3.14159, measured=22 / 7, tolerance=0.01)
    holds: 22/7 is near pi [theory 3.1416; measured 3.143; would notice 0.32 %]
    """

    key: str
    statement: str
    relation: str
    expected: float | None
    measured: float | None
    standard_error: float | None
    dof: float | None
    count: int | None
    tolerance: float
    scale: float | None
    source: str | None
    source_says: float | str | None
    skipped: str | None = None

    @property
    def margin(self) -> float:
        """Half width of the interval inside which the claim cannot tell: tolerance + t * standard error.

        >>> round(claim("demo.a", "a normal quantile", theory=1.0, measured=1.0, standard_error=0.1).margin, 3)
        0.389
        """
        if not self.standard_error:
            return self.tolerance
        quantile = stats.norm.isf(LEVEL / 2) if self.dof is None else stats.t.isf(LEVEL / 2, self.dof)
        return self.tolerance + float(quantile) * self.standard_error

    @property
    def holds(self) -> bool:
        """Whether the measurement agrees with our own expectation (or, where there is none, with the source's).

        >>> claim("demo.b", "half is below one", at_most=1.0, measured=0.5, tolerance=0.1).holds
        True
        """
        if self.skipped or self.measured is None:
            return True
        if self.expected is None:
            return self._agrees_with_source()
        return _agrees(self.relation, self.measured, self.expected, self.margin)

    @property
    def verdict(self) -> str:
        """One of ``VERDICTS``. ``fails`` never leaves :func:`claim`, which raises instead.

        >>> found = dict(measured=0.5, tolerance=0.1, source="saxe2014exact, eq. (1)")
        >>> [claim("demo.c", "a half", **found, **says).verdict for says in (dict(theory=0.5), dict(source_says=1.0))]
        ['replicates', 'refuted']
        """
        if self.skipped:
            return "skipped"
        if self.measured is None:
            return "theory only"
        if self.expected is None:
            return "replicates" if self.holds else "refuted"
        if not self.holds:
            return "fails"
        if self.source is None:
            return "holds"
        if self.source_says is None:
            return "replicates"
        return "undecided" if self._agrees_with_source() else "corrected"

    @property
    def resolution(self) -> float | None:
        """(tolerance + t * standard error) / scale, or None where nothing was measured.

        The scale is |theory| (or the bound, or the source's number) unless it was given. A bound of 0 is compared
        with what was measured.

        >>> claim("demo.d", "two", theory=2.0, measured=2.1, tolerance=0.5).resolution
        0.25
        """
        if self.skipped or self.measured is None:
            return None
        size = self.scale or abs(self._reference()) or abs(self.measured)
        return self.margin / size if size else math.inf

    @property
    def identity(self) -> bool:
        """Whether this is an identity up to rounding (adjoint, chain rule, closed form) and not an experiment.

        >>> claim("demo.e", "the square of a root", theory=2.0, measured=math.sqrt(2) ** 2, tolerance=1e-12).identity
        True
        """
        if self.skipped or self.measured is None or self.standard_error is not None:
            return False
        if self.relation == "=":
            return (self.resolution or 0.0) <= IDENTITY_RESOLUTION
        return self.relation == "≤" and abs(self._reference()) <= IDENTITY_RESOLUTION * (self.scale or 1.0)

    @property
    def counts(self) -> bool:
        """Whether it counts as evidence: an experiment that resolves 20 %, or that rejects a source or the other side
        of a bound.

        >>> [claim("demo.f", "two", theory=2.0, measured=2.1, tolerance=width).counts for width in (0.3, 1.0)]
        [True, False]
        """
        if self.identity or self.resolution is None:
            return False
        return self.resolution <= 0.2 or self.verdict in ("corrected", "refuted") or self.relation != "="

    @property
    def anchor(self) -> str:
        """Where a reader can link to.

        >>> claim("demo.two", "two", theory=2.0, measured=2.1, tolerance=0.3).anchor
        'claim-demo-two'
        """
        return "claim-" + self.key.replace(".", "-")

    def _reference(self) -> float:
        """The number that was expected: our own, or else the source's."""
        return self.expected if self.expected is not None else _bound(self.source_says)[1]

    def _agrees_with_source(self) -> bool:
        relation, value = _bound(self.source_says)
        assert self.measured is not None
        if relation == "=":
            return abs(self.measured - value) <= self.margin
        # A bound of the source is rejected only when the whole interval lies on its wrong side.
        return _agrees(relation, self.measured, value, -self.margin)

    def data(self) -> dict[str, Any]:
        """All of it as JSON-able numbers, for the ledger.

        >>> data = claim("demo.two", "two", theory=2.0, measured=2.1, tolerance=0.3).data()
        >>> data["key"], data["verdict"], data["expected"], data["counts"]
        ('demo.two', 'holds', 2.0, True)
        """
        names = ("verdict", "resolution", "margin", "identity", "counts", "anchor")
        return asdict(self) | {name: getattr(self, name) for name in names}

    def numbers(self) -> list[tuple[str, str]]:
        """What the card shows, as (name, value) pairs.

        >>> claim("demo.mean", "one", theory=1.0, samples=[0.9, 1.1, 1.05, 0.95]).numbers()[:2]
        [('theory', '1'), ('measured', '1.000 ± 0.046 (4 samples)')]
        """
        rows = []
        if self.expected is not None:
            rows.append((_RELATIONS[self.relation], f"{self.expected:.5g}"))
        if self.source_says is not None:
            says = self.source_says if isinstance(self.source_says, str) else f"{self.source_says:.5g}"
            rows.append(("the source says", says))
        if self.measured is not None:
            count = "" if self.count is None else f" ({self.count} samples)"
            rows.append(("measured", with_error(self.measured, self.standard_error) + count))
        if self.resolution and not self.identity:
            rows.append(("would notice", percent(self.resolution)))
        if self.skipped:
            rows.append(("needs", self.skipped))
        return rows

    def __repr__(self) -> str:
        return f"{self.verdict}: {self.statement} [" + "; ".join(f"{k} {v}" for k, v in self.numbers()) + "]"

    def _repr_html_(self) -> str:
        numbers = " · ".join(f"{html.escape(k)} <b>{html.escape(v)}</b>" for k, v in self.numbers())
        name = html.escape(self.source or "")
        source = f' · <span class="claim-source" data-source="{name}">{name}</span>' if name else ""
        kind = self.verdict.replace(" ", "-")
        label = f"Claim: {html.escape(self.verdict)}"
        return (
            f'<div class="claim claim-{kind}" id="{self.anchor}" role="note" aria-label="{label}" '
            f'style="border-left:4px solid; padding:.3em .8em; margin:.5em 0">'
            f'<div class="claim-statement"><span class="claim-verdict"><b>{html.escape(self.verdict)}</b></span> '
            f"{html.escape(self.statement)} "
            f'<a class="claim-link" href="#{self.anchor}" aria-label="Link to this claim">#</a></div>'
            f'<div class="claim-numbers"><small>{numbers}{source}</small></div></div>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        numbers = "; ".join(f"{k} {v}" for k, v in self.numbers())
        source = f"; {self.source}" if self.source else ""
        markdown = f"> **Claim ({self.verdict}).** {self.statement}: {numbers}{source}."
        return {"text/html": self._repr_html_(), "text/markdown": markdown, "text/plain": repr(self)}, {
            MIME: self.data()
        }


def claim(
    key: str,
    statement: str,
    *,
    theory: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    measured: float | None = None,
    samples: Sequence[float] | np.ndarray | None = None,
    standard_error: float | None = None,
    dof: float | None = None,
    tolerance: float = 0.0,
    scale: float | None = None,
    source: str | None = None,
    source_says: float | str | None = None,
    requires: str | None = None,
) -> Claim:
    """Check a statement and return the claim, which shows itself as a card.

    Exactly one of ``theory``, ``at_least``, ``at_most`` is what we expect. ``source_says`` is what the source has
    instead: a number, or a bound such as ``">= 1"``; alone, without an expectation of ours, it is put on trial
    itself. Exactly one of ``samples`` (one number an independent repetition) and ``measured`` (with
    ``standard_error`` and ``dof``, or with ``tolerance``) is what was found; with neither the claim is "theory only".
    ``scale`` says what the resolution is relative to, and must be given where theory is 0. ``requires`` names a data
    set: where only its stand-in is there, the claim is skipped. ``source`` is a key of the bibliography, or a key, a
    comma and a place (:func:`source_key`).

    Raises :class:`ClaimError` when the claim fails, and ``ValueError`` when it is not a proper claim: no or
    contradicting expectations, fewer than two samples, a standard error of zero, anything that is not finite, a source
    that does not begin with a key.

    >>> claim("demo.mean", "the mean is one", theory=1.0, samples=[0.9, 1.1, 1.05, 0.95]).verdict
    'holds'
    """
    if not key or "." not in key:
        raise ValueError(f"key = {key!r}: a claim is named 'chapter.subject'")
    if source is not None:
        try:
            source_key(source)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    relation, expected = _expectation(theory, at_least, at_most)
    if expected is None and source_says is None:
        raise ValueError(f"{key}: one of theory, at_least, at_most or source_says is needed")
    if source_says is not None and source is None:
        raise ValueError(f"{key}: source_says without a source")
    if expected is None:
        relation, _ = _bound(source_says)
    for name, number in {"expectation": expected, "tolerance": tolerance, "scale": scale}.items():
        if number is not None and not math.isfinite(number):
            raise ValueError(f"{key}: {name} = {number} is not finite")
    if tolerance < 0:
        raise ValueError(f"{key}: tolerance = {tolerance} is negative")
    count = None
    skipped = requires if requires is not None and not _available(requires) else None
    if skipped is None:
        measured, standard_error, dof, count = _measurement(key, measured, samples, standard_error, dof)
        if measured is not None and standard_error is None and relation == "=" and tolerance == 0:
            raise ValueError(f"{key}: a deterministic number needs a tolerance (argue it beside the claim)")
        if expected == 0 and relation == "=" and scale is None:
            raise ValueError(f"{key}: theory is 0: give scale, the size to which the resolution is relative")
    else:
        measured = standard_error = dof = None
    result = Claim(
        key,
        statement,
        relation,
        expected,
        measured,
        standard_error,
        dof,
        count,
        float(tolerance),
        scale,
        source,
        source_says,
        skipped,
    )
    if result.verdict == "fails":
        raise ClaimError(
            f"{key}: {statement}\n  does not hold: "
            + "; ".join(f"{k} {v}" for k, v in result.numbers())
            + f"; allowed ± {result.margin:.3g}"
        )
    return result


def glue(key: str, value: Any) -> None:
    """Give ``value`` a name by which the text of the page can show it: ``{glue:text}`key:.3f` ``.

    Outside of a notebook it prints what it would give.

    >>> glue("demo-depth", np.float64(16.1234))
    {'application/papermill.record/text/plain': '16.1234'}
    """
    from IPython.display import display

    prefix = "application/papermill.record/"
    value = (
        operator.index(value)
        if isinstance(value, np.integer)
        else float(value)
        if isinstance(value, np.floating)
        else value
    )
    display(
        {prefix + "text/plain": repr(value)}, raw=True, metadata={"scrapbook": {"name": key, "mime_prefix": prefix}}
    )


def _expectation(theory: float | None, at_least: float | None, at_most: float | None) -> tuple[str, float | None]:
    given = [(r, v) for r, v in (("=", theory), ("≥", at_least), ("≤", at_most)) if v is not None]
    if len(given) > 1:
        raise ValueError("give one of theory, at_least and at_most, not several")
    return (given[0][0], float(given[0][1])) if given else ("=", None)


def _bound(source_says: float | str | None) -> tuple[str, float]:
    """A source's statement as (relation, number): 3.0, ">= 3", "<= 3"."""
    if isinstance(source_says, str):
        for sign, relation in ((">=", "≥"), ("<=", "≤")):
            if source_says.startswith(sign):
                return relation, float(source_says.removeprefix(sign))
        raise ValueError(f"source_says = {source_says!r}: a number, or a bound such as '>= 1' or '<= 1'")
    value = float(source_says) if source_says is not None else math.nan
    if not math.isfinite(value):
        raise ValueError(f"source_says = {source_says!r} is not finite")
    return "=", value


def _agrees(relation: str, measured: float, expected: float, margin: float) -> bool:
    """Agreement with a number within the margin; for a bound, the interval (of half width ``margin``) on its right
    side.
    """
    if relation == "=":
        return abs(measured - expected) <= margin
    return measured - margin >= expected if relation == "≥" else measured + margin <= expected


def _measurement(
    key: str,
    measured: float | None,
    samples: Sequence[float] | np.ndarray | None,
    standard_error: float | None,
    dof: float | None,
) -> tuple[float | None, float | None, float | None, int | None]:
    if samples is not None:
        if measured is not None or standard_error is not None or dof is not None:
            raise ValueError(f"{key}: samples bring their own mean, standard error and dof; do not give both")
        values = np.asarray(samples, dtype=float)
        if values.ndim != 1 or len(values) < 2:
            raise ValueError(f"{key}: samples of shape {values.shape}; a claim needs a list of at least two")
        measured, count = float(values.mean()), len(values)
        standard_error, dof = float(values.std(ddof=1) / math.sqrt(count)), count - 1
    else:
        count = None
    for name, number in {"measured": measured, "standard_error": standard_error, "dof": dof}.items():
        if number is not None and not math.isfinite(number):
            raise ValueError(f"{key}: {name} = {number} is not finite")
    if standard_error is not None and standard_error <= 0:
        raise ValueError(
            f"{key}: a standard error of {standard_error}: the samples do not vary, so they are no samples"
        )
    if standard_error is not None and measured is None:
        raise ValueError(f"{key}: a standard error without a measurement")
    return None if measured is None else float(measured), standard_error, dof, count


def _available(name: str) -> bool:
    from deepdynamics import data

    return data.available(name)
