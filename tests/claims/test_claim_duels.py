"""A claim is a duel: what holds, which rival is rejected, and every verdict."""

import math

import numpy as np
import pytest
from deepdynamics import claims
from deepdynamics.claims import VERDICTS, ClaimError, claim
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

ONE = [0.9, 1.1, 1.05, 0.95, 1.02, 0.97, 1.01, 1.0]  # mean 1, within 0.17
TWO = [value + 1 for value in reversed(ONE)]
NEAR = [value + 0.1 for value in reversed(ONE)]
SOURCE = {"source": "saxe2014exact, eq. (11)"}
QUOTED = SOURCE | {"quote": "the learning time stays finite"}
NONE = ("no effect", 0.0)


def made(**arguments):
    return claim("t.a", "a statement", **arguments)


def fails(**arguments):
    try:
        made(**arguments)
    except ClaimError:
        return True
    return False


def test_samples_give_mean_standard_error_and_a_student_interval():
    result = made(theory=1.0, samples=ONE, rival=NONE)
    se = np.std(ONE, ddof=1) / math.sqrt(8)
    assert result.measured == pytest.approx(np.mean(ONE))
    assert result.standard_error == pytest.approx(se)
    assert result.dof == 7 and result.count == 8
    assert result.margin == pytest.approx(stats.t.ppf(1 - 0.5e-4, 7) * se)
    assert result.holds and result.verdict == "holds"


def test_quantiles_of_the_design():
    """100 for three samples, 15.5 for five, 7.9 for eight, 4.9 for twenty (BOOK, 'Claims')."""
    for n, quantile in ((3, 100.0), (5, 15.5), (8, 7.9), (20, 4.9)):
        values = np.arange(n) - (n - 1) / 2
        result = made(theory=0.0, rival=("a size", 1.0), samples=values)
        assert result.margin / result.standard_error == pytest.approx(quantile, rel=0.01)


def test_measured_with_standard_error_uses_the_normal_quantile_unless_dof_is_given():
    normal = made(theory=1.0, measured=1.0, standard_error=0.1, rival=NONE)
    student = made(theory=1.0, measured=1.0, standard_error=0.1, dof=7, rival=NONE)
    assert normal.margin == pytest.approx(0.1 * stats.norm.ppf(1 - 0.5e-4))
    assert student.margin == pytest.approx(0.1 * stats.t.ppf(1 - 0.5e-4, 7))


# Theory ---------------------------------------------------------------------------------------------------------------


def test_theory_holds_where_it_agrees_and_its_rival_is_rejected():
    assert made(theory=1.0, samples=ONE, rival=("two", 2.0)).verdict == "holds"
    undecided = made(theory=1.0, samples=ONE, rival=("a little more", 1.05))
    assert undecided.verdict == "undecided" and not undecided.holds and not undecided.counts


def test_theory_that_disagrees_raises_with_its_numbers():
    with pytest.raises(ClaimError, match=r"(?s)t\.a: a statement.*theory 2.*measured 1.*no effect 0.*allowed"):
        made(theory=2.0, samples=ONE, rival=NONE)


def test_rival_of_samples_brings_its_own_error():
    blurred = [1.5 + 5 * (value - 1) for value in reversed(ONE)]
    assert made(theory=1.0, samples=ONE, rival=("a value", 1.5)).verdict == "holds"
    assert made(theory=1.0, samples=ONE, rival=("samples", blurred)).verdict == "undecided"
    assert made(theory=1.0, samples=ONE, rival=("samples", TWO)).verdict == "holds"


def test_pairs_tell_apart_what_two_lists_do_not():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=12)
    ours, theirs = 1 + shared, shared + 0.05 * rng.normal(size=12)
    lists = {"side": "above", "samples": ours, "rival": ("the control", theirs)}
    assert made(**lists).verdict == "undecided"
    assert made(**lists, paired=True).verdict == "holds"


