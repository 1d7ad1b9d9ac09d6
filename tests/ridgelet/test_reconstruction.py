"""S[R[f]] = K f: against the low-pass that the truncation of \\|a\\| computes, with the orders of the errors."""

import math

import numpy as np
import pytest
import torch
from deepdynamics.ridgelet import (
    AdmissiblePair,
    gaussian_transform,
    midpoints,
    polar_grid,
    reconstruct,
    transform,
    truncation,
)
from scipy.integrate import quad
from scipy.special import erfc, j0

NAMES = ("relu", "softplus", "step", "tanh", "sigmoid", "gaussian")
X = np.linspace(-1, 1, 81)
MEAN, VARIANCE = 0.2, 0.09
F = np.exp(-((X - MEAN) ** 2) / (2 * VARIANCE))


def low_pass(pair, bound):
    """What parameters up to the bound give of the Gaussian F, by its Fourier integral."""
    w, step = np.linspace(0, 25, 401, retstep=True)
    hat = math.sqrt(2 * math.pi * VARIANCE) * np.exp(-VARIANCE * w**2 / 2) * truncation(pair, w / bound)
    hat[0] /= 2
    return np.cos(np.outer(X - MEAN, w)) @ hat * step / math.pi


def rebuilt(pair, bound, na, nb, b_bound=None):
    a, b = midpoints(bound, na), midpoints(b_bound or 1.7 * bound + 9, nb)
    return reconstruct(gaussian_transform(pair, MEAN, VARIANCE, a, b), pair, a, b, X)


TOLERANCE = {"relu": 2e-4, "softplus": 2e-5, "step": 1.2e-2, "tanh": 5e-6, "sigmoid": 5e-6, "gaussian": 4e-6}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_rebuilds_the_low_pass(name, scale):
    pair = AdmissiblePair.get(name, scale=scale)
    found = rebuilt(pair, 10, 200, 1200, 9 * scale + 17)
    assert np.abs(found - low_pass(pair, 10)).max() < TOLERANCE[name] * scale


def test_what_truncation_costs():
    """The largest errors over [-1, 1] at A = 5, 10, 20, 40."""
    table = {
        "relu": (0.168, 0.0513, 0.0136, 0.00345),
        "step": (0.168, 0.0513, 0.0136, 0.00345),
        "tanh": (0.243, 0.083, 0.0229, 0.0059),
        "gaussian": (0.272, 0.095, 0.0267, 0.0069),
        "sigmoid": (0.365, 0.150, 0.0457, 0.0122),
        "softplus": (0.365, 0.150, 0.0457, 0.0122),
    }
    for name, row in table.items():
        pair = AdmissiblePair.get(name)
        errors = [np.abs(low_pass(pair, bound) - F).max() for bound in (5, 10, 20, 40)]
        assert errors == pytest.approx(row, rel=0.01)
        assert errors[2] / errors[3] == pytest.approx(4, abs=0.3)  # A^-2


def test_a_higher_order_converges_faster():
    pair = AdmissiblePair.get("relu", order=6)
    assert pair.constant == pytest.approx(4 * math.sqrt(2 * math.pi), rel=1e-14)
    errors = [np.abs(low_pass(pair, bound) - F).max() for bound in (5, 10, 20, 40)]
    assert errors[:2] == pytest.approx([0.040, 0.0039], rel=0.01)
    assert errors[2] / errors[3] == pytest.approx(16, abs=1.5)  # A^-4
    assert np.abs(rebuilt(pair, 10, 200, 1200) - F).max() == pytest.approx(errors[1], rel=0.1)


@pytest.mark.parametrize(("name", "order", "room"), [("relu", 2, 0.1), ("tanh", 2, 0.1), ("step", 1, 0.5)])
def test_order_of_the_grid(name, order, room):
    pair = AdmissiblePair.get(name)
    exact = low_pass(pair, 10)
    errors = [np.abs(rebuilt(pair, 10, n, 2 * n, 19) - exact).max() for n in (50, 100, 200, 400)]
    assert math.log2(errors[0] / errors[-1]) / 3 == pytest.approx(order, abs=room)


def test_sine_on_an_interval_misses_what_truncation_takes():
    """f = sin 2πx on [-1, 1] and 0 outside: away from the kinks at ±1 the error is 1 - M(2π/A)."""
    pair, x, f = AdmissiblePair.get("relu"), np.linspace(-0.8, 0.8, 33), np.linspace(-1, 1, 401)
    for bound, expected in ((10, 0.1791), (20, 0.0482)):
        a, b = midpoints(bound, 8 * bound), midpoints(bound + 9, 1000)
        found = reconstruct(transform((f, np.sin(2 * np.pi * f)), pair, a, b), pair, a, b, x)
        error = np.abs(found - np.sin(2 * np.pi * x)).max()
        assert error == pytest.approx(1 - truncation(pair, 2 * np.pi / bound), rel=0.01)
        assert error == pytest.approx(expected, rel=0.01)


