"""Hidden units on the grid of a spectrum: the mass, the symmetry, the blur, the correlation; bad input."""

import numpy as np
import pytest
from deepdynamics.ridgelet import (
    AdmissiblePair,
    agreement,
    blurred,
    midpoints,
    sample_parameters,
    top_share,
    transform,
    unit_agreement,
)
from deepdynamics.ridgelet import unit_density as density

GRID = midpoints(6.0, 24)


def units(count=50):
    draw = np.random.default_rng(0)
    return draw.uniform(-7, 7, (2, count)), draw.normal(size=count)


@pytest.mark.parametrize("parity", [1, -1])
def test_the_measure_by_hand(parity):
    (a, b), w = units()
    expected = np.zeros((24, 24))
    for sign, factor in ((1, 1), (-1, parity)):
        for one, two, weight in zip(sign * a, sign * b, w, strict=True):
            if abs(one) < 6 and abs(two) < 6:
                expected[int((one + 6) * 2), int((two + 6) * 2)] += factor * weight / 2
    np.testing.assert_allclose(density(a, b, w, GRID, GRID, parity=parity), expected, atol=1e-12)


def test_units_that_are_the_same_function_have_the_same_measure():
    (a, b), w = units()
    flip = np.random.default_rng(1).choice([-1, 1], size=a.shape)
    own, other = (density(*parts, GRID, GRID, parity=-1) for parts in ((a, b, w), (flip * a, flip * b, flip * w)))
    np.testing.assert_allclose(own, other, atol=1e-12)  # tanh(-z) = -tanh(z)
    own, other = (density(*parts, GRID, GRID, parity=1) for parts in ((a, b, w), (flip * a, flip * b, w)))
    np.testing.assert_allclose(own, other, atol=1e-12)  # relu(-z) = relu(z) - z


@pytest.mark.parametrize(("activation", "parity"), [("tanh", -1), ("relu", 1), ("gaussian", 1)])
def test_the_symmetry_is_that_of_the_spectrum(activation, parity):
    x = np.linspace(-1, 1, 201)
    R = transform((x, np.exp(x) * np.sin(5 * x)), AdmissiblePair.get(activation), GRID, GRID)
    np.testing.assert_allclose(R[::-1, ::-1], parity * R, atol=1e-12)
    (a, b), w = units()
    wrong = density(a, b, w, GRID, GRID, parity=-parity)
    assert abs(agreement(wrong, R, GRID, GRID)) < 1e-12  # the other symmetry sees nothing at all


def test_blur_keeps_the_mass_and_widens():
    point = np.zeros((24, 24))
    point[12, 12] = 1.0
    wide = blurred(point, GRID, GRID, 0.8)
    assert wide.sum() == pytest.approx(1, abs=1e-6)
    assert (wide.sum(1) * (GRID - GRID[12]) ** 2).sum() == pytest.approx(0.64, rel=0.01)


