"""Derivatives of networks of every ordinary kind against dense Jacobians; what is not a derivative, and what is not
one input in evaluation mode, is refused."""

import importlib
import math
import shutil
import warnings

import numpy as np
import pytest
import torch
from architecture_zoo import ZOO, network
from deepdynamics import jacobian as jacobians
from deepdynamics.directions import known_tangents, nearest_difference, span_noise
from deepdynamics.jacobian import (
    cumulative_shares,
    cumulative_spectra,
    cumulative_triplets,
    difference_gains,
    gram_singular_values,
    jacobian,
    layer_jacobians,
    leading_vectors,
    localisation,
    lyapunov_exponents,
    mlp_jacobians,
    participation_ratio,
    product_singular_values,
    pushforward,
    share_inside,
    singular_values,
    spectral_sums,
    top_singular,
)
from deepdynamics.jacobian.inputs import at_input
from deepdynamics.jacobian.linearise import PATHS, UNTRACED, confirmed, gradient, linearised, plain_kernels, products
from deepdynamics.margins import flip_multiple, margin, margin_step
from deepdynamics.networks import MLP, generator
from torch import nn

F32, F64 = torch.float32, torch.float64
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(shape, generator=generator(seed), dtype=F64).to(dtype)


def units(side):
    return torch.eye(side.numel(), dtype=side.dtype).view(-1, *side.shape)


def rows(vectors):
    return vectors.reshape(len(vectors), -1)


def by_autograd(f, x):
    """The Jacobian row by row, as in training."""
    x = x.clone().requires_grad_()
    y = f(x)
    return torch.stack([torch.autograd.grad(y, x, u, retain_graph=True)[0].flatten() for u in units(y)])


def by_differences(f, x, h=1e-6):
    with torch.no_grad():
        return torch.stack([(f(x + h * e) - f(x - h * e)).flatten() / (2 * h) for e in units(x)], 1)


def built(name, dtype):
    if name.startswith("torch.compile") and COMPILER is None:
        pytest.skip("torch.compile needs a C++ compiler")
    return network(name, dtype)


@pytest.mark.parametrize("name", ZOO)
def test_products_in_double_precision(name):
    """Central differences: h² |f'''| ~ 1e-11 and rounding 1e-16/h = 1e-10, relative to entries of the order of 1."""
    net, x = built(name, F64)
    point = linearised(net, x)
    J = by_differences(at_input(net, x).f, x)
    assert point.path in PATHS and J.norm() > 0.01
    for _ in range(3):  # what is written in place shows when a product is repeated
        assert (rows(point.forward(units(x))).T - J).norm() <= 1e-6 * J.norm()
        assert (rows(point.adjoint(units(point.value))) - J).norm() <= 1e-6 * J.norm()
    exact = rows(point.forward(units(x))).T
    assert (exact - rows(point.adjoint(units(point.value)))).norm() <= 1e-12 * J.norm()
    assert (jacobian(net, x) - exact).norm() <= 1e-12 * J.norm()


@pytest.mark.parametrize("name", ZOO)
def test_triplets_in_single_precision(name):
    net, x = built(name, F32)
    J = by_autograd(at_input(net, x).f, x)
    found = top_singular(net, x, 2, tol=1e-5)
    assert found.path in PATHS
    torch.testing.assert_close(found.s, torch.linalg.svdvals(J)[:2], rtol=0, atol=3e-6 * float(found.s[0]))
    assert (J @ found.V - found.U * found.s).norm(dim=0).max() <= 2e-5 * found.s[0]
    assert (J.T @ found.U - found.V * found.s).norm(dim=0).max() <= 2e-5 * found.s[0]
    assert (jacobian(net, x) - J).norm() <= 1e-5 * J.norm()


def test_the_fast_path_is_kept_where_it_is_right():
    fast = ("convolution, 2d", "ConvNeXt block", "residual block", "batch norm", "maximum pooling", "SwiGLU")
    assert [linearised(*network(name, F32)).path for name in fast] == ["compiled"] * len(fast)
    for name in ("squeezenet1_0", "alexnet"):
        trunk = getattr(importlib.import_module("deepdynamics.networks"), name)().features
        trunk = trunk if name == "squeezenet1_0" else trunk[:8]
        assert linearised(trunk, normal(3, 63, 63, dtype=F32)).path == "compiled"


