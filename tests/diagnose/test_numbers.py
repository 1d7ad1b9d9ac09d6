"""Every number of a diagnosis against a dense computation, on networks small enough for one."""

import itertools
import math

import numpy as np
import pytest
import torch
from deepdynamics import fisher, jacobian
from deepdynamics.diagnose import diagnose
from deepdynamics.directions import KINDS, known_tangents
from deepdynamics.meanfield import MeanField
from deepdynamics.networks import MLP
from torch import nn
from torch.nn import functional

F64 = torch.float64


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def perceptron(phi=nn.Tanh, widths=(5, 7, 6, 4, 3), seed=0):
    parts = []
    for k, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        layer = nn.Linear(n_in, n_out, dtype=F64)
        layer.weight.data = normal(n_out, n_in, seed=seed + k) / math.sqrt(n_in)
        layer.bias.data = 0.1 * normal(n_out, seed=seed + 50 + k)
        parts += [layer, phi()]
    return nn.Sequential(*parts[:-1])


def states(net, X):
    found = [X]
    for layer in net:
        found.append(layer(found[-1]))
    return found[1:]


def test_lengths_and_correlations_are_those_of_the_states():
    net, X = perceptron(), normal(6, 5)
    report = diagnose(net, X)
    for layer, h in zip(report.layers, states(net, X), strict=True):
        h = h.detach()
        assert layer.q == pytest.approx(float(h.square().mean()), rel=1e-12)
        unit = h / h.norm(dim=1, keepdim=True)
        pairs = (unit @ unit.T)[~torch.eye(6, dtype=bool)]
        assert layer.correlation == pytest.approx(float(pairs.mean()), rel=1e-12)
        per_input = h.square().mean(1)
        assert layer.q_error == pytest.approx(float(per_input.std() / math.sqrt(6)), rel=1e-12)


@pytest.mark.parametrize("target", ["classes", "values"])
def test_gradients_are_those_of_the_error(target):
    net, X = perceptron(), normal(6, 5)
    y = torch.arange(6) % 3 if target == "classes" else normal(6, 3, seed=9)
    report = diagnose(net, X, target=y)
    assert report.rates.loss == {"classes": "cross_entropy", "values": "mse"}[target]
    for k, layer in enumerate(report.layers):
        after = net[k + 1 :]
        squares = []
        for h, wanted in zip(states(net, X)[k].detach(), y, strict=True):
            h.requires_grad_()
            out = after(h)
            loss = functional.cross_entropy(out, wanted) if target == "classes" else (out - wanted).square().sum() / 2
            squares.append(float(torch.autograd.grad(loss, h)[0].square().sum()))
        assert layer.gradient == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-10)


def test_the_spectrum_is_that_of_the_dense_jacobian():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, dtype=F64), nn.Tanh(), nn.Flatten(), nn.Linear(64, 5, dtype=F64))
    x = normal(3, 1, 6, 6)
    report = diagnose(net, x)
    J = jacobian.jacobian(net, x[0])
    _, s, Vh = torch.linalg.svd(J, full_matrices=False)
    # Values are right to the square of the residual, vectors to the residual over the gap.
    np.testing.assert_allclose(report.spectrum.values, s[:3], rtol=3 * report.spectrum.residual**2 + 1e-9)
    exact = float((s**2).sum() ** 2 / (s**4).sum())
    assert report.spectrum.participation == pytest.approx(exact, rel=0.5)  # from eight random probes of five outputs
    tangents = known_tangents(x[0]).flatten(1)
    shares = (tangents @ Vh[:3].T).square().sum(1) / tangents.square().sum(1)
    assert list(report.spectrum.tangent_shares) == list(KINDS)
    np.testing.assert_allclose(list(report.spectrum.tangent_shares.values()), shares, atol=0.05)
    assert report.spectrum.random_share == 3 / 36


