"""Jacobians against finite differences, automatic differentiation and identities."""

import math

import pytest
import torch
from deepdynamics.jacobian import (
    cumulative_jacobian,
    cumulative_jacobians,
    difference_gains,
    homogeneous_parts,
    jacobian,
    layer_jacobians,
    pushforward,
    singular_values,
)
from deepdynamics.jacobian.chain import multiplied
from deepdynamics.networks import CNN, MLP, generator, small

F64 = torch.float64
SMOOTH = MLP((6, 9, 8, 4), "tanh", weight_var=2.0, bias_var=0.1, seed=0, dtype=F64)
WIDENING = MLP((3, 9, 8), "erf", weight_var=2.0, bias_var=0.1, readout="activated", seed=1, dtype=F64)
KINKS = MLP((6, 9, 8, 4), "relu", weight_var=2.0, bias_var=0.1, seed=2, dtype=F64)
IMAGES = CNN((1, 6, 6), (3, 4), 3, "relu", pool_after=(1,), weight_var=2.0, bias_var=0.1, seed=3, dtype=F64)
NETWORKS = [(SMOOTH, (6,)), (WIDENING, (3,)), (KINKS, (6,)), (IMAGES, (1, 6, 6))]


def point(shape, seed=5):
    return torch.randn(shape, generator=generator(seed), dtype=F64)


@pytest.mark.parametrize(("net", "shape"), NETWORKS)
def test_jacobian_is_what_finite_differences_say(net, shape):
    x = point(shape)
    J = jacobian(net, x)
    assert J.shape == (net(x).numel(), x.numel()) and not J.requires_grad
    h = 1e-6
    with torch.no_grad():
        steps = h * torch.eye(x.numel(), dtype=F64).view(-1, *shape)
        columns = [((net(x + e) - net(x - e)) / (2 * h)).flatten() for e in steps]
    # Central differences: h² |f'''| ~ 1e-12 and rounding 1e-16/h = 1e-10.
    torch.testing.assert_close(J, torch.stack(columns, 1), rtol=0, atol=2e-9)


@pytest.mark.parametrize(("net", "shape"), NETWORKS)
def test_chain_rule_and_adjoint(net, shape):
    x = point(shape)
    J, factors = jacobian(net, x), layer_jacobians(net.layers, x)
    torch.testing.assert_close(multiplied(factors), J, rtol=1e-11, atol=1e-12)
    u, v = point(J.shape[0], 6), point(J.shape[1], 7)
    _, jv = torch.func.jvp(net, (x,), (v.view(shape),))
    _, pull = torch.func.vjp(net, x)
    (jtu,) = pull(u.view(net(x).shape))
    assert (u @ jv.flatten()).item() == pytest.approx((u @ J @ v).item(), rel=1e-12)
    assert (jtu.flatten() @ v).item() == pytest.approx((u @ J @ v).item(), rel=1e-12)


def test_order_of_the_product_matters():
    factors = layer_jacobians(MLP((7, 7, 7, 7), "tanh", weight_var=2.0, seed=0, dtype=F64).layers, point(7))
    right, reversed_ = (torch.linalg.svdvals(multiplied(f)) for f in (factors, factors[::-1]))
    assert (right / reversed_ - 1).abs().max() > 0.05


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_bias_free_relu_network_is_its_jacobian_times_the_input(kind):
    common = {"activation": "relu", "weight_var": 2.0, "seed": 1, "dtype": F64}
    net = MLP((8, 20, 15, 5), **common) if kind == "mlp" else CNN((2, 6, 6), (4, 4), 5, pool_after=(1,), **common)
    x = point(8 if kind == "mlp" else (2, 6, 6))
    torch.testing.assert_close(jacobian(net, x) @ x.flatten(), net(x).detach(), rtol=1e-12, atol=1e-13)


def test_singular_values_are_descending_and_dense():
    x = point(6)
    s = singular_values(SMOOTH, x)
    assert s.shape == (4,) and (s.diff() <= 0).all()
    torch.testing.assert_close(s, torch.linalg.svdvals(jacobian(SMOOTH, x)))


