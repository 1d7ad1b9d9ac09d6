"""The search: the best of n trials, the start that the theory names, the rates, halves that share no image."""

import itertools

import numpy as np
import pytest
import torch
from deepdynamics import data
from deepdynamics.experiments import experiment_of
from deepdynamics.experiments.how_much_isometry import search
from deepdynamics.freeprobability import DerivativeLaw, JacobianSpectrum
from deepdynamics.meanfield import MeanField

needs_images = pytest.mark.skipif(not data.available("fashion-mnist"), reason="Fashion-MNIST is not here")


def taken(validation, test):
    """Test accuracy of the best by validation; the mean of those that tie."""
    return test[validation == validation.max()].mean()


@pytest.mark.parametrize("ties", [False, True])
def test_the_best_of_n_is_the_mean_over_all_subsets(ties):
    rng = np.random.default_rng(0)
    validation, test = rng.random((2, 7))
    if ties:
        validation = np.round(3 * validation) / 3
    for n in range(1, 8):
        subsets = [list(places) for places in itertools.combinations(range(7), n)]
        mean = np.mean([taken(validation[places], test[places]) for places in subsets])
        assert search.best_of(validation, test, n) == pytest.approx(mean, rel=1e-12)


def test_the_ends_of_the_best_of_n():
    validation, test = np.random.default_rng(1).random((2, 256))
    curve = search.best_of(validation, test, np.arange(1, 257))
    assert curve[0] == pytest.approx(test.mean()) and curve[-1] == pytest.approx(test[validation.argmax()])
    same = search.best_of(validation, validation, np.arange(1, 257))
    assert (np.diff(same) > 0).all()  # read on what it is chosen by, more trials are better


def test_searches_lie_in_rows():
    validation, test = np.random.default_rng(3).random((2, 4, 3, 10))
    curves = search.best_of(validation, test, [1, 5])
    assert curves.shape == (4, 3, 2) and search.best_of(validation, test, 5).shape == (4, 3)
    assert curves[2, 1] == pytest.approx(search.best_of(validation[2, 1], test[2, 1], [1, 5]))
    target = float(search.best_of(validation, validation, 5).mean())
    assert search.trials_needed(validation, validation, target) == pytest.approx(5)


@pytest.mark.parametrize("n", [0, 4])
def test_no_more_trials_than_there_are(n):
    with pytest.raises(ValueError, match=f"n = {n}: numbers from 1 to 3 are allowed"):
        search.best_of([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], n)


def test_accuracies_fit_and_are_finite():
    with pytest.raises(ValueError, match="as many finite numbers"):
        search.best_of([0.1, 0.2], [0.1], 1)
    with pytest.raises(ValueError, match="as many finite numbers"):
        search.best_of([0.1, np.nan], [0.1, 0.2], 1)


def test_trials_needed_inverts_the_curve():
    values = np.random.default_rng(2).random(40)
    for n in (1, 2, 5, 17, 40):
        assert search.trials_needed(values, values, float(search.best_of(values, values, n))) == pytest.approx(n)
    between = search.best_of(values, values, [3, 4]).mean()
    assert search.trials_needed(values, values, between) == pytest.approx(3.5)
    assert search.trials_needed(values, values, 0.0) == 1 and search.trials_needed(values, values, 2.0) == np.inf


def test_the_start_is_critical_and_has_the_spread():
    weight_var, bias_var, mean_square = search.isometric_start()
    field = MeanField("tanh", weight_var, bias_var)
    assert field.chi_1 == pytest.approx(1, abs=1e-6)
    assert field.q_star == pytest.approx(weight_var * mean_square + bias_var, rel=1e-4)
    law = DerivativeLaw.of("tanh", float(field.q_star))
    kinds = [search.starts_of(name, 1).init[0] for name in ("isometric", "gaussian")]
    orthogonal, gaussian = (JacobianSpectrum(search.DEPTH, law, kind).variance for kind in kinds)
    assert orthogonal == pytest.approx(1, rel=1e-3) and gaussian == pytest.approx(1 + search.DEPTH, rel=1e-3)


def test_random_draws_fill_their_ranges():
    draws = [search.draws(block) for block in search.BLOCKS]
    ranges = {"learning_rate": search.RATE, "weight_var": search.WEIGHT_VAR, "bias_var": search.BIAS_VAR}
    for name, (low, high) in ranges.items():
        share = np.log(np.stack([found[name] for found in draws]) / low) / np.log(high / low)
        assert share.min() >= 0 and share.max() <= 1
        # 256 uniform numbers: the mean is 1/2 to .018, the standard deviation .289 to .009.
        assert abs(share.mean() - 0.5) < 0.08 and abs(share.std() - 12**-0.5) < 0.04
    assert 0.3 < np.mean([found["orthogonal"] for found in draws]) < 0.7


@needs_images
def test_the_first_layer_of_the_start_has_the_length_of_all_others():
    """Pre-activations of one network of 128 units at 50 images: their mean square keeps q to a tenth, since orthogonal
    maps keep it exactly but for the activation, which sees 128 numbers a layer, and the biases."""
    starts = search.starts_of("isometric", 1)
    net = search.networks("fashion-mnist", starts, [5]).network(0)
    q = float(MeanField("tanh", starts.weight_var[0], starts.bias_var[0]).q_star)
    x, lengths = search.images("fashion-mnist")[0][:50] * starts.scale, []
    with torch.no_grad():
        for layer in net.layers[:-1]:
            lengths.append(float(torch.nn.functional.linear(x, layer.weight, layer.bias).square().mean()))
            x = layer(x)
    assert len(lengths) == search.DEPTH
    assert lengths[0] == pytest.approx(q, rel=0.25) and np.mean(lengths) == pytest.approx(q, rel=0.25)


@needs_images
def test_images_have_mean_square_one():
    X, y, tested, answers = search.images("fashion-mnist")
    assert X.shape == (500, 784) and tested.shape == (400, 784) and len(y) == 500 and len(answers) == 400
    torch.testing.assert_close(X.square().mean(1), torch.ones(500))


@needs_images
@pytest.mark.parametrize("start", search.STARTS)
def test_the_ceiling_is_below_the_rate_at_the_start(start):
    """The softmax weighs the outputs by a matrix ≤ 1/2: λ of the cross-entropy ≤ λ of the outputs/2."""
    at_start, ceiling = search.rates_named("fashion-mnist", start, 7)
    assert 0 < ceiling <= 1.01 * at_start


@needs_images
def test_the_theory_learns_and_a_rate_far_too_small_does_not(monkeypatch):
    monkeypatch.setattr(search, "STEPS", 60)
    starts = search.starts_of("isometric", 2)
    validation, test, diverged = search.train("fashion-mnist", 0, starts, np.array([0.05, 1e-6]), [3, 3])
    assert validation[0] > 0.5 > 0.35 > validation[1] and test[0] > 0.5 > 0.35 > test[1] and not diverged.any()


def test_the_grid_is_two_data_sets_of_eight_blocks():
    paper = experiment_of(search.KEY).grid("paper")
    assert len(paper) == 2 * 8 * (1 + len(search.STARTS))
    assert sum(point["trials"] for point in paper if point["part"] == "random") == 2 * 256
