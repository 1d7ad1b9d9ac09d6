"""Random Gaussian fields: derivatives, covariance, the law of the Hessian; curvatures and measures of a network."""

import numpy as np
import pytest
import torch
from deepdynamics.landscapes import (
    CosineField,
    extreme_curvatures,
    field_hessian,
    field_index,
    field_semicircle,
    generalisation_measures,
)
from deepdynamics.networks import MLP
from scipy.integrate import quad


def test_derivatives_are_those_of_the_field():
    field, x = CosineField(5, 200, seed=0), np.random.default_rng(1).normal(size=5)
    steps = 1e-5 * np.eye(5)
    slope = [(field(x + h) - field(x - h)) / 2e-5 for h in steps]
    np.testing.assert_allclose(field.gradient(x), slope, atol=1e-7)
    bend = [(field.gradient(x + h) - field.gradient(x - h)) / 2e-5 for h in steps]
    np.testing.assert_allclose(field.hessian(x), bend, atol=1e-7)


def test_the_covariance_is_the_one_stated():
    x, y = np.zeros(6), np.full(6, 0.8)
    values = np.array([[field(x), field(y)] for field in (CosineField(6, 100, seed=s) for s in range(4000))])
    expected = 6 * np.exp(-6 * 0.64 / 12)
    assert (values[:, 0] * values[:, 1]).mean() == pytest.approx(expected, abs=4 * 6 * 2**0.5 / 4000**0.5)  # four s.e.


@pytest.mark.parametrize("energy", [-1.5, -0.4, 0.9])
def test_the_index_is_the_weight_of_the_semicircle_below_zero(energy):
    below, _ = quad(field_semicircle, -energy - 2, 0, args=(energy,))
    assert field_index(energy) == pytest.approx(below, abs=1e-7)


def test_drawn_hessians_follow_the_law_and_so_do_those_of_fields():
    values = np.linalg.eigvalsh([field_hessian(-0.5, 80, seed=s) for s in range(60)])
    assert (values < 0).mean() == pytest.approx(float(field_index(-0.5)), abs=0.01)
    assert values.mean() == pytest.approx(0.5, abs=0.01)
    traces = [
        np.array([f(x := np.zeros(40)) / 40, np.trace(f.hessian(x)) / 40])
        for f in (CosineField(40, 400, s) for s in range(300))
    ]
    energy, trace = np.array(traces).T
    assert np.polyfit(energy, trace, 1)[0] == pytest.approx(-1, abs=0.02)


def test_critical_points_are_critical():
    field = CosineField(10, 500, seed=2)
    found = [field.critical_point(np.random.default_rng(s).normal(size=10)) for s in range(10)]
    assert sum(norm < 1e-7 for _, norm in found) >= 3
    assert all(np.linalg.norm(field.gradient(x)) == pytest.approx(norm) for x, norm in found)


def test_ends_of_the_spectrum_are_those_of_the_full_hessian():
    net = MLP((3, 4, 2), "tanh", seed=0, dtype=torch.float64)
    X = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.arange(20) % 2

    def loss(model):
        return torch.nn.functional.cross_entropy(model(X), y)

    top, bottom, slope = extreme_curvatures(net, loss, k=2)
    names, values = zip(*((n, p.detach()) for n, p in net.named_parameters()), strict=True)
    sizes = [p.numel() for p in values]

    def of(theta):
        parts = [t.reshape(p.shape) for t, p in zip(theta.split(sizes), values, strict=True)]
        return torch.nn.functional.cross_entropy(
            torch.func.functional_call(net, dict(zip(names, parts, strict=True)), (X,)), y
        )

    theta = torch.cat([p.flatten() for p in values])
    exact = torch.linalg.eigvalsh(torch.func.hessian(of)(theta)).numpy()[::-1]
    np.testing.assert_allclose(top, exact[:2], atol=1e-6)
    np.testing.assert_allclose(bottom, exact[-2:], atol=1e-6)
    assert slope == pytest.approx(float(torch.func.grad(of)(theta).norm()))
    with pytest.raises(ValueError, match="k = 40"):
        extreme_curvatures(net, loss, k=40)


def test_measures_do_not_change_when_layers_of_a_relu_network_trade_a_factor():
    draw = torch.Generator().manual_seed(0)
    W = [torch.randn(5, 4, generator=draw), torch.randn(3, 5, generator=draw)]
    one = generalisation_measures(W, W, margin=0.5)
    other = generalisation_measures([7 * W[0], W[1] / 7], W, margin=0.5)
    assert other["path"] == pytest.approx(one["path"], rel=1e-5) and other["spectral"] == pytest.approx(
        one["spectral"], rel=1e-5
    )
    assert other["distance"] > 1 and one["distance"] == 0
    with pytest.raises(ValueError, match="margin"):
        generalisation_measures(W, W, margin=0.0)
