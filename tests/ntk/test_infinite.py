"""Kernels at infinite width: 30-digit values, closed forms, the recursion written out, wide networks, limits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from deepdynamics import activations
from deepdynamics.networks import MLP
from deepdynamics.ntk import infinite, infinite_width, infinite_width_ntk
from hypothesis import given
from hypothesis import strategies as st

X = [[1.0, -0.5, 2.0, 0.25], [0.5, 1.0, -1.0, 1.5]]
KNOWN = [  # activation, variances, hidden layers; K and Θ at (x, x), (x, y), (y, y), by mpmath with 30 digits
    ("relu", 2, 0.01, 1, (2.67625, 0.432255616836344, 2.27), (5.3425, 0.116079033819402, 4.53)),
    ("relu", 2, 0.01, 2, (2.68625, 1.02278438201299, 2.28), (8.02875, 1.08733748288662, 6.81)),
    ("relu", 2, 0.01, 3, (2.69625, 1.37743125029033, 2.29), (10.725, 2.06856101802974, 9.1)),
    (
        "erf",
        1.5,
        0.1,
        1,
        (0.996913130644488, -0.101240119831676, 0.956514066682294),
        (2.30236587517353, -0.305513192110204, 2.15234180702134),
    ),
    (
        "erf",
        1.5,
        0.1,
        3,
        (0.731545549047385, 0.125522165715465, 0.727264881734754),
        (3.31315117312422, 0.00439778735836654, 3.22070023557501),
    ),
]


def points(n, d, seed=0, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(n, d))


def sphere(n, d, seed=0):
    x = points(n, d, seed)
    return x * (d**0.5 / np.linalg.norm(x, axis=1, keepdims=True))


def by_moments(x, y, activation, weight_var, bias_var, hidden_layers):
    """The recursion with the moments of the activation, pair by pair."""
    phi = activations.get(activation)
    K, qx, qy = (weight_var * each / x.shape[1] + bias_var for each in (x @ y.T, (x**2).sum(1), (y**2).sum(1)))
    theta = K
    for _ in range(hidden_layers):
        slope = phi.slope_covariance(qx[:, None], qy, K)
        K = weight_var * phi.covariance(qx[:, None], qy, K) + bias_var
        theta = K + weight_var * slope * theta
        qx, qy = (weight_var * phi.second_moment(q) + bias_var for q in (qx, qy))
    return K, theta


# Values --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("activation", "weight_var", "bias_var", "depth", "K", "theta"), KNOWN)
def test_values_to_fifteen_digits(activation, weight_var, bias_var, depth, K, theta):
    for found, known in zip(infinite_width(X, None, activation, weight_var, bias_var, depth), (K, theta), strict=True):
        np.testing.assert_allclose(found[[0, 0, 1], [0, 1, 1]], known, rtol=2e-13, atol=1e-14)


def test_arc_cosine_kernels_of_cho_and_saul():
    """Their k_n with J_0 = π - θ, J_1 = sin θ + (π - θ) cos θ and no 2: E φφ = k_1/2, E φ'φ' = k_0/2."""
    x, y = points(5, 3, seed=1), points(4, 3, seed=2)
    nx, ny = np.linalg.norm(x, axis=1)[:, None], np.linalg.norm(y, axis=1)
    angle = np.arccos(x @ y.T / (nx * ny))
    k0 = 1 - angle / np.pi
    k1 = nx * ny / np.pi * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
    K, theta = infinite_width(x, y, "relu", 3.0, 0.0, 1)  # weight_var/d = 1
    np.testing.assert_allclose(K, 3 * k1 / 2, rtol=1e-13)
    np.testing.assert_allclose(theta, 3 * (k1 + k0 * (x @ y.T)) / 2, rtol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "linear", "erf", "tanh", "gelu", "softplus", "sin"])
@pytest.mark.parametrize("equal", [False, True])
def test_blocks_are_the_recursion_pair_by_pair(activation, equal):
    draw = sphere if equal else points
    x, y = draw(7, 5, seed=1), draw(6, 5, seed=2)
    found = infinite_width(x, y, activation, 1.6, 0.2, 3)
    for one, other in zip(found, by_moments(x, y, activation, 1.6, 0.2, 3), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)  # Mehler's series ends at 1e-13 of its sum


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh", "hardtanh"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1)])
def test_single_points(activation, shape):
    x, y = points(shape[0], 5, seed=1), points(shape[1], 5, seed=2)
    found = infinite_width(x, y, activation, 1.6, 0.2, 2)
    for one, other in zip(found, by_moments(x, y, activation, 1.6, 0.2, 2), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_an_activation_with_kinks():
    x, y = sphere(60, 5, seed=1), sphere(50, 5, seed=2)
    K, theta = infinite_width(x, y, "elu", 1.6, 0.2, 1)  # by interpolation, which is right to 1e-10
    known = by_moments(x[:2], y[:1], "elu", 1.6, 0.2, 1)
    np.testing.assert_allclose([K[:2, :1], theta[:2, :1]], known, rtol=1e-8)
    x = points(2, 3)
    one, other = (infinite_width_ntk(x, None, phi, 1.6, 0.2, 1) for phi in (torch.nn.ELU(), "elu"))
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_without_hidden_layers_and_with_a_point_at_zero():
    x = np.array([[0.0, 0.0], [1.0, 2.0]])
    K, theta = infinite_width(x, None, "relu", 3.0, 0.5, 0)
    np.testing.assert_allclose(K, 1.5 * x @ x.T + 0.5, rtol=1e-15)
    np.testing.assert_array_equal(K, theta)
    for activation in ("relu", "tanh", "gelu"):
        found = infinite_width(x, None, activation, 3.0, 0.0, 2)
        for one, other in zip(found, by_moments(x, x, activation, 3.0, 0.0, 2), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-12)  # the angle of x with itself, left and right


def test_linear_networks_have_depth_times_the_input_kernel():
    x, y = points(4, 6, seed=1), points(3, 6, seed=2)
    K, theta = infinite_width(x, y, "linear", 1.0, 0.0, 4)
    np.testing.assert_allclose(K, x @ y.T / 6, rtol=1e-13)
    np.testing.assert_allclose(theta, 5 * x @ y.T / 6, rtol=1e-13)


# Structure -----------------------------------------------------------------------------------------------------------
@given(st.integers(1, 12), st.integers(1, 4), st.sampled_from(["relu", "erf", "tanh"]), st.integers(0, 10**6))
def test_symmetric_and_positive_semidefinite(n, depth, activation, seed):
    for kernel in infinite_width(points(n, 3, seed), None, activation, 1.5, 0.1, depth):
        np.testing.assert_array_equal(kernel, kernel.T)
        values = np.linalg.eigvalsh(kernel)
        assert values[0] >= -1e-13 * values[-1]


def test_relu_is_homogeneous_and_kernels_do_not_see_rotations():
    x, y = points(5, 4, seed=1), points(3, 4, seed=2)
    Q = np.linalg.qr(points(4, 4, seed=3))[0]
    K, theta = infinite_width(x, y, "relu", 2.0, 0.0, 3)
    for moved, factor in (((3 * x, y), 3), ((x @ Q, y @ Q), 1)):
        for one, other in zip(infinite_width(*moved, "relu", 2.0, 0.0, 3), (K, theta), strict=True):
            np.testing.assert_allclose(one, factor * other, rtol=1e-11)


def test_a_point_that_is_met_twice_is_the_same_point():
    """A correlation that is rounded below 1 would cost Θ half of its digits: arccos(1 - 1e-16) = 1.5e-8."""
    x = points(40, 20_000)
    square, between = infinite_width(x, None, "relu", 2.0, 0.1, 3), infinite_width(x, x.copy(), "relu", 2.0, 0.1, 3)
    for one, other in zip(square, between, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_critical_relu_kernels_flatten():
    """weight_var = 2 without bias: correlations tend to 1, Θ_xx grows by K_xx a layer and Θ_xy/Θ_xx tends to 1/4."""
    x = sphere(2, 10)
    K, theta = infinite_width(x, None, "relu", 2.0, 0.0, 400)
    np.testing.assert_allclose(K[0, 0], 2.0, rtol=1e-11)  # |x|² = d, weight_var = 2
    np.testing.assert_allclose(theta[0, 0], 401 * K[0, 0], rtol=1e-11)
    assert 0.99 < K[0, 1] / K[0, 0] < 1
    assert theta[0, 1] / theta[0, 0] == pytest.approx(0.25, abs=0.03)  # corrections of (log depth)/depth


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_blocks_change_nothing(activation, monkeypatch):
    x, y = points(33, 5, seed=1), points(20, 5, seed=2)
    whole = [infinite_width(x, other, activation, 1.5, 0.1, 2) for other in (None, y)]
    monkeypatch.setattr(infinite, "_BLOCK", 7)
    for (K, theta), other in zip(whole, (None, y), strict=True):
        for one, found in zip((K, theta), infinite_width(x, other, activation, 1.5, 0.1, 2), strict=True):
            np.testing.assert_allclose(found, one, rtol=1e-12)
        np.testing.assert_allclose(infinite_width_ntk(x, other, activation, 1.5, 0.1, 2), theta, rtol=1e-12)


def test_float32_is_float64_rounded_and_tensors_are_taken():
    x = points(30, 50)
    K, theta = infinite_width(x, None, "relu", 2.0, 0.0, 2)
    for one, other in zip(
        infinite_width(torch.tensor(x), None, "relu", 2.0, 0.0, 2, dtype="float32"), (K, theta), strict=True
    ):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other.astype(np.float32))
    assert infinite_width_ntk(x, None, "relu", 2.0, 0.0, 2, dtype=np.float32).dtype == np.float32


# Wide networks -------------------------------------------------------------------------------------------------------
def test_wide_networks_have_these_kernels():
    """K is the covariance of the outputs over networks, Θ the kernel of one: within 4 standard errors of 48 seeds."""
    x, width, runs = torch.tensor(sphere(4, 24)), 512, 48
    outputs, kernels = [], []
    for seed in range(runs):
        net = MLP(
            (24, width, width, 1),
            "relu",
            weight_var=2.0,
            bias_var=0.1,
            parametrisation="ntk",
            seed=seed,
            dtype=torch.float64,
        )
        rows = []
        for one in x:
            gradients = torch.autograd.grad(net(one).squeeze(), list(net.parameters()))
            rows.append(torch.cat([each.flatten() for each in gradients]))
        J = torch.stack(rows)
        kernels.append((J @ J.T).numpy())
        outputs.append(net(x).detach().squeeze(1).numpy())
    K, theta = infinite_width(x, None, "relu", 2.0, 0.1, 2)
    products = np.einsum("ri,rj->rij", outputs, outputs)
    for samples, expected, bias in ((products, K, 0.0), (np.array(kernels), theta, 0.005)):
        error = samples.std(0, ddof=1) / runs**0.5
        assert (np.abs(samples.mean(0) - expected) < 4 * error + bias * np.abs(expected)).all()


# Refusals ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"x": [1.0, 2.0]}, "x of shape"),
        ({"y": [[1.0]]}, "as many columns"),
        ({"x": [[np.nan, 1.0]]}, "x = nan"),
        ({"weight_var": -1.0}, "weight_var"),
        ({"bias_var": -1.0}, "bias_var"),
        ({"hidden_layers": -1}, "hidden_layers"),
        ({"activation": "step"}, "second moment"),
        ({"activation": "nonsense"}, "nonsense"),
        ({"dtype": np.int64}, "dtype"),
        ({"dtype": "foo"}, "dtype = 'foo'"),
    ],
)
def test_what_is_refused(change, match):
    arguments = {"x": X, "y": X, "activation": "relu", "weight_var": 2.0, "bias_var": 0.0, "hidden_layers": 1}
    with pytest.raises(ValueError, match=match):
        infinite_width(**(arguments | change))


@pytest.mark.parametrize("case", range(5))
def test_kernels_of_neural_tangents(case):
    """Arrays of neural-tangents 0.6.5 in float64; neural_tangents_reference.py made them."""
    with np.load(Path(__file__).with_name("neural_tangents.npz")) as kept:
        activation, weight_var, bias_var, depth = kept["cases"][case]
        found = infinite_width(kept["x"], kept["y"], activation, float(weight_var), float(bias_var), int(depth))
        np.testing.assert_allclose(found[0], kept[f"K{case}"], rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(found[1], kept[f"Theta{case}"], rtol=1e-11, atol=1e-12)
