"""Online learning and architectures: where training diverges, the best rate, bounds of known networks."""

import numpy as np
import pytest
import torch
import xarray
from deepdynamics import data, fisher
from deepdynamics.experiments import experiment_of
from deepdynamics.experiments.fisher_isometry import architectures, online
from torch import nn

needs_images = pytest.mark.skipif(not data.available("fashion-mnist"), reason="Fashion-MNIST is not here")


def test_the_best_rate_of_a_parabola_is_exact():
    rates = np.array(online.RATES)
    tops = xarray.DataArray([-6.3, -3.0, -1.4], {"seed": [0, 1, 2]})
    accuracy = 0.7 - 0.02 * (np.log2(xarray.DataArray(rates, {"learning_rate": rates})) - tops) ** 2
    np.testing.assert_allclose(np.log2(online.best_rate(accuracy)), tops, atol=1e-10)


def test_a_threshold_lies_between_the_last_that_held_and_the_first_that_failed():
    rates = np.array([[1.0, 2.0, 4.0, 8.0]] * 4)
    failed = np.array([[False, True], [True, True], [False, False], [False, False]])
    found = online._between(rates, failed, known=[True, True, True, False])
    np.testing.assert_allclose(found, [8**0.5, 2**0.5, 32**0.5, np.nan])


@needs_images
def test_images_have_norm_one_and_the_bound_is_two_over_depth():
    X, y, tested, answers = online.images(64)
    assert X.shape == (500, 64) and tested.shape == (400, 64) and len(y) == 500 and len(answers) == 400
    torch.testing.assert_close(X.norm(dim=1), torch.ones(500))
    layers = [nn.Linear(64, 64, bias=False), nn.Linear(64, 10, bias=False)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    net = nn.Sequential(layers[0], nn.Hardtanh(), layers[1])
    assert fisher.online_learning_rate_bound(net, X[0]) == pytest.approx(1.0, rel=1e-4)


@needs_images
def test_far_above_the_line_training_diverges_and_far_below_it_learns():
    accuracy, failed = online.train(64, 2, (0, 1), [[0.125, 8.0]] * 2)
    assert failed.tolist() == [[False, True]] * 2 and (accuracy[:, 0] > 0.4).all() and (accuracy[:, 1] == 0).all()
    _, failed = online.train(64, 2, (0,), [[0.125, 16.0]], repeat=True)
    assert failed.tolist() == [[False, True]]


@needs_images
@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_networks_of_architectures_fail_far_above_their_bound(architecture):
    net = architectures.network(architecture, 0)
    X, _ = architectures.images()
    assert net(X[:2]).shape == (2, 10) and net(X[:2]).square().sum(1).max() < 4
    bound = architectures.rate_bound(net, X[0], "learn")
    assert bound == pytest.approx(fisher.online_learning_rate_bound(net, X[0]), rel=1e-4)
    assert architectures.rate_bound(net, X[0], "fixed") >= bound
    assert architectures.final_loss(architecture, 0, 100 * bound, "learn") >= architectures.LEARNT_NOTHING


@needs_images
def test_biases_that_stay_are_not_trained():
    net = architectures.network("cnn", 0)
    assert {name.split(".")[-1] for name in architectures.learning(net, "fixed")} == {"weight"}
    assert len(architectures.learning(net, "learn")) == 2 * len(architectures.learning(net, "fixed"))


def test_grids_are_those_of_the_chapter():
    assert len(experiment_of(online.KEY).grid("paper")) == 10
    assert len(experiment_of(architectures.KEY).grid("paper")) == 16