def test_in_the_plane():
    """A bump rebuilt from a disc of parameters, against its low-pass with erfc(w/(A√2)); at its peak .757464."""
    pair, variance, bound = AdmissiblePair.get("relu", 2), 0.16, 10.0
    points = np.array([[0.0, 0.0], [0.3, -0.4]])

    def value(w, r):
        return w * variance * math.exp(-variance * w**2 / 2) * erfc(w / bound / math.sqrt(2)) * j0(w * r)

    exact = [quad(value, 0, 30, args=(r,))[0] for r in (0.0, 0.5)]
    assert exact[0] == pytest.approx(0.757464, abs=1e-6)
    errors = []
    for n in (1, 2):
        (a, areas), b = polar_grid(bound, 60 * n, 48 * n), midpoints(2 * bound + 9, 240 * n)
        gamma = gaussian_transform(pair, [0.0, 0.0], variance, a, b)
        errors.append(np.abs(reconstruct(gamma, pair, a, b, points, areas=areas) - exact).max())
    assert errors[1] < 7e-4 and errors[0] / errors[1] == pytest.approx(4, abs=0.5)


def test_is_the_sum_and_takes_any_activation():
    rng = np.random.default_rng(1)
    a, b, x = midpoints(3.0, 5), midpoints(2.0, 4), torch.linspace(-1, 1, 6, dtype=torch.float64)
    gamma = rng.standard_normal((5, 4, 2))
    for activation, function in (
        ("relu", lambda t: np.maximum(t, 0)),
        (torch.nn.SiLU(), lambda t: t / (1 + np.exp(-t))),
        (lambda t: torch.cos(t) + t, lambda t: np.cos(t) + t),
    ):
        expected = np.zeros((6, 2))
        for i, j in np.ndindex(5, 4):
            expected += function(a[i] * x.numpy() - b[j])[:, None] * gamma[i, j] * 1.2 * 1.0
        assert reconstruct(gamma, activation, a, b, x) == pytest.approx(expected, abs=1e-13)
        first = reconstruct(torch.from_numpy(gamma[..., 0]), activation, a.tolist(), b, x)
        assert first == pytest.approx(expected[:, 0], abs=1e-13)


def test_cells_of_other_widths():
    """A grid with every cell of a halved on one side is that with areas."""
    a, b, x = np.array([-0.75, -0.25, 0.5]), midpoints(2.0, 4), [0.3]
    gamma = np.ones((3, 4))
    found = reconstruct(gamma, "tanh", a, b, x, areas=[0.5, 0.5, 1.0])
    assert found == pytest.approx((np.tanh(a * 0.3 - b[:, None]) * [0.5, 0.5, 1.0]).sum(keepdims=True)[0])


def test_grids():
    assert midpoints(1.0, 1).tolist() == [0.0]
    points, areas = polar_grid(3.0, 40, 12)
    assert areas.sum() == pytest.approx(9 * math.pi, rel=1e-14)
    assert (areas * (points**2).sum(1)).sum() == pytest.approx(math.pi / 2 * 81, rel=1e-3)


G = np.ones((4, 4))
AB = midpoints(1.0, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reconstruct(G, "relu", [0.0, 1.0, 2.0, 4.0], AB, X), "a has steps from 1 to 2: .*equal steps"),
        (lambda: reconstruct(G, "relu", AB, AB[::-1], X), "b has steps"),
        (lambda: reconstruct(G[:1], "relu", [0.0], AB, X), "a has 1 point"),
        (lambda: reconstruct(G[:3], "relu", AB, AB, X), "gamma of shape"),
        (lambda: reconstruct(G[0], "relu", AB, AB, X), "gamma of shape"),
        (lambda: reconstruct(G * np.nan, "relu", AB, AB, X), "gamma"),
        (lambda: reconstruct(G, "relu", AB, AB, []), "x of shape"),
        (lambda: reconstruct(G, "no such", AB, AB, X), "unknown"),
        (lambda: reconstruct(G, "relu", AB, AB, X, areas=[1.0]), "areas of shape"),
        (lambda: reconstruct(G, "relu", AB, AB, X, areas=[1, 1, 1, 0]), "4 positive numbers"),
        (lambda: reconstruct(G, "relu", np.ones((4, 2)), AB, np.ones((3, 2))), "areas of its cells are needed"),
        (lambda: reconstruct(G, AdmissiblePair.get("relu", 2), AB, AB, X), "x of shape"),
        (lambda: reconstruct(G, "relu", np.ones((4, 2)), AB, X), "a of shape"),
        (lambda: midpoints(-1.0, 3), "bound = -1"),
        (lambda: midpoints(1.0, 0), "cells = 0"),
        (lambda: polar_grid(1.0, 2.5, 3), "radii = 2.5"),
        (lambda: polar_grid(np.inf, 2, 3), "bound = inf"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