def test_units_drawn_from_a_spectrum_agree_with_it():
    x = np.linspace(-1, 1, 201)
    R = transform((x, np.sin(2 * np.pi * x)), AdmissiblePair.get("tanh"), GRID, GRID)
    a, b = sample_parameters(R, GRID, GRID, 4000, seed=0)
    cells = np.searchsorted(GRID + 0.25, a).clip(0, 23), np.searchsorted(GRID + 0.25, b).clip(0, 23)
    signed = density(a, b, np.sign(R[cells]), GRID, GRID, parity=-1)
    assert agreement(signed, R, GRID, GRID, width=0.5) > 0.95
    assert agreement(-signed, R, GRID, GRID, width=0.5) < -0.95


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("signed", [True, False])
def test_groups_of_networks_one_by_one(activation, signed):
    x = np.linspace(-1, 1, 201)
    R = transform((x, np.exp(x)), AdmissiblePair.get(activation), GRID, GRID)
    (a, b), c = units(60)
    a, b, c = (part.reshape(12, 5) for part in (a, b, c))
    found = unit_agreement(a, b, c, R, GRID, GRID, groups=4, signed=signed, width=0.7)
    parity = -1 if signed and activation == "tanh" else 1
    for k in range(4):
        parts = [part[3 * k : 3 * k + 3] for part in (a, b, c if signed else abs(c))]
        one = agreement(density(*parts, GRID, GRID, parity=parity), R if signed else abs(R), GRID, GRID, width=0.7)
        assert found[k] == pytest.approx(one, abs=1e-12)
    both = unit_agreement(a, b, c, np.stack([R, -2 * R]), GRID, GRID, groups=4, signed=signed, width=0.7)
    np.testing.assert_allclose(both, [found, -found if signed else found], atol=1e-12)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_share_in_the_top_cells_unit_by_unit(weighted):
    (a, b), w = units(60)
    R = np.random.default_rng(1).normal(size=(2, 24, 24))
    a, b, w = (part.reshape(12, 5) for part in (a, b, abs(w) if weighted else np.ones(60)))
    found = top_share(a, b, R, GRID, GRID, groups=3, fraction=0.3, weights=w if weighted else None)
    for k, spectrum in enumerate(R):
        limit = np.quantile(abs(spectrum), 0.7)
        for group in range(3):
            hit = total = 0.0
            for one, two, weight in zip(*(part[4 * group : 4 * group + 4].ravel() for part in (a, b, w)), strict=True):
                if abs(one) < 6 and abs(two) < 6:
                    total += weight
                    hit += weight * (abs(spectrum[int((one + 6) * 2), int((two + 6) * 2)]) >= limit)
            assert found[k, group] == pytest.approx(hit / total)
    np.testing.assert_array_equal(found[0], top_share(a, b, -R[0], GRID, GRID, groups=3, fraction=0.3, weights=w))


def test_even_units_have_the_share_of_the_cells():
    draw = np.random.default_rng(2)
    a, b = draw.uniform(-6, 6, (2, 1000, 20))
    shares = top_share(a, b, draw.normal(size=(24, 24)), GRID, GRID, groups=10)
    assert abs(shares.mean() - 0.2) < 4 * (0.2 * 0.8 / 20000) ** 0.5 + 1 / 576


def test_bad_arguments_are_named():
    (a, b), w = units()
    with pytest.raises(ValueError, match="parity = 0"):
        density(a, b, w, GRID, GRID, parity=0)
    with pytest.raises(ValueError, match="one shape"):
        density(a, b, w[:3], GRID, GRID, parity=1)
    with pytest.raises(ValueError, match="symmetric about 0"):
        density(a, b, w, GRID + 0.1, GRID, parity=1)
    with pytest.raises(ValueError, match="density is constant"):
        agreement(np.zeros((24, 24)), np.ones((24, 24)), GRID, GRID)
    with pytest.raises(ValueError, match="groups = 3"):
        unit_agreement(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)), np.eye(24), GRID, GRID, groups=3)
    pair = np.ones((2, 3)), np.ones((2, 3))
    for bad, words in (
        ({"groups": 3}, "groups = 3"),
        ({"groups": 1, "fraction": 1.0}, "fraction = 1"),
        ({"groups": 1, "weights": -pair[0]}, "weights = -1"),
        ({"groups": 1, "weights": np.ones(3)}, "one shape"),
    ):
        with pytest.raises(ValueError, match=words):
            top_share(*pair, np.eye(24), GRID, GRID, **bad)
    with pytest.raises(ValueError, match="spectrum of shape"):
        top_share(*pair, np.eye(23), GRID, GRID, groups=1)
    with pytest.raises(ValueError, match="outside the grid"):
        top_share(pair[0] + 9, pair[1], np.eye(24), GRID, GRID, groups=1)
    with pytest.raises(ValueError, match="width = -1"):
        blurred(np.zeros((24, 24)), GRID, GRID, -1.0)
