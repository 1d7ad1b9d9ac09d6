"""Networks with a gain: the theory against closed forms, quadrature and networks; the networks against autograd."""

from functools import partial

import numpy as np
import pytest
import torch
from deepdynamics import activations, jacobian, results
from deepdynamics.experiments.edge_of_chaos import gain
from deepdynamics.meanfield import MeanField
from deepdynamics.meanfield import gain as gainnetworks
from deepdynamics.meanfield.gain import factors, jacobians, network, second_moments, sphere, theory
from deepdynamics.networks import MLP, weight_matrices
from scipy.integrate import quad

# Theory


def test_the_theory_is_that_of_mean_field_with_the_gain_on_the_weights():
    g, variance, depth = 1.3, 0.4, 7
    field = MeanField("tanh", g**2, 0.0)
    q = field.trajectory(g**2 * variance, 1.0, depth).q
    second_moment, mean_square = theory("tanh", g, variance, depth)
    np.testing.assert_allclose(g**2 * second_moment, q, rtol=1e-13)
    np.testing.assert_allclose(mean_square[1:], np.cumprod(field.gradient_factor(q[:-1])), rtol=1e-13)


def test_one_layer_against_quadrature():
    def mean(f):
        return quad(lambda z: f(z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi), -12, 12, epsabs=1e-13)[0]

    second_moment, mean_square = theory("tanh", 1.5, 0.7, 1)
    scale = 1.5 * np.sqrt(0.7)
    assert second_moment[1] == pytest.approx(mean(lambda z: np.tanh(scale * z) ** 2), rel=1e-10)
    assert mean_square[1] == pytest.approx(1.5**2 * mean(lambda z: np.cosh(scale * z) ** -4), rel=1e-10)


def test_the_theory_broadcasts():
    gains, variances = np.array([0.5, 1.0, 1.5])[:, None], np.array([0.1, 10.0])
    together = theory("sigmoid", gains, variances, 5)
    for i, g in enumerate(gains[:, 0]):
        for j, variance in enumerate(variances):
            for all_of_them, alone in zip(together, theory("sigmoid", g, variance, 5), strict=True):
                np.testing.assert_allclose(all_of_them[:, i, j], alone, rtol=1e-13)


def test_mean_squares_of_networks_that_start_with_the_unit():
    """With tanh before the first matrix, as Saxe et al. write it, an input of variance 1 is ours of variance 1/g²; the
    numbers are an independent Gauss-Hermite computation, to three digits.
    """
    known = {0.8: 2.47e-3, 1.0: 0.0714, 1.05: 0.1263, 1.2: 0.472, 2.0: 36.6}
    for g, value in known.items():
        assert theory("tanh", g, g**-2, 10).mean_square[-1] == pytest.approx(value, rel=2e-3)


def test_at_the_edge_everything_falls_like_one_over_the_depth():
    """q̂ ~ 1/(2l): its correction is log(l)/l, 0.4 % at 10,000 layers; the mean square is proportional to it, with a
    correction of order 1/l.
    """
    second_moment, mean_square = theory("tanh", 1.0, 1.0, 10_000)
    assert 2 * 10_000 * second_moment[-1] == pytest.approx(1, abs=5e-3)
    ratio = mean_square[1:] / second_moment[1:]
    assert ratio[-1] / ratio[4999] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("weights", gainnetworks.WEIGHTS)
def test_networks_have_the_moments_of_the_theory(weights):
    """Forty networks of width 200 within five standard errors plus L/N of it, the order of the finite-width bias."""
    found = jacobians(weights, [0.8, 1.2], width=200, depth=5, networks=40, input_var=0.5, seed=3)
    squares = found.square().sum((2, 3)).numpy() / 200
    expected = theory("tanh", np.array([0.8, 1.2]), 0.5, 5).mean_square[-1]
    error = squares.std(0, ddof=1) / 40**0.5
    assert (np.abs(squares.mean(0) - expected) < 5 * error + expected * 5 / 200).all()


# Networks


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_factors_are_those_of_autograd(activation):
    widths, g = (6, 5, 4, 4), 1.3
    net = MLP(widths, activation, gain=g, readout="activated", seed=0, dtype=torch.float64)
    matrices = [layer.weight.detach() for layer in net.layers]
    x = sphere(6, 0.7, seed=1)
    ours = factors(matrices, x, g, activation)
    for one, other in zip(ours, jacobian.layer_jacobians(net.layers, x), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)
    states = net.states(torch.stack([x, 2 * x]))
    found = second_moments(matrices, torch.stack([x, 2 * x]), [g], activation)
    for state, row in zip(states, found, strict=True):
        torch.testing.assert_close(state.square().mean(1), row[0], rtol=1e-13, atol=0)


