"""How a claim is shown: its numbers in words, and the card, the Markdown and the line of text that they make.

Everything is made from the JSON of a claim (``Claim.data()``), so that the page, the notebook and the ledger say the
same.
"""

from __future__ import annotations

import html as markup
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from deepdynamics.claims.measurement import THE_SOURCE
from deepdynamics.claims.numbers import percent, times, with_error
from deepdynamics.claims.rules import IN_WORDS, SIDES, VERDICTS, statement

Data = Mapping[str, Any]

_NAMES = {"=": "theory", "≥": "at least", "≤": "at most"}
_JAPANESE = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def expected(claim: Data) -> str:
    """What was expected, with its sign; for a side, on which side of the rival.

    >>> expected({"relation": "≥", "expected": 0.5}), expected({"relation": "above", "expected": None})
    ('≥ 0.5', 'above its rival')
    """
    if claim["relation"] in SIDES:
        return f"{claim['relation']} its rival"
    if claim["expected"] is None:
        return ""
    return number_of(claim["relation"], claim["expected"])


def source_says(claim: Data) -> str:
    """What the source says, where that is not ours, and how far from the measurement it lies.

    >>> found = {"measured": 0.5, "standard_error": 0.05, "tolerance": 0.0}
    >>> source_says({"source_says": "<= 0.1"} | found), source_says({"source_says": 0.25} | found)
    ('≤ 0.1, 8 standard errors away', '0.25, 5 standard errors away')
    """
    if claim["source_says"] is None:
        return ""
    relation, number = statement(claim["source_says"])
    value = number_of(relation, number)
    if claim["measured"] is None:
        return value
    return f"{value}, {_away(claim['measured'] - number, claim['standard_error'], claim['tolerance'])}"


def number_of(relation: str, number: float) -> str:
    """A number with the sign of its relation.

    >>> number_of("=", 0.25), number_of("≥", 2.0)
    ('0.25', '≥ 2')
    """
    return f"{'' if relation == '=' else relation + ' '}{number:.5g}"


def measured(claim: Data) -> str:
    """What was measured, with its standard error, and of how many samples.

    >>> measured({"measured": 1.234, "standard_error": 0.1, "count": 8, "of": "networks"})
    '1.23 ± 0.10 (8 networks)'
    """
    if claim["measured"] is None:
        return ""
    return with_error(claim["measured"], claim["standard_error"]) + _count(claim["count"], claim["of"])


def rival(claim: Data, *, name: bool = True) -> str:
    """The rival, and how far from the measurement it lies.

    >>> found = {"name": "chance", "value": 0.1, "standard_error": None, "count": None, "paired": False,
    ...          "relation": "=", "difference": 0.5, "difference_error": 0.05}
    >>> rival({"rival": found, "of": None, "tolerance": 0.0})
    'chance 0.1, 10 standard errors away'
    """
    other = claim["rival"]
    if other is None:
        return ""
    parts = [other["name"]] if name else []
    if other["value"] is not None:
        sign = "" if other["relation"] == "=" else f"{other['relation']} "
        value = sign + with_error(other["value"], other["standard_error"]) + _count(other["count"], claim["of"])
        far = _away(other["difference"], other["difference_error"], claim["tolerance"])
        parts.append(f"{value}, {far}{', paired' * other['paired']}")
    return " ".join(parts)


def difference(claim: Data) -> str:
    """For a side, the difference from the rival with its interval.

    >>> found = {"difference": 0.5, "half_width": 0.2}
    >>> difference({"relation": "above", "rival": found})
    '0.5 (0.3 to 0.7)'
    """
    other = claim["rival"]
    if claim["relation"] not in SIDES or other is None or other["difference"] is None:
        return ""
    middle, half = other["difference"], other["half_width"]
    return f"{middle:.3g} ({middle - half:.3g} to {middle + half:.3g})"


def resolution(claim: Data) -> str:
    """The resolution in percent.

    >>> resolution({"resolution": 0.123}), resolution({"resolution": None})
    ('12 %', '')
    """
    return "" if claim["resolution"] is None else percent(claim["resolution"])


def is_the_source(rival: Data | None) -> bool:
    """Whether the rival of a claim is the number of its source.

    >>> is_the_source({"name": "no effect", "value": 0.0}), is_the_source(None)
    (False, False)
    """
    return rival is not None and rival["name"] == THE_SOURCE and rival["value"] is not None


def rows(claim: Data) -> list[tuple[str, str]]:
    """What the card shows, as (name, value) pairs; nothing that is empty.

    >>> from deepdynamics.claims import claim
    >>> data = claim("demo.two", "about two", theory=2.0, measured=2.1, tolerance=0.2, rival=("one", 1.0)).data()
    >>> rows(data)
    [('theory', '2'), ('measured', '2.1'), ('rival, one', '1, 5.5 tolerances away'), ('resolution', '20 %')]
    """
    ours = expected(claim)
    pairs = [
        (_NAMES.get(claim["relation"], "expected"), ours if claim["relation"] in SIDES else ours.lstrip("≥≤ ")),
        ("the source says", "" if is_the_source(claim["rival"]) else source_says(claim)),
        ("measured", measured(claim)),
        _rival_row(claim),
        ("difference", difference(claim)),
        ("resolution", resolution(claim)),
        ("needs", claim["skipped"] or ""),
    ]
    return [(name, value) for name, value in pairs if value]


def text(claim: Data) -> str:
    """A claim in one line.

    >>> from deepdynamics.claims import claim
    >>> data = claim("demo.two", "about two", theory=2.0, measured=2.1, tolerance=0.2, rival=("one", 1.0)).data()
    >>> text(data)
    'holds: about two [theory 2; measured 2.1; rival, one 1, 5.5 tolerances away; resolution 20 %]'
    """
    return f"{claim['verdict']}: {claim['statement']} [{_numbers(claim)}]"


