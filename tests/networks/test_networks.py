"""Networks: the law of their parameters, isometries, shapes with and without a batch, names, bad input."""

import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from deepdynamics.networks import (
    CNN,
    MLP,
    alexnet,
    delta_orthogonal_,
    gaussian,
    generator,
    haar,
    initial_weight,
    squeezenet1_0,
    weight_matrices,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn import functional

F64 = torch.float64


def compose(layers, x):
    for layer in layers:
        x = layer(x)
    return x


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 10**6))
@settings(max_examples=40)
def test_haar_has_orthonormal_columns_or_rows(rows, columns, seed):
    h = haar(rows, columns, seed=seed)
    small = h.T @ h if rows >= columns else h @ h.T
    torch.testing.assert_close(small, torch.eye(min(rows, columns), dtype=F64), rtol=0, atol=1e-13)


def test_haar_is_haar_and_not_only_orthogonal():
    # The trace of a Haar matrix has mean 0 and variance 1, and √n H_11 is nearly normal. QR without the sign fix has a
    # trace of order -√n: LAPACK makes the diagonal of R negative.
    draws = generator(0)
    samples = torch.stack([haar(20, 20, seed=draws) for _ in range(600)])
    traces, corners = samples.diagonal(dim1=1, dim2=2).sum(1).numpy(), samples[:, 0, 0].numpy()
    assert abs(np.mean(traces)) < 4 / math.sqrt(600)
    assert abs(np.var(traces) - 1) < 4 * math.sqrt(2 / 600)
    # H_11² ~ Beta(1/2, (n - 1)/2)
    assert stats.kstest(np.square(corners), stats.beta(0.5, 9.5).cdf).pvalue > 1e-3


@pytest.mark.parametrize("parametrisation", ["standard", "ntk"])
def test_gaussian_parameters_have_the_variances_asked_for(parametrisation):
    widths = (300, 200, 100)
    net = MLP(widths, "tanh", weight_var=1.7, bias_var=0.3, parametrisation=parametrisation, seed=0, dtype=F64)
    biases = []
    for layer, (n_in, n_out) in zip(net.layers, pairwise(widths), strict=True):
        weight = layer.weight.detach() * layer.scales[0]
        count = n_in * n_out
        assert abs(weight.var().item() * n_in / 1.7 - 1) < 4 * math.sqrt(2 / count)
        assert abs(weight.mean().item()) < 4 * math.sqrt(1.7 / n_in / count)
        biases.append(layer.bias.detach() * layer.scales[1])
    biases = torch.cat(biases)
    assert abs(biases.square().mean().item() / 0.3 - 1) < 4 * math.sqrt(2 / len(biases))


@pytest.mark.parametrize("init", ["gaussian", "orthogonal", "identity"])
def test_ntk_parametrisation_is_the_same_function_with_rescaled_gradients(init):
    make = {"weight_var": 1.7, "bias_var": 0.3, "init": init, "seed": 4, "dtype": F64}
    x = torch.randn(6, 12, generator=generator(1), dtype=F64)
    standard, ntk = MLP((12, 20, 5), "erf", **make), MLP((12, 20, 5), "erf", parametrisation="ntk", **make)
    torch.testing.assert_close(standard(x), ntk(x), rtol=1e-13, atol=1e-13)
    for net in (standard, ntk):
        net(x).square().sum().backward()
    # W_standard = √(weight_var/n) W_ntk, so dL/dW_ntk = √(weight_var/n) dL/dW_standard; the bias likewise.
    for a, b, n in zip(standard.layers, ntk.layers, (12, 20), strict=True):
        torch.testing.assert_close(b.weight.grad, math.sqrt(1.7 / n) * a.weight.grad, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(b.bias.grad, math.sqrt(0.3) * a.bias.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-12), (torch.float32, 1e-6)])
def test_orthogonal_layers_scale_norms(dtype, bound):
    net = MLP((30, 30, 50, 20), "linear", weight_var=2.25, init="orthogonal", seed=3, dtype=dtype)
    for layer in net.layers:
        w = layer.weight.detach() / 1.5
        small = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
        # float32 rounds each of the entries (about n^{-1/2}) to 6e-8 of its size; a row has up to 50 of them.
        assert (small - torch.eye(len(small), dtype=dtype)).abs().max() < bound
    x = torch.randn(30, generator=generator(0), dtype=dtype)
    assert net.layers[1](net.layers[0](x)).norm().item() == pytest.approx(2.25 * x.norm().item(), rel=10 * bound)


