"""What is no proper claim is refused, with a sentence that names the claim and the argument."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from deepdynamics import claims
from deepdynamics.claims import claim

ONE = [0.9, 1.1, 1.05, 0.95, 1.02, 0.97, 1.01, 1.0]
KEYED = {"source": "saxe2014exact, eq. (11)"}
TWO = [value + 1 for value in reversed(ONE)]
NONE = ("no effect", 0.0)
SAYS = {"samples": ONE, **KEYED}

REFUSED = [
    # what was measured
    (dict(theory=1.0, rival=NONE), "nothing was measured"),
    (dict(theory=1.0, standard_error=0.1, rival=NONE), "nothing was measured"),
    (dict(theory=1.0, samples=[], rival=NONE), "at least two"),
    (dict(theory=1.0, samples=[1.0], rival=NONE), "at least two"),
    (dict(theory=1.0, samples=[[1.0, 2.0]], rival=NONE), "shape"),
    (dict(theory=1.0, samples=[1.0, 1.0, 1.0], rival=NONE), "do not vary"),
    (dict(theory=1.0, samples=[0.1] * 3, rival=NONE), "do not vary"),  # their standard deviation is 1e-17
    (dict(theory=1.0, samples=[1.0, 1.0 + 1e-15], rival=NONE), "do not vary"),
    (dict(theory=1.0, samples=ONE * 20, rival=NONE), "8 numbers, each 20 times"),
    (dict(theory=1.0, samples=np.repeat(ONE, 2), rival=NONE), "8 numbers, each 2 times"),
    (dict(theory=1.0, samples=np.ma.array(ONE, mask=[0, 0, 1] + 5 * [0]), rival=NONE), "masked"),
    (dict(theory=1.0, measured=np.ma.masked, tolerance=0.1, rival=NONE), "masked"),
    (dict(theory=1.0, samples=np.array(ONE) + 5j, rival=NONE), "a number is needed"),
    (dict(theory=1.0, measured=np.complex128(1 + 5j), tolerance=0.1, rival=NONE), "a number is needed"),
    (dict(theory=1.0, measured="1.0", tolerance=0.1, rival=NONE), "a number is needed"),
    (dict(theory=1.0, samples=["0.9", "1.1"], rival=NONE), "a list of numbers"),
    (dict(theory=1.0, samples=set(ONE), rival=NONE), "a list of numbers"),
    (dict(theory=1.0, samples=[True, False, True], rival=NONE), "a truth value"),
    (dict(theory=1.0, samples=np.array(ONE) > 1, rival=NONE), "a truth value"),
    (dict(theory=1.0, samples=np.array(ONE)[:, None], rival=NONE), "shape"),
    (dict(theory=1.0, samples=[1.7e308, 1.6e308], rival=NONE), "another unit"),
    (dict(theory=1.0, samples=[1e-200, 2e-200], rival=NONE), "another unit"),
    (dict(theory=1e308, measured=1e308, tolerance=1e300, rival=("far", -1e308)), "not finite"),
    (dict(theory=10**400, samples=ONE, rival=NONE), "a number is needed"),
    (dict(theory=1.0, samples=[1.0, math.nan], rival=NONE), "not finite"),
    (dict(theory=1.0, samples=ONE, measured=1.0, rival=NONE), "do not give both"),
    (dict(theory=1.0, samples=ONE, dof=7, rival=NONE), "do not give both"),
    (dict(theory=1.0, measured=math.inf, tolerance=0.1, rival=NONE), "not finite"),
    (dict(theory=1.0, measured=True, tolerance=0.1, rival=NONE), "a truth value"),
    (dict(theory=1.0, measured=1.0, standard_error=0.0, rival=NONE), "standard_error = 0"),
    (dict(theory=1.0, measured=1.0, standard_error=-1.0, rival=NONE), "standard_error = -1"),
    (dict(side="above", measured=1.0, standard_error=1e-300, rival=NONE), "standard_error = 1e-300"),
    (dict(theory=1.0, measured=1.0, standard_error=math.nan, rival=NONE), "not finite"),
    (dict(theory=1.0, measured=1.0, standard_error=0.1, dof=0, rival=NONE), "dof = 0"),
    (dict(theory=9.0, measured=1.0, standard_error=0.1, dof=1e-3, rival=("far", 1e300)), "dof = 0.001"),
    (dict(theory=1.0, measured=1.0, standard_error=0.1, dof="7", rival=NONE), "a number is needed"),
    (dict(side="above", measured=1 + 1e-15, tolerance=1e-300, rival=("one", 1.0)), "it is rounded"),
    (dict(theory=1.0, measured=1.0, dof=3, tolerance=0.1, rival=NONE), "without a standard_error"),
    (dict(theory=1.0, measured=1.0, rival=NONE), "needs a tolerance"),
    (dict(at_most=1.0, measured=0.5, rival=("two", 2.0)), "needs a tolerance"),
    (dict(theory=1.0, measured=1.0, tolerance=-1.0, rival=NONE), "no negative"),
    (dict(theory=1.0, measured=1.0, tolerance=math.inf, rival=NONE), "not finite"),
    # what was expected
    (dict(theory=1.0, at_most=1.0, samples=ONE), "not several"),
    (dict(theory=1.0, side="above", samples=ONE, rival=NONE), "not several"),
    (dict(samples=ONE), "is needed"),
    (dict(samples=ONE, rival=NONE), "is needed"),
    (dict(theory=math.nan, samples=ONE), "not finite"),
    (dict(side="over", samples=ONE, rival=NONE), "'above' or 'below'"),
    (dict(theory=0.0, measured=0.001, tolerance=0.01), "scale"),
    (dict(theory=1.0, samples=ONE, scale=0.0), "scale"),
    (dict(theory=1.0, samples=ONE, scale=-1.0), "scale"),
    # the rival
    (dict(side="above", samples=ONE), "of what"),
    (dict(theory=1.0, samples=ONE, rival=0.0), "its name and its value"),
    (dict(theory=1.0, samples=ONE, rival=["no effect", 0.0]), "its name and its value"),
    (dict(theory=1.0, samples=ONE, rival=("", 0.0)), "its name and its value"),
    (dict(theory=1.0, samples=ONE, rival=(0.0, "no effect")), "its name and its value"),
    (dict(theory=1.0, samples=ONE, rival=("no effect", None)), "its name and its value"),
    (dict(theory=1.0, samples=ONE, rival=("no effect", math.nan)), "not finite"),
    (dict(theory=1.0, samples=ONE, rival=("samples", [0.0])), "rival's samples.*at least two"),
    (dict(theory=1.0, samples=ONE, rival=("samples", [0.0, 0.0])), "rival's samples do not vary"),
    (dict(theory=1.0, samples=ONE, rival=("samples", [0.0, math.inf])), "rival's samples are not finite"),
    (dict(theory=1.0, samples=ONE, rival=("one", 1.0)), "is what is expected"),
    (dict(theory=1.0, samples=ONE, rival=("one", 1.0 + 1e-15)), "is what is expected"),
    (dict(theory=1.0, samples=ONE, rival=("the source's number", 0.0)), "is source_says"),
    (dict(side="above", samples=ONE, rival=("r", ONE)), "shifted or scaled"),
    (dict(side="above", samples=ONE, rival=("r", [x - 9 for x in ONE])), "shifted or scaled"),
    (dict(side="above", samples=ONE, rival=("r", [x / 2 for x in ONE]), paired=True), "shifted or scaled"),
    (dict(side="above", samples=ONE, rival=("r", [1 - x for x in ONE])), "shifted or scaled"),
    (dict(side="above", samples=ONE, rival=("r", [False, True])), "a truth value"),
    (dict(at_least=0.5, samples=ONE, rival=("six", 0.6)), "it is no rival"),
    (dict(at_least=0.5, samples=ONE, rival=("the bound", 0.5)), "side='above'"),
    (dict(at_most=1.5, samples=ONE, rival=NONE), "it is no rival"),
    (dict(source_says=">= 0.5", rival=("six", 0.6), **SAYS), "it is no rival"),
    (dict(source_says=1.0, rival=("one", 1.0), **SAYS), "is what is expected"),
    (dict(theory=1.0, samples=ONE, paired=True), "paired without"),
    (dict(theory=1.0, source_says=2.0, paired=True, **SAYS), "paired without"),
    (dict(theory=1.0, samples=ONE, rival=NONE, paired=True), "both sides"),
    (dict(theory=1.0, measured=1.0, standard_error=0.1, rival=("r", ONE), paired=True), "both sides"),
    (dict(side="above", samples=ONE, rival=("r", ONE[:5]), paired=True), "8 samples and 5"),
    (dict(side="above", samples=ONE, rival=("r", [x - 1 for x in ONE]), paired=True), "differences do not vary"),
    # the tolerance
    (dict(theory=1.0, measured=1.0, tolerance=0.26, rival=NONE), "at most a quarter"),
    (dict(theory=1.0, samples=ONE, tolerance=0.3, rival=("samples", [0.0, 0.1, -0.1])), "at most a quarter"),
    (dict(at_least=0.5, samples=ONE, tolerance=0.2, rival=NONE), "at most a quarter"),
    (dict(theory=1.0, tolerance=0.3, source_says=2.0, **SAYS), "at most a quarter"),
    # the source
    (dict(theory=1.0, samples=ONE, source_says=2.0), "without a source"),
    (dict(theory=1.0, samples=ONE, quote="words"), "quote without a source"),
    (dict(theory=1.0, rival=NONE, quote="", **SAYS), "on one line"),
    (dict(theory=1.0, rival=NONE, quote=" ", **SAYS), "on one line"),
    (dict(theory=1.0, rival=NONE, quote="one\ntwo", **SAYS), "on one line"),
    (dict(theory=1.0, rival=NONE, quote="x" * 201, **SAYS), "200 characters"),
    (dict(source_says="about 3", **SAYS), "bound"),
    (dict(source_says=">= many", **SAYS), "bound"),
    (dict(source_says=">= inf", **SAYS), "bound"),
    (dict(theory=1.0, source_says=1.0, **SAYS), "right wherever we are"),
    (dict(theory=1.0, source_says="<= 1", **SAYS), "right wherever we are"),
    (dict(at_least=0.5, rival=NONE, source_says=">= 0.2", **SAYS), "right wherever we are"),
    (dict(side="above", rival=NONE, source_says=">= 0", **SAYS), "right wherever we are"),
    (dict(at_least=0.5, source_says=">= 0.7", **SAYS), "meets the bound"),
    (dict(at_most=1.3, source_says=1.2, **SAYS), "meets the bound"),
    (dict(theory=1.0, source_says=2.0, hypothesis=True, **SAYS), "a hypothesis"),
    (dict(source_says=True, **SAYS), "a truth value"),
    # switches
    (dict(theory=1.0, samples=ONE, rival=NONE, hypothesis="no"), "hypothesis = 'no'"),
    (dict(theory=1.0, samples=ONE, rival=NONE, hypothesis=np.True_), "hypothesis = "),
    (dict(theory=1.0, samples=ONE, rival=("r", TWO), paired=1), "paired = 1"),
    (dict(theory=1.0, samples=ONE, rival=NONE, requires=["mnist"]), "requires = "),
    (dict(theory=1.0, rival=NONE, requires="no-such-data"), "name = 'no-such-data'"),
    # words
    (dict(theory=1.0, samples=ONE, of=""), "of = '': words"),
    (dict(theory=1.0, samples=ONE, aliases="old.key"), "a list"),
    (dict(theory=1.0, samples=ONE, aliases=["old"]), "chapter.subject"),
    (dict(theory=1.0, samples=ONE, aliases=["t.j"]), "other keys"),
    (dict(theory=1.0, samples=ONE, aliases=["t.a.b", "t.a-b"]), "other keys"),  # of the same anchor
    (dict(theory=1.0, samples=ONE, aliases=None), "a list"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_improper_claims_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        claim("t.j", "improper", **arguments)
    assert str(error.value).startswith("t.j: ")


@pytest.mark.parametrize("key", ["lonely", "", ".", "a.", "a b.c", 'a."x', None, 5])
def test_key_names_chapter_and_subject(key):
    with pytest.raises(ValueError, match=r"chapter\.subject"):
        claim(key, "no chapter", theory=1.0, samples=ONE)


@pytest.mark.parametrize("statement", ["", " ", None])
def test_statement_has_words(statement):
    with pytest.raises(ValueError, match="words are needed"):
        claim("t.s", statement, theory=1.0, samples=ONE)


def test_tolerance_of_a_quarter_is_allowed_whatever_the_rounding():
    for theory, rival in ((0.3, 0.1), (1.1, 0.9), (0.1, 0.7)):
        tolerance = abs(theory - rival) / 4
        rounded = float(f"{tolerance:.6g}")
        assert claim("t.t", "s", theory=theory, measured=theory, tolerance=rounded, rival=("r", rival)).holds


def test_numpy_numbers_and_arrays_are_taken():
    rival = ("a row", np.arange(4.0, dtype=np.float32) ** 2)
    assert claim("t.n", "s", side="above", samples=np.arange(100, 104), rival=rival).verdict == "holds"
    one = np.float32(1)
    assert claim("t.n", "s", theory=one, measured=np.array(1.0), tolerance=one / 5, rival=("r", np.array(0.0))).holds


def test_other_numbers_are_taken():
    expected = claim("t.n", "s", theory=1.0, samples=ONE, rival=NONE)
    torch_ones = torch.tensor(ONE, dtype=torch.float64, requires_grad=True)
    for samples in (torch_ones, tuple(ONE), [Decimal(str(x)) for x in ONE], [Fraction(str(x)) for x in ONE]):
        assert claim("t.n", "s", theory=1.0, samples=samples, rival=("no effect", torch.tensor(-0.0))) == expected
    says = claim("t.n", "s", theory=1.0, source_says=np.float32(2), **SAYS)
    assert json.loads(json.dumps(says.data(), allow_nan=False))["source_says"] == 2.0


def test_few_values_may_be_alike_by_chance():
    assert claim("t.n", "s", theory=0.5, samples=[0, 1] * 50, rival=NONE).verdict == "holds"
    assert claim("t.n", "s", theory=1.0, samples=[*ONE, *ONE, 1.0], rival=NONE).verdict == "holds"
    assert claim("t.n", "s", side="above", samples=[9, 9, 8], rival=("r", [1, 1, 0])).verdict == "undecided"


SOURCES = {
    "poole2016exponential": "poole2016exponential",
    "poole2016exponential, eq. (5)": "poole2016exponential",
    "informationflow, section 4 (were it the cause), line 2": "informationflow",
    "xiao2018dynamical,Fig. 3": "xiao2018dynamical",
}


@pytest.mark.parametrize("source", SOURCES)
def test_source_is_a_key_and_a_place(source):
    assert claims.source_key(source) == SOURCES[source]
    assert claim("t.n", "s", theory=1.0, samples=ONE, rival=NONE, source=source, quote="q").verdict == "replicates"


NO_SOURCES = ["", " ", ",", ", eq. (5)", "poole2016exponential,", "poole2016exponential, ", 5, ["poole2016exponential"]]
NO_SOURCES += ["Poole et al., 2016", "poole2016exponential eq. (5)", " poole2016exponential", "a source, eq. (5)"]


@pytest.mark.parametrize("source", NO_SOURCES)
def test_improper_source_is_refused(source):
    """No verdict on a source that is none: the error names the claim, the argument, its value and what is allowed."""
    with pytest.raises(ValueError) as error:
        claim("t.o", "s", theory=1.0, samples=ONE, source=source)
    assert all(text in str(error.value) for text in ("t.o", f"source = {source!r}", "a key, a comma and a place"))
