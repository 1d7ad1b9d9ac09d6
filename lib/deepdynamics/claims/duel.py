"""A claim: an expectation, its rival, what was measured, and the verdict that follows from the three."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from deepdynamics.claims import card, rules
from deepdynamics.claims.measurement import Estimate, Numbers, Rival, against, finite, measurement, stands

MIME = "application/vnd.deepdynamics.claim+json"


class ClaimError(AssertionError):
    """A claim of the book does not hold, or a check does not.

    >>> try:
    ...     claim("demo.two", "one is two", theory=2.0, measured=1.0, tolerance=0.1, rival=("nothing", 0.0))
    ... except ClaimError as error:
    ...     print(str(error).splitlines()[0])
    demo.two: one is two
    """


@dataclass(frozen=True)
class Claim:
    """One checked statement. Made by :func:`claim`; every field that is not an input of it is computed.

    >>> claim("demo.pi", "22/7 is near pi", theory=3.14159, measured=22 / 7, tolerance=0.01, rival=("three", 3.0))
    holds: 22/7 is near pi [theory 3.1416; measured 3.143; rival, three 3, 14 tolerances away; resolution 7.1 %]
    """

    key: str
    statement: str
    relation: str
    expected: float | None = None
    measured: float | None = None
    standard_error: float | None = None
    dof: float | None = None
    count: int | None = None
    of: str | None = None
    tolerance: float = 0.0
    scale: float | None = None
    rival: Rival | None = None
    source: str | None = None
    quote: str | None = None
    source_says: float | str | None = None
    hypothesis: bool = False
    aliases: tuple[str, ...] = ()
    skipped: str | None = None

    _COMPUTED: ClassVar = ("verdict", "resolution", "margin", "anchor", "anchors", "counts", "unquoted", "exact")

    @property
    def margin(self) -> float:
        """Half width of the interval of what was measured: tolerance + t * standard error.

        >>> round(claim("demo.a", "a normal quantile", theory=1.0, measured=1.0, standard_error=0.1).margin, 3)
        0.389
        """
        return self._estimate.half_width(self.tolerance)

    @property
    def holds(self) -> bool:
        """Whether the measurement agrees with what is expected and its rival is rejected; True where it was skipped.

        >>> samples, rival = [0.9, 1.1, 1.05, 0.95], ("three times as much", 3.0)
        >>> claim("demo.b", "the mean is one", theory=1.0, samples=samples, rival=rival).holds
        True
        """
        if self.skipped:
            return True
        return self._stands is True and (self.rival is None or self._rejects)

    @property
    def verdict(self) -> str:
        """One of ``VERDICTS``; ``fails`` never leaves :func:`claim`, which raises instead.

        >>> found = dict(measured=0.5, tolerance=0.1, source="saxe2014exact, eq. (1)", quote="It is one.")
        >>> [claim("demo.c", "a half", **found, **says).verdict for says in (dict(source_says=1.0), dict(at_most=0.7))]
        ['refuted', 'replicates']
        """
        if self.skipped:
            return "skipped"
        named = None if self.rival is None else self._rejects
        if self.hypothesis:
            return rules.on_a_hypothesis(self._stands, named)
        if self._alone:
            return rules.on_a_source(self._stands, named)
        theirs = None if self.source_says is None else self._source_rejected
        return rules.ours(self._stands, named, self.relation, theirs, self.quote is not None)

    @property
    def resolution(self) -> float | None:
        """Half width of the interval, over the distance between the two that fight: below 1/2, a claim that holds
        rejects its rival. That distance is |expected - rival|, or for a bound and a side |measured - rival|.

        Without a rival it is relative to ``scale``, or to the size of what is expected. None where it was skipped.

        >>> claim("demo.d", "two", theory=2.0, measured=2.1, tolerance=0.25, rival=("one", 1.0)).resolution
        0.25
        """
        if self.skipped or self.measured is None:
            return None
        if self.rival is None:
            size = self.scale or abs(self._target[1]) or abs(self.measured)
            return self.margin / size if size else None
        half = self.rival.half_width or 0.0
        if self._target[0] == "=":
            half, distance = max(half, self.margin), abs(self._target[1] - (self.rival.value or 0.0))
        else:
            distance = abs(self.rival.difference or 0.0)
        return half / distance if distance else None

    @property
    def anchor(self) -> str:
        """Where a reader can link to.

        >>> claim("demo.two", "two", theory=2.0, measured=2.1, tolerance=0.3).anchor
        'claim-demo-two'
        """
        return self.anchors[0]

    @property
    def anchors(self) -> tuple[str, ...]:
        """Its anchor, and those that it had under its aliases.

        >>> claim("new.two", "two", theory=2.0, measured=2.1, tolerance=0.3, aliases=["old.two"]).anchors
        ('claim-new-two', 'claim-old-two')
        """
        return tuple("claim-" + key.replace(".", "-") for key in (self.key, *self.aliases))

    @property
    def counts(self) -> bool:
        """Whether it is one of the claims that a chapter needs: all but the undecided ones.

        >>> samples = [0.9, 1.1, 1.05, 0.95]
        >>> claim("demo.f", "the mean is one", theory=1.0, samples=samples, rival=("a little more", 1.1)).counts
        False
        """
        return self.verdict != "undecided"

    @property
    def unquoted(self) -> bool:
        """Whether it judges a source whose words it does not quote yet.

        >>> found = dict(measured=0.5, tolerance=0.1, source="saxe2014exact, eq. (1)")
        >>> claim("demo.g", "a half", **found, source_says=1.0).unquoted
        True
        """
        return self.source_says is not None and self.quote is None and not self.hypothesis

    @property
    def exact(self) -> bool:
        """Whether it agrees to rounding, without an error to speak of: an identity, which is a :func:`check`.

        >>> found = [claim("demo.e", "two", theory=2.0, measured=two, tolerance=0.1, rival=("none", 0.0))
        ...          for two in (2**0.5 * 2**0.5, 1.95)]
        >>> [claim.exact for claim in found]
        [True, False]
        """
        if self.rival is None or self.relation in rules.SIDES or self.measured is None:
            return False
        value = self._target[1]
        least = 1e-6 * abs(value - (self.rival.value or 0.0))
        return abs(self.measured - value) <= least and (self.standard_error or 0.0) <= least

    def data(self) -> dict[str, Any]:
        """All of it as JSON-able numbers, for the page and the ledger.

        >>> data = claim("demo.two", "two", theory=2.0, measured=2.1, tolerance=0.2, rival=("one", 1.0)).data()
        >>> data["key"], data["verdict"], data["expected"], data["rival"]["name"], data["rival"]["rejected"]
        ('demo.two', 'holds', 2.0, 'one', True)
        """
        data = asdict(self) | {name: getattr(self, name) for name in self._COMPUTED}
        if self.rival is not None:
            data["rival"] |= {"rejected": self.rival.rejected}
        return data

    def __repr__(self) -> str:
        return card.text(self.data())

    def _repr_html_(self) -> str:
        return card.html(self.data())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        data = self.data()
        shown = {"text/html": card.html(data), "text/markdown": card.markdown(data), "text/plain": card.text(data)}
        return shown, {MIME: data}

    @property
    def _estimate(self) -> Estimate:
        return Estimate(self.measured or 0.0, self.standard_error, self.dof, self.count)

    @property
    def _alone(self) -> bool:
        """Whether a source is on trial by itself."""
        return self.expected is None and self.relation not in rules.SIDES

    @property
    def _target(self) -> tuple[str, float]:
        """What the measurement is held against: our expectation, the source's where it is alone, or the rival."""
        if self.relation in rules.SIDES:
            assert self.rival is not None
            return self.relation, self.rival.value or 0.0
        return (self.relation, self.expected) if self.expected is not None else rules.statement(self.source_says)

    @property
    def _stands(self) -> bool | None:
        assert self.measured is not None
        relation, value = self._target
        if relation in rules.SIDES and self.rival is not None:
            return stands(relation, self.rival.difference or 0.0, self.rival.half_width or 0.0)
        return stands(relation, self.measured - value, self.margin)

    @property
    def _rejects(self) -> bool:
        """Whether the rival is one, and is rejected."""
        rival = self.rival
        assert rival is not None and rival.difference is not None and rival.value is not None
        relation, value = self._target
        if relation in rules.SIDES:
            return rival.rejected and self.tolerance <= rules.LARGEST * abs(rival.difference)
        meets_the_bound = relation != "=" and rival.relation == "=" and stands(relation, rival.value - value, 0.0)
        return rival.rejected and not meets_the_bound

    @property
    def _source_rejected(self) -> bool:
        assert self.measured is not None
        relation, value = rules.statement(self.source_says)
        return stands(relation, self.measured - value, self.margin) is False


