"""The operator S on a grid: adjoint, spectrum, ridge optimum, gradient descent and ghosts, against dense matrices."""

import math

import numpy as np
import pytest
import torch
from deepdynamics.ridgelet import (
    AdmissiblePair,
    IntegralOperator,
    midpoints,
    polar_grid,
    reconstruct,
    ridge_optimum,
    sums,
    transform,
    truncation,
)
from hypothesis import given
from hypothesis import strategies as st

X = np.linspace(-1, 1, 201)
Y = np.sin(2 * np.pi * X)
GRID = midpoints(12.0, 80)


@pytest.fixture(scope="module")
def sheet():
    """tanh on 80 × 80 cells of [-12, 12]² and 201 points."""
    return IntegralOperator("tanh", X, GRID, GRID)


def size(h):
    return math.sqrt(np.mean(np.square(h)))


def dense(S):
    """The matrix from γ (flat) to values, one entry at a time of a and b."""
    area = (S.a[1, 0] - S.a[0, 0]) * (S.b[1] - S.b[0])
    columns = [S.sigma(S.x[:, 0] * a - b) for a in S.a[:, 0] for b in S.b]
    return np.stack(columns, 1) * area, area


@given(st.sampled_from(["relu", "step", "tanh", "gaussian", "gelu", "sin"]), st.integers(0, 2**32 - 1))
def test_adjoint_identity(name, seed):
    rng = np.random.default_rng(seed)
    S = IntegralOperator(name, rng.uniform(-1, 1, 17), midpoints(4.0, 9), midpoints(5.0, 8))
    gamma, h = rng.standard_normal((9, 8)), rng.standard_normal(17)
    left, right = np.mean(S(gamma) * h), np.sum(gamma * S.adjoint(h)) * S.areas[0]
    assert left == pytest.approx(right, abs=1e-15 * S.norm(gamma) * size(h) * math.sqrt(S.eigenvalues[0]) * 10)


def test_adjoint_identity_in_the_plane():
    rng = np.random.default_rng(0)
    a, areas = polar_grid(3.0, 4, 6)
    S = IntegralOperator("tanh", rng.standard_normal((11, 2)), a, midpoints(4.0, 5), areas=areas)
    gamma, h = rng.standard_normal((24, 5, 3)), rng.standard_normal((11, 3))
    inner = (gamma * S.adjoint(h) * S.areas[:, None, None]).sum()
    assert (S(gamma) * h).sum() / 11 == pytest.approx(inner, rel=1e-13)
    assert S(S.ridge(h, 1e-9)) == pytest.approx(h, abs=1e-4)


def test_is_a_reconstruction_without_its_constant(sheet):
    pair = AdmissiblePair.get("tanh")
    R = transform((X, Y), pair, GRID, GRID)
    assert sheet(R) / pair.constant == pytest.approx(reconstruct(R, pair, GRID, GRID, X), abs=1e-14)


@pytest.mark.parametrize("activation", ["relu", "step", torch.nn.SiLU(), lambda t: torch.cos(t) * t])
@pytest.mark.parametrize("beta", [1e-3, 1.0])
def test_ridge_is_the_dense_solution_in_parameter_space(activation, beta):
    S = IntegralOperator(activation, X[::10], midpoints(3.0, 7), midpoints(3.0, 6))
    matrix, area = dense(S)
    n = len(S.x)
    normal = matrix.T @ matrix / n + beta * area * np.eye(42)
    expected = np.linalg.solve(normal, matrix.T @ Y[::10] / n).reshape(7, 6)
    assert S.ridge(Y[::10], beta) == pytest.approx(expected, rel=1e-9, abs=1e-10)
    found = ridge_optimum(X[::10], torch.from_numpy(Y[::10].copy()), activation, S.a[:, 0], S.b.tolist(), beta)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-10)


def test_ridge_optimum_is_a_minimum(sheet):
    gamma = sheet.ridge(Y, 0.1)

    def objective(g):
        return size(Y - sheet(g)) ** 2 + 0.1 * sheet.norm(g) ** 2

    for seed in range(5):
        step = np.random.default_rng(seed).standard_normal((80, 80))
        change = objective(gamma + 1e-3 * step) - objective(gamma)
        quadratic = 1e-6 * (size(sheet(step)) ** 2 + 0.1 * sheet.norm(step) ** 2)
        assert change == pytest.approx(quadratic, rel=1e-6)  # no linear term


