"""The experiments on what a spectrum predicts: what the starts are, what is stored."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from deepdynamics import results
from deepdynamics.experiments.spectrum_predicts import classifiers, controls, stacks, starts
from deepdynamics.rbm import RBM, Stack


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
