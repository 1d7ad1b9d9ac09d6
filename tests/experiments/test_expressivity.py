"""The experiments of the chapter on expressivity: what their parts are."""

import numpy as np
import pytest
import torch
from deepdynamics import data
from deepdynamics.experiments import experiment_of
from deepdynamics.experiments.expressivity import digits, features, tents

needs_digits = pytest.mark.skipif(not data.available("mnist"), reason="MNIST is not here")


def test_a_network_of_the_stack_is_the_module_of_its_seed():
    stack, alone = tents.drawn((1, 16, 16, 1), (4, 9)), tents.drawn((1, 16, 16, 1), (9,))
    x = torch.linspace(-1, 1, 7)[:, None]
    with torch.no_grad():
        together = tents.outputs(stack, x)
        torch.testing.assert_close(together[1], tents.outputs(alone, x)[0])
        torch.testing.assert_close(together[1], tents.module(stack, 1)(x.double()).float())


def test_the_one_layer_has_as_many_units_or_about_as_many_numbers():
    numbers = {name: sum(p[0].numel() for p in tents.drawn(w, (0,))) for name, w in tents.WIDTHS.items()}
    assert sum(tents.WIDTHS["deep"][1:-1]) == tents.WIDTHS["shallow"][1] == 96
    assert numbers["deep"] == 1409 and numbers["deep"] <= numbers["wide"] < 1.06 * numbers["deep"]


@needs_digits
def test_networks_without_biases_switch_as_often_as_the_angle_says():
    ensemble = digits.drawn(1, networks=4)
    assert all(not layer.bias.any() for layer in ensemble.network(2).layers)
    X, _ = digits.digits()
    ends = X[: 2 * digits.SEGMENTS * 4].reshape(-1, 2, 784)
    angle = torch.arccos(torch.nn.functional.cosine_similarity(ends[:, 0], ends[:, 1])).mean() / np.pi
    # 16 segments of 384 independent units: a standard error below sqrt(384 / 4 / 4), were a network's four the same.
    assert abs(digits.pieces(ensemble).mean() - 1 - digits.UNITS * angle) < 4 * np.sqrt(digits.UNITS / 16)


def test_a_target_in_the_span_is_found_and_learning_beats_the_start():
    x, f, w, a, b = features.wave(2, 0)
    np.testing.assert_allclose(np.linalg.norm(np.c_[w, a], axis=0), features.LENGTH)
    assert features.readout(np.c_[f, f**2], f) < 1e-12
    assert features.readout(np.zeros((len(f), 1)), f) == pytest.approx(1, abs=0.05)
    assert features.learned(x, f, a[:, :10], b[:10], steps=200) < 0.5


@pytest.mark.parametrize("key", [tents.KEY, digits.KEY, features.KEY])
def test_every_check_is_a_cell_of_the_grid(key):
    experiment = experiment_of(key)
    assert all(point in experiment.grid("paper") for point in [*experiment.checks, *experiment.grid("live")])
