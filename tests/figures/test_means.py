"""Means with standard errors, against their definition."""

import numpy as np
import pytest
from deepdynamics import figures
from scipy import stats


def bars(drawn):
    """Ends of the error bars, (points, 2)."""
    return np.array([segment[:, 1] for segment in drawn.lines[2][0].get_segments()])


@pytest.mark.parametrize("geometric", [False, True])
def test_points_are_means_and_bars_standard_errors(geometric):
    samples = np.random.default_rng(0).lognormal(size=(7, 3))
    _, ax = figures.figure()
    drawn = figures.means(ax, [1, 2, 4], samples, geometric=geometric, fmt="s")
    values = np.log(samples) if geometric else samples
    error = stats.sem(values, axis=0)
    expected = np.stack([values.mean(0) - error, values.mean(0), values.mean(0) + error], 1)
    expected = np.exp(expected) if geometric else expected
    assert np.allclose(drawn.lines[0].get_xydata(), np.stack([[1, 2, 4], expected[:, 1]], 1), rtol=1e-12)
    assert np.allclose(bars(drawn), expected[:, [0, 2]], rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "samples", "geometric", "message"),
    [
        ([1.0], np.ones((1, 1)), False, "two or more"),
        ([1.0, 2.0], np.ones((5, 3)), False, "shape"),
        ([1.0], np.zeros((4, 1)), True, "samples"),
        ([1.0], np.full((4, 1), np.nan), False, "samples"),
    ],
)
def test_bad_input(x, samples, geometric, message):
    _, ax = figures.figure()
    with pytest.raises(ValueError, match=message):
        figures.means(ax, x, samples, geometric=geometric)
