"""The unit of truth: intervals, verdicts, resolution, refusals."""

import doctest
import inspect
import json
import math

import numpy as np
import pytest
from deepdynamics import claims, figures
from deepdynamics.claims import MIME, ClaimError, claim
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

SAMPLES = [0.9, 1.1, 1.05, 0.95, 1.02, 0.97, 1.01, 1.0]


def test_samples_give_mean_standard_error_and_a_student_interval():
    result = claim("t.a", "mean", theory=1.0, samples=SAMPLES)
    se = np.std(SAMPLES, ddof=1) / math.sqrt(8)
    assert result.measured == pytest.approx(np.mean(SAMPLES))
    assert result.standard_error == pytest.approx(se)
    assert result.dof == 7
    assert result.margin == pytest.approx(stats.t.ppf(1 - 0.5e-4, 7) * se)
    assert result.resolution == pytest.approx(result.margin / 1.0)
    assert result.holds and result.verdict == "holds"


def test_quantiles_of_the_design():
    """100 for three samples, 15.5 for five, 7.9 for eight, 4.9 for twenty (BOOK, 'Claims')."""
    for n, quantile in ((3, 100.0), (5, 15.5), (8, 7.9), (20, 4.9)):
        values = np.arange(n) - (n - 1) / 2
        result = claim("t.q", "quantile", theory=0.0, scale=1.0, samples=values)
        assert result.margin / result.standard_error == pytest.approx(quantile, rel=0.01)


def test_measured_with_standard_error_uses_the_normal_quantile_unless_dof_is_given():
    normal = claim("t.b", "normal", theory=1.0, measured=1.0, standard_error=0.1)
    student = claim("t.b", "student", theory=1.0, measured=1.0, standard_error=0.1, dof=7)
    assert normal.margin == pytest.approx(0.1 * stats.norm.ppf(1 - 0.5e-4))
    assert student.margin == pytest.approx(0.1 * stats.t.ppf(1 - 0.5e-4, 7))


@given(st.floats(-5, 5), st.floats(0.01, 1.0), st.floats(0.0, 0.5))
def test_holds_exactly_inside_the_margin(measured, se, tolerance):
    def holds(theory):
        try:
            return claim(
                "t.c", "edge", theory=theory, measured=measured, standard_error=se, tolerance=tolerance, scale=1.0
            ).holds
        except ClaimError:
            return False

    margin = tolerance + stats.norm.isf(0.5e-4) * se
    assert holds(measured + 0.999 * margin)
    assert not holds(measured + 1.001 * margin)


def test_failing_claim_raises_with_its_numbers():
    with pytest.raises(ClaimError, match=r"(?s)t\.d: too far.*theory 2.*measured 1"):
        claim("t.d", "too far", theory=2.0, samples=SAMPLES)


def test_bounds_need_the_whole_interval_on_their_side():
    assert claim("t.e", "above", at_least=0.7, samples=SAMPLES).holds
    assert claim("t.e", "below", at_most=1.3, samples=SAMPLES).holds
    with pytest.raises(ClaimError):  # the mean is above 0.99, the interval is not
        claim("t.e", "above", at_least=0.99, samples=SAMPLES)


def test_verdicts_on_a_source():
    arguments = {"samples": SAMPLES, "source": "saxe2014exact, eq. (11)"}
    assert claim("t.f", "s", theory=1.0, **arguments).verdict == "replicates"
    assert claim("t.f", "s", theory=1.0, source_says=2.0, **arguments).verdict == "corrected"
    assert claim("t.f", "s", theory=1.0, source_says=1.01, **arguments).verdict == "undecided"
    assert claim("t.f", "s", source_says=1.0, **arguments).verdict == "replicates"
    assert claim("t.f", "s", source_says=2.0, **arguments).verdict == "refuted"
    assert claim("t.f", "s", source_says=">= 2", **arguments).verdict == "refuted"
    assert claim("t.f", "s", source_says=">= 0.5", **arguments).verdict == "replicates"
    assert claim("t.f", "s", at_least=0.5, source_says="<= 0.1", **arguments).verdict == "corrected"
    assert claim("t.f", "s", theory=1.0, source="saxe2014exact").verdict == "theory only"


def test_theory_zero_needs_a_scale_and_uses_it():
    with pytest.raises(ValueError, match="scale"):
        claim("t.g", "zero", theory=0.0, measured=0.001, tolerance=0.01)
    assert claim("t.g", "zero", theory=0.0, measured=0.001, tolerance=0.01, scale=0.5).resolution == pytest.approx(0.02)


def test_identities_are_told_from_experiments():
    assert claim("t.h", "closed form", theory=1.0, measured=1.0 + 1e-12, tolerance=1e-10).identity
    assert claim("t.h", "residual", at_most=1e-10, measured=1e-13).identity
    assert not claim("t.h", "finite size", theory=1.0, measured=1.01, tolerance=0.05).identity
    assert not claim("t.h", "samples", theory=1.0, samples=SAMPLES).identity