def test_jacobians_are_the_products_of_their_factors():
    found = jacobians("gaussian", [0.7, 1.4], width=8, depth=4, networks=3, seed=5)
    matrices, x = network("gaussian", width=8, depth=4, input_var=1.0, seed=5, number=2)
    product = torch.linalg.multi_dot(factors(matrices, x, 1.4, "tanh")[::-1])
    torch.testing.assert_close(found[2, 1], product, rtol=1e-13, atol=1e-15)
    fewer = jacobians("gaussian", [1.4], width=8, depth=4, networks=1, seed=5)
    assert torch.equal(fewer[0, 0], found[0, 1])


def test_the_gain_is_the_standard_deviation_of_the_weights():
    matrices, x = network("orthogonal", width=10, depth=6, input_var=2.0, seed=0, number=0)
    scaled = [1.4 * W for W in matrices]
    for one, other in zip(factors(matrices, x, 1.4, "tanh"), factors(scaled, x, 1.0, "tanh"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-14)


def test_orthogonal_networks_never_stretch_by_more_than_the_steepest_slope_allows():
    values = torch.linalg.svdvals(jacobians("orthogonal", [0.9, 1.5], width=30, depth=8, networks=4))
    assert (values[:, :, 0] <= torch.tensor([0.9, 1.5]) ** 8).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory("tanh", -1.0, 1.0, 3), r"gain = -1.0"),
        (lambda: theory("tanh", 1.0, np.inf, 3), r"input_var = inf"),
        (lambda: theory("tanh", 1.0, 1.0, -1), r"depth = -1: an integer of at least 0"),
        (lambda: sphere(3, 0.0, seed=0), r"variance = 0.0: finite positive"),
        (
            lambda: jacobians("uniform", [1.0], width=3, depth=1, networks=1),
            r"weights = 'uniform': one of orthogonal, g",
        ),
        (lambda: factors([torch.eye(2)], torch.zeros(4, 2), 1.0, "tanh"), r"x of shape \(4, 2\): one input"),
        (lambda: factors([torch.eye(2)], torch.zeros(2), np.nan, "tanh"), r"gain = nan"),
        (lambda: second_moments([torch.eye(2)], torch.zeros(4, 2), [-1.0], "tanh"), r"gains = -1.0"),
        (lambda: jacobians("gaussian", [1.0], width=3, depth=2, networks=0), r"networks = 0: a positive integer"),
        (lambda: jacobians("gaussian", [1.0], width=3, depth=0, networks=1), r"depth = 0: a positive integer"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_any_activation_and_any_array():
    for phi in (torch.nn.Softsign(), "elu", lambda x: torch.sin(2 * x)):
        second_moment, mean_square = theory(phi, torch.tensor([0.5, 1.0]), [0.3, 0.4], 3)
        field = MeanField(phi, 1.0, 0.0).trajectory(0.4, 1.0, 3)
        np.testing.assert_allclose(second_moment[1:, 1], [*field.q[1:]], rtol=1e-10)
        assert mean_square.shape == (4, 2)
        activation = activations.get(phi)
        W, x = [np.eye(3), [[0.1, 0.2, 0.3]]], np.array([1.0, -0.5, 0.2])
        J = factors(W, x, 1.3, phi)
        exact = torch.func.jacrev(partial(through, W, gain=1.3, phi=activation))(torch.from_numpy(x))
        torch.testing.assert_close(J[1] @ J[0], exact)
        assert second_moments(W, [[1.0, 0.0, 2.0]], [1.0, 2.0], phi).shape == (3, 2, 1)
    assert [tuple(M.shape) for M in weight_matrices("gaussian", np.array([3, 2]), seed=0)] == [(2, 3)]
    assert jacobians("gaussian", torch.tensor([0.5, 1.0]), width=3, depth=2, networks=1).shape == (1, 2, 3, 3)


def through(matrices, x, gain, phi):
    for W in matrices:
        x = phi(gain * (torch.as_tensor(W, dtype=x.dtype) @ x))
    return x


# The stored sweep


def test_the_stored_sweep_is_whole():
    found = results.load(gain.KEY)
    spectra, summary = found.log_singular_values, found.summary
    assert spectra.shape == (2, len(gain.GAINS), len(gain.NETWORKS), 100)
    assert np.isfinite(spectra).all() and (spectra.diff("rank") <= 0).all()
    assert np.isfinite(summary).all() and (summary.sel(quantity="largest") >= summary.sel(quantity="median")).all()
    largest = np.exp(spectra.sel(rank=1))
    np.testing.assert_allclose(largest, summary.sel(quantity="largest"), rtol=1e-5)  # logarithms are kept in float32


def test_the_product_and_its_factors_have_the_same_singular_values():
    """What is computed without multiplying out, against the SVD of the product where that is right."""
    found = jacobians("orthogonal", [1.0], width=gain.WIDTH, depth=10, networks=1, seed=gain.SEED)
    matrices, x = network("orthogonal", width=gain.WIDTH, depth=10, input_var=1.0, seed=gain.SEED, number=0)
    logs = jacobian.product_singular_values(factors(matrices, x, 1.0, "tanh"))
    torch.testing.assert_close(torch.linalg.svdvals(found[0, 0]).log(), logs, rtol=0, atol=1e-9)
