"""The bound on the rank of a Jacobian is one, and where it is reached."""

import pytest
import torch
from deepdynamics import jacobian
from deepdynamics.networks import CNN, generator
from deepdynamics.rankbound import rank_bound


def rank(f, x):
    s = torch.linalg.svdvals(jacobian.jacobian(f, x))
    return int((s > 1e-10 * s[0]).sum())


@pytest.mark.parametrize("narrow", [3, 8, 40])
def test_generic_weights_reach_the_narrowest_place(narrow):
    """A layer of `narrow` linear units in between binds where it has fewer units than are active around it."""
    draw = generator(narrow)
    first, second, last = (
        torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((60, 20), (narrow, 60), (30, narrow))
    )
    x = torch.randn(20, generator=draw, dtype=torch.float64)

    def f(x):
        return last @ torch.relu(second @ torch.relu(first @ x))

    active = int((second @ torch.relu(first @ x) > 0).sum())
    assert rank_bound(f, x) == min(20, active, 30) == rank(f, x)


@pytest.mark.parametrize("form", [torch.relu, torch.nn.functional.relu, torch.nn.ReLU(), torch.Tensor.relu])
def test_every_form_of_the_relu_counts(form):
    assert rank_bound(lambda x: form(x), torch.tensor([1.0, -1.0, 2.0])) == 2


def test_a_convolutional_network_with_pooling():
    net = CNN((1, 12, 12), (2, 2), 50, "relu", pool_after=(1, 2), weight_var=2.0, seed=0, dtype=torch.float64)
    x = torch.randn(1, 12, 12, generator=generator(1), dtype=torch.float64)
    bound = rank_bound(net, x)
    assert rank(net, x) <= bound <= 2 * 3 * 3 < 50