def test_pairs_do_not_tell_a_rival_from_a_theory_that_the_mean_cannot():
    rival = [x + 0.001 + 1e-5 * (-1) ** i for i, x in enumerate(ONE)]
    assert made(theory=1.1, samples=ONE, rival=("the control", rival), paired=True).verdict == "undecided"
    assert made(side="below", samples=ONE, rival=("the control", rival), paired=True).verdict == "holds"
    assert made(theory=1.0, samples=ONE, rival=("the control", [x + 1 for x in rival]), paired=True).verdict == "holds"


def test_agreement_to_rounding_is_exact_for_a_number_and_for_a_bound():
    assert made(at_most=1e-12, measured=1e-15, tolerance=1e-13, rival=("another formula", 0.3)).exact
    assert made(source_says=2.0, measured=2**0.5 * 2**0.5, tolerance=0.1, rival=NONE, **QUOTED).exact
    assert not made(at_most=1.5, measured=1.0, tolerance=0.1, rival=("two", 2.0)).exact


def test_tolerance_widens_the_interval_of_the_rival_too():
    assert made(theory=1.0, measured=1.2, tolerance=0.25, rival=NONE).verdict == "holds"
    assert made(theory=1.0, samples=ONE, tolerance=0.2, rival=("near", 1.9)).rival.half_width > 0.2


# Bounds and sides -----------------------------------------------------------------------------------------------------


def test_bounds_need_the_whole_interval_on_their_side():
    assert made(at_least=0.7, samples=ONE, rival=NONE).verdict == "holds"
    assert made(at_most=1.3, samples=ONE, rival=("two", 2.0)).verdict == "holds"
    assert fails(at_least=0.99, samples=ONE, rival=NONE)  # the mean is above it, the interval is not
    assert fails(at_least=1.5, samples=ONE, rival=NONE)


def test_bound_whose_sampled_rival_meets_it_is_undecided():
    assert made(at_least=0.5, samples=TWO, rival=("the control", ONE)).verdict == "undecided"
    assert made(at_least=1.5, samples=TWO, rival=("the control", ONE)).verdict == "holds"


def test_bound_whose_sampled_rival_is_too_blurred_is_undecided():
    blurred = [0.5 + 5 * (value - 1) for value in reversed(ONE)]
    assert made(at_least=0.7, samples=ONE, rival=("the control", blurred)).verdict == "undecided"


def test_sides():
    assert made(side="above", samples=ONE, rival=NONE).verdict == "holds"
    assert made(side="below", samples=ONE, rival=("the control", TWO)).verdict == "holds"
    assert made(side="above", samples=NEAR, rival=("the control", ONE)).verdict == "undecided"
    assert fails(side="below", samples=ONE, rival=NONE)
    assert fails(side="above", samples=ONE, rival=("the control", TWO))


def test_side_whose_tolerance_is_more_than_a_quarter_of_the_difference_is_undecided():
    assert made(side="above", measured=1.0, tolerance=0.25, rival=NONE).verdict == "holds"
    assert made(side="above", measured=1.0, tolerance=0.3, rival=NONE).verdict == "undecided"
    assert fails(side="below", measured=1.0, tolerance=0.3, rival=NONE)


# Sources and hypotheses -----------------------------------------------------------------------------------------------

