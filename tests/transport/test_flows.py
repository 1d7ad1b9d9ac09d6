"""Flows in steps: orders of convergence against the exact flow, and steps whose inverse is known."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from deepdynamics.networks import MLP
from deepdynamics.transport import Coupling, compose_daes, euler_flow, midpoint_flow, rk4_flow
from scipy.linalg import expm

X = np.random.default_rng(0).normal(size=(6, 2))
A = np.array([[0.5, -2.0], [1.5, -0.3]])
FLOWS = [(euler_flow, 1), (midpoint_flow, 2), (rk4_flow, 4)]


def swirl(x, t):
    """dx/dt = A x/(1 + t), whose flow is e^{A log(1 + t)}; it depends on time."""
    return x @ A.T / (1 + t)


@pytest.mark.parametrize(("flow", "order"), FLOWS)
def test_order_of_convergence(flow, order):
    exact = X @ expm(A * np.log(2)).T
    steps = (32, 64, 128)
    errors = [np.abs(flow(swirl, X, K)[-1] - exact).max() for K in steps]
    for coarse, fine in pairwise(errors):
        assert np.log2(coarse / fine) == pytest.approx(order, abs=0.12)


@pytest.mark.parametrize(("flow", "order"), FLOWS)
def test_on_exponential_growth_a_step_is_taylors_polynomial(flow, order):
    factor = sum((1 / 8) ** k / np.prod(range(1, k + 1)) for k in range(order + 1))
    path = flow(lambda x, t: x, np.ones((1, 1)), 8)
    np.testing.assert_allclose(path[:, 0, 0], factor ** np.arange(9), rtol=1e-14)


def test_a_residual_network_is_eulers_method():
    nets = [MLP((2, 16, 2), "tanh", weight_var=1.5, seed=k) for k in range(5)]
    x = h = torch.tensor(X, dtype=torch.float32)
    for net in nets:
        h = h + net(h) / 5
    path = euler_flow(lambda x, t: nets[round(5 * t)](x), x, 5)
    torch.testing.assert_close(path[-1], h)
    assert path.shape == (6, 6, 2) and path.requires_grad and torch.equal(path[0], x)


def test_types():
    assert isinstance(euler_flow(swirl, X.tolist(), 2), np.ndarray)
    assert euler_flow(lambda x, t: -x, torch.ones(3, 2), 2).dtype == torch.float32
    path = compose_daes([lambda x: torch.as_tensor(x, dtype=torch.float32), lambda x: x / 2], X)
    assert path.dtype == torch.float32 and path.shape == (3, 6, 2)
    np.testing.assert_array_equal(compose_daes([], X), X[None])


def test_a_coupling_goes_back():
    for d in (2, 5):
        first, rest = d // 2, d - d // 2
        f = MLP((rest, 16, first), "tanh", seed=0, dtype=torch.float64)
        g = MLP((first, 16, rest), "relu", seed=1, dtype=torch.float64)
        step, x = Coupling(f, g), torch.randn(7, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(step.inverse(step(x)), x, rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(step(step.inverse(x)), x, rtol=1e-14, atol=1e-14)
        assert not torch.allclose(step(x), x, atol=0.1)
        J = torch.autograd.functional.jacobian(step, x[0])
        torch.testing.assert_close(torch.linalg.det(J), torch.ones((), dtype=torch.float64))


def test_a_coupling_of_forces_is_the_symplectic_euler_method():
    h = 0.05
    step, state = Coupling(lambda p: h * p, lambda q: -h * q), np.array([[1.0, 0.0]])
    energies = []
    for _ in range(2000):
        state = step(state)
        energies.append((state**2).sum())
    assert max(energies) - min(energies) < 2 * h  # explicit Euler: (1 + h²)^2000 = 150


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: euler_flow(swirl, X, 0), "steps = 0"),
        (lambda: rk4_flow(swirl, X, "8"), "steps = '8'"),
        (lambda: midpoint_flow(lambda x, t: x[:, :1], X, 2), r"velocity\(x, t\) of shape \(6, 1\): \(6, 2\)"),
        (lambda: euler_flow(swirl, [[np.inf, 0]], 2), "finite"),
        (lambda: compose_daes([lambda x: x[1:]], X), r"maps\[0\]\(x\) of shape \(5, 2\)"),
        (lambda: Coupling(np.sin, np.sin)([1.0]), "at least 2 coordinates"),
        (lambda: Coupling(np.sin, np.sin)([1.0, 2.0, 3.0]), r"f\(b\) of shape \(2,\): \(1,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
