"""The four starts, the stop, margins, and which contributions are undone."""

import numpy as np
import pytest
import torch
from deepdynamics import networks
from deepdynamics.experiments.identity_initialisation import training


@pytest.mark.parametrize("start", ["identity", "loop"])
def test_identity_and_loop_are_the_identity_from_end_to_end(start):
    net = training.network(start, 7, 3)
    x = 0.2 * torch.rand(5, 196, generator=networks.generator(0))
    assert torch.allclose(net.states(x)[-1], net.embed(x), atol=1e-5)


def test_loop_is_in_another_frame_in_between():
    net = training.network("loop", 7, 3)
    x = 0.2 * torch.rand(5, 196, generator=networks.generator(0))
    assert not torch.allclose(net.states(x)[3], net.embed(x), atol=1e-2)
    assert torch.allclose(net.states(x)[3].norm(dim=1), net.embed(x).norm(dim=1), rtol=1e-5)


def test_seeds_draw_the_matrices_of_random_starts():
    first, second = (training.network("haar", 2, seed).layers[0].weight for seed in (1, 2))
    assert not torch.equal(first, second)
    assert torch.equal(first, training.network("haar", 2, 1).layers[0].weight)


def test_training_stops_at_the_mean_of_the_last_losses_or_after_three_thousand_steps():
    assert not training.at_target([0.1] * 49)
    assert training.at_target([5.0] + [0.29] * 50) and not training.at_target([0.3] * 49 + [0.4])
    assert training.at_target([2.0] * 3000)


def test_margins_are_the_right_logit_less_the_largest_other():
    logits = torch.tensor([[3.0, 1.0, 2.5], [0.0, 1.0, 4.0]])
    assert training.margins(logits, torch.tensor([0, 1])).tolist() == [0.5, -3.0]


@pytest.mark.parametrize("order", training.ORDERS)
def test_half_of_the_change_is_undone_in_every_order_and_no_class_coordinate(order):
    net = training.network("identity", 4, 0)
    draw = networks.generator(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.01 * networks.gaussian(parameter.shape, seed=draw, dtype=torch.float32)
    x, y = torch.rand(6, 196, generator=draw), torch.arange(6)
    chosen = training._chosen(net, x, y, 2, order, seed=0)
    before, after = net.states(x)[1:3]
    change = (after - before)[:, :196].square()
    undone = (change * chosen[:, :196]).sum(1) / change.sum(1)
    assert not chosen[:, 196:].any()
    assert (undone >= 0.5).all() and (undone - change.amax(1) / change.sum(1) < 0.5).all()
    if order == "change":
        assert np.all(chosen[:, :196].sum(1).numpy() < 98)  # the largest are fewer than half of the units
