"""Networks of finite reach: theory's low-pass, and what a grid makes of it."""

import numpy as np
import pytest
from deepdynamics.ridgelet import AdmissiblePair, GaussianBumps, low_pass, rebuild
from scipy.ndimage import gaussian_filter1d

X = np.linspace(-1, 1, 31)
CORNERS, HEIGHTS = np.array([-1.0, -0.3, 0.2, 0.9]), np.array([0.5, -1.0, 2.0, 0.3])
BUMPS = GaussianBumps.draw(3, seed=0)


def test_relu_is_a_gaussian_blur():
    """Against a discrete convolution, whose error at the two jumps is its step times their height."""
    fine = np.linspace(-4, 4, 80_001)
    polygon = np.interp(fine, CORNERS, HEIGHTS, left=0, right=0)
    blurred = gaussian_filter1d(polygon, 10_000 / 8, mode="constant", truncate=8)
    found = low_pass((CORNERS, HEIGHTS), AdmissiblePair.get("relu"), 8.0, X)
    assert found == pytest.approx(np.interp(X, fine, blurred), abs=2e-4)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gaussian"])
@pytest.mark.parametrize("f", [(CORNERS, HEIGHTS), BUMPS])
def test_a_fine_grid_computes_the_low_pass(activation, f):
    pair = AdmissiblePair.get(activation)
    assert rebuild(f, pair, 8.0, X, radius=1.9) == pytest.approx(low_pass(f, pair, 8.0, X, radius=1.9), abs=2e-3)


def test_nothing_is_missed_in_the_limit():
    assert low_pass(BUMPS, AdmissiblePair.get("tanh"), 2000.0, X, radius=1.9) == pytest.approx(BUMPS(X), abs=1e-4)


def test_outputs_share_their_units():
    f = CORNERS, np.stack([HEIGHTS, -2 * HEIGHTS], 1)
    for routine in (rebuild, low_pass):
        found = routine(f, AdmissiblePair.get("relu"), 5.0, X)
        assert found.shape == (31, 2) and found[:, 1] == pytest.approx(-2 * found[:, 0])


def test_the_plane_and_functions():
    f = GaussianBumps.draw(2, seed=4, dimension=2)
    pair, points = AdmissiblePair.get("relu", dimension=2), np.array([[0.1, 0.2], [-0.4, 0.0]])
    found = rebuild(f, pair, 40.0, points, radius=1.9)
    assert found == pytest.approx(f(points), abs=0.1 * np.abs(f.heights).sum())
    line = rebuild(lambda x: (1 - x**2) ** 2, AdmissiblePair.get("relu"), 20.0, [0.0, 0.5])
    assert line == pytest.approx([1.0, 0.5625], abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rebuild(BUMPS, AdmissiblePair.get("relu", dimension=3), 5.0, X), "dimension 3"),
        (lambda: low_pass(BUMPS, AdmissiblePair.get("relu", dimension=2), 5.0, X), "dimension 2"),
        (lambda: rebuild(BUMPS, AdmissiblePair.get("relu"), 0.0, X), "reach = 0"),
        (lambda: low_pass(BUMPS, AdmissiblePair.get("relu"), 5.0, X, radius=-1.0), "radius = -1"),
        (lambda: low_pass(([0.0], [1.0]), AdmissiblePair.get("relu"), 5.0, X), "two or more"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