# -------------------------------------------------------------------------------- which path is right, and which is not


class Backward(torch.autograd.Function):
    """A sine that has no forward derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


class BackwardOnce(Backward):
    backward = staticmethod(torch.autograd.function.once_differentiable(Backward.backward))


def in_place_on_what_reverse_mode_needs(x):
    y = x.exp()
    y.mul_(2)
    return y.sum() * x


def without_a_graph(x):
    with torch.no_grad():
        return torch.tanh(x).flip(0)


def branching(x):
    return 2 * x if float(x.sum()) > -100 else x


@pytest.mark.parametrize(
    ("f", "path"),
    [
        (Backward.apply, "two reverse passes"),
        (BackwardOnce.apply, "rows"),
        (in_place_on_what_reverse_mode_needs, "compiled"),
        (without_a_graph, "compiled"),
        (branching, "vectorised"),
        (lambda x: (x > 0).to(x), "vectorised"),
    ],
)
def test_functions_that_lack_a_derivative(f, path):
    x = normal(4)
    J, point = by_differences(f, x), linearised(f, x)
    assert point.path == path
    assert (rows(point.forward(units(x))).T - J).norm() <= 1e-8
    assert (rows(point.adjoint(units(x))) - J).norm() <= 1e-8
    assert (jacobian(f, x) - J).norm() <= 1e-8
    assert (pushforward([f], x, x)[0] - J @ x).norm() <= 1e-8
    untraced = products(at_input(f, x), UNTRACED)
    assert (rows(untraced.adjoint(units(x))) - J).norm() <= 1e-8


@pytest.mark.parametrize("path", UNTRACED)
def test_every_path_is_the_derivative(path):
    net, x = network("layer norm", F64)
    point, J = products(at_input(net, x), [path]), by_autograd(net, x)
    assert point.path == path
    assert (rows(point.forward(units(x))).T - J).norm() <= 1e-12
    assert (rows(point.adjoint(units(point.value))) - J).norm() <= 1e-12


def test_plain_kernels_leave_no_trace():
    def state():
        backends = torch.backends
        return backends.mha.get_fastpath_enabled(), backends.mkldnn.enabled, backends.cuda.flash_sdp_enabled()

    before = state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with plain_kernels():
            assert state() == (False, False, False)
    with pytest.raises(KeyError), plain_kernels():
        raise KeyError
    assert state() == before


W = normal(3, 4)


def once_right(product):
    """A product that is right the first time."""
    calls = []
    return lambda V: (calls.append(1), product(V) * (1 + 0.01 * (len(calls) > 1)))[1]


@pytest.mark.parametrize(
    ("forward", "adjoint"),
    [
        (lambda V: V @ W.T, lambda U: 1.001 * (U @ W)),
        (lambda V: V @ (W + 0.001).T, lambda U: U @ W),
        (lambda V: V @ (1.001 * W).T, lambda U: U @ (1.001 * W)),  # each other's transpose, and not the derivative's
        (once_right(lambda V: V @ W.T), lambda U: U @ W),
        (lambda V: V @ W.T, once_right(lambda U: U @ W)),
        (lambda V: V @ W.T + 0.01 * (V @ W.T).sum(0), lambda U: U @ W),  # vectors of one call are mixed
        (lambda V: (V @ W.T)[:, :2], lambda U: U @ W),
        (lambda V: torch.full((len(V), 3), math.nan), lambda U: U @ W),
    ],
)
def test_wrong_products_are_passed_over(monkeypatch, forward, adjoint):
    monkeypatch.setitem(PATHS, "compiled", lambda *_: (forward, adjoint))
    found = linearised(lambda x: W @ x, normal(4))
    assert found.path == "vectorised"
    torch.testing.assert_close(found.forward(torch.eye(4, dtype=F64)), W.T)
    assert not confirmed(1.001 * W, at_input(lambda x: W @ x, normal(4)))


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_wrong_products_show_at_every_scale(monkeypatch, scale):
    """Squares of these entries are 0 or inf in float32."""
    J = (scale * W).float()
    monkeypatch.setitem(PATHS, "compiled", lambda *_: (lambda V: 1.01 * (V @ J.T), lambda U: 1.01 * (U @ J)))
    assert linearised(lambda x: J @ x, torch.ones(4)).path == "vectorised"


def test_nothing_right_is_said(monkeypatch):
    for path in PATHS:
        monkeypatch.setitem(PATHS, path, lambda *_: (lambda V: 2 * V, lambda U: U))
    with pytest.raises(
        ValueError, match=r"f has no derivative at x that is right to rounding: compiled: products differ"
    ):
        linearised(torch.sin, torch.ones(3))


def test_the_gradient_of_one_number_takes_the_products_where_reverse_mode_fails():
    x, u = normal(4), normal(4, seed=1)
    expected = by_differences(in_place_on_what_reverse_mode_needs, x).T @ u
    torch.testing.assert_close(
        gradient(at_input(in_place_on_what_reverse_mode_needs, x), u), expected, rtol=1e-7, atol=0
    )


# ----------------------------------------------------------------------------------- every function that takes f and x

DOORS = {
    "jacobian": jacobian,
    "singular_values": singular_values,
    "layer_jacobians": lambda f, x: layer_jacobians([f], x)[0],
    "lyapunov_exponents": lambda f, x: lyapunov_exponents([f], x),
    "pushforward": lambda f, x: pushforward([f], x, x)[0],
    "top_singular": lambda f, x: top_singular(f, x, 2, tol=1e-5).s,
    "cumulative_spectra": lambda f, x: cumulative_spectra([f], x, 2, tol=1e-5),
    "linearised": lambda f, x: linearised(f, x).value.flatten(),
    "spectral_sums": lambda f, x: torch.tensor(list(spectral_sums(f, x))),
    "margin": lambda f, x: margin(f, x, 0),
    "margin_step": lambda f, x: margin_step(f, x, 0).direction,
    "flip_multiple": lambda f, x: torch.tensor(flip_multiple(f, x, 0, np.ones(np.shape(x)), (0.1, 10.0))),
}


def classifier(*, training=False):
    """A convolutional network that needs a batch axis."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))
    return net.train(training)