def claim(
    key: str,
    statement: str,
    *,
    theory: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    side: str | None = None,
    measured: float | None = None,
    samples: Numbers | None = None,
    standard_error: float | None = None,
    dof: float | None = None,
    of: str | None = None,
    tolerance: float = 0.0,
    scale: float | None = None,
    rival: tuple[str, float | Numbers] | None = None,
    paired: bool = False,
    source: str | None = None,
    quote: str | None = None,
    source_says: float | str | None = None,
    hypothesis: bool = False,
    requires: str | None = None,
    aliases: tuple[str, ...] | list[str] = (),
) -> Claim:
    """Check a statement against its rival and return the claim, which shows itself as a card.

    What is expected: one of ``theory``, ``at_least``, ``at_most``, or ``side="above"`` (``"below"``), on which side of
    the rival the measurement lies; or ``source_says`` alone, which puts a source on trial. What was found: ``samples``,
    one number an independent repetition (``of`` says what one is: "networks", "images"), or ``measured`` with
    ``standard_error`` and ``dof``, or with an argued ``tolerance`` alone.

    ``rival`` is the name and the value, or the samples, of what the measurement would have been if the sentence were
    wrong: measured in a control, or computed from a formula or a source. ``paired``: both lists are of the same units
    in the same order. A claim whose rival is not rejected is undecided.

    ``source`` is a key of the bibliography, or a key, a comma and a place (:func:`source_key`); ``quote`` its own
    words; ``source_says`` its number where it is not ours, or a bound such as ``">= 1"``, and then the rival as well,
    unless another is named. ``hypothesis=True`` marks a statement that the source hedges or that we sharpened.
    ``scale`` is what the resolution is relative to where there is no rival. ``requires`` names a data set: where only
    its stand-in is there, the claim is skipped. ``aliases`` are keys that it had before.

    Raises :class:`ClaimError` when our own expectation fails, and ``ValueError`` when it is not a proper claim: no or
    contradicting expectations, nothing measured, fewer than two samples, no variation, anything that is not finite, a
    rival that is none, a tolerance of more than a quarter of what divides the two.

    >>> claim("demo.mean", "the mean is one", theory=1.0, samples=[0.9, 1.1, 1.05, 0.95], rival=("six", 6.0)).verdict
    'holds'
    """
    try:
        rules.check_words(key, statement, of, source, quote, source_says, aliases)
        rules.check_switches(paired, hypothesis, requires)
        if source_says is not None and not isinstance(source_says, str):
            source_says = finite("source_says", source_says)
        relation, expected = rules.expectation(theory, at_least, at_most, side, source_says)
        rules.check_rival(relation, rival, paired, source_says)
        rules.check_hypothesis(hypothesis, relation, expected, source_says)
        tolerance = finite("tolerance", tolerance)
        scale = None if scale is None else finite("scale", scale)
        if tolerance < 0 or (scale is not None and scale <= 0):
            raise ValueError(f"tolerance = {tolerance}, scale = {scale}: no negative number, and no scale of 0")
        fixed: dict[str, Any] = {"of": of, "tolerance": tolerance, "scale": scale, "source": source, "quote": quote}
        fixed |= {"source_says": source_says, "hypothesis": hypothesis, "aliases": tuple(aliases)}
        default = None if rival else rules.default_rival(relation, expected, source_says)
        if requires is not None and not _available(requires):
            name = rival[0] if rival else default
            absent = None if name is None else Rival(name, paired=paired)
            return Claim(key, statement, relation, expected, rival=absent, skipped=requires, **fixed)
        found = measurement(measured, samples, standard_error, dof, tolerance)
        other = _rival(rival, found, samples, tolerance, paired, default, source_says)
        if other is not None and relation == "=":  # the mean, too, has to tell the rival from what is expected
            other = replace(other, half_width=max(other.half_width or 0.0, found.half_width(tolerance)))
        for interval in [found.half_width(tolerance)] + ([other.difference, other.half_width] if other else []):
            finite("the interval", interval)
        rules.check_duel(relation, expected, other, tolerance, scale, source_says)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    numbers = (found.value, found.standard_error, found.dof, found.count)
    result = Claim(key, statement, relation, expected, *numbers, rival=other, **fixed)
    if result.verdict == "fails":
        raise ClaimError(f"{card.failure(result.data())}; allowed ± {result.margin:.3g}")
    return result


def _rival(
    rival: tuple[str, float | Numbers] | None,
    found: Estimate,
    samples: Numbers | None,
    tolerance: float,
    paired: bool,
    default: str | None,
    source_says: float | str | None,
) -> Rival | None:
    """The rival that was named, or else the source's number."""
    if rival is not None:
        return against(rival[0], rival[1], found, samples, tolerance, paired)
    if default is None:
        return None
    relation, number = rules.statement(source_says)
    return replace(against(default, number, found, None, tolerance, False), relation=relation)


def _available(name: str) -> bool:
    from deepdynamics import data

    return data.available(name)