def test_what_counts_as_evidence():
    assert claim("t.i", "sharp", theory=1.0, samples=SAMPLES).resolution <= 0.2
    assert claim("t.i", "sharp", theory=1.0, samples=SAMPLES).counts
    assert not claim("t.i", "blunt", theory=1.0, measured=1.0, standard_error=0.2).counts
    assert not claim("t.i", "identity", theory=1.0, measured=1.0, tolerance=1e-9).counts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"theory": 1.0, "samples": []}, "at least two"),
        ({"theory": 1.0, "samples": [1.0]}, "at least two"),
        ({"theory": 1.0, "samples": [[1.0, 2.0]]}, "shape"),
        ({"theory": 1.0, "samples": [1.0, 1.0, 1.0]}, "do not vary"),
        ({"theory": 1.0, "samples": [1.0, math.nan]}, "not finite"),
        ({"theory": math.nan, "samples": SAMPLES}, "not finite"),
        ({"theory": 1.0, "measured": 1.0, "standard_error": 0.0}, "standard error of 0"),
        ({"theory": 1.0, "measured": 1.0}, "needs a tolerance"),
        ({"theory": 1.0, "measured": 1.0, "tolerance": -1.0}, "negative"),
        ({"theory": 1.0, "at_most": 1.0, "measured": 1.0}, "not several"),
        ({"measured": 1.0}, "is needed"),
        ({"theory": 1.0, "samples": SAMPLES, "measured": 1.0}, "do not give both"),
        ({"theory": 1.0, "samples": SAMPLES, "source_says": 2.0}, "without a source"),
        ({"samples": SAMPLES, "source": "a", "source_says": "about 3"}, "bound"),
    ],
)
def test_improper_claims_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        claim("t.j", "improper", **arguments)


def test_key_names_chapter_and_subject():
    with pytest.raises(ValueError, match=r"chapter\.subject"):
        claim("lonely", "no chapter", theory=1.0, samples=SAMPLES)


def test_missing_data_skips_visibly(monkeypatch):
    monkeypatch.setattr(claims, "_available", lambda name: False)
    result = claim("t.k", "about MNIST", theory=5.0, samples=SAMPLES, requires="mnist")
    assert result.verdict == "skipped" and result.holds and not result.counts
    assert "mnist" in result._repr_html_()


def test_card_shows_itself_and_carries_its_data():
    result = claim("t.l", "a < b & c", theory=1.0, samples=SAMPLES, source="saxe2014exact")
    bundle, metadata = result._repr_mimebundle_()
    assert 'id="claim-t-l"' in bundle["text/html"]
    assert "a &lt; b &amp; c" in bundle["text/html"]
    assert "replicates" in bundle["text/markdown"] and "replicates" in bundle["text/plain"]
    data = json.loads(json.dumps(metadata[MIME]))
    assert (
        data["verdict"] == "replicates"
        and data["key"] == "t.l"
        and data["resolution"] == pytest.approx(result.resolution)
    )


def test_deterministic():
    assert claim("t.m", "s", theory=1.0, samples=SAMPLES) == claim("t.m", "s", theory=1.0, samples=SAMPLES)


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e3))
def test_numbers_are_shown_to_the_second_digit_of_their_error(value, error):
    shown, shown_error = map(float, claims.with_error(value, error).split(" ± "))
    assert shown_error == pytest.approx(error, rel=0.051)
    assert shown == pytest.approx(value, abs=0.06 * error)


SOURCES = {
    "poole2016exponential": "poole2016exponential",
    "poole2016exponential, eq. (5)": "poole2016exponential",
    "informationflow, section 4 (were it the cause), line 2": "informationflow",
    "xiao2018dynamical,Fig. 3": "xiao2018dynamical",
}


@pytest.mark.parametrize("source", SOURCES)
def test_source_is_a_key_and_a_place(source):
    assert claims.source_key(source) == SOURCES[source]
    assert claim("t.n", "s", theory=1.0, samples=SAMPLES, source=source).verdict == "replicates"


NO_SOURCES = ["", " ", ",", ", eq. (5)", "poole2016exponential,", "poole2016exponential, ", 5, ["poole2016exponential"]]
NO_SOURCES += ["Poole et al., 2016", "poole2016exponential eq. (5)", " poole2016exponential", "a source, eq. (5)"]


@pytest.mark.parametrize("source", NO_SOURCES)
def test_improper_source_is_refused(source):
    """No verdict on a source that is none: the error names the claim, the argument, its value and what is allowed."""
    with pytest.raises(ValueError) as error:
        claim("t.o", "s", theory=1.0, samples=SAMPLES, source=source)
    assert all(text in str(error.value) for text in ("t.o", f"source = {source!r}", "a key, a comma and a place"))


def public(module):
    """The public functions and classes of a module, and the methods and properties of its classes, by name."""
    own = {k: v for k, v in vars(module).items() if k[0] != "_" and getattr(v, "__module__", "") == module.__name__}
    for name, member in list(own.items()):
        if inspect.isclass(member):
            inside = vars(member).items()
            own |= {f"{name}.{k}": v for k, v in inside if k[0] != "_" and (callable(v) or isinstance(v, property))}
    return own


@pytest.mark.parametrize("module", [claims, figures])
def test_everything_public_has_an_example_that_runs(module):
    without = [name for name, member in public(module).items() if ">>>" not in (member.__doc__ or "")]
    assert not without, f"no example in the docstring of {', '.join(without)}"
    assert doctest.testmod(module).failed == 0