NET = classifier()
PICTURE = normal(1, 4, 4, dtype=F32)


@pytest.mark.parametrize("door", DOORS)
def test_the_batch_axis_is_added_where_it_is_needed(door):
    with pytest.raises(ValueError, match="expected 4D input"):
        NET(PICTURE)
    given = DOORS[door](lambda x: NET(x[None])[0], PICTURE)
    torch.testing.assert_close(DOORS[door](NET, PICTURE), given)


def test_layers_get_the_axis_together():
    """Alone, Flatten takes a picture without the axis, and flattens its rows only."""
    J = layer_jacobians(list(NET), PICTURE)
    torch.testing.assert_close(torch.linalg.multi_dot(J[::-1]), jacobian(NET, PICTURE))
    assert cumulative_spectra(list(NET), PICTURE, 2, tol=1e-5).shape == (5, 2)
    assert pushforward(list(NET), PICTURE, PICTURE)[-1].shape == (4,)


@pytest.mark.parametrize("door", DOORS)
def test_lists_and_arrays_are_inputs(door):
    expected = DOORS[door](NET, PICTURE)
    for x in (PICTURE.numpy(), PICTURE.double().numpy(), PICTURE.tolist()):  # the type is that of the network
        torch.testing.assert_close(DOORS[door](NET, x), expected)


