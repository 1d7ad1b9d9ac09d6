"""The rules of a duel: what may be claimed, and which verdict follows.

Everything here is about the arguments of :func:`deepdynamics.claims.claim` and about the answers to three questions:
does our expectation stand, is the rival rejected, is the source rejected. The numbers are those of ``measurement``.
"""

from __future__ import annotations

import math
import re
from typing import Any

from deepdynamics.claims.measurement import ROUNDING, THE_SOURCE, Rival, finite, stands

SIDES = ("above", "below")
LARGEST = 0.25 * (1 + 1e-9)  # of the distance between expectation and rival: what a tolerance may be
QUOTE = 200  # characters of a quotation
IN_WORDS = {  # every verdict, in the order in which they are told: of one claim, of several
    "holds": ("holds", "hold"),
    "replicates": ("replicates its source", "replicate their source"),
    "corrected": ("corrects a source", "correct a source"),
    "refuted": ("refutes a source", "refute a source"),
    "supported": ("supports a hypothesis", "support a hypothesis"),
    "not supported": ("does not support its hypothesis", "do not support their hypothesis"),
    "undecided": ("is undecided", "are undecided"),
    "skipped": ("was skipped for want of data", "were skipped for want of data"),
}
VERDICTS = tuple(IN_WORDS)

_KEY = re.compile(r"[\w-]+(\.[\w-]+)+")


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


# Verdicts -------------------------------------------------------------------------------------------------------------


def ours(stand: bool | None, rejected: bool | None, relation: str, source_rejected: bool | None, quoted: bool) -> str:
    """The verdict on an expectation of ours.

    ``stand``: whether it agrees, None where the interval reaches over; ``rejected``: the rival, None where none is
    named; ``source_rejected``: None where the source says nothing else.

    >>> ours(True, True, "=", None, quoted=False), ours(True, False, "=", None, quoted=True)
    ('holds', 'undecided')
    """
    if stand is False or (stand is None and relation not in SIDES):
        return "fails"
    if stand is None or rejected is False or source_rejected is False:
        return "undecided"
    if source_rejected:
        return "corrected"
    return "replicates" if quoted else "holds"


def on_a_source(stand: bool | None, rejected: bool | None) -> str:
    """The verdict on what a source says, where that alone is on trial.

    >>> on_a_source(False, None), on_a_source(True, True), on_a_source(True, None)
    ('refuted', 'replicates', 'undecided')
    """
    if stand is False:
        return "refuted"
    return "replicates" if stand and rejected else "undecided"


def on_a_hypothesis(stand: bool | None, rejected: bool | None) -> str:
    """The verdict on a statement that a source hedges, or that we sharpened.

    >>> on_a_hypothesis(False, None), on_a_hypothesis(True, True), on_a_hypothesis(None, True)
    ('not supported', 'supported', 'undecided')
    """
    if stand is False:
        return "not supported"
    return "supported" if stand and rejected else "undecided"


# Arguments ------------------------------------------------------------------------------------------------------------


def check_words(
    key: str,
    statement: str,
    of: str | None,
    source: str | None,
    quote: str | None,
    source_says: float | str | None,
    aliases: Any,
) -> None:
    """Raise ``ValueError`` for names and texts that are none.

    >>> check_words("lonely", "no chapter", None, None, None, None, ())
    Traceback (most recent call last):
    ValueError: key = 'lonely': a claim is named 'chapter.subject'
    """
    if not isinstance(aliases, str | list | tuple):
        raise ValueError(f"aliases = {aliases!r}: a list of other keys is needed, ['chapter.subject']")
    for name in (key, *([aliases] if isinstance(aliases, str) else aliases)):
        if not isinstance(name, str) or not _KEY.fullmatch(name):
            raise ValueError(f"key = {name!r}: a claim is named 'chapter.subject'")
    if isinstance(aliases, str) or len({name.replace(".", "-") for name in (key, *aliases)}) != 1 + len(aliases):
        raise ValueError(f"aliases = {aliases!r}: a list of other keys is needed, ['chapter.subject']")
    if not _words(statement) or not (of is None or _words(of)):
        raise ValueError(f"statement = {statement!r}, of = {of!r}: words are needed")
    if source is None and (source_says is not None or quote is not None):
        raise ValueError(f"{'source_says' if quote is None else 'quote'} without a source")
    if source is not None:
        source_key(source)
    if quote is not None and (not _words(quote) or len(quote) > QUOTE or quote.splitlines() != [quote.strip()]):
        raise ValueError(f"quote = {quote!r}: the source's own words, on one line of at most {QUOTE} characters")


def check_switches(paired: Any, hypothesis: Any, requires: Any) -> None:
    """Raise ``ValueError`` for a switch that is neither on nor off, and for a data set that is no name.

    >>> check_switches(False, "no", None)
    Traceback (most recent call last):
    ValueError: hypothesis = 'no': True or False is needed
    """
    for name, value in (("paired", paired), ("hypothesis", hypothesis)):
        if not isinstance(value, bool):
            raise ValueError(f"{name} = {value!r}: True or False is needed")
    if requires is not None and not isinstance(requires, str):
        raise ValueError(f"requires = {requires!r}: the name of a data set is needed")


def _words(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip())