VERDICT_OF = [
    ("replicates", dict(theory=1.0, rival=NONE, **QUOTED)),
    ("replicates", dict(at_least=0.5, rival=NONE, **QUOTED)),
    ("replicates", dict(side="above", rival=NONE, **QUOTED)),
    ("undecided", dict(theory=1.0, rival=("near", 1.1), **QUOTED)),
    ("holds", dict(theory=1.0, rival=NONE, **SOURCE)),  # cited, and not judged
    ("corrected", dict(theory=1.0, source_says=2.0, **QUOTED)),
    ("corrected", dict(theory=1.0, source_says=2.0, rival=NONE, **QUOTED)),
    ("corrected", dict(at_least=0.5, source_says="<= 0.1", **QUOTED)),
    ("corrected", dict(at_least=0.5, source_says="<= 0.5", **QUOTED)),  # a source's bound may touch ours
    ("corrected", dict(side="above", source_says=0.5, **QUOTED)),
    ("corrected", dict(side="above", rival=NONE, source_says=">= 1.5", **QUOTED)),
    ("undecided", dict(theory=1.0, source_says=1.05, **QUOTED)),
    ("undecided", dict(theory=1.0, source_says=1.05, rival=NONE, **QUOTED)),
    ("undecided", dict(theory=1.0, source_says=2.0, rival=("near", 1.1), **QUOTED)),
    ("replicates", dict(source_says=1.0, rival=NONE, **QUOTED)),
    ("replicates", dict(source_says=">= 0.5", rival=NONE, **QUOTED)),
    ("undecided", dict(source_says=">= 0.95", rival=NONE, **QUOTED)),  # the interval reaches over its bound
    ("undecided", dict(source_says=1.0, rival=("near", 1.1), **QUOTED)),
    ("undecided", dict(source_says=1.0, **QUOTED)),
    ("refuted", dict(source_says=2.0, **QUOTED)),
    ("refuted", dict(source_says=">= 2", rival=NONE, **QUOTED)),
    ("supported", dict(theory=1.0, rival=NONE, hypothesis=True, **SOURCE)),
    ("supported", dict(at_least=0.5, rival=NONE, hypothesis=True)),
    ("supported", dict(side="above", rival=NONE, hypothesis=True)),
    ("supported", dict(source_says=1.0, rival=NONE, hypothesis=True, **QUOTED)),
    ("not supported", dict(theory=2.0, rival=NONE, hypothesis=True)),
    ("not supported", dict(at_least=2.0, rival=NONE, hypothesis=True)),
    ("not supported", dict(side="below", rival=NONE, hypothesis=True)),
    ("not supported", dict(source_says=2.0, rival=NONE, hypothesis=True, **QUOTED)),
    ("undecided", dict(at_least=0.95, rival=NONE, hypothesis=True)),
    ("undecided", dict(theory=1.0, rival=("near", 1.1), hypothesis=True)),
    ("undecided", dict(side="above", rival=("near", 1.1), hypothesis=True)),
    ("undecided", dict(theory=1.0, hypothesis=True)),
]


@pytest.mark.parametrize(("verdict", "arguments"), VERDICT_OF)
def test_verdicts(verdict, arguments):
    assert made(samples=ONE, **arguments).verdict == verdict


def test_every_verdict_is_in_the_one_list_and_has_its_words():
    assert {verdict for verdict, _ in VERDICT_OF} | {"skipped"} == set(VERDICTS)
    assert list(VERDICTS)[-2:] == ["undecided", "skipped"]


def test_claim_that_fails_raises_whatever_the_source_says():
    assert fails(theory=2.0, samples=ONE, source_says=5.0, **QUOTED)
    assert fails(at_least=0.95, samples=ONE, rival=NONE, **QUOTED)


# Claims from before there were rivals ---------------------------------------------------------------------------------


def test_claim_without_a_rival_holds_by_agreement_alone_and_says_so():
    result = made(theory=1.0, samples=ONE)
    assert result.verdict == "holds" and result.rival is None and result.data()["rival"] is None
    assert fails(theory=2.0, samples=ONE)
    assert made(theory=0.0, scale=0.5, measured=0.001, tolerance=0.01).resolution == pytest.approx(0.02)


def test_verdict_without_a_quote_is_marked():
    assert made(theory=1.0, samples=ONE, source_says=2.0, **SOURCE).unquoted
    assert made(samples=ONE, source_says=2.0, **SOURCE).verdict == "refuted"
    assert not made(theory=1.0, samples=ONE, source_says=2.0, **QUOTED).unquoted
    assert not made(theory=1.0, samples=ONE, **SOURCE).unquoted
    assert not made(samples=ONE, source_says=1.0, hypothesis=True, **SOURCE).unquoted


# Resolution -----------------------------------------------------------------------------------------------------------


