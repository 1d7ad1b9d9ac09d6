"""Stacks as networks: their Jacobians against differentiation, determinants against SVDs, variants in their limits."""

import numpy as np
import pytest
import torch
from deepdynamics import jacobian
from deepdynamics.networks import generator
from deepdynamics.rbm import RBM, Stack, fine_tuned_accuracy, pretrain, pretrain_stack

RECIPE = {"epochs": 2, "learning_rate": 0.1, "gain": 1.05, "units": "continuous", "weight_var": 0.2}
VARIANTS = [{}, {"dropout": 0.3}, {"pool": 2}, {"skip": True}, {"skip": True, "pool": 2, "dropout": 0.1}]


def patterns(n=300, pixels=12, seed=0, dtype=torch.float32):
    """Grey values of two kinds, with noise."""
    draw = generator(seed)
    kind = torch.randint(0, 2, (n, 1), generator=draw)
    ramp = torch.linspace(0.1, 0.9, pixels)
    clean = torch.where(kind == 0, ramp, ramp.flip(0))
    return (clean + 0.05 * torch.randn(n, pixels, generator=draw)).clamp(0, 1).to(dtype), kind[:, 0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_factors_are_the_jacobians_of_the_layers(variant):
    X, _ = patterns(dtype=torch.float64)
    stack = pretrain_stack((12, 8, 8, 8), X, seed=1, **RECIPE, **variant)
    layers = [lambda x, number=number: stack.layer(number, x) for number in range(3)]
    found, expected = stack.factors(X[0]), jacobian.layer_jacobians(layers, X[0])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
    assert stack.states(X)[-1].shape == (300, expected[-1].shape[0])


def test_each_machine_is_trained_on_the_means_of_the_one_before():
    X, _ = patterns()
    draw, states, machines = generator(3), X, []
    for visible, hidden in ((12, 7), (7, 5)):
        machine = RBM(visible, hidden, "continuous", 1.05, weight_var=0.2, seed=draw)
        machines.append(machine.fit(states, epochs=2, learning_rate=0.1, seed=draw))
        states = torch.sigmoid(1.05 * (states @ machine.weights + machine.hidden_bias))
    for found in (pretrain((12, 7, 5), X, seed=3, **RECIPE), pretrain_stack((12, 7, 5), X, seed=3, **RECIPE).machines):
        for one, other in zip(found, machines, strict=True):
            assert torch.equal(one.weights, other.weights) and torch.equal(one.hidden_bias, other.hidden_bias)
    with pytest.raises(TypeError, match="dropout"):
        pretrain((12, 7), X, seed=3, dropout=0.5, **RECIPE)


def test_dropout_keeps_the_means_and_the_dtype():
    X, _ = patterns(dtype=torch.float64)
    stack = pretrain_stack((12, 8), X, seed=1, dropout=0.5, momentum=[0.0, 0.5], bias_from_data=True, **RECIPE)
    assert stack.keep == 0.5 and stack.machines[0].weights.dtype == torch.float64
    expected = stack.machines[0].hidden_probability(0.5 * X)
    torch.testing.assert_close(stack.layer(0, X), expected)


def test_the_sum_of_all_log_singular_values_is_a_sum_over_layers():
    X, _ = patterns(dtype=torch.float64)
    stack = pretrain_stack((12, 9, 9, 9), X, seed=2, **RECIPE)
    found = stack.mean_log_singular_values(X[:5])
    exact = [jacobian.product_singular_values(stack.factors(x)).mean() for x in X[:5]]
    # The first layer is rectangular: Σ log s of a product is additive all the same, since J¹ has full row rank.
    torch.testing.assert_close(found, torch.stack(exact), rtol=1e-9, atol=1e-9)


def test_reconstruction_improves_with_training():
    X, _ = patterns()
    short, long = (pretrain_stack((12, 8), X, seed=1, **(RECIPE | {"epochs": epochs})) for epochs in (1, 60))
    assert float(long.reconstruction_errors(X)[0]) < 0.5 * float(short.reconstruction_errors(X)[0])


def test_fine_tuning_learns_and_leaves_the_stack_alone():
    X, y = patterns()
    stack = pretrain_stack((12, 8, 8), X, seed=1, **RECIPE)
    before = stack.machines[0].weights.clone()
    accuracy = fine_tuned_accuracy(stack, X[:200], y[:200], X[200:], y[200:], epochs=30, learning_rate=0.02, seed=0)
    assert accuracy > 0.95  # the two patterns are far apart
    assert torch.equal(before, stack.machines[0].weights) and not stack.machines[0].weights.requires_grad
    again = fine_tuned_accuracy(stack, X[:200], y[:200], X[200:], y[200:], epochs=30, learning_rate=0.02, seed=0)
    assert again == accuracy


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"dropout": 1.0}, r"dropout = 1.0: a number in \[0, 1\)"),
        ({"dropout": -0.1}, "dropout = -0.1"),
        ({"pool": 3}, r"pool = 3: a divisor of the hidden widths \(8,\)"),
        ({"pool": 0}, "pool = 0"),
        ({"epochs": 0}, "epochs = 0"),
    ],
)
def test_bad_training(arguments, message):
    with pytest.raises(ValueError, match=message):
        pretrain_stack((12, 8), patterns()[0], seed=0, **(RECIPE | arguments))


