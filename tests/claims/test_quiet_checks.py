"""Checks that are no claims: one quiet line, or an error."""

import math

import numpy as np
import pytest
import torch
from deepdynamics.claims import MIME, ClaimError, check


def test_check_says_the_largest_deviation_in_one_line():
    found = check("J < K", [1.0, 2.0], [1.0, 2.5], tolerance=0.6)
    assert found.deviation == 0.5 and found.count == 2
    assert repr(found) == "Checked: J < K (largest deviation of 2 numbers 0.5, allowed 0.6)"
    assert "J &lt; K" in found._repr_html_() and "\n" not in found._repr_html_()
    assert "allowed 0.6" in found._repr_markdown_()


def test_check_is_no_claim():
    found = check("one", 1.0, 1.0, tolerance=0.1)
    assert (
        not hasattr(found, "_repr_mimebundle_") and MIME not in found._repr_html_() and "id=" not in found._repr_html_()
    )


@pytest.mark.parametrize("expected", [1.0, np.ones((2, 3)), torch.ones(2, 3, requires_grad=True)])
def test_numbers_arrays_and_tensors(expected):
    assert check("ones", torch.ones(2, 3), expected, tolerance=1e-9).count == 6
    with pytest.raises(ClaimError, match="largest deviation is 1;"):
        check("ones", np.zeros((2, 3)), expected, tolerance=0.5)


def test_integers_are_not_wrapped_and_complex_numbers_are_taken():
    with pytest.raises(ClaimError, match="largest deviation is 255"):
        check("bytes", np.array([0], dtype=np.uint8), np.array([255], dtype=np.uint8), tolerance=1.5)
    assert check("roots", [1j], [1j], tolerance=1e-9).deviation == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [1.0], 0.1), r"shape \(2,\), and expected \(1,\)"),
        ((1.0, [1.0, 1.0], 0.1), "shape"),
        (([], 1.0, 0.1), "nothing to compare"),
        ((math.nan, 1.0, 0.1), "measured is not finite"),
        ((1.0, [math.inf], 0.1), "expected is not finite"),
        ((1.0, 1.0, 0.0), "positive"),
        ((1.0, 1.0, -1.0), "positive"),
        ((1.0, 1.0, math.inf), "positive"),
        ((1.0, 1.0, math.nan), "positive"),
        ((1.0, 1.0, [1.0]), "positive"),
        ((None, 1.0, 0.1), "numbers are needed"),
        (("one", "one", 0.1), "numbers are needed"),
    ],
)
def test_improper_checks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        check("improper", *arguments)


@pytest.mark.parametrize("statement", ["", None])
def test_check_says_what_is_checked(statement):
    with pytest.raises(ValueError, match="words"):
        check(statement, 1.0, 1.0, tolerance=0.1)
