"""Experiments of the chapter on dynamical isometry: the critical line, spreads, gradients, what a cell has."""

import numpy as np
import pytest
import torch
from deepdynamics import data, results
from deepdynamics.experiments import experiment_of
from deepdynamics.experiments.dynamical_isometry import convolution, critical, thousands, training
from deepdynamics.freeprobability import DerivativeLaw, JacobianSpectrum
from deepdynamics.meanfield import MeanField
from torch.nn import functional

needs_digits = pytest.mark.skipif(not data.available("mnist"), reason="MNIST is not here")


@pytest.mark.parametrize("q", [0.001, 0.05, 2.5])
def test_q_is_the_fixed_point_of_a_critical_network(q):
    weight_var, bias_var = critical.critical_variances(q)
    field = MeanField("tanh", weight_var=weight_var, bias_var=bias_var)
    assert bias_var > 0 and field.q_star == pytest.approx(q, rel=1e-6) and field.chi_1 == pytest.approx(1, rel=1e-6)


@needs_digits
def test_images_give_the_first_layer_the_mean_square_q():
    X, y, tested, answers = critical.on_the_line(critical.images(7, 32), 0.4)
    assert X.shape == (20000, 32) and tested.shape == (400, 32) and len(y) == 20000 and len(answers) == 400
    weight_var, bias_var = critical.critical_variances(0.4)
    torch.testing.assert_close(weight_var * X.square().mean(1) + bias_var, torch.full((20000,), 0.4))


def test_the_best_rate_and_the_first_step_at_a_target():
    accuracy = np.array([[0.2, 0.3], [0.5, 0.9], [0.85, 0.1]])
    assert critical.best_rate([0.1, 0.2, 0.4], accuracy) == 0.2
    np.testing.assert_allclose(critical.first_at(accuracy, 0.8, 4), [np.nan, 8, 4])


def test_two_pairs_of_starts_spread_alike():
    def spread(weights, q):
        return JacobianSpectrum(training.DEPTH, DerivativeLaw.of("tanh", q), weights).variance

    starts = training.starts()
    for orthogonal, gaussian in ((2.0, 0.05), (2.5, 0.4)):
        assert {"weights": "orthogonal", "q": orthogonal} in starts and {"weights": "gaussian", "q": gaussian} in starts
        assert spread("orthogonal", orthogonal) == pytest.approx(spread("gaussian", gaussian), rel=0.03)


def test_orthogonal_networks_spread_as_theory_says():
    # Of 128 units the fourth moment of the slopes varies by some ten per cent from network to network.
    nets = training.ensemble("orthogonal", 0.05, [1, 2])
    X = torch.randn(2, training.WIDTH, generator=torch.Generator().manual_seed(0))
    X *= (0.0456 / X.square().mean(1, keepdim=True)).sqrt()
    spectra = training.squared_singular_values(nets.network(0), X)
    law = JacobianSpectrum(training.DEPTH, DerivativeLaw.of("tanh", 0.05), "orthogonal")
    assert spectra.shape == (2, training.WIDTH)
    np.testing.assert_allclose(spectra.var(1) / spectra.mean(1) ** 2, law.variance, rtol=0.3)


@pytest.mark.parametrize("weights", convolution.WEIGHTS)
def test_a_step_of_convolutional_networks_is_that_of_autograd(weights):
    nets, draw = convolution.ConvolutionalNets(3, 4, 7, weights, 0.5, [1, 2]), torch.Generator().manual_seed(0)
    X, y = torch.randn(2, 5, 49, generator=draw), torch.randint(10, (2, 5), generator=draw)
    kernels = [kernel[1].view(4, 4, 3, 3).clone().requires_grad_() for kernel in nets.kernels]
    x = nets.lift[1].view(1, 4, 1) * X[1].view(5, 1, 49)
    x, hs = x.view(5, 4, 7, 7), []
    for kernel, bias in zip(kernels, nets.biases, strict=True):
        hs.append(functional.conv2d(functional.pad(x, (1, 1, 1, 1), "circular"), kernel, bias[1].flatten()))
        hs[-1].retain_grad()
        x = hs[-1].tanh()
    readout = nets.readout[1].clone().requires_grad_()
    loss = functional.cross_entropy(x.flatten(1) @ readout.T, y[1])
    loss.backward()
    logs = [5 * h.grad.square().mean().sqrt() for h in hs]  # of a sum over the five images, not a mean
    torch.testing.assert_close(nets.log_gradients(X, y)[1], torch.stack(logs).log10(), atol=1e-4, rtol=0)
    before = [kernel[1].clone() for kernel in nets.kernels]
    losses, _ = nets.step(X, y, torch.tensor([0.0, 0.5])[:, None, None])
    torch.testing.assert_close(losses[1], loss.detach())
    torch.testing.assert_close(nets.readout[1], readout.detach() - 0.5 * readout.grad)
    for old, new, kernel in zip(before, nets.kernels, kernels, strict=True):
        torch.testing.assert_close(new[1], old - 0.5 * kernel.grad.flatten(1), atol=1e-6, rtol=1e-4)