def test_resolution():
    result = made(theory=1.0, samples=ONE, rival=("two", 2.0))
    assert result.resolution == pytest.approx(result.margin)
    result = made(theory=1.0, samples=ONE, rival=("two", TWO))
    assert result.resolution == pytest.approx(max(result.margin, result.rival.half_width))
    result = made(at_least=0.5, samples=ONE, rival=("none", -1.0))
    assert result.resolution == pytest.approx(result.margin / 2)
    result = made(side="above", samples=TWO, rival=("one", ONE))
    assert result.resolution == pytest.approx(result.rival.half_width)
    assert made(theory=0.0, measured=0.001, tolerance=0.01, rival=("a half", 0.5)).resolution == pytest.approx(0.02)


NUMBERS = st.floats(-5, 5)
LISTS = st.lists(st.floats(-3, 3), min_size=2, max_size=12).filter(lambda values: np.ptp(values) > 1e-3)


@given(NUMBERS, LISTS, LISTS | NUMBERS, st.floats(0, 1), st.booleans())
def test_below_a_half_a_claim_that_agrees_rejects_its_rival(theory, samples, rival, tolerance, paired):
    paired = paired and isinstance(rival, list) and len(rival) == len(samples)
    try:
        result = made(
            theory=theory, samples=samples, rival=("r", rival), tolerance=tolerance, paired=paired, hypothesis=True
        )
    except ValueError:
        return
    if result.verdict != "not supported" and result.resolution < 0.5:
        assert result.rival.rejected and result.verdict == "supported"


@given(LISTS, LISTS, st.floats(0.01, 100), NUMBERS, st.sampled_from(["theory", "at_least", "at_most", "side"]), NUMBERS)
def test_units_and_origin_change_no_verdict(samples, rival, unit, origin, kind, expected):
    def verdict(change):
        ours = {"side": "above"} if kind == "side" else {kind: change(expected)}
        lists = {"samples": [change(x) for x in samples], "rival": ("r", [change(x) for x in rival])}
        return made(**ours, **lists, hypothesis=True).verdict

    def edge(x):  # a little off, so that no verdict hangs on rounding
        return x * 1.000001

    try:
        one, two = verdict(lambda x: x), verdict(lambda x: unit * x + origin)
    except ValueError as error:
        assert "shifted or scaled" in str(error) or "copies" in str(error)
        return
    assert one == two or one != verdict(edge)


@given(st.floats(-5, 5), st.floats(0.01, 1.0), st.floats(0.0, 0.5))
def test_theory_agrees_exactly_inside_the_interval(measured, se, tolerance):
    def agrees(theory):
        rival = ("far away", theory + 10.0)
        return not fails(theory=theory, measured=measured, standard_error=se, tolerance=tolerance, rival=rival)

    margin = tolerance + stats.norm.isf(0.5e-4) * se
    assert agrees(measured + 0.999 * margin) and not agrees(measured + 1.001 * margin)


# Data that are not there ----------------------------------------------------------------------------------------------


@pytest.fixture
def without_data(monkeypatch):
    monkeypatch.setattr(claims.duel, "_available", lambda name: False)


def test_missing_data_skips_visibly(without_data):
    result = made(theory=5.0, samples=ONE, rival=("none", 0.0), requires="mnist")
    assert result.verdict == "skipped" and result.holds and result.counts and result.rival.name == "none"
    assert "mnist" in result._repr_html_() and result.resolution is None


def test_what_is_skipped_needs_no_numbers_and_keeps_its_rules(without_data):
    assert made(theory=5.0, measured=None, requires="mnist").verdict == "skipped"
    assert made(side="above", rival=("the control", []), requires="mnist").rival.name == "the control"
    assert made(theory=1.0, source_says=2.0, requires="mnist", **SOURCE).unquoted
    with pytest.raises(ValueError, match="of what"):
        made(side="above", requires="mnist")


def test_deterministic():
    assert made(theory=1.0, samples=ONE, rival=("two", TWO)) == made(theory=1.0, samples=ONE, rival=("two", TWO))