@pytest.mark.parametrize("shape", [(3, 4), (9, 5)])
def test_eigenvalues_are_those_of_the_dense_matrix(shape):
    """With fewer parameters than points there are zeros."""
    S = IntegralOperator("tanh", X[::10], midpoints(3.0, shape[0]), midpoints(4.0, shape[1]))
    matrix, area = dense(S)
    expected = np.linalg.svd(matrix / math.sqrt(area * len(S.x)))[1]
    assert len(S.eigenvalues) == len(S.x)
    assert np.sqrt(S.eigenvalues)[: len(expected)] == pytest.approx(expected, abs=1e-14 * expected[0])
    assert (S.eigenvalues[len(expected) :] == 0).all() and (np.diff(S.eigenvalues) <= 0).all()


def test_the_size_of_the_blocks_changes_nothing(monkeypatch):
    a, b = midpoints(3.0, 9), midpoints(4.0, 11)
    expected = IntegralOperator("relu", X[::10], a, b)
    for block in (1, 50, 10**7):
        monkeypatch.setattr(sums, "_BLOCK", block)
        S = IntegralOperator("relu", X[::10], a, b)
        assert pytest.approx(expected.eigenvalues, abs=1e-12) == S.eigenvalues
        assert pytest.approx(expected.ridge(Y[::10], 0.1), abs=1e-12) == S.ridge(Y[::10], 0.1)
        assert pytest.approx(expected(np.ones((9, 11))), abs=1e-12) == S(np.ones((9, 11)))


def test_spectrum_of_the_sheet(sheet):
    values = sheet.eigenvalues
    assert values[[0, 1, 4, 9, 19, 39]] == pytest.approx([378, 111, 4.05, 0.26, 2.7e-3, 5.9e-7], rel=0.01)
    assert (values > 1e-10 * values[0]).sum() == 46


@pytest.mark.parametrize(("beta", "fit", "steps"), [(1e-4, 5e-4, 0.27), (0.01, 0.008, 0.14), (1, 0.22, 5.5e-6)])
def test_fit_and_descent_of_the_sheet(sheet, beta, fit, steps):
    gamma = sheet.ridge(Y, beta)
    assert size(sheet(gamma) - Y) / size(Y) == pytest.approx(fit, rel=0.03)
    after = sheet.descent(Y, beta, 3000)
    assert sheet.norm(after - gamma) / sheet.norm(gamma) == pytest.approx(steps, rel=0.03)


def test_profile_of_the_optimum(sheet):
    """γ* is not R[f] of the pair: the correlation is .43, and .85 where ρ is stretched three times."""
    gamma = sheet.ridge(Y, 1e-4).ravel()
    for scale, low, high in ((1, 0.41, 0.45), (2, 0.82, 0.86), (3, 0.84, 0.88)):
        R = transform((X, Y), AdmissiblePair.get("tanh", scale=scale), GRID, GRID).ravel()
        assert low < np.corrcoef(gamma, R)[0, 1] < high


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_descent_is_what_its_steps_do(beta):
    S = IntegralOperator("tanh", X[::20], midpoints(4.0, 8), midpoints(4.0, 7))
    y = np.stack([Y[::20], X[::20]], 1)
    gamma = np.zeros((8, 7, 2))
    for step in range(1, 51):
        gamma = gamma + (S.adjoint(y - S(gamma)) - beta * gamma) / (S.eigenvalues[0] + beta)
        if step in (1, 2, 50):
            assert S.descent(y, beta, step) == pytest.approx(gamma, abs=1e-13)


def test_descent_factors_are_the_rates_of_the_modes():
    S = IntegralOperator("tanh", X[::20], midpoints(4.0, 8), midpoints(4.0, 7))
    beta, y = 0.5, Y[::20]
    best, factors = S.ridge(y, beta), S.descent_factors(beta)
    assert factors == pytest.approx(1 - (S.eigenvalues + beta) / (S.eigenvalues[0] + beta), abs=1e-15)
    errors = [S(S.descent(y, beta, steps) - best) for steps in (3, 4)]
    modes = S._modes[1]
    assert modes.T @ errors[1] == pytest.approx(factors * (modes.T @ errors[0]), abs=1e-12)
    assert S.descent(y, 0.0, 10**9)[..., None].shape == (8, 7, 1)


