"""Linearised training against small steps of gradient descent, kernel regression against its definition."""

import numpy as np
import pytest
import torch
from deepdynamics.networks import MLP
from deepdynamics.ntk import infinite_width, infinite_width_ntk, kernel_prediction, linearised_outputs


def kernel(n, rank=None, seed=0):
    A = np.random.default_rng(seed).normal(size=(n, rank or n))
    return A @ A.T


def draw(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("columns", [(), (3,)])
def test_gradient_flow_is_the_limit_of_gradient_descent(columns):
    theta, f0, y = kernel(5), draw(5, *columns), draw(5, *columns, seed=2)
    f, steps = f0.copy(), 20_000
    for _ in range(steps):
        f += 1.5 / steps * 0.7 / 8 * theta @ (y - f)
    found = linearised_outputs(theta, f0, y, [0.0, 1.5], learning_rate=0.7, samples=8)
    assert found.shape == (2, 5, *columns)
    np.testing.assert_allclose(found[0], f0, rtol=1e-12)
    np.testing.assert_allclose(found[1], f, atol=1e-3)  # Euler's error is 1/steps


def test_all_time_leaves_what_the_kernel_does_not_see():
    theta, y = kernel(6, rank=4), draw(6)
    U = np.linalg.svd(theta)[0][:, :4]
    found = linearised_outputs(theta, 0.0, y, np.inf, learning_rate=1.0)
    np.testing.assert_allclose(found, (U @ U.T @ y)[None], atol=1e-12)
    np.testing.assert_allclose(kernel_prediction(theta, theta, y), U @ U.T @ y, atol=1e-10)


def test_prediction_is_where_the_flow_ends():
    joint = kernel(9)
    theta, theta_test = joint[:6, :6], joint[6:, :6]
    y, f0, f0_test = draw(6, 2), draw(6, 2, seed=2), draw(3, 2, seed=3)
    expected = f0_test + theta_test @ np.linalg.inv(theta) @ (y - f0)
    np.testing.assert_allclose(kernel_prediction(theta_test, theta, y, f0, f0_test), expected, rtol=1e-8)
    np.testing.assert_allclose(kernel_prediction(theta, theta, y, f0, f0), y, rtol=1e-8)
    # one kernel for two outputs, or the kernel of all entries, sample-major
    whole = kernel_prediction(np.kron(theta_test, np.eye(2)), np.kron(theta, np.eye(2)), (y - f0).ravel())
    np.testing.assert_allclose(f0_test + whole.reshape(3, 2), expected, rtol=1e-8)


def test_points_that_are_met_twice_have_the_pseudo_inverse():
    x = draw(5, 3)
    twice = np.concatenate([x, x])
    theta = infinite_width_ntk(twice, None, "relu", 2.0, 0.1, 2)
    y = draw(10)
    mean = (y[:5] + y[5:]) / 2
    np.testing.assert_allclose(kernel_prediction(theta[:5], theta, y), mean, rtol=1e-9)


def test_a_kernel_in_float32():
    x, y = draw(40, 5), draw(40, seed=2)
    wide, narrow = (infinite_width(x, None, "relu", 2.0, 0.1, 2, dtype=dtype)[1] for dtype in ("float64", "float32"))
    exact = linearised_outputs(wide, 0.0, y, [10.0, np.inf], learning_rate=1.0)
    np.testing.assert_allclose(linearised_outputs(narrow, 0.0, y, [10.0, np.inf], learning_rate=1.0), exact, atol=1e-5)


def test_a_wide_network_follows_its_linearisation():
    """Gradient descent with a small step against the flow of its own kernel: the distance falls like width^(-1/2)."""
    x, y = torch.tensor(draw(6, 10)), torch.tensor(draw(6, seed=2))
    distance = []
    for width in (64, 1024):
        net = MLP(
            (10, width, 1), "tanh", weight_var=1.5, bias_var=0.1, parametrisation="ntk", seed=0, dtype=torch.float64
        )
        rows = [torch.autograd.grad(net(one).squeeze(), list(net.parameters())) for one in x]
        J = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
        f0 = net(x).detach().squeeze(1)
        flow = linearised_outputs(J @ J.T, f0, y, 0.05 * np.arange(101), learning_rate=1.0)
        optimiser, worst = torch.optim.SGD(net.parameters(), lr=0.05), 0.0
        for expected in flow:
            f = net(x).squeeze(1)
            worst = max(worst, float((f.detach() - torch.tensor(expected)).norm() / (f0 - y).norm()))
            optimiser.zero_grad()
            ((f - y) ** 2).sum().div(12).backward()
            optimiser.step()
        distance.append(worst)
    assert distance[1] < 0.06 and distance[1] < distance[0] / 2


@pytest.mark.parametrize("rank", [5, 3])
def test_a_kernel_that_is_symmetric_but_for_rounding_is_its_symmetric_part(rank):
    """1e-9 on one side of the diagonal: no method may look at one triangle only."""
    theta, y = kernel(5, rank), draw(5, 2)
    askew = theta + 1e-9 * np.triu(draw(5, 5, seed=3), 1)
    whole = (askew + askew.T) / 2
    for call in (
        lambda each: kernel_prediction(theta, each, y),
        lambda each: linearised_outputs(each, 0.0, y, 1.0, learning_rate=1.0),
    ):
        np.testing.assert_array_equal(call(askew), call(whole))
        np.testing.assert_array_equal(call(askew.T), call(whole))


def test_times_as_tensors():
    times = torch.tensor([0.0, 1.0, np.inf], requires_grad=True)
    found = linearised_outputs(np.eye(2), 0.0, 1.0, times, learning_rate=2.0)
    np.testing.assert_allclose(found[:, 0], [0, 1 - np.exp(-1), 1], rtol=1e-15)


@pytest.mark.parametrize("shapes", [((3,), (3, 3)), ((3, 3), (3,)), ((3,), (3, 1)), ((3,), (3, 2)), ((1,), (3,))])
def test_outputs_beside_targets_of_another_shape_are_refused(shapes):
    """(n,) beside (n, n) would broadcast along the wrong axis."""
    f0, y = (np.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"f0 of shape .* beside y of shape"):
        linearised_outputs(np.eye(3), f0, y, 1.0, learning_rate=1.0)
    with pytest.raises(ValueError, match=r"f0 of shape .* beside y of shape"):
        kernel_prediction(np.eye(3), np.eye(3), y, f0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: linearised_outputs(np.eye(2), 0.0, 1.0, ["soon"], learning_rate=1.0), "times of type"),
        (lambda: kernel_prediction(np.eye(2), [[1.0], [1.0, 2.0]], [1.0, 2.0]), "theta is no array"),
        (lambda: linearised_outputs([[1.0, 0.5], [0.0, 1.0]], 0.0, 1.0, 1.0, learning_rate=1.0), "symmetric"),
        (lambda: linearised_outputs([[1.0, 0.0], [0.0, -1.0]], 0.0, 1.0, 1.0, learning_rate=1.0), "semidefinite"),
        (lambda: linearised_outputs(np.eye(2), 0.0, 1.0, -1.0, learning_rate=1.0), "times"),
        (lambda: linearised_outputs(np.eye(2), 0.0, 1.0, 1.0, learning_rate=0.0), "learning_rate"),
        (lambda: linearised_outputs(np.eye(2), 0.0, [1.0] * 3, 1.0, learning_rate=1.0), "of shape"),
        (lambda: linearised_outputs(np.eye(2), 0.0, 1.0, 1.0, learning_rate=1.0, samples=0), "samples"),
        (lambda: kernel_prediction(np.eye(3), np.eye(2), [1.0, 2.0]), "theta_test"),
        (lambda: kernel_prediction(np.eye(2), np.ones((2, 3)), [1.0, 2.0]), "square"),
        (lambda: kernel_prediction(np.eye(2), np.eye(2), [1.0, 2.0], 0.0, [1.0] * 3), "f0_test"),
    ],
)
def test_what_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