@pytest.mark.parametrize("door", DOORS)
def test_training_mode_is_refused(door):
    recurrent, attention = nn.LSTM(4, 4, 2, dropout=0.5), nn.TransformerEncoderLayer(4, 2)
    layers = {
        "BatchNorm2d uses": classifier(training=True),
        "Dropout gives": nn.Sequential(nn.Flatten(0), nn.Linear(16, 4), nn.Dropout()),
        "InstanceNorm2d uses": nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True), nn.Flatten(-3)),
        "LSTM gives": lambda x: recurrent(x[0])[0][0],
        "MultiheadAttention gives": lambda x: attention(x[0])[0],
        "RReLU gives": nn.Sequential(nn.Flatten(-3), nn.RReLU()),
    }
    for message, f in layers.items():
        with pytest.raises(ValueError, match=rf"f is in training mode: its {message}.*call \.eval\(\)"):
            DOORS[door](f, PICTURE)
    assert not layers["BatchNorm2d uses"][1].running_mean.any()  # refused before it was changed
    DOORS[door](nn.Sequential(nn.Flatten(-3), nn.Linear(16, 4), nn.Dropout(0.0)), PICTURE)  # harmless


def test_training_mode_inside_scripts_and_parametrisations():
    for f in (
        torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Dropout())),
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
    ):
        with pytest.raises(ValueError, match=r"call \.eval\(\)"):
            top_singular(f, torch.ones(4), 1)
        assert len(top_singular(f.eval(), torch.ones(4), 1).s) == 1


@pytest.mark.parametrize("door", ["jacobian", "pushforward", "top_singular", "cumulative_spectra", "spectral_sums"])
def test_a_map_with_two_values_is_refused(door):
    state = torch.random.get_rng_state()
    with pytest.raises(ValueError, match="two values at one x"):
        DOORS[door](lambda x: nn.functional.dropout(x, 0.5), torch.ones(20))
    torch.random.set_rng_state(state)


@pytest.mark.parametrize("door", DOORS)
def test_inference_mode(door):
    expected = DOORS[door](NET, PICTURE)
    with torch.inference_mode():
        x, net = PICTURE.clone(), classifier()
        inside = DOORS[door](net, x)
    assert x.is_inference() and next(net.parameters()).is_inference()
    for found in (inside, DOORS[door](NET, x), DOORS[door](net, x)):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("door", DOORS)
def test_what_has_no_derivative_is_said(door):
    with pytest.raises(
        ValueError, match=r"type torch.complex64: real floating point values are allowed; torch.view_as"
    ):
        DOORS[door](lambda x: torch.fft.fft(x), torch.ones(4))
    with pytest.raises(ValueError, match=r"x of shape \(4,\) and type torch.complex64"):
        DOORS[door](NET, torch.ones(4) * 1j)
    with pytest.raises(ValueError, match=r"cannot be evaluated at x of shape \(7,\).*Expected 3D"):
        DOORS[door](NET, torch.ones(7))
    with pytest.raises(ValueError, match=r"x of shape .* and type torch.int64"):
        DOORS[door](NET, torch.ones(1, 4, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="f returns tuple"):
        DOORS[door](lambda x: (x, x), torch.ones(4))
    with pytest.raises(NameError):  # a mistake of f's own stays what it is
        DOORS[door](lambda x: missing(x), torch.ones(4))  # noqa: F821


@pytest.mark.parametrize("door", ["jacobian", "pushforward", "top_singular", "spectral_sums", "margin_step"])
def test_values_that_torch_cannot_follow_are_not_taken_for_constants(door):
    with pytest.raises(ValueError, match="torch has no derivative of it"):
        DOORS[door](lambda x: torch.from_numpy(np.sin(x.detach().numpy())), normal(4))


BATCHES = {
    "pictures": (NET, normal(5, 1, 4, 4, dtype=F32)),
    "pictures without the axis": (nn.Conv2d(1, 2, 3), normal(5, 1, 4, 4, dtype=F32)),
    "rows": (nn.Sequential(nn.Linear(4, 3), nn.Tanh()), normal(5, 4, dtype=F32)),
    "sequences": (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval(), normal(5, 3, 4, dtype=F32)),
    "signals": (nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(15, 4)), normal(5, 2, 7, dtype=F32)),
}


@pytest.mark.parametrize("door", ["jacobian", "singular_values", "layer_jacobians", "top_singular", "spectral_sums"])
@pytest.mark.parametrize("kind", BATCHES)
def test_a_batch_is_not_one_input(door, kind):
    with pytest.raises(
        ValueError, match="one input without a batch axis is allowed, and f treats x as 5 separate ones"
    ):
        DOORS[door](*BATCHES[kind])
    f, x = BATCHES[kind]
    assert DOORS[door](f, x[0]).numel() > 0


