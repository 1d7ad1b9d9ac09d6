"""Class coordinates, readers, contributions: closed forms, exact sums, equivariance."""

from itertools import pairwise

import pytest
import torch
from deepdynamics import networks
from deepdynamics.interpretation import (
    carried_readers,
    class_likelihood,
    contributions,
    deviation,
    identity_network,
    undo,
)
from deepdynamics.networks import MLP

X = networks.gaussian((20, 6), seed=1) / 10


def moved(init="identity", seed=0, size=0.02, depth=5, sharpness=5.0):
    """A network a step away from its start, as training would leave it, in float64."""
    net = identity_network(6, 3, depth, "hardtanh", init=init, seed=seed, sharpness=sharpness, dtype=torch.float64)
    draw = networks.generator(100)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += size * networks.gaussian(parameter.shape, seed=draw)
    return net


def test_untrained_network_says_nothing_of_the_classes():
    likelihood = class_likelihood(identity_network(6, 3, 5, "hardtanh", dtype=torch.float64), X)
    assert likelihood.shape == (6, 20, 3)
    assert torch.allclose(likelihood, torch.full_like(likelihood, 1 / 3), atol=1e-15)


def test_last_layer_is_the_answer_of_the_network():
    net = moved()
    assert torch.allclose(class_likelihood(net, X)[-1], net(X).softmax(-1), atol=1e-14)


def test_contributions_add_up():
    net = moved()
    change = contributions(net, X)
    assert change.shape == (5, 20, 9)
    assert torch.allclose(change.sum(0), net.states(X)[-1] - net.embed(X), atol=1e-14)
    assert torch.allclose(contributions(net, X[0]), change[:, 0], atol=1e-15)


def test_readers_carried_through_a_linear_network_read_what_the_rest_makes_of_a_layer():
    net = MLP((6,) * 5, "linear", init="gaussian", seed=0, dtype=torch.float64)
    rows = carried_readers([layer.weight.detach() for layer in net.layers], torch.eye(6, dtype=torch.float64)[:2])
    likelihood = class_likelihood(net, X, rows)
    assert torch.allclose(likelihood, net(X)[:, :2].softmax(-1).expand(5, 20, 2), atol=1e-13)


def test_a_network_that_starts_from_rotations_is_read_in_its_carried_frame_as_an_identity_network():
    """W^l → Q_l W^l Q_{l-1}ᵀ and b^l → Q_l b^l: the same network in another frame, as long as nothing is clipped."""
    net, turned = moved(), moved()
    frames = [torch.eye(9, dtype=torch.float64)]
    frames += [networks.haar(9, 9, seed=seed) for seed in range(4)] + frames[:1]
    start = [after @ before.T for before, after in pairwise(frames)]
    with torch.no_grad():
        for layer, before, after in zip(turned.layers, frames, frames[1:], strict=False):
            layer.weight.copy_(after @ layer.weight @ before.T)
            layer.bias.copy_(after @ layer.bias)
    assert max(float(state.abs().max()) for state in turned.states(X)) < 1
    rows = carried_readers(start, net.readers)
    assert torch.allclose(class_likelihood(turned, X, rows), class_likelihood(net, X), atol=1e-12)
    assert not torch.allclose(class_likelihood(turned, X)[2], class_likelihood(net, X)[2], atol=1e-3)


def test_undo_nothing_and_everything():
    net = moved()
    none = torch.zeros(20, 9, dtype=torch.bool)
    assert torch.allclose(undo(net, X, 3, none), net(X), atol=1e-14)
    without = identity_network(6, 3, 4, "hardtanh", dtype=torch.float64)
    kept = [layer for place, layer in enumerate(net.layers, 1) if place != 3]
    for target, layer in zip(without.layers, kept, strict=True):
        target.load_state_dict(layer.state_dict())
    assert torch.allclose(undo(net, X, 3, ~none), without(X), atol=1e-14)  # the layer is taken out


def test_deviation_is_the_size_of_what_was_added():
    start = identity_network(6, 3, 5, "hardtanh", dtype=torch.float64)
    W = moved(size=0.0)
    with torch.no_grad():
        W.layers[1].weight += 0.3 * torch.eye(9)
    assert torch.allclose(deviation(W, start), torch.tensor([0, 0.3, 0, 0, 0], dtype=torch.float64), atol=1e-15)


def test_relu_lets_no_gradient_into_class_coordinates():
    net = identity_network(6, 3, 5, "relu", dtype=torch.float64)
    net(X.abs()).square().sum().backward()
    net.zero_grad()
    torch.nn.functional.cross_entropy(net(X.abs()), torch.arange(20) % 3).backward()
    assert all(float(layer.weight.grad.abs().max()) == 0 for layer in net.layers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_the_network(dtype):
    net = identity_network(6, 3, 2, "tanh", dtype=dtype)
    assert class_likelihood(net, X.numpy()).dtype == contributions(net, X.numpy()).dtype == dtype


def test_bad_input_is_named():
    net = identity_network(6, 3, 2, "hardtanh")
    with pytest.raises(ValueError, match=r"inputs \(..., 6\)"):
        net(torch.zeros(4, 5))
    with pytest.raises(ValueError, match="sharpness"):
        identity_network(6, 3, 2, "hardtanh", sharpness=0)
    with pytest.raises(ValueError, match="no class coordinates"):
        class_likelihood(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="readers"):
        class_likelihood(net, torch.zeros(1, 6), torch.eye(5))
    with pytest.raises(ValueError, match="one width"):
        contributions(torch.nn.Sequential(torch.nn.Linear(2, 3)), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="Sequential"):
        contributions(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="booleans"):
        undo(net, torch.zeros(1, 6), 1, torch.zeros(1, 9))
    with pytest.raises(ValueError, match="layer"):
        undo(net, torch.zeros(1, 6), 3, torch.zeros(1, 9, dtype=torch.bool))
    with pytest.raises(ValueError, match="weights"):
        carried_readers([torch.eye(3)], torch.eye(2))
    with pytest.raises(ValueError, match="same shapes"):
        deviation(net, identity_network(5, 3, 2, "hardtanh"))