def test_bad_widths_and_inputs():
    X, y = patterns()
    with pytest.raises(ValueError, match=r"widths = \(12,\): at least a visible"):
        pretrain_stack((12,), X, seed=0, **RECIPE)
    stack = pretrain_stack((12, 8, 4), X, seed=0, **RECIPE)
    with pytest.raises(ValueError, match=r"x of shape \(300, 12\): one input"):
        stack.factors(X)
    with pytest.raises(ValueError, match=r"stack with layers \[\(12, 8\), \(8, 4\)\]: a plain one of one width"):
        stack.mean_log_singular_values(X)
    with pytest.raises(ValueError, match="stack with dropout, pooling or skip"):
        fine_tuned_accuracy(
            pretrain_stack((12, 8), X, seed=0, skip=True, **RECIPE), X, y, X, y, epochs=1, learning_rate=0.1, seed=0
        )


def test_global_random_state_is_left_alone():
    X, _ = patterns()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    pretrain_stack((12, 8), X, seed=0, dropout=0.2, **RECIPE)
    assert np.array_equal(torch.rand(3), expected)


def test_all_singular_values_where_first_units_are_saturated_beyond_rounding():
    """Pixels times a large weight switch units off to 1e-30; their log slopes must be in the determinant."""
    X, _ = patterns(dtype=torch.float64)
    stack = pretrain_stack((12, 8, 8, 8), X, seed=2, **RECIPE)
    stack.machines[0].hidden_bias += torch.tensor([0, 0, 0, 0, 5.0, -30.0, 50.0, -70.0], dtype=torch.float64)
    for x in X[:3]:
        found = stack.log_singular_values(x)
        assert found.shape == (8,) and torch.isfinite(found).all() and (found.diff() <= 0).all()
        assert float(found[0] - found[-1]) > 60
        torch.testing.assert_close(found.mean(), stack.mean_log_singular_values(x[None])[0], rtol=1e-10, atol=1e-9)
        leading = torch.linalg.svdvals(torch.linalg.multi_dot(stack.factors(x)[::-1])).log()
        torch.testing.assert_close(found[:3], leading[:3], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("widths", [(12, 8), (12, 8, 5), (12, 16, 8)])
def test_all_singular_values_are_those_of_the_product(widths):
    X, _ = patterns(dtype=torch.float64)
    stack = pretrain_stack(widths, X, seed=2, dropout=0.2, **RECIPE)
    factors = stack.factors(X[0])
    whole = factors[0] if len(factors) == 1 else torch.linalg.multi_dot(factors[::-1])
    torch.testing.assert_close(
        stack.log_singular_values(X[0]).exp(), torch.linalg.svdvals(whole), rtol=1e-9, atol=1e-14
    )


def test_all_singular_values_need_a_plain_stack():
    X, _ = patterns()
    with pytest.raises(ValueError, match="stack with pooling or skip connections"):
        pretrain_stack((12, 8), X, seed=0, pool=2, **RECIPE).log_singular_values(X[0])


def test_a_readout_that_sees_all_units_alike_learns_the_commonest_class_only():
    stack, X, y = Stack((RBM(8, 12, weight_var=1.0, seed=0),)), torch.eye(8).repeat(20, 1), torch.arange(160) % 8 % 5
    options = {"epochs": 30, "learning_rate": 0.02, "seed": 0}
    assert fine_tuned_accuracy(stack, X, y, X, y, **options, seen=lambda h: 1.0 * h) == 1
    blind = fine_tuned_accuracy(stack, X, y, X, y, **options, seen=torch.zeros_like)
    assert blind == float((y == y.mode().values).double().mean())  # five classes, three of them twice as common
