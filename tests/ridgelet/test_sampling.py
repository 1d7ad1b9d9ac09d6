"""Hidden units drawn from the spectrum: their law, and what it is worth."""

import numpy as np
import pytest
import torch
from deepdynamics.ridgelet import (
    AdmissiblePair,
    evaluate,
    even_parameters,
    midpoints,
    output_weights,
    polar_grid,
    reconstruct,
    residual,
    sample_network,
    sample_parameters,
    transform,
)
from scipy import stats

A, B = midpoints(3.0, 6), np.array([-2.0, -1.0, 0.0, 1.0])
GAMMA = np.random.default_rng(5).standard_normal((6, 4))
GAMMA[2, 1] = 0


def test_cells_are_chosen_by_size():
    a, b = sample_parameters(GAMMA, A, B, 40_000, seed=1)
    rows, columns = np.floor(a + 3).astype(int), np.floor(b + 2.5).astype(int)
    counts = np.zeros((6, 4))
    np.add.at(counts, (rows, columns), 1)
    assert counts[2, 1] == 0
    some = GAMMA != 0
    expected = np.abs(GAMMA[some]) / np.abs(GAMMA).sum() * 40_000
    assert stats.chisquare(counts[some], expected).pvalue > 1e-3


def test_uniform_inside_a_cell():
    a, b = sample_parameters(GAMMA, A, B, 20_000, seed=2)
    for place in ((a + 3) % 1, (b + 2.5) % 1):
        assert stats.kstest(place, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef((a + 3) % 1, (b + 2.5) % 1)[0, 1]) < 4 / np.sqrt(20_000)


def test_cells_of_the_plane_count_by_their_areas():
    a, areas = polar_grid(2.0, 3, 4)
    gamma = np.random.default_rng(6).standard_normal((12, 4, 2))
    sampled_a, sampled_b = sample_parameters(gamma, a, B, 40_000, seed=1, areas=areas)
    assert sampled_a.shape == (40_000, 2) and sampled_b.shape == (40_000,)
    rows = np.square(sampled_a[:, None] - a).sum(-1).argmin(1)
    assert np.array_equal(a[rows], sampled_a)  # points of the grid
    counts = np.zeros((12, 4))
    np.add.at(counts, (rows, np.floor(sampled_b + 2.5).astype(int)), 1)
    mass = np.linalg.norm(gamma, axis=2) * areas[:, None]
    assert stats.chisquare(counts.ravel(), (mass / mass.sum()).ravel() * 40_000).pvalue > 1e-3
    assert stats.kstest((sampled_b + 2.5) % 1, "uniform").pvalue > 1e-3
    with pytest.raises(ValueError, match="a of shape"):
        sample_parameters(gamma, a, B, 5, 0)


def test_outputs_count_by_their_norm():
    gamma = np.stack([3 * GAMMA, 4 * GAMMA], -1)
    for one, other in zip(
        sample_parameters(gamma, A, B, 50, 7), sample_parameters(-GAMMA, A.tolist(), B, 50, 7), strict=True
    ):
        assert one == pytest.approx(other)