def test_identity_weights_carry_the_input_through():
    net = MLP((5, 5, 5, 3), "linear", weight_var=4.0, init="identity", seed=0)
    x = torch.arange(5.0)
    assert torch.equal(net(x), 8 * x[:3])


@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    activation=st.sampled_from(["tanh", "relu", "erf", "sigmoid", "linear"]),
    readout=st.sampled_from(["linear", "activated"]),
    gain=st.floats(0.2, 3),
)
@settings(max_examples=40)
def test_mlp_is_the_recursion_written_out(widths, activation, readout, gain):
    net = MLP(widths, activation, weight_var=1.5, bias_var=0.2, gain=gain, readout=readout, seed=1, dtype=F64)
    phi = {
        "tanh": np.tanh, "relu": lambda h: np.maximum(h, 0), "linear": lambda h: h,
        "erf": np.vectorize(math.erf), "sigmoid": lambda h: 1 / (1 + np.exp(-h)),
    }[activation]  # fmt: skip
    x = torch.randn(4, widths[0], generator=generator(2), dtype=F64)
    expected = x.numpy()
    for depth, layer in enumerate(net.layers, start=1):
        expected = expected @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if depth < len(net.layers) or readout == "activated":
            expected = phi(gain * expected)
    np.testing.assert_allclose(net(x).detach().numpy(), expected, rtol=1e-12, atol=1e-13)
    assert isinstance(net.layers, list)
    torch.testing.assert_close(compose(net.layers, x[0]), net(x)[0], rtol=1e-12, atol=1e-13)


def test_states_are_the_partial_compositions():
    net = MLP((4, 6, 5, 3), "tanh", bias_var=0.1, seed=7)
    x = torch.randn(2, 4, generator=generator(0))
    states = net.states(x)
    assert len(states) == 4 and not any(s.requires_grad for s in states)
    for depth, state in enumerate(states):
        assert torch.equal(state, compose(net.layers[:depth], x))


def test_seeds_repeat_and_leave_the_global_state_alone():
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    nets = [MLP((4, 6, 3), "tanh", bias_var=0.1, seed=s) for s in (7, 7, 8)]
    draws = [MLP((4, 6, 3), "tanh", seed=np.random.default_rng(5)) for _ in range(2)]
    squeezenet1_0(seed=1)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(draws[0].layers[0].weight, draws[1].layers[0].weight)
    assert not torch.equal(nets[0].layers[0].weight, nets[2].layers[0].weight)


def test_float32_is_the_rounded_float64_network():
    single, double = (MLP((4, 6, 3), "tanh", bias_var=0.1, init="orthogonal", seed=7, dtype=t) for t in (None, F64))
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert torch.equal(a, b.float())


def test_cnn_layers_act_with_and_without_a_batch():
    net = CNN((2, 12, 8), (3, 5), 4, "tanh", pool_after=(1,), hidden=(6,), weight_var=1.3, bias_var=0.1, seed=0)
    x = torch.randn(3, 2, 12, 8, generator=generator(1))
    shapes = [tuple(compose(net.layers[:n], x).shape) for n in range(5)]
    assert shapes == [(3, 2, 12, 8), (3, 3, 6, 4), (3, 5, 6, 4), (3, 6), (3, 4)]
    single = compose(net.layers, x[1])
    assert single.shape == (4,)
    torch.testing.assert_close(single, net(x)[1], rtol=1e-5, atol=1e-6)


def test_cnn_convolution_against_sums():
    net = CNN((2, 5, 4), (3,), 2, "linear", padding="circular", weight_var=1.3, bias_var=0.1, seed=0, dtype=F64)
    x = torch.randn(2, 5, 4, generator=generator(1), dtype=F64)
    weight, bias = net.layers[0].weight.detach(), net.layers[0].bias.detach()
    expected = bias[:, None, None].repeat(1, 5, 4)
    for i in range(3):
        for j in range(3):
            # Output pixel (r, c) sees input pixel (r + i - 1, c + j - 1), on a torus.
            shifted = torch.roll(x, (1 - i, 1 - j), (1, 2))
            expected += torch.einsum("oc,chw->ohw", weight[:, :, i, j], shifted)
    torch.testing.assert_close(net.layers[0](x), expected, rtol=1e-12, atol=1e-12)


def test_cnn_weight_variance_counts_the_kernel():
    net = CNN((8, 8, 8), (64,), 10, "relu", weight_var=2.0, seed=0)
    weight = net.layers[0].weight.detach()
    assert abs(weight.square().mean().item() * 9 * 8 / 2 - 1) < 4 * math.sqrt(2 / weight.numel())