@pytest.mark.parametrize(("net", "shape"), NETWORKS)
def test_pushforward_is_the_jacobian_of_every_prefix_times_the_vector(net, shape):
    x, v = point((2, *shape)), point((2, *shape), 7)
    carried = pushforward(net.layers, x, v)
    single = pushforward(net.layers, x[0], v[0])
    for depth in range(1, len(net.layers) + 1):
        for row in range(2):
            J = multiplied(layer_jacobians(net.layers[:depth], x[row]))
            torch.testing.assert_close(carried[depth - 1][row].flatten(), J @ v[row].flatten(), rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(single[depth - 1], carried[depth - 1][0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("net", "shape"), NETWORKS)
def test_gains_of_small_differences_are_those_of_the_jacobian(net, shape):
    x, v = point((5, *shape)), point((5, *shape), 7)
    gains = difference_gains(net.layers, x, x + 1e-6 * v)
    assert gains.shape == (len(net.layers), 5)
    size = v.flatten(1).norm(dim=1)
    linear = torch.stack([j.flatten(1).norm(dim=1) / size for j in pushforward(net.layers, x, v)])
    # The relative error of linearisation is of the order of the step, 1e-6, times the curvature.
    torch.testing.assert_close(gains, linear, rtol=2e-5, atol=0)


def test_gains_of_a_linear_network_do_not_depend_on_the_step():
    net = MLP((6, 9, 4), "linear", weight_var=2.0, bias_var=0.1, seed=0, dtype=F64)
    a, d = point((3, 6)), point((3, 6), 7)
    expected = torch.stack([j.norm(dim=1) / d.norm(dim=1) for j in pushforward(net.layers, a, d)])
    for step in (1e-3, 1.0, 1e3):
        torch.testing.assert_close(difference_gains(net.layers, a, a + step * d), expected, rtol=1e-11, atol=0)


def test_gains_reject():
    x = torch.ones(2, 6, dtype=F64)
    with pytest.raises(ValueError, match="2 pairs are equal"):
        difference_gains(SMOOTH.layers, x, x)
    with pytest.raises(ValueError, match="two batches of one shape"):
        difference_gains(SMOOTH.layers, x[0], x[0] + 1)
    with pytest.raises(ValueError, match="v of shape"):
        pushforward(SMOOTH.layers, x, x[0])


@pytest.mark.parametrize("x", [torch.arange(6), torch.tensor([1.0, math.nan, 0, 0, 0, 0])])
def test_jacobian_rejects_inputs(x):
    with pytest.raises(ValueError, match="x of shape"):
        jacobian(SMOOTH, x)


def test_jacobian_rejects_maps_without_a_tensor():
    with pytest.raises(ValueError, match="f returns tuple"):
        jacobian(lambda x: (x, x), torch.ones(2))
    with pytest.raises(ValueError, match="layers is empty"):
        layer_jacobians([], torch.ones(2))


# ------------------------------------------------------------------- from the input, in a CNN that is piecewise linear

SIDE = 8  # images of 64 pixels, on which everything dense is instant


@pytest.fixture(scope="module")
def net():
    """A trained network with biases, in float64."""
    made = small.network(SIDE, weight_var=2.0, seed=1, dtype=F64)
    X = torch.randn(60, 1, SIDE, SIDE, generator=generator(2), dtype=F64)
    small.train(made, X, torch.arange(60) % 10, epochs=5, batch=20, seed=3)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, SIDE, SIDE, generator=generator(4), dtype=F64)


def test_cumulative_jacobians_are_those_of_automatic_differentiation(net, x):
    found = cumulative_jacobians(net.layers, x)
    for depth, J in enumerate(found, start=1):
        f = torch.nn.Sequential(*net.layers[:depth])
        assert torch.allclose(J, jacobian(f, x), rtol=1e-12, atol=1e-13)
        assert torch.allclose(J, cumulative_jacobian(net.layers[:depth], x), rtol=1e-12, atol=1e-13)


def test_the_chain_rule_puts_the_last_layer_on_the_left(net, x):
    single = layer_jacobians(net.layers, x)
    product = single[0]
    for J, cumulative in zip(single[1:], cumulative_jacobians(net.layers, x)[1:], strict=True):
        product = J @ product
        assert torch.allclose(product, cumulative, rtol=1e-12, atol=1e-13)


def test_inside_its_cell_the_network_is_linear(net, x):
    """Finite differences of a piecewise linear map have no error but rounding, whatever the step."""
    J = cumulative_jacobian(net.layers, x)
    step = 1e-7 * torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=F64)
    # the output is of order one with rounding 1e-16, over a change of 1e-6
    assert torch.allclose(net(x + step) - net(x), J @ step.flatten(), atol=1e-14)


def test_jacobians_follow_the_type_of_the_input(x):
    single = small.network(SIDE, seed=1)
    twin = small.network(SIDE, seed=1, dtype=F64)
    pairs = zip(
        cumulative_jacobians(single.layers, x.float()),
        cumulative_jacobians(twin.layers, x),
        strict=True,
    )
    for J, exact in pairs:
        assert J.dtype == torch.float32
        assert float((J - exact).abs().max()) < 1e-5 * float(exact.abs().max())


def test_untrained_networks_of_one_seed_have_proportional_jacobians(x):
    """Without biases ReLU is homogeneous in the weights too: l layers multiply by (standard deviation)^l."""
    pairs = [cumulative_jacobians(small.network(SIDE, weight_var=v, seed=1, dtype=F64).layers, x) for v in (0.5, 2.0)]
    for depth, (a, b) in enumerate(zip(*pairs, strict=True), start=1):
        assert torch.allclose(2.0**depth * a, b, rtol=1e-12, atol=1e-13)


def test_output_is_its_linear_part_plus_that_of_the_biases(net, x):
    linear, constant = homogeneous_parts(net, x)
    assert torch.allclose(linear, cumulative_jacobian(net.layers, x) @ x.flatten(), atol=1e-13)
    assert torch.allclose(linear + constant, net(x), atol=1e-13)
    assert float(constant.norm()) > 0.01 * float(linear.norm())  # training gave it biases


def test_without_biases_the_network_is_its_linear_part(x):
    bare = small.network(SIDE, weight_var=2.0, seed=1, dtype=F64)
    linear, constant = homogeneous_parts(bare, x)
    assert torch.allclose(linear, bare(x), rtol=1e-12) and not constant.any()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda net, x: cumulative_jacobians([], x), "layers is empty"),
        (lambda net, x: cumulative_jacobian([], x), "layers is empty"),
        (lambda net, x: cumulative_jacobians(net.layers, x + torch.inf), "a finite floating point input"),
        (lambda net, x: cumulative_jacobian(net.layers, x.long()), "type torch.int64"),
        (lambda net, x: homogeneous_parts(net, x + torch.nan), "a finite floating point input"),
    ],
)
def test_cumulative_jacobians_reject(net, x, call, message):
    with pytest.raises(ValueError, match=message):
        call(net, x)
