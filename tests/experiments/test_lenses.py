"""The residual network of the chapter that puts every lens on one network: its recursion and its products are those of
dense derivatives, and rebuilding is exact with all units.
"""

import copy

import numpy as np
import pytest
import torch
from deepdynamics.experiments.every_lens import lenses
from deepdynamics.jacobian import jacobian
from torch.func import functional_call, jacrev


@pytest.fixture(scope="module")
def net():
    return lenses.trained(0, steps=20)


@pytest.fixture(scope="module")
def x():
    return lenses.flat_digits()[0][1000]


def test_layers_are_their_product(net, x):
    states = lenses.path(net, x[None])
    assert states.shape == (11, 1, 64)
    dense = jacobian(torch.nn.Sequential(*net[2:-1]), states[0, 0]).double()
    product = torch.linalg.multi_dot(lenses.block_jacobians(net, x)[::-1])
    assert torch.allclose(dense, product, rtol=0, atol=1e-5 * float(dense.abs().max()))
    with torch.no_grad():
        assert torch.allclose(net[-1](states[-1]), net(x[None]), atol=1e-5)


def test_recursion_is_the_dense_gram_matrix_of_all_parameters(net, x):
    double = lenses.trained(0, steps=20).double()
    found = jacrev(lambda p: functional_call(double, p, (x.double()[None],))[0])(dict(double.named_parameters()))
    J = torch.cat([part.flatten(1) for part in found.values()], dim=1).detach()
    assert J.shape[0] == 10
    G = lenses.gradient_gram(net, x)
    assert torch.allclose(G, J @ J.T, rtol=1e-5, atol=1e-5 * float(G.max()))


def test_mistakes_are_test_digits_that_are_named_wrongly(net):
    X, _, _ = lenses.flat_digits()
    wrong = lenses.mistakes(net, lenses.shifted(X), 10)
    assert len(wrong) == 10 and (wrong >= 1000).all()
    assert lenses.right(net, lenses.shifted(X), wrong) == 0


def test_shifted_digits_have_their_pixels_one_place_to_the_right():
    image = torch.arange(64.0)
    assert lenses.shifted(image[None])[0].reshape(8, 8)[:, 1:].equal(image.reshape(8, 8)[:, :-1])
    assert not lenses.shifted(image[None])[0].reshape(8, 8)[:, 0].any()


def test_a_block_is_rebuilt_from_all_of_its_units(net):
    units = lenses.own_units(net, 4, 128, seed=0)
    error, accuracy = lenses.rebuilding_error(net, 4, units)
    assert error < 2e-3  # the decay of the fit
    assert accuracy == pytest.approx(lenses.right(net, lenses.flat_digits()[0]), abs=2 / 797)


def test_affine_maps_are_exact_where_blocks_are_affine(net):
    X, _, _ = lenses.flat_digits()
    line = copy.deepcopy(net)
    with torch.no_grad():
        for block in lenses.blocks(line):
            block.branch[0].bias.fill_(1e3)  # all units are on
    with torch.no_grad():
        assert torch.allclose(lenses.affine(line)(X), line(X), rtol=0, atol=2e-3 * float(line(X).abs().max()))
    assert lenses.rebuilding_error(line, 4, None)[0] < 1e-4


def test_a_network_without_a_block_is_the_others_in_order(net):
    X, _, _ = lenses.flat_digits()
    less = lenses.without(net, 4)
    assert lenses.blocks(less) == [block for place, block in enumerate(lenses.blocks(net)) if place != 4]
    states = lenses.path(net, X[:5])
    with torch.no_grad():
        assert torch.allclose(less[6:](states[4]), less(X[:5]), atol=1e-5)


def test_units_are_drawn_without_repetition(net):
    a, b = lenses.own_units(net, 4, 64, seed=1)
    assert a.shape == (64, 64) and b.shape == (64,) and len(np.unique(a, axis=0)) == 64
