"""The four starts, the stop, margins, and which contributions are undone."""

import numpy as np
import pytest
import torch
from deepdynamics import networks
from deepdynamics.experiments.identity_initialisation import depth, training, undone


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


def test_margins_are_the_right_logit_less_the_largest_other():
    logits = torch.tensor([[3.0, 1.0, 2.5], [0.0, 1.0, 4.0]])
    assert undone.margins(logits, torch.tensor([0, 1])).tolist() == [0.5, -3.0]


@pytest.mark.parametrize("order", undone.ORDERS)
def test_half_of_the_change_is_undone_or_as_many_and_no_class_coordinate(order):
    net = training.network("identity", 4, 0)
    draw = networks.generator(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.01 * networks.gaussian(parameter.shape, seed=draw, dtype=torch.float32)
    x, y = torch.rand(6, 196, generator=draw), torch.arange(6)
    chosen = undone.chosen(net, x, y, 2, order, seed=0)
    before, after = net.states(x)[1:3]
    change = (after - before)[:, :196].square()
    share = (change * chosen[:, :196]).sum(1) / change.sum(1)
    assert not chosen[:, 196:].any()
    largest = undone.chosen(net, x, y, 2, "largest", seed=0).sum(1)
    if order == "as many":
        assert torch.equal(chosen.sum(1), largest) and (share < 0.5).all()
    else:
        assert (share >= 0.5).all() and (share - change.amax(1) / change.sum(1) < 0.5).all()
        assert (chosen.sum(1) >= largest).all()  # the largest are the fewest


def test_support_is_the_first_order_loss_of_the_margin():
    net = training.network("identity", 4, 0)
    draw = networks.generator(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.01 * networks.gaussian(parameter.shape, seed=draw, dtype=torch.float32)
    x, y = 0.5 * torch.rand(6, 196, generator=draw), torch.arange(6)
    change = 1e-3 * torch.ones(6, 206)
    promised = undone._support(net, x, y, 2, change).sum(1)
    states = net.states(x)[2]
    lower = states - change
    for layer in net.layers[2:]:
        states, lower = layer(states).detach(), layer(lower).detach()
    lost = undone.margins(5 * states[:, -10:], y) - undone.margins(5 * lower[:, -10:], y)
    assert torch.allclose(lost, promised, rtol=0.02, atol=1e-5)


def test_training_is_the_same_for_a_seed_and_lowers_the_loss():
    if not training.data.available("mnist"):
        pytest.skip("no MNIST")
    nets = [training.network("identity", 3, 0) for _ in range(2)]
    for net in nets:
        training.train(net, 0.01, 3, 20)
    assert torch.equal(nets[0].layers[0].weight, nets[1].layers[0].weight)
    assert training.accuracy(nets[0](training.images()[2])) > 0.3


def test_a_network_that_does_not_arrive_is_nan(monkeypatch):
    if not training.data.available("mnist"):
        pytest.skip("no MNIST")
    monkeypatch.setattr(depth, "STEPS", 2)
    assert all(np.isnan(value) for value in depth.cell("identity", "whole", 2, 1).values())
