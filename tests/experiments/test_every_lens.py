"""The confusion table of the diagnosis: its thresholds, its false alarms, what it finds, and rates beside the bound."""

import math

import numpy as np
import pytest
import torch
import xarray
from deepdynamics import results
from deepdynamics.diagnose import THRESHOLDS
from deepdynamics.experiments import experiment_of
from deepdynamics.experiments.every_lens import faults, harm, healthy, mended, trial
from deepdynamics.experiments.every_lens.networks import CALIBRATION, TABLE, digits, from_weights, network
from scipy import stats
from torch import nn

SEEDS = faults.SEEDS
BOUNDS = xarray.DataArray(list(THRESHOLDS.values()), {"kind": list(THRESHOLDS)})
ARGUED = ("input scale", "learning rate", "repeated inputs", "missing skip")


@pytest.fixture(scope="module")
def stored():
    return results.load(faults.KEY)


def test_the_two_lists_share_no_architecture():
    assert not set(TABLE) & set(CALIBRATION) and len(TABLE) >= 12


def test_thresholds_follow_their_rule(stored):
    healthy = stored.statistic.sel(architecture=list(CALIBRATION), fault="none")
    largest = healthy.max(("architecture", "seed"))
    for kind, bound in THRESHOLDS.items():
        if kind in ARGUED:
            continue
        step = 0.05 if kind in ("dead units", "saturation") else 1.0
        assert bound == pytest.approx(step * math.ceil(1.5 * float(largest.sel(kind=kind)) / step))


def test_false_alarms_are_rare(stored):
    alarms = stored.statistic.sel(architecture=list(TABLE), fault="none") > BOUNDS
    assert float(alarms.any("kind").mean()) <= 0.05


def test_a_trial_decides_where_networks_catch_themselves(stored):
    """At a quarter of the rate at which the loss grows, the bound alone would alarm in a few architectures; a trial
    sees that it does not grow there, and that it does at twice that rate. By construction: it is the same descent."""
    table = stored.sel(architecture=list(TABLE))
    apart = (table.growth / table.bound) > 8
    assert 0.05 < float(apart.mean()) < 0.2
    rate = table.statistic.sel(kind="learning rate")
    assert bool((rate.sel(fault="none") <= 1).all()) and bool((rate.sel(fault="none").where(apart, 0) == 0).all())
    np.testing.assert_allclose(rate.sel(fault="rate too high"), 2 * table.growth / table.bound, rtol=1e-2)


def test_a_trial_and_training_agree_where_both_are_sure():
    stored = results.load(trial.KEY)
    assert stored.grew.notnull().all() and stored.end.notnull().all() and set(SEEDS).isdisjoint(trial.SEEDS)
    fails, grew = stored.end > 1, stored.grew > 0
    below = {"octave": [-2, -1, 0]}
    assert not fails.sel(below).any() and not grew.sel(below).any()
    # At 32 times the bound nearly all fail: convolutions with ReLU and logistic perceptrons may still come back.
    assert float(fails.sel(octave=5).mean()) > 0.8 and float(grew.sel(octave=5).mean()) > 0.95
    assert bool((grew | ~fails).all())  # no failure was missed


def test_training_fails_at_a_rate_that_is_far_too_high():
    X, y = digits()
    wanted = torch.nn.functional.one_hot(y, 10).float()
    assert trial.trained(network("perceptron, tanh", 30), X, wanted, 0.05, 30) < 0.3
    assert trial.trained(network("perceptron, tanh", 30), X, wanted, 50.0, 30) > 1


FOUND = {
    "weights × 2": 0.5,
    "weights / 2": 0.5,
    "large biases": 0.7,
    "no normalisation": 0.3,
}  # of the others, nearly all


@pytest.mark.parametrize("fault", faults.NAMES)
def test_faults_are_named(stored, fault):
    table = stored.statistic.sel(architecture=list(TABLE), fault=fault)
    there = table.sel(kind="repeated inputs").notnull()
    named = (table > BOUNDS).sel(kind=list(faults.NAMES[fault])).any("kind").where(there)
    assert float(named.mean()) > FOUND.get(fault, 0.9) and int(there.sum()) >= 15


def test_no_network_grows_much_below_its_bound_and_most_within_a_few_times_it(stored):
    ratio = (stored.growth / stored.bound).sel(architecture=list(TABLE))
    assert float(ratio.min()) > 0.7 and float(ratio.median()) < 4  # the bracket is a factor of √2 wide


def test_the_growth_rate_of_a_linear_model_is_its_bound():
    X, wanted = faults.images()
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        net[1].weight.zero_(), net[1].bias.zero_()
    rows = torch.cat([X.flatten(1), torch.ones(len(X), 1)], dim=1).double()
    bound = 2 / float(torch.linalg.eigvalsh(rows.T @ rows / len(X))[-1])
    found = faults.growth_rate(net, X, wanted, bound)
    # In a quadratic loss descent is stable exactly up to the bound; the loss passes its start a little above.
    assert 1.0 <= found / bound <= 2**0.75


def test_learning_is_seen():
    loss, right = faults.learnt(network("perceptron, tanh", 0), 1.0, 0)
    assert loss < 0.3 and right > 0.8


