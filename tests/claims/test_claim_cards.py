"""What a claim shows: one set of words for the card, the notebook, the text and the ledger."""

import json
import re
from html.parser import HTMLParser

import pytest
from deepdynamics.claims import MIME, VERDICTS, card, claim, rules, with_error
from hypothesis import given
from hypothesis import strategies as st

ONE = [0.9, 1.1, 1.05, 0.95, 1.02, 0.97, 1.01, 1.0]
TWO = [value + 1 for value in reversed(ONE)]
KEYED = {"source": "saxe2014exact, eq. (11)"}
JAPANESE = "学習時間は層数に依らない"
CLAIM = claim(
    "t.card",
    "a < b & c",
    theory=1.0,
    samples=ONE,
    of="networks",
    rival=('the "untrained" network', TWO),
    quote=JAPANESE,
    aliases=["old.card"],
    **KEYED,
)


def through_json(made):
    return json.loads(json.dumps(made._repr_mimebundle_()[1][MIME], allow_nan=False))


def test_card_has_all_that_a_reader_needs():
    page = CLAIM._repr_html_()
    for part in (
        'id="claim-t-card"',
        '<span id="claim-old-card"></span>',
        "a &lt; b &amp; c",
        "<b>replicates</b>",
        "theory <b>1</b>",
        "measured <b>1.000 ± 0.022 (8 networks)</b>",
        "rival, the &quot;untrained&quot; network <b>2.000 ± 0.022 (8 networks), 33 standard errors away</b>",
        "resolution <b>17 %</b>",
        f'<q lang="ja">{JAPANESE}</q>',
        '<span class="claim-source">saxe2014exact, eq. (11)</span>',
    ):
        assert part in page, part


def test_card_is_sound_html():
    class Parser(HTMLParser):
        open, ids = (), ()

        def handle_starttag(self, tag, attributes):
            self.open += (tag,)
            self.ids += tuple(value for name, value in attributes if name == "id")

        def handle_endtag(self, tag):
            assert self.open[-1] == tag
            self.open = self.open[:-1]

    parser = Parser()
    parser.feed(CLAIM._repr_html_())
    assert parser.open == () and parser.ids == ("claim-t-card", "claim-old-card")


def test_card_is_made_again_from_the_data_alone():
    data = through_json(CLAIM)
    assert card.html(data) == CLAIM._repr_html_() and card.text(data) == repr(CLAIM)
    linked = card.html(data, source=("Saxe & others, 2014", 'x.html#"a"'))
    assert '<a href="x.html#&quot;a&quot;">Saxe &amp; others, 2014</a>, eq. (11)' in linked


def test_every_form_says_the_same():
    shown, _ = CLAIM._repr_mimebundle_()
    for name, value in card.rows(CLAIM.data()):
        assert name in shown["text/plain"] and value in shown["text/plain"]
        assert name in shown["text/markdown"] and value in shown["text/markdown"]
    assert JAPANESE in shown["text/markdown"]


def test_english_quote_has_no_language_of_its_own():
    assert "<q>the words</q>" in claim("t.q", "s", theory=1.0, samples=ONE, quote="the words", **KEYED)._repr_html_()


def rows(**arguments):
    return dict(card.rows(through_json(claim("t.r", "s", **arguments))))


def test_bounds_and_sides_in_words():
    assert rows(at_least=0.5, samples=ONE, rival=("none", 0.0))["at least"] == "0.5"
    side = rows(side="above", samples=TWO, rival=("the control", ONE))
    assert side["expected"] == "above its rival" and re.fullmatch(r"1 \(0\.\d+ to 1\.\d+\)", side["difference"])


def test_rival_of_a_number_that_has_no_error_lies_in_tolerances():
    assert rows(theory=1.0, measured=1.0, tolerance=0.1, rival=("none", 0.0))["rival, none"] == "0, 10 tolerances away"


def test_paired_rival_says_so():
    pairs = rows(side="above", samples=TWO, rival=("before", [x * 0.9 for x in ONE]), paired=True)
    assert pairs["rival, before"].endswith(" standard errors away, paired")


def test_number_of_the_source_is_told_once():
    found = rows(theory=1.0, samples=ONE, source_says=2.0, **KEYED)
    assert found["the source says"] == "2, 46 standard errors away" and not any("rival" in name for name in found)
    bound = rows(at_least=0.5, samples=ONE, source_says="<= 0.1", **KEYED)
    assert bound["the source says"].startswith("≤ 0.1, ")
    both = rows(theory=1.0, samples=ONE, source_says=2.0, rival=("none", 0.0), **KEYED)
    assert both["the source says"] == "2, 46 standard errors away" and both["rival, none"].startswith("0, ")


def test_source_on_trial_says_how_far_it_lies():
    assert rows(samples=ONE, source_says=">= 2", **KEYED)["the source says"] == "≥ 2, 46 standard errors away"


def test_claim_without_a_rival_shows_none():
    assert list(rows(theory=1.0, samples=ONE)) == ["theory", "measured", "resolution"]


def test_summary():
    legacy = claim("t.l", "s", theory=1.0, samples=ONE, source_says=2.0, **KEYED)
    plain = claim("t.p", "s", theory=1.0, samples=ONE)
    assert card.summary([CLAIM.data()]) == "**1 claim**: **1** replicates its source. Each names its rival."
    assert card.summary([c.data() for c in (CLAIM, legacy, plain, plain)]) == (
        "**4 claims**: **2** hold, **1** replicates its source, **1** corrects a source. "
        "Of these, 2 name a rival and 2 do not yet. 1 judges a source without quoting it yet."
    )
    assert "Of these, 0 name a rival and 2 do not yet." in card.summary([plain.data()] * 2)
    assert "Of these, 1 names a rival and 1 does not yet." in card.summary([CLAIM.data(), plain.data()])
    assert card.summary([]).startswith("**0 claims**")


def test_every_verdict_has_words_for_one_claim_and_for_several():
    assert set(VERDICTS) == set(rules.IN_WORDS) and all(len(words) == 2 for words in rules.IN_WORDS.values())


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e3))
def test_numbers_are_shown_to_the_second_digit_of_their_error(value, error):
    shown, shown_error = map(float, with_error(value, error).split(" ± "))
    assert shown_error == pytest.approx(error, rel=0.051)
    assert shown == pytest.approx(value, abs=0.06 * error)
