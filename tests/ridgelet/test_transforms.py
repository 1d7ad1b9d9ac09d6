"""The ridgelet transform: against loops, closed forms and its symmetries."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from deepdynamics.ridgelet import (
    AdmissiblePair,
    gaussian_transform,
    polar_grid,
    polygon_transform,
    sine_transform,
    sums,
    transform,
)
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("relu", "softplus", "step", "tanh", "sigmoid", "gaussian")
X = np.linspace(-1, 1, 201)
A, B = np.linspace(-6, 6, 7), np.linspace(-8, 8, 9)


def bump(x, mean=0.2, variance=0.09):
    return np.exp(-((x - mean) ** 2) / (2 * variance))


def naive(x, values, rho, a, b):
    """The trapezoid rule written out, one integral at a time."""
    out = np.empty((len(a), len(b)))
    for i, j in np.ndindex(out.shape):
        y = values * rho(a[i] * x - b[j])
        out[i, j] = sum((x[n + 1] - x[n]) * (y[n] + y[n + 1]) / 2 for n in range(len(x) - 1))
    return out


@pytest.mark.parametrize("name", NAMES)
def test_is_the_trapezoid_rule(name):
    pair = AdmissiblePair.get(name, scale=1.4)
    x = np.sort(np.random.default_rng(0).uniform(-1, 1, 40))
    found = transform((x, np.sin(5 * x)), pair, A, B)
    assert found == pytest.approx(naive(x, np.sin(5 * x), pair.rho, A, B), abs=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1.0, 1.7])
@pytest.mark.parametrize("more", [0, 2])
def test_gaussian_closed_form(name, scale, more):
    order = AdmissiblePair.get(name).rho.order + more
    pair = AdmissiblePair.get(name, order=order, scale=scale)
    x = np.linspace(-4, 4, 1501)
    found = transform((x, bump(x)), pair, A, B)
    assert found == pytest.approx(gaussian_transform(pair, 0.2, 0.09, A, B), abs=1e-12)


def test_gaussian_closed_form_in_the_plane():
    a, _ = polar_grid(5.0, 3, 5)
    mean, variance = np.array([0.1, -0.2]), 0.02
    for name in ("relu", "tanh", "gaussian"):
        pair = AdmissiblePair.get(name, 2, scale=1.2)
        expected = gaussian_transform(pair, mean, variance, a, B)

        def f(x):
            return np.exp(-((x - mean) ** 2).sum(1) / (2 * variance))

        assert transform(f, pair, a, B) == pytest.approx(expected, abs=1e-7)  # f is 1e-7 at the edge of the square
        axes = np.linspace(-1.4, 1.4, 121), np.linspace(-1.5, 1.1, 111)
        values = f(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)).reshape(121, 111)
        assert transform((axes, values), pair, a, B) == pytest.approx(expected, abs=1e-12)
        both = transform((axes, np.stack([values, -2 * values], -1)), pair, a, B)
        assert both == pytest.approx(np.stack([expected, -2 * expected], -1), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_sine_on_the_line(name):
    pair = AdmissiblePair.get(name)
    a, b = np.array([-5.0, -2.0, 1.5, 4.0]), np.linspace(-3, 3, 7)
    x = np.linspace(-12, 12, 6001)
    found = transform((x, np.sin(3 * x)), pair, a, b)
    assert sine_transform(pair, 3.0, a, b) == pytest.approx(found, abs=1e-12)
    assert sine_transform(pair, 3.0, [0.0], b).tolist() == [[0.0] * 7]
    a = 1e-3  # where the limit is already
    assert sine_transform(pair, 3.0, [a], b) == pytest.approx(0, abs=1e-300)


def test_the_rays_of_the_star():
    """Odd ρ: largest on the rays through the zeros of sin 2πx; even ρ: through its extrema, and 0 on the others."""
    a = np.linspace(3, 9, 5)
    for name, zeros, extrema in (("tanh", 0.25, 0.5), ("relu", 0.5, 0.25)):
        pair = AdmissiblePair.get(name)
        for slope, large in ((zeros, False), (extrema, True)):
            on_ray = [sine_transform(pair, 2 * np.pi, [each], [each * slope])[0, 0] for each in a]
            size = np.abs(pair.rho_hat(2 * np.pi / a)) / a
            assert np.abs(on_ray) == pytest.approx(size * large, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_parity(name):
    pair = AdmissiblePair.get(name)
    sign = (-1) ** pair.rho.order
    for R in (transform((X, np.exp(X)), pair, A, B), gaussian_transform(pair, 0.2, 0.1, A, B)):
        assert R[::-1, ::-1] == pytest.approx(sign * R, abs=1e-14)


@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_linear(p, q, seed):
    f, g = np.random.default_rng(seed).standard_normal((2, 201))
    pair = AdmissiblePair.get("tanh")
    parts = p * transform((X, f), pair, A, B) + q * transform((X, g), pair, A, B)
    assert transform((X, p * f + q * g), pair, A, B) == pytest.approx(parts, abs=1e-13)


@given(st.floats(0.2, 5), st.floats(-1, 1))
def test_dilation_and_shift(scale, shift):
    """f((x - c)/s) has the transform s R[f](s a, b - a c)."""
    pair, values = AdmissiblePair.get("relu"), np.sin(3 * X) + X
    for a in A:
        moved = transform((scale * X + shift, values), pair, [a / scale], B)
        assert moved == pytest.approx(scale * transform((X, values), pair, [a], B - a / scale * shift), abs=1e-12)


def test_outputs_share_the_ridgelets():
    pair = AdmissiblePair.get("tanh")
    values = np.stack([np.sin(X), X**2, np.ones_like(X)], 1)
    found = transform((X, values), pair, A, B)
    assert found.shape == (7, 9, 3)
    for k in range(3):
        assert found[..., k] == pytest.approx(transform((X, values[:, k]), pair, A, B), abs=1e-15)


def test_functions_are_integrated_from_minus_one_to_one():
    pair = AdmissiblePair.get("tanh")
    x = np.linspace(-1, 1, 1001)
    found = transform(lambda x: np.sin(2 * np.pi * x), pair, A, B)
    assert found.tolist() == transform((x, np.sin(2 * np.pi * x)), pair, A, B).tolist()
    many = transform(lambda x: np.stack([x, x**2], 1), pair, A, B)
    assert many.shape == (7, 9, 2)


def test_second_order_where_f_is_cut_off():
    pair = AdmissiblePair.get("tanh")
    exact = transform((np.linspace(-1, 1, 40_001), np.ones(40_001)), pair, A, B)
    errors = [np.abs(transform((np.linspace(-1, 1, n), np.ones(n)), pair, A, B) - exact).max() for n in (101, 201, 401)]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.05) and errors[1] / errors[2] == pytest.approx(4, abs=0.05)


def test_lists_tensors_and_other_numbers():
    pair = AdmissiblePair.get("relu")
    expected = transform((X, np.sin(X)), pair, A, B)
    x = torch.from_numpy(X).requires_grad_()
    found = transform((x, torch.sin(x)), pair, torch.from_numpy(A), B.tolist())
    assert isinstance(found, np.ndarray) and found.dtype == np.float64
    assert found == pytest.approx(expected, abs=1e-15)
    assert gaussian_transform(pair, 0, 1, [1], [0]).shape == (1, 1)


@pytest.mark.parametrize("block", [1, 100, 450, 10**7])
def test_the_size_of_the_blocks_changes_nothing(block, monkeypatch):
    pair, values = AdmissiblePair.get("tanh"), np.stack([np.sin(X), X], 1)
    expected = transform((X, values), pair, A, B)
    monkeypatch.setattr(sums, "_BLOCK", block)
    assert transform((X, values), pair, A, B) == pytest.approx(expected, abs=1e-15)


def test_memory_is_that_of_the_spectrum():
    a = np.linspace(-15, 15, 300)
    tracemalloc.start()
    transform((X, np.sin(X)), AdmissiblePair.get("tanh"), a, a)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6  # 300 · 300 · 201 numbers would be 145 MB


@pytest.mark.parametrize(
    ("f", "a", "b", "message"),
    [
        (([], []), A, B, "points of shape"),
        (([0.0], [1.0]), A, B, "two or more, ascending"),
        ((X[::-1], X), A, B, "two or more, ascending"),
        ((X, X[:-1]), A, B, "values of shape"),
        ((X, np.full(201, np.nan)), A, B, "values"),
        ((X, X.reshape(201, 1, 1)), A, B, "values of shape"),
        ((X, np.zeros((201, 0))), A, B, "values of shape"),
        ((X, X), [], B, "a of shape"),
        ((X, X), A, np.zeros((2, 2)), "b of shape"),
        ((X, X), A[:, None] * np.ones(2), B, "a of shape"),
        ((X, X), [np.inf], B, "a = "),
        (3.0, A, B, "f of type float"),
        (lambda x: x[:3], A, B, "f makes"),
    ],
)
def test_bad_input(f, a, b, message):
    with pytest.raises(ValueError, match=message):
        transform(f, AdmissiblePair.get("relu"), a, b)


def test_bad_input_of_closed_forms():
    with pytest.raises(ValueError, match="pair = 'relu': an AdmissiblePair is allowed"):
        transform((X, X), "relu", A, B)
    pair, plane = AdmissiblePair.get("relu"), AdmissiblePair.get("relu", 2)
    with pytest.raises(ValueError, match="variance = -1"):
        gaussian_transform(pair, 0.0, -1.0, A, B)
    with pytest.raises(ValueError, match="mean of shape"):
        gaussian_transform(plane, 0.0, 1.0, np.zeros((1, 2)), B)
    with pytest.raises(ValueError, match="points: 2 axes"):
        transform((X, X), plane, np.zeros((1, 2)), B)
    with pytest.raises(ValueError, match="dimension 2: one of dimension 1"):
        sine_transform(plane, 1.0, A, B)
    own = AdmissiblePair("relu", np.sin, pair.sigma_hat, pair.rho_hat)
    with pytest.raises(ValueError, match="a GaussianDerivative is allowed"):
        gaussian_transform(own, 0.0, 1.0, A, B)


@pytest.mark.parametrize("pair", [AdmissiblePair.get("relu"), AdmissiblePair.get("tanh", scale=1.5)])
@pytest.mark.parametrize("ends", [(0.0, 0.0), (0.5, 0.3)])
def test_polygons_have_a_closed_form(pair, ends):
    corners, heights = np.array([-1.0, -0.3, 0.2, 0.9]), np.array([ends[0], -1.0, 2.0, ends[1]])
    a, b = [-7.0, -0.01, -5e-5, 0.0, 0.3, 12.0], [-2.0, 0.0, 1.0, 3.0]
    pieces = [np.linspace(*side, 4001) for side in pairwise(corners)]  # corners are points
    expected = sum(transform((x, np.interp(x, corners, heights)), pair, a, b) for x in pieces)
    assert polygon_transform(pair, corners, heights, a, b) == pytest.approx(expected, abs=3e-6)


def test_a_polygon_has_outputs_and_a_ray_for_each_corner():
    pair, heights = AdmissiblePair.get("relu"), np.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    found = polygon_transform(pair, [-0.5, 0.0, 0.5], heights, [20.0, 40.0], [0.0, 9.0])
    assert found.shape == (2, 2, 2) and found[..., 1] == pytest.approx(2 * found[..., 0])
    assert found[0, 0, 0] / found[1, 0, 0] == pytest.approx(4)  # on the ray b = 0 of the corner at 0


def test_bad_polygons():
    pair = AdmissiblePair.get("relu")
    with pytest.raises(ValueError, match="order 2 or more"):
        polygon_transform(AdmissiblePair.get("relu", 2), X, X, A, B)
    with pytest.raises(ValueError, match="two or more, ascending"):
        polygon_transform(pair, X[::-1], X, A, B)
    with pytest.raises(ValueError, match="values of shape"):
        polygon_transform(pair, X, X[:-1], A, B)