def test_weights_alone_are_those_of_the_definition():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(2, 2))
    with torch.no_grad():
        net[1].weight.copy_(3 * torch.eye(4)), net[1].bias.fill_(2.0)
        net[2].weight.copy_(torch.eye(4)[:2] / 2), net[2].bias.zero_()
    # n_in · mean W² behind the first layer is 4 · (2/4)/8 = 1/4; norms 3 and 1/2; the readout does not count.
    assert from_weights(net) == pytest.approx([math.log(4), math.log(3 / 2), math.log(5)])
    # ReLU wants 2: an eighth of it.
    behind = nn.Sequential(net[0], net[1], nn.ReLU(), net[2], net[3])
    assert from_weights(behind) == pytest.approx([math.log(8), math.log(3 / 2), math.log(5)])


def test_more_healthy_networks_are_as_silent():
    stored = results.load(healthy.KEY)
    alarms = (stored.statistic > BOUNDS).any("kind")
    assert alarms.sizes == {"architecture": len(TABLE), "seed": 20} and float(alarms.mean()) < 0.05
    # Largest share of alarms that as few would not contradict at 10⁻⁴: Clopper and Pearson's.
    assert stats.beta.ppf(1 - 5e-5, int(alarms.sum()) + 1, alarms.size - int(alarms.sum())) < 0.05


def test_images_are_centred_and_of_mean_square_one():
    X, y = digits()
    assert X.shape == (1797, 1, 8, 8) and y.bincount().min() > 170
    assert abs(float(X.mean())) < 1e-5 and float(X.square().mean()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("architecture", [*TABLE, *CALIBRATION])
def test_networks_are_functions_of_their_seed(architecture):
    X, _ = faults.images()
    net, again, other = (network(architecture, seed) for seed in (0, 0, 1))
    with torch.no_grad():
        assert torch.equal(net(X), again(X)) and not torch.allclose(net(X), other(X))
        assert net(X).shape == (24, 10) and not net.training


def test_the_grid_is_that_of_the_table():
    assert len(experiment_of(faults.KEY).grid("paper")) == 5 * (len(TABLE) + len(CALIBRATION))
    assert np.unique([point["architecture"] for point in experiment_of(faults.KEY).grid("paper")]).size == 27


def test_the_wrong_start_is_torchs_and_the_mend_is_he():
    net = mended.theirs(0)
    assert torch.equal(net[0].weight, mended.theirs(0)[0].weight)
    convolutions = [module for module in net if isinstance(module, nn.Conv2d)]

    def variances():
        return [float(module.weight[0].numel() * module.weight.detach().square().mean()) for module in convolutions[1:]]

    # 2,304 uniform weights: their mean square has a relative standard error of √(4/5)/48 = 0.019.
    assert variances() == pytest.approx([1 / 3] * 9, rel=0.08)
    mended.mend(net)
    assert variances() == pytest.approx([2.0] * 9, rel=0.08)
    assert all(float(module.bias.abs().max()) == 0 for module in convolutions)


def test_bytes_are_images_from_0_to_255():
    X, _ = digits()
    found = mended.as_bytes(X)
    assert float(found.min()) == 0 and float(found.max()) == pytest.approx(255)
    assert torch.allclose((found - found.mean()) / found.std(correction=0), X, atol=1e-4)


def test_learning_brings_the_loss_down():
    X, y = digits()
    *losses, right = mended.learn(network("perceptron, tanh", 0), X, y, 0.05, seed=0)
    assert len(losses) == mended.STEPS and losses[-1] < losses[0] / 3 and right > 0.8


def test_more_results_have_all_their_networks():
    accuracy = results.load(mended.KEY).accuracy
    assert accuracy.sel(rate="0.1").notnull().all() and accuracy.sel(variant=["inputs", "both"]).notnull().all()
    adam = accuracy.sel(variant="inputs", rate=list(mended.ADAM))  # it trains what plain descent does not
    assert float(adam.sel(rate="Adam, 300").mean()) > 0.8 > 0.2 > float(accuracy.sel(variant="inputs", rate="1").max())
    stored = results.load(harm.KEY)
    trained = stored.accuracy.sel(architecture=list(TABLE), fault=list(harm.TRAINED))
    assert trained.notnull().all() and stored.weights.sel(fault="none").notnull().all()


def test_faults_in_weights_show_in_them(stored):
    weights = results.load(harm.KEY).weights.sel(architecture="perceptron, ReLU")
    assert float(weights.sel(fault="dead layer", measure="variance").min()) > 20
    apart = weights.sel(fault="weights × 2") - weights.sel(fault="none")
    # The largest of seven layers, whose logarithms scatter by √(2/10⁴) = 0.014 to either side.
    assert apart.sel(measure="variance").values == pytest.approx(math.log(4), abs=0.1)
    assert apart.sel(measure="norms").values == pytest.approx(8 * math.log(2), abs=1e-5)


def test_changes_are_the_statistics_with_their_signs(stored):
    change = results.load(harm.KEY).change.sel(architecture=list(TABLE)).rename(way="kind")
    statistic = stored.statistic.sel(architecture=list(TABLE), fault=list(harm.FAULTS), kind=list(harm.WAYS))
    xarray.testing.assert_allclose(abs(change).transpose(*statistic.dims), statistic, rtol=1e-2, atol=1e-3)
    doubled, halved = (change.sel(architecture="perceptron, ReLU", fault=f"weights {each}") for each in ("× 2", "/ 2"))
    assert bool((doubled > 0).all()) and bool((halved < 0).all())