def convolution_matrix(weight, size, padding):
    net = CNN((weight.shape[1], size, size), (weight.shape[0],), 1, "linear", padding=padding, seed=0, dtype=F64)
    net.layers[0].weight.data = weight
    images = torch.eye(weight.shape[1] * size * size, dtype=F64).view(-1, weight.shape[1], size, size)
    return net.layers[0](images).detach().flatten(1).T


@pytest.mark.parametrize("padding", ["zeros", "circular"])
@pytest.mark.parametrize(("out", "channels"), [(4, 4), (6, 4)])
def test_delta_orthogonal_convolution_is_an_isometry(padding, out, channels):
    weight = torch.empty(out, channels, 3, 3, dtype=F64)
    assert delta_orthogonal_(weight, weight_var=2.25, seed=1) is weight
    s = torch.linalg.svdvals(convolution_matrix(weight, 5, padding))
    assert (s / 1.5 - 1).abs().max() < 1e-13
    # The control: a Gaussian kernel of the same variance is far from one.
    gaussian = torch.randn(out, channels, 3, 3, generator=generator(2), dtype=F64) / math.sqrt(9 * channels)
    s = torch.linalg.svdvals(convolution_matrix(gaussian, 5, padding))
    assert s.max() > 1.3 and s.min() < 0.5


def test_deep_delta_orthogonal_network_keeps_the_norm():
    net = CNN((4, 6, 6), (4,) * 300, 2, "linear", init="orthogonal", padding="circular", seed=0, dtype=F64)
    x = torch.randn(4, 6, 6, generator=generator(1), dtype=F64)
    assert compose(net.layers[:300], x).norm().item() == pytest.approx(x.norm().item(), rel=1e-11)


def test_squeezenet_takes_the_real_weights():
    folder = Path(os.environ.get("DEEPDYNAMICS_DATA", "")) / "squeezenet1_0"
    files = sorted(folder.glob("*.pth"))
    if not files:
        pytest.skip("needs data: the SqueezeNet weights")
    net = squeezenet1_0()
    net.load_state_dict(torch.load(files[0], weights_only=True))
    x = torch.randn(3, 227, 227, generator=generator(0))
    with torch.no_grad():
        out = net(x[None])
        assert out.shape == (1, 1000) and len(net.layers) == 10
        torch.testing.assert_close(compose(net.layers, x), out[0], rtol=1e-4, atol=1e-4)


def test_alexnet_has_torchvisions_names_and_shapes():
    net = alexnet()
    shapes = {name: tuple(p.shape) for name, p in net.state_dict().items() if name.endswith("weight")}
    assert shapes == {
        "features.0.weight": (64, 3, 11, 11), "features.3.weight": (192, 64, 5, 5),
        "features.6.weight": (384, 192, 3, 3), "features.8.weight": (256, 384, 3, 3),
        "features.10.weight": (256, 256, 3, 3),
        "classifier.1.weight": (4096, 9216), "classifier.4.weight": (4096, 4096), "classifier.6.weight": (1000, 4096),
    }  # fmt: skip
    x = torch.zeros(3, 224, 224)
    with torch.no_grad():
        assert net(x[None]).shape == (1, 1000) and len(net.layers) == 8
        torch.testing.assert_close(compose(net.layers, x), net(x[None])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_var": -1.0}, "weight_var = -1.0"),
        ({"bias_var": math.inf}, "bias_var = inf"),
        ({"weight_var": math.nan}, "weight_var = nan"),
        ({"init": "xavier"}, "init = 'xavier'"),
        ({"parametrisation": "mup"}, "parametrisation = 'mup'"),
        ({"readout": "softmax"}, "readout = 'softmax'"),
        ({"gain": math.inf}, "gain = inf"),
        ({"widths": (3,)}, r"widths = \(3,\)"),
        ({"widths": (3, 0)}, r"widths = \(3, 0\)"),
        ({"widths": (3, 2.5)}, r"widths = \(3, 2.5\)"),
        ({"activation": "swish"}, "swish"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": None}, "seed = None"),
    ],
)
def test_mlp_rejects(change, message):
    arguments = {"widths": (3, 4, 2), "activation": "tanh", "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        MLP(arguments.pop("widths"), arguments.pop("activation"), **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel_size": 2}, "kernel_size = 2"),
        ({"padding": "reflect"}, "padding = 'reflect'"),
        ({"pool_after": (1, 2)}, r"pool_after = \(1, 2\)"),
        ({"pool_after": (3,)}, r"pool_after = \(3,\)"),
        ({"channels": ()}, r"channels = \(\)"),
        ({"channels": (4, 2), "init": "orthogonal"}, "cannot reduce"),
        ({"image_shape": (3, 3)}, r"image_shape = \(3, 3\)"),
    ],
)
def test_cnn_rejects(change, message):
    arguments = {"image_shape": (2, 3, 3), "channels": (4, 4), "classes": 2, "activation": "tanh", "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        CNN(**arguments)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (torch.empty(3, 4, 3, 3), "cannot reduce"),
        (torch.empty(4, 4, 2, 2), "odd sizes"),
        (torch.empty(4, 4), "convolution's weight"),
        (torch.empty(4, 4, 3, 3, dtype=torch.int64), "floating point"),
    ],
)
def test_delta_orthogonal_rejects(kernel, message):
    with pytest.raises(ValueError, match=message):
        delta_orthogonal_(kernel, weight_var=1.0, seed=0)