def test_delta_orthogonal_kernels_keep_lengths_and_gaussian_ones_do_not():
    # Small signals are in the linear part of tanh; after 200 layers of 72 weights the logarithm has wandered.
    X = 1e-3 * torch.randn(1, 4, 49, generator=torch.Generator().manual_seed(0))
    sizes = {}
    for weights in convolution.WEIGHTS:
        nets = convolution.ConvolutionalNets(200, 8, 7, weights, 1e-6, [1])
        nets.biases = [torch.zeros_like(bias) for bias in nets.biases]
        first, *_, last = nets.states(X)
        sizes[weights] = float((last.square().mean() / first.square().mean()).log())
    assert abs(sizes["orthogonal"]) < 0.01 and abs(sizes["gaussian"]) > 0.5


@needs_digits
def test_cells_have_their_parts(monkeypatch):
    monkeypatch.setattr(convolution, "DEPTH", 4)
    monkeypatch.setattr(convolution, "LAYERS", (2, 4))
    monkeypatch.setattr(thousands, "DEPTH", 4)
    start, control = convolution.cell("start", "gaussian", (1, 2)), convolution.cell("linear")
    trained = convolution.cell("training", "orthogonal", (1,), (0.1, 0.2))
    assert {*start, *control, *trained} == set(convolution.DIMENSIONS)
    assert start["signal"].shape == (2, 2) and trained["loss"].shape == (1, 20)
    rates = {"orthogonal": (0.2, 0.4), "gaussian": (0.1, 0.2)}
    trained = thousands.cell("training", rates, (1, 2))
    assert {*trained, *thousands.cell("linear")} == set(thousands.DIMENSIONS)
    assert trained["loss"].sel(step=200).max() < trained["loss"].sel(step=10).min()
    assert np.isnan(trained["tuning"]).sum() == 2 and trained["tuning"].max() <= 1
    short = thousands.cell("training", {"orthogonal": (0.2,)}, (1,), steps=20)
    assert short["rate"] == 0.2 and short["online"].shape == (1, 1, 2) and "accuracy" not in short


def test_grids_are_those_of_the_chapter():
    counts = {module.KEY: len(experiment_of(module.KEY).grid("paper")) for module in (training, convolution, thousands)}
    assert list(counts.values()) == [8, 5, 2]


@needs_digits
def test_stored_steps_are_those_of_the_stored_courses():
    stored = results.load(training.KEY)
    for k, target in enumerate(training.TARGETS):
        steps = critical.first_at(stored.accuracy.values.reshape(-1, 70), target, training.EVERY)
        np.testing.assert_array_equal(steps, stored.steps.values[..., k].ravel())


def test_no_end_of_the_grid_of_rates_wins_where_a_network_learns():
    tried = results.load(training.KEY).tuning
    best = tried.fillna(0).argmax("learning_rate").where(tried.notnull().any("learning_rate"))
    assert best.min() > 0 and best.max() < len(training.RATES) - 1
    for module in (convolution, thousands):
        tried = results.load(module.KEY).tuning.sel(weights="orthogonal").dropna("learning_rate")
        assert 0 < tried.argmax("learning_rate") < tried.sizes["learning_rate"] - 1