def test_seeds():
    first, again, other = (sample_parameters(GAMMA, A, B, 5, seed)[0] for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()
    for make in (lambda: np.random.default_rng(3), lambda: torch.Generator().manual_seed(3)):
        rng = make()
        a, b = sample_parameters(torch.from_numpy(GAMMA), A, B, 5, rng)
        assert a.shape == b.shape == (5,) and a.dtype == np.float64
        assert a.tolist() == sample_parameters(GAMMA, A, B, 5, make())[0].tolist()
        assert a.tolist() != sample_parameters(GAMMA, A, B, 5, rng)[0].tolist()


@pytest.mark.parametrize(("units", "ridgelet", "box"), [(10, 0.115, 0.418), (20, 0.0098, 0.138)])
def test_what_it_is_worth(units, ridgelet, box):
    """Median error over 100 draws of hidden units for sin 2πx, output weights by ridge: from the spectrum of the pair
    of tanh on [-15, 15]², and uniform there."""
    x, grid = np.linspace(-1, 1, 201), midpoints(15.0, 90)
    y = np.sin(2 * np.pi * x)
    R = transform((x, y), AdmissiblePair.get("tanh"), grid, grid)

    def error(a, b):
        phi = np.tanh(np.outer(x, a) - b)
        c = np.linalg.solve(phi.T @ phi / 201 + 1e-6 * np.eye(units), phi.T @ y / 201)
        return np.sqrt(np.mean((phi @ c - y) ** 2))

    drawn = np.median([error(*sample_parameters(R, grid, grid, units, seed)) for seed in range(100)])
    uniform = np.median([error(*np.random.default_rng(seed).uniform(-15, 15, (2, units))) for seed in range(100)])
    assert drawn == pytest.approx(ridgelet, rel=0.25) and uniform == pytest.approx(box, rel=0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((6, 4)), A, B, 5, 0), "gamma is 0 everywhere"),
        ((GAMMA, A, B, 0, 0), "count = 0"),
        ((GAMMA, A, B, 2.0, 0), "count = 2.0"),
        ((GAMMA, A, B, 5, -1), "seed = -1"),
        ((GAMMA.T, A, B, 5, 0), "gamma of shape"),
        ((GAMMA, A**3, B, 5, 0), "a has steps"),
        ((np.full((6, 4), np.inf), A, B, 5, 0), "gamma"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_parameters(*arguments)


@pytest.mark.parametrize("outputs", [None, 2])
def test_the_mean_of_sampled_networks_is_the_reconstruction(outputs):
    """8,000 units in cells that are small for tanh: five standard errors of their mean, and 1 % for the cells."""
    a, b, pair, x = midpoints(3.0, 30), midpoints(4.0, 40), AdmissiblePair.get("tanh"), np.linspace(-1, 1, 5)
    gamma = np.outer(np.sin(a), np.cos(b)) - 0.1
    gamma = gamma if outputs is None else np.stack([gamma, gamma**2], -1)
    net_a, net_b, c = sample_network(gamma, pair, a, b, 8000, seed=0)
    drawn = sample_parameters(gamma, a, b, 8000, seed=0)
    assert np.array_equal(net_a, drawn[0]) and np.array_equal(net_b, drawn[1])
    expected = reconstruct(gamma, pair, a, b, x)
    found = evaluate("tanh", net_a, net_b, c, x)
    error = np.sqrt(8000) * np.linalg.norm(c.reshape(8000, -1), axis=1).max()  # each unit is at most 1
    assert found.shape == expected.shape and np.abs(found - expected).max() < 5 * error + 0.01 * np.abs(expected).max()


def test_output_weights_are_those_of_ridge_regression():
    rng = np.random.default_rng(0)
    x, y, a, b = rng.normal(size=(40, 2)), rng.normal(size=(40, 3)), rng.normal(size=(7, 2)), rng.normal(size=7)
    units = np.tanh(x @ a.T - b)
    expected = np.linalg.solve(units.T @ units / 40 + 0.1 * np.eye(7), units.T @ y / 40)
    found = output_weights(x, y, "tanh", a, b, decay=0.1)
    assert found == pytest.approx(expected)
    assert output_weights(x, y[:, 0], "tanh", a, b, decay=0.1) == pytest.approx(expected[:, 0])
    assert evaluate("tanh", a, b, found, x) == pytest.approx(units @ expected)
    error = residual(x, y, "tanh", a, b, decay=0.1)
    assert error == pytest.approx(np.sqrt(np.mean((units @ expected - y) ** 2)))


def test_even_parameters_have_even_sharpness_and_places():
    a, b = even_parameters(5.0, 4000, 3, radius=2.0)
    again = even_parameters(5.0, 4000, 3, radius=2.0)
    assert np.array_equal(a, again[0]) and np.array_equal(b, again[1])
    assert stats.kstest(a, "uniform", (-5, 10)).pvalue > 1e-3
    assert stats.kstest(b / a, "uniform", (-2, 4)).pvalue > 1e-3
    assert abs(np.corrcoef(np.abs(a), b / a)[0, 1]) < 4 / np.sqrt(4000)


@pytest.mark.parametrize("m", [1, 2])
def test_many_networks_are_each_for_itself(m):
    rng = np.random.default_rng(1)
    x, y, a, b = rng.normal(size=(20, m)), rng.normal(size=20), rng.normal(size=(4, 5, m)), rng.normal(size=(4, 5))
    a = a[..., 0] if m == 1 else a
    c, errors = (routine(x, y, "relu", a, b, decay=1e-3) for routine in (output_weights, residual))
    for k in range(4):
        assert np.array_equal(c[k], output_weights(x, y, "relu", a[k], b[k], decay=1e-3))
        assert errors[k] == residual(x, y, "relu", a[k], b[k], decay=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: even_parameters(0.0, 3, 0), "reach = 0"),
        (lambda: even_parameters(1.0, 3, 0, radius=np.inf), "radius = inf"),
        (lambda: even_parameters(1.0, 0, 0), "count = 0"),
        (lambda: output_weights([0.0, 1.0], [1.0], "relu", [1.0], [0.0]), "y of shape"),
        (lambda: output_weights([0.0, 1.0], [1.0, 1.0], "relu", [1.0, 2.0], [0.0]), "a has 2 units and b 1"),
        (lambda: output_weights([0.0, 1.0], [1.0, 1.0], "relu", [1.0], [0.0], decay=-1.0), "decay = -1"),
        (lambda: output_weights([0.0, 1.0], [1.0, 1.0], "relu", [[1.0]], [[0.0, 1.0]]), "a, b of shapes"),
        (lambda: evaluate("relu", [1.0], [0.0], [1.0, 2.0], [0.0]), "c of shape"),
        (lambda: residual([0.0, np.nan], [1.0, 1.0], "relu", [1.0], [0.0]), "x"),
    ],
)
def test_bad_input_of_networks(call, message):
    with pytest.raises(ValueError, match=message):
        call()