# The draws themselves


def test_orthogonal_matrices_are_orthogonal_and_gaussian_ones_have_their_variance():
    wide, tall = weight_matrices("orthogonal", (50, 20, 40), seed=0)
    torch.testing.assert_close(wide @ wide.T, torch.eye(20, dtype=torch.float64), atol=1e-13, rtol=0)
    torch.testing.assert_close(tall.T @ tall, torch.eye(20, dtype=torch.float64), atol=1e-13, rtol=0)
    (drawn,) = weight_matrices("gaussian", (400, 100), seed=0)
    assert 400 * float(drawn.var()) == pytest.approx(1, abs=5 * (2 / 40_000) ** 0.5)
    kernel = initial_weight("gaussian", (50, 10, 3, 3), seed=0)
    assert 90 * float(kernel.var()) == pytest.approx(1, abs=5 * (2 / 4500) ** 0.5)


def test_one_generator_draws_one_matrix_after_the_other():
    draw = generator(3)
    expected = [initial_weight("gaussian", shape, seed=draw) for shape in ((4, 5), (2, 4))]
    for one, other in zip(weight_matrices("gaussian", (5, 4, 2), seed=3), expected, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(gaussian((4, 5), seed=3) / 5**0.5, expected[0])
    assert torch.equal(torch.randn(40, 5, generator=generator(3)), gaussian((40, 5), seed=3, dtype=torch.float32))


@pytest.mark.parametrize(
    ("init", "widths", "message"),
    [
        ("uniform", (3, 3), "init = 'uniform': one of gaussian, orthogonal, identity"),
        ("gaussian", (3,), r"widths = \(3,\): at least 2"),
        ("gaussian", (3, 0), r"widths = \(3, 0\): positive integers"),
        ("gaussian", 3, "widths = 3: a list"),
    ],
)
def test_draws_reject(init, widths, message):
    with pytest.raises(ValueError, match=message):
        weight_matrices(init, widths, seed=0)


# Any activation, and arrays


def test_activations_that_have_no_name():
    x = torch.randn(5, 3, generator=generator(0))
    for phi in (nn.Softsign(), nn.PReLU(), torch.cos, nn.ReLU6(inplace=True)):
        net = MLP((3, 6, 6, 2), phi, weight_var=1.5, seed=0)
        h = x
        for layer in net.layers[:-1]:
            h = phi(functional.linear(h, layer.weight, layer.bias).clone())
        last = net.layers[-1]
        torch.testing.assert_close(net(x), functional.linear(h, last.weight, last.bias))
    assert CNN((1, 4, 4), (2,), 2, nn.Hardswish(), seed=0)(torch.zeros(1, 4, 4)).shape == (2,)


def test_numbers_and_numpy_arrays_go_through():
    net = MLP(np.array([3, 4, 2]), "tanh", seed=0)
    x = np.random.default_rng(0).standard_normal((5, 3))
    expected = net(torch.from_numpy(x).float())
    assert torch.equal(net(x), expected) and torch.equal(net(x.tolist()), expected)
    assert torch.equal(net.states(x)[-1], expected) and torch.equal(net.layers[0](x), net.states(x)[1])
    image = CNN(torch.tensor([1, 4, 4]), np.array([2, 3]), 2, "relu", pool_after=np.array([1]), seed=0)
    assert image(np.zeros((1, 4, 4))).shape == (2,)
    kernel = np.empty((4, 2, 3, 3))
    assert delta_orthogonal_(kernel, seed=0) is kernel and (kernel**2).sum() == pytest.approx(2)
    with pytest.raises(ValueError, match="list: a tensor or a numpy array is filled in place"):
        delta_orthogonal_([[0.0]], seed=0)