def test_ghosts(sheet):
    pair = AdmissiblePair.get("tanh")
    gamma = transform((X, Y), pair, GRID, GRID) / pair.constant
    seen = sheet.project(gamma)
    assert sheet(seen) == pytest.approx(sheet(gamma), abs=1e-7)
    assert sheet.project(seen) == pytest.approx(seen, abs=1e-8)
    assert sheet.norm(seen) ** 2 / sheet.norm(gamma) ** 2 == pytest.approx(0.198, abs=5e-4)
    assert sheet.norm(gamma) ** 2 == pytest.approx(0.364, abs=5e-4)
    assert sheet.norm(sheet.ridge(Y, 1e-4)) ** 2 == pytest.approx(0.146, abs=5e-4)
    assert size(sheet(gamma) - Y) / size(Y) == pytest.approx(0.208, abs=5e-4)
    assert 1 - truncation(pair, 2 * np.pi / 12) == pytest.approx(0.2077, abs=1e-4)
    ghost = gamma - seen
    assert sheet.norm(seen) ** 2 + sheet.norm(ghost) ** 2 == pytest.approx(sheet.norm(gamma) ** 2, rel=1e-8)


def test_projection_of_noise(sheet):
    gamma = np.random.default_rng(0).standard_normal((80, 80))
    seen = sheet.project(gamma)
    assert sheet.norm(sheet.project(seen) - seen) < 1e-7 * sheet.norm(seen)
    assert size(sheet(seen - gamma)) < 1e-6 * size(sheet(gamma))
    assert sheet.norm(seen) ** 2 / sheet.norm(gamma) ** 2 < 0.02  # some 70 of 6,400 dimensions
    limit = sheet.ridge(sheet(gamma), 1e-12)  # without decay, the shortest coefficients of these values
    assert size(sheet(limit - seen)) < 1e-5 * size(sheet(seen))


def test_projection_is_the_pseudo_inverse_where_it_is_well_conditioned():
    S = IntegralOperator("step", X[::40], midpoints(5.0, 9), midpoints(5.0, 8))
    gamma = np.random.default_rng(0).standard_normal((9, 8, 2))
    matrix, _ = dense(S)
    expected = np.linalg.pinv(matrix) @ matrix @ gamma.reshape(72, 2)
    assert S.project(gamma).reshape(72, 2) == pytest.approx(expected, abs=1e-12)


def test_where_s_is_an_isometry_the_optimum_is_the_shrunk_adjoint():
    """γ* = S* f/(1 + β) holds where S S* = Id: a single point, scaled."""
    S = IntegralOperator("relu", [1.0], midpoints(2.0, 6), midpoints(2.0, 6))
    scale = S.eigenvalues[0]
    assert S.ridge([2.0], scale * 0.7) == pytest.approx(S.adjoint([2.0]) / (scale * 1.7), abs=1e-15)


def test_outputs(sheet):
    y = np.stack([Y, X], 1)
    both = sheet.ridge(y, 0.1)
    assert both.shape == (80, 80, 2) and sheet(both).shape == (201, 2)
    assert both[..., 1] == pytest.approx(sheet.ridge(X, 0.1), abs=1e-15)
    assert sheet.norm(both) ** 2 == pytest.approx(sum(sheet.norm(both[..., k]) ** 2 for k in (0, 1)))


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_decay_is_positive(sheet, beta):
    with pytest.raises(ValueError, match="beta = "):
        sheet.ridge(Y, beta)
    if beta != 0:
        with pytest.raises(ValueError, match="beta = "):
            sheet.descent_factors(beta)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda S: S.ridge(Y[:3], 1.0), r"y of shape \(3,\): \(201,\) or"),
        (lambda S: S.ridge(Y * np.nan, 1.0), "y = "),
        (lambda S: S.adjoint(Y[:, None, None]), "h of shape"),
        (lambda S: S(np.ones((80, 79))), "gamma of shape"),
        (lambda S: S.descent(Y, 1.0, 0), "steps = 0"),
        (lambda S: IntegralOperator("tanh", [], GRID, GRID), "x of shape"),
        (lambda S: IntegralOperator("tanh", X, GRID, [0.0, 1.0, 3.0]), "b has steps from 1 to 2"),
        (lambda S: IntegralOperator("nothing", X, GRID, GRID), "unknown"),
        (lambda S: IntegralOperator("tanh", np.ones((3, 2)), GRID, GRID), "a of shape"),
    ],
)
def test_bad_input(sheet, call, message):
    with pytest.raises(ValueError, match=message):
        call(sheet)