@pytest.mark.parametrize("target", [None, "classes"])
def test_rates_are_those_of_the_dense_fisher_information(target):
    net, X = perceptron(), normal(6, 5)
    report = diagnose(net, X, target=None if target is None else torch.arange(6) % 3)
    loss = "mse" if target is None else "cross_entropy"
    for found, part in ((report.rates.one, X[:1]), (report.rates.batch, X)):
        exact = float(torch.linalg.eigvalsh(fisher.dual(net, part, loss))[-1])
        assert found == pytest.approx(exact, rel=1e-3)
    assert report.rates.rate_batch == pytest.approx(2 / report.rates.batch)
    if target is None:  # the matrix itself, parameter by parameter
        rows = torch.func.jacrev(lambda p: torch.func.functional_call(net, p, (X,)))(dict(net.named_parameters()))
        J = torch.cat([row.detach().reshape(18, -1) for row in rows.values()], dim=1)
        assert report.rates.batch == pytest.approx(float(torch.linalg.eigvalsh(J.T @ J / 6)[-1]), rel=1e-3)


def test_trends_of_a_chain_of_scalars_are_exact():
    net = nn.Sequential(*(nn.Linear(4, 4, bias=False, dtype=F64) for _ in range(6)))
    for layer in net:
        layer.weight.data = 0.5 * torch.eye(4, dtype=F64)
    report = diagnose(net, normal(5, 4))
    # Hidden layers 1 to 5: four steps, each of which divides mean squares by four, forwards and back.
    assert report.signal.change == pytest.approx(-4 * math.log(4)) and report.signal.layers == 4
    assert report.gradient.change == pytest.approx(-4 * math.log(4)) and report.gradient.error < 1e-12
    assert report.gradient.scale == pytest.approx(1 / math.log(4))
    assert report.merging.change == pytest.approx(0, abs=1e-9)


def test_merging_is_that_of_the_correlations():
    net, X = perceptron(widths=(5, 40, 40, 40, 3)), normal(6, 5)
    report = diagnose(net, X)
    last = [layer for layer in report.layers if layer.role == "weights"][-2]
    assert report.merging.change == pytest.approx(math.log((1 - last.correlation) / (1 - report.correlation_input)))


def test_dead_units_and_flat_slopes_are_counted():
    net = nn.Sequential(nn.Linear(2, 4, bias=True), nn.ReLU(), nn.Linear(4, 3), nn.Tanh())
    net[0].weight.data, net[0].bias.data = torch.ones(4, 2), torch.tensor([-9.0, 9.0, -9.0, 0.0])
    net[2].weight.data, net[2].bias.data = torch.zeros(3, 4), torch.tensor([0.0, 3.0, -3.0])
    report = diagnose(net, torch.tensor([[0.1, 0.2], [0.4, 0.1], [-0.5, 0.2]]))
    assert report.layers[1].dead == 0.5 and math.isnan(report.layers[1].saturation)
    assert report.layers[3].saturation == pytest.approx(2 / 3) and report.layers[3].dead == 1


def test_channels_are_units_of_convolutions():
    net = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    net[0].weight.data, net[0].bias.data = torch.ones(3, 1, 1, 1), torch.tensor([0.0, -90.0, 0.0])
    report = diagnose(net, normal(5, 1, 4, 4, dtype=torch.float32))
    assert report.layers[1].units == 3 and report.layers[1].dead == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("phi", "weight_var", "bias_var"), [("relu", 1.8, 0.1), ("tanh", 1.5, 0.05), ("erf", 1.2, 0.1)]
)
def test_wide_layers_are_what_mean_field_theory_expects(phi, weight_var, bias_var):
    net = MLP((200, *(1000,) * 4, 10), phi, weight_var=weight_var, bias_var=bias_var, seed=0, dtype=F64)
    report = diagnose(net, normal(4, 200))
    hidden = [layer for layer in report.layers if layer.role == "weights"][1:-1]
    theory = MeanField(phi, weight_var, bias_var)
    for layer in hidden:
        # Fluctuations of order 1/√width, of q some √(5/1000).
        assert layer.q == pytest.approx(layer.q_theory, rel=0.2)
        assert layer.correlation == pytest.approx(layer.correlation_theory, abs=0.1)
        assert layer.chi == pytest.approx(layer.chi_theory, rel=0.25)
        assert layer.weight_var == pytest.approx(weight_var, rel=0.01)
    assert report.mean_field.activation == phi and report.mean_field.layers == 3  # the readout is left out
    assert report.mean_field.chi_1 == pytest.approx(theory.chi_1, rel=0.05)


def test_theory_of_the_first_layer_is_linear_in_the_input():
    net, X = perceptron(), normal(6, 5)
    first = diagnose(net, X).layers[0]
    assert first.q_theory == pytest.approx(first.weight_var * float(X.square().mean()) + first.bias_var)