def failure(claim: Data) -> str:
    """What is said of a claim that fails.

    >>> from deepdynamics.claims import claim
    >>> data = claim("demo.two", "about two", theory=2.0, measured=2.1, tolerance=0.2, rival=("one", 1.0)).data()
    >>> failure(data).splitlines()[0]
    'demo.two: about two'
    """
    return f"{claim['key']}: {claim['statement']}\n  does not hold: {_numbers(claim)}"


def markdown(claim: Data) -> str:
    """The card where there is no HTML.

    >>> from deepdynamics.claims import claim
    >>> data = claim("demo.two", "about two", theory=2.0, measured=2.1, tolerance=0.2, rival=("one", 1.0)).data()
    >>> markdown(data)[:40]
    '> **Claim (holds).** about two: theory 2'
    """
    source = f"; {claim['source']}" if claim["source"] else ""
    quote = f"\n>\n> *{claim['quote']}*" if claim["quote"] else ""
    return f"> **Claim ({claim['verdict']}).** {claim['statement']}: {_numbers(claim)}{source}.{quote}"


def _numbers(claim: Data) -> str:
    return "; ".join(f"{name} {value}" for name, value in rows(claim))


def html(claim: Data, source: tuple[str, str] | None = None) -> str:
    """The card; ``source`` is the name and the address of the source, where they are known.

    >>> from deepdynamics.claims import claim
    >>> data = claim("demo.two", "about two", theory=2.0, measured=2.1, tolerance=0.2, rival=("one", 1.0)).data()
    >>> html(data)[:42]
    '<div class="claim claim-holds" id="claim-d'
    """
    verdict, anchor = markup.escape(claim["verdict"]), claim["anchor"]
    aliases = "".join(f'<span id="{alias}"></span>' for alias in claim["anchors"][1:])
    numbers = [f"<span>{markup.escape(name)} <b>{markup.escape(value)}</b></span>" for name, value in rows(claim)]
    numbers += [_source(claim["source"], source)] if claim["source"] else []
    return (
        f'<div class="claim claim-{_class(claim["verdict"])}" id="{anchor}" role="note" aria-label="Claim: {verdict}" '
        f'style="border-left:4px solid; padding:.3em .8em; margin:.5em 0">{aliases}'
        f'<div class="claim-statement"><span class="claim-verdict"><b>{verdict}</b></span> '
        f"{markup.escape(claim['statement'])} "
        f'<a class="claim-link" href="#{anchor}" aria-label="Link to this claim">#</a></div>'
        f'<div class="claim-numbers"><small>{" · ".join(numbers)}</small></div>{_quote(claim["quote"])}</div>'
    )


def verdicts(claims: Sequence[Data], mark: str = "") -> list[str]:
    """How many claims have each verdict, in words; ``mark`` stands on either side of each number.

    >>> verdicts([{"verdict": "holds"}, {"verdict": "undecided"}, {"verdict": "holds"}])
    ['2 hold', '1 is undecided']
    """
    counts = Counter(claim["verdict"] for claim in claims)
    return [f"{mark}{counts[v]}{mark} {IN_WORDS[v][counts[v] != 1]}" for v in VERDICTS if counts[v]]


def summary(claims: Sequence[Data]) -> str:
    """The claims of a chapter, or of the book, in a paragraph of Markdown.

    >>> from deepdynamics.claims import claim
    >>> data = claim("demo.two", "about two", theory=2.0, measured=2.1, tolerance=0.2, rival=("one", 1.0)).data()
    >>> summary([data])
    '**1 claim**: **1** holds. Each names its rival.'
    """
    named = sum(claim["rival"] is not None for claim in claims)
    unquoted = sum(claim["unquoted"] for claim in claims)
    sentences = [f"**{len(claims)} claim{'s' * (len(claims) != 1)}**: {', '.join(verdicts(claims, '**'))}."]
    if named == len(claims) > 0:
        sentences.append("Each names its rival.")
    elif claims:
        others = len(claims) - named
        verbs = f"name{'s' * (named == 1)}", f"do{'es' * (others == 1)}"
        sentences.append(f"Of these, {named} {verbs[0]} a rival and {others} {verbs[1]} not yet.")
    if unquoted:
        sentences.append(f"{unquoted} judge{'s' * (unquoted == 1)} a source without quoting it yet.")
    return " ".join(sentences)


def _rival_row(claim: Data) -> tuple[str, str]:
    other = claim["rival"]
    if is_the_source(other):
        return "the source says", rival(claim, name=False)
    if other is None or other["value"] is None:
        return "rival", rival(claim)
    return f"rival, {other['name']}", rival(claim, name=False)


def _count(count: int | None, of: str | None) -> str:
    return "" if count is None else f" ({count} {of or 'samples'})"


def _away(difference: float, error: float | None, tolerance: float) -> str:
    unit, number = "standard error" if error else "tolerance", times(abs(difference) / (error or tolerance))
    return f"{number} {unit}{'s' * (number != '1')} away"


def _class(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _source(source: str, known: tuple[str, str] | None) -> str:
    key, comma, place = source.partition(",")
    name = markup.escape(key)
    if known:
        name = f'<a href="{markup.escape(known[1])}">{markup.escape(known[0])}</a>'
    return f'<span class="claim-source">{name}{comma}{markup.escape(place)}</span>'


def _quote(quote: str | None) -> str:
    if not quote:
        return ""
    language = ' lang="ja"' if _JAPANESE.search(quote) else ""
    return f'<div class="claim-quote"><small>The source: <q{language}>{markup.escape(quote)}</q></small></div>'
