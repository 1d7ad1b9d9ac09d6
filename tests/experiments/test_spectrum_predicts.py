"""The experiments on what a spectrum predicts: what the starts are, gradients beside autograd, what is stored."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from deepdynamics import results
from deepdynamics.experiments.spectrum_predicts import classifiers, controls, stacks, starts
from deepdynamics.networks import MLP
from deepdynamics.rbm import RBM, Stack, fine_tuned_accuracy


def small_stack(seed=0):
    sizes = (30, 20, 20)
    return Stack(tuple(RBM(a, b, units="continuous", weight_var=0.5, seed=seed + a) for a, b in pairwise(sizes)))


def test_drawn_directions_keep_singular_values_and_the_mean_input_of_each_unit():
    X = torch.rand(200, 30, generator=torch.Generator().manual_seed(0))
    stack = small_stack()
    other = starts.redrawn(stack, X, seed=0)
    a = b = X
    for old, new in zip(stack.machines, other.machines, strict=True):
        s, t = (torch.linalg.svdvals(machine.weights) for machine in (old, new))
        torch.testing.assert_close(s, t, rtol=1e-4, atol=1e-5)
        means = [(h @ m.weights).mean(0) + m.hidden_bias for h, m in ((a, old), (b, new))]
        torch.testing.assert_close(*means, rtol=1e-4, atol=1e-4)
        # Of 20 × 20 directions drawn anew none is the old one.
        assert (old.weights - new.weights).norm() > 0.5 * old.weights.norm()
        a, b = old.hidden_probability(a), new.hidden_probability(b)


def test_an_orthogonal_start_is_centred_on_the_digits_and_keeps_every_direction():
    stack = starts.begun("orthogonal", 0)
    X = starts.digits()[0][: starts.CENTRED]
    for machine in stack.machines:
        assert (X @ machine.weights + machine.hidden_bias).mean(0).abs().max() < 1e-3
        s = torch.linalg.svdvals(machine.weights) * machine.gain / 4
        torch.testing.assert_close(s, torch.ones_like(s), rtol=1e-4, atol=0)
        X = machine.hidden_probability(X)


def test_the_first_gradient_of_a_stack_is_that_of_autograd():
    stack, X = small_stack(), torch.rand(50, 30, generator=torch.Generator().manual_seed(1))
    y = torch.arange(50) % 4
    readout, offset = torch.zeros(20, 4, requires_grad=True), torch.zeros(4, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(stack.states(X)[-1] @ readout + offset, y)
    norm = sum(g.square().sum() for g in torch.autograd.grad(loss, (readout, offset))) ** 0.5
    assert stacks.first_gradient(stack, X, y) == pytest.approx(float(norm.log10()), abs=1e-5)


def test_the_first_gradient_of_a_classifier_is_a_step_of_descent():
    net, X = MLP((6, 5, 3), "tanh", seed=0), torch.randn(20, 6, generator=torch.Generator().manual_seed(2))
    y, step = torch.arange(20) % 3, 1e-3
    before = torch.nn.functional.cross_entropy(net(X), y)
    squared = 10 ** (2 * classifiers.first_gradient(net, X, y))
    gradients = torch.autograd.grad(before, list(net.parameters()))
    with torch.no_grad():
        for p, g in zip(net.parameters(), gradients, strict=True):
            p -= step * g
        fallen = before - torch.nn.functional.cross_entropy(net(X), y)
    # The loss falls by the rate times the squared norm, to first order.
    assert float(fallen) == pytest.approx(step * squared, rel=0.05)


def test_hyperparameters_are_drawn_by_themselves_and_are_those_of_their_configuration():
    drawn = [classifiers.hyperparameters(i) for i in classifiers.CONFIGURATIONS]
    assert drawn[3] == classifiers.hyperparameters(3) != drawn[4]
    for name, low, high in (("width", 24, 192), ("depth", 1, 5), ("weight_var", 0.25, 4), ("rate", 0.01, 0.25)):
        assert all(low <= row[name] <= high for row in drawn)
    columns = np.array([[row["depth"], row["width"], row["weight_var"], row["rate"]] for row in drawn])
    off = np.corrcoef(columns.T)[np.triu_indices(4, 1)]
    assert np.abs(off).max() < 4 / len(drawn) ** 0.5


@pytest.mark.parametrize(
    ("name", "module"), [("starts", starts), ("stacks", stacks), ("classifiers", classifiers), ("controls", controls)]
)
def test_stored_results_name_what_they_hold(name, module):
    found = results.load(f"spectrum-predicts.{name}")
    for array, dims in module.DIMENSIONS.items():
        assert found[array].dims == dims
        assert found[array].shape == tuple(len(module.COORDINATES[dim]) for dim in dims)


def test_the_stored_hyperparameters_are_those_that_are_drawn():
    table = results.load("spectrum-predicts.classifiers").table.sel(configuration=7)
    drawn = classifiers.hyperparameters(7)
    for name in ("width", "weight_var", "rate"):
        np.testing.assert_allclose(table.sel(quantity=name), np.log10(drawn[name]))


def test_a_rotated_stack_keeps_singular_values_and_mean_inputs_and_hears_other_directions():
    stack = starts.begun("orthogonal", 0)
    other = controls.rotated(stack, seed=0)
    X = starts.digits()[0][: starts.CENTRED]
    old, new = (machines.machines[0] for machines in (stack, other))
    torch.testing.assert_close(torch.linalg.svdvals(new.weights), torch.linalg.svdvals(old.weights), rtol=1e-4, atol=0)
    means = [(X @ machine.weights + machine.hidden_bias).mean(0) for machine in (old, new)]
    torch.testing.assert_close(*means, rtol=0, atol=1e-2)
    assert (old.weights - new.weights).norm() > old.weights.norm()
    assert other.machines[1:] == stack.machines[1:]


def test_the_controls_train_as_starts_do(monkeypatch):
    X, y, tests, labels = starts.digits()
    few = (X[:600], y[:600], tests[:300], labels[:300])
    monkeypatch.setattr(controls, "digits", lambda: few)
    stack = starts.begun("orthogonal", 0)
    options = {"learning_rate": 1e-3, "seed": 0}
    expected = fine_tuned_accuracy(stack, *few, epochs=starts.EPOCHS, **options)
    assert controls.rescaled_accuracy(stack, None, **options) == pytest.approx(expected, abs=1e-6)