def test_layers_that_do_not_mix_are_no_batch_where_others_do():
    tokens = normal(3, 4, dtype=F32)
    layers = [nn.Linear(4, 4), nn.TransformerEncoderLayer(4, 2, 8).eval(), nn.ReLU()]
    assert len(layer_jacobians(layers, tokens)) == 3
    triplets = list(cumulative_triplets(layers, tokens, 2, tol=1e-5))
    assert [len(found.s) for found in triplets] == [2, 2, 2] and triplets[2].path == "compiled, plain kernels"


@pytest.mark.parametrize(
    ("f", "shape"),
    [
        (nn.Conv2d(3, 3, 3, groups=3), (3, 5, 5)),
        (nn.MaxPool2d(2), (3, 4, 4)),
        (nn.PReLU(), (3, 4, 4)),
        (nn.InstanceNorm2d(3, affine=True), (3, 4, 4)),
        (torch.relu, (3, 4)),
        (lambda x: x.softmax(-1), (3, 4, 4)),
        (lambda x: x @ x.T, (3, 4)),
    ],
)
def test_channel_by_channel_and_entry_by_entry_are_no_batch(f, shape):
    if isinstance(f, nn.InstanceNorm2d):
        f.weight.data.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert len(singular_values(f, normal(*shape, dtype=F32))) > 0


def test_a_margin_can_still_be_differentiated():
    x = normal(5).requires_grad_()
    slope = torch.autograd.grad(margin(lambda y: y.square(), x, 2), x)[0]
    by_functions = torch.func.grad(lambda y: margin(lambda z: z.square(), y, 2))(x.detach())
    torch.testing.assert_close(slope, by_functions)
    assert slope[2] == 2 * x[2]


# ----------------------------------------------------------------------------------------------------- arrays and lists


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda *factors: product_singular_values(factors), (normal(3, 4), normal(2, 3, seed=1))),
        (lambda V: list(localisation(V, (2, 3))), (normal(6, 2),)),
        (lambda V: span_noise(V, 2, seed=0), (torch.eye(3, dtype=F64)[:, :2],)),
        (known_tangents, (normal(1, 4, 5),)),
        (nearest_difference, (normal(1, 4, 5), normal(3, 1, 4, 5, seed=1))),
        (gram_singular_values, (normal(2, 3),)),
        (lambda J: list(leading_vectors(J, 1)), (normal(2, 3),)),
        (participation_ratio, (normal(2, 3).abs(),)),
        (cumulative_shares, (torch.eye(4, dtype=F64)[:, :2], normal(4, 3))),
        (share_inside, (torch.eye(4, dtype=F64)[:, :2], normal(4, 3))),
        (lambda X: mlp_jacobians(MLP((3, 4), "tanh", seed=0, dtype=F64), X), (normal(2, 3),)),
        (lambda a, b: difference_gains([torch.tanh], a, b), (normal(2, 3), normal(2, 3, seed=1))),
        (lambda x, v: pushforward([torch.tanh], x, v), (normal(3), normal(3, seed=1))),
    ],
)
def test_arrays_and_lists_are_taken(function, arguments):
    expected = function(*arguments)
    torch.testing.assert_close(function(*(value.numpy() for value in arguments)), expected)
    # torch's default type for lists: float32
    torch.testing.assert_close(
        function(*(value.tolist() for value in arguments)), expected, rtol=1e-4, atol=1e-5, check_dtype=False
    )


def test_whole_numbers_make_a_matrix():
    np.testing.assert_allclose(product_singular_values([[[3, 0], [0, 2]], np.eye(2)]).exp(), [3, 2], rtol=1e-14)
    torch.testing.assert_close(jacobian(lambda x: x**2, [1, 2]), torch.tensor([[2.0, 0.0], [0.0, 4.0]]))


def test_the_docstrings_say_what_happens_to_the_batch_axis():
    for function in (jacobian, top_singular, spectral_sums, linearised, margin_step, jacobians.pushforward):
        assert "added where" in " ".join(function.__doc__.split()), function.__name__
