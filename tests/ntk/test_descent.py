"""Descent of networks against that of the linear model with their kernel, and the variance over draws."""

import numpy as np
import pytest
import torch
from deepdynamics import ntk
from deepdynamics.ntk import descend, ensemble_variance, linear_descent
from torch import nn

DRAW = np.random.default_rng(0)
X, Y, AT = DRAW.normal(size=(6, 3)), DRAW.normal(size=(6, 2)), DRAW.normal(size=(4, 3))
BATCHES = [[0, 1, 2], [3, 4, 5], [5, 1, 0], [2, 3, 4]] * 5


def _linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2).double()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batches", [None, BATCHES])
@pytest.mark.parametrize("shared", [True, False])
def test_a_linear_network_is_its_linear_model(momentum, batches, shared):
    model = _linear()
    theta, theta_at = (ntk.empirical(model, torch.tensor(p), torch.tensor(X)).detach().numpy() for p in (X, AT))
    if shared:  # one kernel for both outputs
        theta, theta_at = theta[::2, ::2], theta_at[::2, ::2]
    f0, f0_at = (model(torch.tensor(p)).detach().numpy() for p in (X, AT))
    how = {"learning_rate": 0.05, "steps": 20, "momentum": momentum, "batches": batches, "every": 4}
    linear = linear_descent(theta, f0, Y, theta_at=theta_at, f0_at=f0_at, **how)
    found = descend(model, X, Y, at=AT, **how)
    assert linear.shape == (6, 4, 2)
    np.testing.assert_allclose(found, linear, atol=1e-12)


def test_without_other_points_the_training_points():
    theta = X @ X.T + 1
    how = {"learning_rate": 0.1, "steps": 7}
    np.testing.assert_allclose(
        linear_descent(theta, 0.0, Y, **how), linear_descent(theta, 0.0, Y, theta_at=theta, **how), atol=1e-14
    )


def test_small_steps_are_the_flow():
    theta, f0 = X @ X.T + np.eye(6), DRAW.normal(size=(6, 2))
    found = linear_descent(theta, f0, Y, learning_rate=1e-3, steps=2000, every=1000)
    np.testing.assert_allclose(
        found, ntk.linearised_outputs(theta, f0, Y, [0, 1000, 2000], learning_rate=1e-3), atol=2e-3
    )


def test_a_large_scale_is_lazy_and_starts_from_zero():
    moved = []
    for scale in (1.0, 100.0):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 2)).double()
        before = ntk.empirical(model, torch.tensor(X))
        outputs = descend(model, X, Y, learning_rate=0.1 / scale**2, steps=300, scale=scale)
        assert not outputs[0].any() and np.square(outputs[-1] - Y).mean() < 0.5 * np.square(Y).mean()
        moved.append(float((ntk.empirical(model, torch.tensor(X)) - before).norm() / before.norm()))
    assert moved[1] < 0.03 * moved[0]


def test_variance_against_draws():
    points = np.concatenate([X, AT])
    K, theta = ntk.infinite_width(points, None, "erf", 1.5, 0.1, 2)
    factor = np.linalg.cholesky(K)
    f = factor @ DRAW.normal(size=(10, 200_000))
    ends = f[6:] - theta[6:, :6] @ np.linalg.solve(theta[:6, :6], f[:6])
    law = ensemble_variance(theta[6:, :6], theta[:6, :6], K[6:, :6], K[:6, :6], np.diag(K)[6:])
    np.testing.assert_allclose(ends.var(1), law, rtol=0.02)  # 2e5 draws: 0.3 % each


def test_the_posterior_variance_of_a_gaussian_process():
    K = ntk.infinite_width(np.concatenate([X, AT]), None, "relu", 2.0, 0.1, 1)[0]
    posterior = np.diag(K[6:, 6:] - K[6:, :6] @ np.linalg.solve(K[:6, :6], K[:6, 6:]))
    np.testing.assert_allclose(
        ensemble_variance(K[6:, :6], K[:6, :6], K[6:, :6], K[:6, :6], np.diag(K)[6:]), posterior, atol=1e-12
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"theta": np.eye(5)}, "theta of shape"),
        ({"theta_at": np.ones((2, 5))}, "theta_at of shape"),
        ({"momentum": 1.0}, "momentum = 1.0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"batches": [[0]]}, "batches: 1 for 2 steps"),
        ({"batches": [[0], [6]]}, "batches"),
    ],
)
def test_what_is_refused(change, match):
    arguments = {"theta": np.eye(6), "f0": 0.0, "y": Y, "learning_rate": 0.1, "steps": 2} | change
    with pytest.raises(ValueError, match=match):
        linear_descent(**arguments)
