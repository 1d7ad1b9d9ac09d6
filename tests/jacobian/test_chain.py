"""The chain rule in closed form, against automatic differentiation, and the four places that use it."""

import pytest
import torch
from deepdynamics import activations
from deepdynamics.autoencoders import Autoencoders
from deepdynamics.jacobian import jacobian, layer_jacobians, mlp_jacobians
from deepdynamics.jacobian.chain import layer_factor, multiplied
from deepdynamics.meanfield import gain
from deepdynamics.networks import MLP, generator, weight_matrices
from deepdynamics.rbm import RBM
from deepdynamics.rbm.stack import Stack

F64 = torch.float64


def draw(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=F64)


def test_a_factor_is_a_diagonal_matrix_times_the_weights():
    d, W = draw(4), draw(4, 3, seed=1)
    assert torch.equal(layer_factor(d, W), torch.diag(d) @ W)
    many, matrices = draw(2, 5, 4), draw(2, 1, 4, 3, seed=1)
    assert torch.equal(layer_factor(many, matrices), torch.diag_embed(many) @ matrices)


def test_the_product_has_the_last_layer_on_the_left():
    factors = [draw(4, 3), draw(5, 4, seed=1), draw(2, 5, seed=2)]
    torch.testing.assert_close(multiplied(factors), torch.linalg.multi_dot(factors[::-1]), rtol=1e-13, atol=1e-13)
    assert torch.equal(multiplied(factors[:1]), factors[0])


def _gain():
    matrices, x, phi = weight_matrices("gaussian", (6, 5, 4), seed=0), draw(6), activations.get("tanh")
    layers = [lambda z, W=W: phi(1.4 * (W @ z)) for W in matrices]
    return gain.factors(matrices, x, 1.4, "tanh"), layers, x


def _stack(**variant):
    stack = Stack((RBM(6, 8, gain=1.3, seed=0), RBM(8 // variant.get("pool", 1), 8, gain=1.3, seed=1)), **variant)
    x = draw(6).sigmoid()
    return stack.factors(x), [lambda z, n=n: stack.layer(n, z) for n in range(2)], x


def _autoencoders():
    nets, x = Autoencoders(2, 6, 4, seed=3, dtype=F64), draw(6).sigmoid()
    return [nets.jacobians(x[None], 1)[0]], [lambda z: nets.encode(z[None])[1, 0]], x


@pytest.mark.parametrize(
    "made",
    [
        _gain,
        _stack,
        lambda: _stack(keep=0.8),
        lambda: _stack(pool=2),
        lambda: _stack(skip=True),
        _autoencoders,
    ],
    ids=["gain", "stack", "dropout", "pooling", "skip", "autoencoder"],
)
def test_factors_with_slopes_of_their_own_are_those_of_autograd(made):
    found, layers, x = made()
    for J, expected in zip(found, layer_jacobians(layers, x), strict=True):
        torch.testing.assert_close(J, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ["tanh", "relu", "erf"])
@pytest.mark.parametrize("parametrisation", ["standard", "ntk"])
def test_batched_jacobians_are_those_of_autograd(activation, parametrisation):
    net = MLP(
        (6, 9, 8, 4),
        activation,
        weight_var=2.0,
        bias_var=0.1,
        gain=1.3,
        parametrisation=parametrisation,
        seed=0,
        dtype=F64,
    )
    X = torch.randn(5, 6, generator=generator(1), dtype=F64)
    for depth in (1, 2, 3):
        batched = mlp_jacobians(net, X, depth)
        for x, J in zip(X, batched, strict=True):
            state = torch.nn.Sequential(*net.layers[:depth])
            torch.testing.assert_close(J, jacobian(state, x), rtol=1e-10, atol=1e-13)
    assert mlp_jacobians(MLP((3, 2), "tanh", seed=0), torch.ones(2, 3)).is_contiguous()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda net: mlp_jacobians(torch.nn.Linear(3, 2), torch.ones(1, 3)), "net is of type Linear"),
        (lambda net: mlp_jacobians(net, torch.ones(3)), r"X of shape \(3,\)"),
        (lambda net: mlp_jacobians(net, torch.ones(1, 3), 2), "depth = 2: 1 to 1"),
    ],
)
def test_bad_networks_and_inputs(call, message):
    with pytest.raises(ValueError, match=message):
        call(MLP((3, 2), "tanh", seed=0))