def expectation(
    theory: float | None, at_least: float | None, at_most: float | None, side: str | None, source_says: Any
) -> tuple[str, float | None]:
    """What is expected, as (relation, number): the number is None for a side, and where a source is alone on trial.

    >>> expectation(None, 0.5, None, None, None), expectation(None, None, None, "above", None)
    (('≥', 0.5), ('above', None))
    """
    given = {"theory": theory, "at_least": at_least, "at_most": at_most, "side": side}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"give one of theory, at_least, at_most and side, not several ({', '.join(given)})")
    if source_says is not None:
        theirs, _ = statement(source_says)
        if not given:
            return theirs, None
    if not given:
        raise ValueError("one of theory, at_least, at_most, side or source_says is needed")
    ((name, value),) = given.items()
    if name == "side":
        if side not in SIDES:
            raise ValueError(f"side = {side!r}: 'above' or 'below' (the rival) is allowed")
        return side, None
    return {"theory": "=", "at_least": "≥", "at_most": "≤"}[name], finite(name, value)


def statement(source_says: float | str | None) -> tuple[str, float]:
    """A source's statement as (relation, number).

    >>> statement(3), statement(">= 3"), statement("<= 3")
    (('=', 3.0), ('≥', 3.0), ('≤', 3.0))
    """
    if not isinstance(source_says, str):
        return "=", finite("source_says", source_says)
    match = re.fullmatch(r"([<>])= *(\S+)", source_says)
    try:
        return {">": "≥", "<": "≤"}[match[1]], finite("source_says", float(match[2]))  # type: ignore[index]
    except (TypeError, ValueError):
        raise ValueError(f"source_says = {source_says!r}: a number, or a bound such as '>= 1' or '<= 1'") from None


def check_rival(relation: str, rival: Any, paired: bool, source_says: float | str | None) -> None:
    """Raise ``ValueError`` for a rival without a name or a value, and for a side or pairs without a rival.

    >>> check_rival("=", None, True, None)
    Traceback (most recent call last):
    ValueError: paired without a rival
    """
    if rival is None:
        if relation in SIDES and source_says is None:
            raise ValueError(f"side = {relation!r} of what? A rival is needed, rival=('its name', value or samples)")
        if paired:
            raise ValueError("paired without a rival")
        return
    if not isinstance(rival, tuple) or len(rival) != 2 or not _words(rival[0]) or rival[1] is None:
        raise ValueError(f"rival = {rival!r}: its name and its value or samples are needed, ('its name', value)")
    if rival[0].strip() == THE_SOURCE:
        raise ValueError(f"rival = {rival!r}: what the source says is source_says, and the rival if no other is named")


def check_hypothesis(hypothesis: bool, relation: str, expected: float | None, source_says: float | str | None) -> None:
    """Raise ``ValueError`` where a hypothesis would correct a source.

    >>> check_hypothesis(True, "=", None, 2.0)
    """
    if hypothesis and source_says is not None and (expected is not None or relation in SIDES):
        raise ValueError("a hypothesis is not held against another number of its source: give source_says alone")


def default_rival(relation: str, expected: float | None, source_says: float | str | None) -> str | None:
    """The name of the rival where none was given: the source's number, if the source says something else than we do.

    >>> default_rival("=", 1.0, 2.0), default_rival("=", None, 2.0)
    ("the source's number", None)
    """
    ours_too = expected is not None or relation in SIDES
    return THE_SOURCE if source_says is not None and ours_too else None


def check_duel(
    relation: str,
    expected: float | None,
    rival: Rival | None,
    tolerance: float,
    scale: float | None,
    source_says: float | str | None,
) -> None:
    """Raise ``ValueError`` where expectation, rival and source do not exclude each other, or the tolerance swallows
    what divides them.

    >>> check_duel("=", 1.0, Rival("as much", 1.0), 0.0, None, None)
    Traceback (most recent call last):
    ValueError: the rival 'as much' is what is expected, 1: it is no rival
    """
    if rival is None:
        if expected == 0 and relation == "=" and scale is None:
            raise ValueError("theory is 0: name a rival, or give scale, the size to which the resolution is relative")
        return
    assert rival.value is not None
    alone = expected is None and relation not in SIDES
    if source_says is not None and not alone:
        _check_source(relation, rival.value if expected is None else expected, source_says)
    if relation in SIDES:
        return
    value = statement(source_says)[1] if expected is None else expected
    sampled = rival.count is not None
    if relation == "=" and math.isclose(rival.value, value, rel_tol=ROUNDING) and not sampled:
        raise ValueError(f"the rival {rival.name!r} is what is expected, {value:g}: it is no rival")
    if relation != "=" and not _on_the_wrong_side(relation, value, rival):
        if sampled:
            return  # undecided
        raise ValueError(
            f"the rival {rival.name!r}, {rival.value:g}, meets the bound {relation} {value:g}: it is no rival "
            f"(where only a direction is claimed, side='above' or 'below' needs no bound)"
        )
    distance = abs(value - rival.value)
    if tolerance > LARGEST * distance:
        raise ValueError(
            f"tolerance = {tolerance:g}: at most a quarter of the distance from the rival {rival.name!r} is allowed, "
            f"{distance / 4:.4g}"
        )


def _on_the_wrong_side(relation: str, bound: float, rival: Rival) -> bool:
    """Whether the rival contradicts the bound; a source's own bound may touch it."""
    assert rival.value is not None
    difference = rival.value - bound
    if rival.relation == "=":
        return stands(relation, difference, 0.0) is not True
    return rival.relation != relation and (difference <= 0 if relation == "≥" else difference >= 0)


def _check_source(relation: str, value: float, source_says: float | str) -> None:
    """Raise ``ValueError`` where the source could not be wrong while we are right."""
    theirs, number = statement(source_says)
    if relation == "=":
        implied = stands(theirs, value - number, 0.0) is True
    else:
        upwards = relation in ("≥", "above")
        implied = theirs == ("≥" if upwards else "≤") and (value >= number if upwards else value <= number)
    if implied:
        raise ValueError(
            f"source_says = {source_says!r} is right wherever we are: leave it out, and quote the source; or leave out "
            f"what we expect, and put the source on trial alone"
        )
