"""Sums of Gaussian bumps: their transforms and their blur, against quadrature."""

import numpy as np
import pytest
from deepdynamics.ridgelet import AdmissiblePair, GaussianBumps, transform

A, B = np.array([-6.0, 0.0, 0.7, 9.0]), np.linspace(-4, 4, 7)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_transform_is_that_of_quadrature(activation):
    pair, f = AdmissiblePair.get(activation), GaussianBumps.draw(3, seed=1)
    x = np.linspace(-3, 3, 6001)
    assert f.transform(pair, A, B) == pytest.approx(transform((x, f(x)), pair, A, B), abs=1e-9)


@pytest.mark.parametrize("dimension", [1, 2])
def test_smoothed_is_an_average_over_gaussian_shifts(dimension):
    f, x = GaussianBumps.draw(2, seed=2, dimension=dimension), np.full((1, dimension), 0.3)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    shifts = np.stack(np.meshgrid(*[nodes] * dimension), -1).reshape(-1, dimension)
    mass = np.prod(np.stack(np.meshgrid(*[weights / weights.sum()] * dimension), -1).reshape(-1, dimension), axis=1)
    assert f.smoothed(0.04)(x)[0] == pytest.approx(mass @ f(x + 0.2 * shifts), abs=1e-9)
    assert f.smoothed(0.0)(x) == pytest.approx(f(x))


def test_draws_lie_where_they_are_said_to():
    f = GaussianBumps.draw(200, seed=3, dimension=2)
    widths = np.sqrt(f.variances)
    assert np.abs(f.centres).max() <= 0.5 and widths.min() >= 0.25 and widths.max() <= 0.35
    assert np.array_equal(f.heights, GaussianBumps.draw(200, seed=3, dimension=2).heights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [0.0, 1.0], [1.0]), "heights of shape"),
        (([1.0], [0.0], [0.0]), "positive"),
        (([np.nan], [0.0], [1.0]), "heights"),
        (([1.0], [], [1.0]), "centres"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianBumps(*arguments)


def test_a_negative_blur_is_refused():
    with pytest.raises(ValueError, match="variance = -1"):
        GaussianBumps([1.0], [0.0], [1.0]).smoothed(-1.0)
