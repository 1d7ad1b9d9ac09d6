"""Lists, numpy arrays and tensors at every door: the same numbers give the same answer, and bad ones a sentence."""

import numpy as np
import pytest
import torch
import xarray
from deepdynamics import _checks, jacobian, lineardynamics, linearprobe
from deepdynamics.autoencoders import Autoencoders
from deepdynamics.figures import planes
from deepdynamics.lineardynamics import descent
from deepdynamics.networks import MLP, generator, small
from deepdynamics.rbm import RBM, stack

F64 = torch.float64


def readonly(t):
    array = t.numpy().copy()
    array.flags.writeable = False
    return array


FORMS = {
    "numpy": lambda t: t.numpy(),
    "read-only": readonly,
    "reversed": lambda t: t.numpy()[::-1].copy()[::-1],
    "big-endian": lambda t: t.numpy().astype(t.numpy().dtype.newbyteorder(">")),
    "lists": lambda t: t.tolist(),
    "list of tensors": lambda t: list(t),
    "tuple of arrays": lambda t: tuple(t.numpy()),
}


def random(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed), dtype=F64)


# The conversions


@pytest.mark.parametrize("form", FORMS)
def test_the_numbers_are_the_same(form):
    t = random(3, 4)
    assert torch.equal(_checks.tensor("x", FORMS[form](t), like=t), t)
    np.testing.assert_array_equal(_checks.real("x", FORMS[form](t)), t.numpy())
    assert torch.equal(_checks.labels("y", FORMS[form](torch.arange(4))), torch.arange(4))


def test_types_follow_what_came():
    assert _checks.tensor("x", np.zeros(2, np.float32)).dtype == torch.float32
    assert _checks.tensor("x", np.zeros(2)).dtype == F64
    for value in ([1, 2], np.array([1, 2]), np.array([True]), [0.5], 3):
        assert _checks.tensor("x", value).dtype == torch.float32
        assert _checks.tensor("x", value, like=random(1)).dtype == F64
    tensor = torch.zeros(2, dtype=torch.int64)
    assert _checks.tensor("x", tensor, like=random(1)) is tensor  # whoever has a tensor has chosen its type
    for array in (
        np.zeros((2, 2)),
        np.zeros((2, 2), ">f8"),
        np.zeros((2, 2), np.longdouble),
        xarray.DataArray([[0.0]]),
    ):
        assert (
            _checks.tensor("x", array).dtype
            == _checks.tensor("x", [list(row) for row in np.asarray(array)]).dtype
            == F64
        )
    large = 2.0**60 + 2**10
    assert float(_checks.tensor("x", [large], like=random(1))) == large  # on its way a list is never float32
    assert _checks.tensor("x", []).shape == (0,)


def test_tensors_of_every_kind_become_arrays():
    for t in (random(2).requires_grad_(), random(2).to(torch.bfloat16), torch.arange(2), random(2).conj()):
        np.testing.assert_array_equal(_checks.real("x", t), t.detach().double().numpy())


@pytest.mark.parametrize(
    "value, message",
    [
        ([1.0, [2.0]], r"x is no array \(.*\): real numbers in rows of equal length"),
        (["a"], "x of type <U1: real numbers"),
        ([1j], "x of type complex128"),
        ([None], "x of type object"),
        (None, "x of type object"),
    ],
)
def test_what_is_no_array_of_numbers(value, message):
    for convert in (_checks.real, _checks.tensor, _checks.labels):
        with pytest.raises(ValueError, match=message):
            convert("x", value)


def test_labels_are_whole():
    with pytest.raises(ValueError, match=r"y has values such as 0.5: integers"):
        _checks.labels("y", [1.0, 0.5])


# The checks


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: _checks.finite("z", [1.0, np.inf]), "z = inf: finite numbers are allowed"),
        (lambda: _checks.not_negative("q", [1.0, -2.0]), "q = -2.0: finite numbers, not negative, are allowed"),
        (lambda: _checks.not_negative("q", np.nan), "q = nan: finite numbers, not negative"),
        (lambda: _checks.positive("tau", [[0.0]]), "tau = 0.0: finite positive numbers are allowed"),
        (lambda: _checks.number("g", [1.0, 2.0], _checks.finite), r"g of shape \(2,\): one number is allowed"),
        (lambda: _checks.number("g", -1, _checks.positive), "g = -1.0: finite positive numbers"),
        (lambda: _checks.count("depth", 0), "depth = 0: a positive integer is allowed"),
        (lambda: _checks.count("depth", True), "depth = True: a positive integer"),
        (lambda: _checks.count("depth", 2.0), "depth = 2.0: a positive integer"),
        (lambda: _checks.count("depth", -1, least=0), "depth = -1: an integer of at least 0 is allowed"),
        (lambda: _checks.count("k", 6, most=5), "k = 6: 1 to 5, an integer, is allowed"),
        (lambda: _checks.one_of("init", "xavier", ("a", "b")), "init = 'xavier': one of a, b is allowed"),
        (lambda: _checks.sizes("widths", [3, 0]), r"widths = \(3, 0\): positive integers are allowed"),
        (lambda: _checks.sizes("widths", [3, 2.5]), r"widths = \(3, 2.5\): positive integers"),
        (lambda: _checks.sizes("widths", [3], fewest=2), r"widths = \(3,\): at least 2 of them are needed"),
        (lambda: _checks.sizes("widths", 3), "widths = 3: a list of positive integers"),
    ],
)
def test_what_is_refused_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_allowed_comes_back_as_it_is_computed_with():
    array = np.array([0.0, 1.0])
    assert _checks.not_negative("q", array) is array  # activations tell equal variances by identity
    assert _checks.number("g", torch.tensor(2.0), _checks.finite) == 2.0
    for widths in (
        [3, 2],
        (np.int64(3), 2),
        np.array([3, 2]),
        torch.tensor([3, 2]),
        [torch.tensor(3), 2],
        range(3, 1, -1),
    ):
        found = _checks.sizes("widths", widths)
        assert found == (3, 2) and all(type(n) is int for n in found)
    assert type(_checks.count("k", np.int32(5), most=5)) is int


# The doors


NET = MLP((4, 3, 2), "tanh", seed=0, dtype=F64)
STACK = stack.Stack((RBM(4, 4, weight_var=1.0, dtype=F64), RBM(4, 4, weight_var=1.0, dtype=F64, seed=1)))
IMAGES, CLASSES = random(20, 4), torch.arange(20) % 2


def trained(X, y):
    net = MLP((4, 3, 2), "tanh", seed=0, dtype=F64)
    return small.train(net, X, y, epochs=2, batch=5, seed=0)


def encoders(method, *more):
    def call(X):
        nets = Autoencoders(2, 4, 3, dtype=F64)
        return getattr(nets, method)(X, *more)

    return call


def started(X):
    nets = Autoencoders(2, 4, 3, dtype=F64)
    nets.start_at_mean(X)
    return nets.visible_biases


def fitted(X):
    return Autoencoders(2, 4, 3, dtype=F64).fit(X, learning_rate=[0.1, 0.2], epochs=2, batch=5).reconstruction


DOORS = {
    "strength": (lambda t, s: lineardynamics.mode_strength(t, s, 0.1, 1.0, 3), random(3), random(3) + 0.5),
    "time": (lambda s, f: lineardynamics.learning_time(s, 0.01, f, 1.0), random(3) + 1, random(3) / 2 + 0.1),
    "planes": (lambda a, b: planes.common_planes([a, b]), random(6, 3), random(6, 4, seed=1)),
    "ridge": (linearprobe.ridge_accuracy, random(2, 20, 3), CLASSES, random(2, 6, 3, seed=1), CLASSES[:6]),
    "product": (lambda a, b: descent.product([a, b]), random(3, 2), random(2, 3)),
    "decoupled": (lambda c, u: descent.product(descent.decoupled_weights(c, u, 2, width=3, seed=0)),
                  random(2, 3), random(2)),
    "descent": (lambda a, b, c, d: descent.descend([a, b], c, d, learning_rate=0.1, steps=5).products,
                random(3, 4), random(2, 3), random(2, 4), torch.eye(4, dtype=F64)),
    "strengths": (descent.strengths, random(2, 3), random(2, 3, seed=1)),
    "loss": (descent.excess_loss, random(2, 3), random(2, 3, seed=1), torch.eye(3, dtype=F64)),
    "steps": (lambda w, c, r: descent.steps_to_learn([w], c, learning_rates=r, limit=50),
              torch.zeros(1, 2, 2, dtype=F64), torch.eye(2, dtype=F64), torch.tensor([0.5, 1.0], dtype=F64)),
    "greedy": (lambda c: descent.pretrained_weights(
        c, 2, 2, runs=2, scale=0.1, learning_rate=0.1, steps=5, seed=0)[1], torch.eye(4, dtype=F64)),
    "defect": (descent.orthogonality_defect, random(3, 3)),
    "layer": (lambda x: STACK.layer(0, x), IMAGES),
    "states": (lambda x: STACK.states(x)[2], IMAGES),
    "factors": (lambda x: STACK.factors(x)[1], IMAGES[0]),
    "log values": (STACK.log_singular_values, IMAGES[0]),
    "errors": (STACK.reconstruction_errors, IMAGES),
    "determinants": (lambda X: STACK.mean_log_singular_values(X), IMAGES),
    "greedy stack": (lambda X: stack.pretrain_stack(
        (4, 3), X, seed=0, epochs=1, learning_rate=0.1, dropout=0.1).machines[0].weights, IMAGES),
    "fine-tuning": (lambda X, y, Z, z: torch.tensor(stack.fine_tuned_accuracy(
        STACK, X, y, Z, z, epochs=2, learning_rate=0.1, seed=0)), IMAGES, CLASSES, IMAGES, CLASSES),
    "mean": (started, IMAGES),
    "fit": (fitted, IMAGES),
    "encode": (encoders("encode"), IMAGES),
    "reconstruct": (encoders("reconstruct"), IMAGES),
    "reconstruction": (encoders("reconstruction_loss"), IMAGES),
    "contraction": (encoders("contraction"), IMAGES),
    "jacobians": (encoders("jacobians", 1), IMAGES),
    "values": (encoders("singular_values"), IMAGES),
    "triplets": (lambda X: encoders("triplets", 2)(X).s, IMAGES),
    "training": (trained, IMAGES, CLASSES),
    "accuracy": (lambda X, y: torch.tensor(small.accuracy(NET, X, y)), IMAGES, CLASSES),
    "cumulative": (lambda x: jacobian.cumulative_jacobians(NET.layers, x)[-1], IMAGES[0]),
    "composed": (lambda x: jacobian.cumulative_jacobian(NET.layers, x), IMAGES[0]),
    "right singular": (lambda J: jacobian.right_singular(J)[0], random(3, 4)),
    "homogeneous": (lambda x: jacobian.homogeneous_parts(NET, x)[0], IMAGES[0]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_takes_every_form(door, form):
    function, *arguments = DOORS[door]
    expected = torch.as_tensor(function(*arguments))
    before = [a.clone() for a in arguments]
    found = torch.as_tensor(function(*(FORMS[form](a) for a in arguments)))
    # Without a tensor beside them lists become float32.
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if form == "lists" else {}
    assert found.dtype in (expected.dtype, torch.float32) and (form == "lists" or found.dtype == expected.dtype)
    torch.testing.assert_close(found.to(expected), expected, **tolerance)
    assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))


@pytest.mark.parametrize("position", range(3))
def test_arrays_take_the_type_of_a_tensor_beside_them(position):
    W, S, C = torch.rand(2, 3), torch.rand(2, 3), torch.eye(3)
    given = [t.double().numpy() for t in (W, S, C)]
    given[position] = (W, S, C)[position]
    assert descent.excess_loss(*given).dtype == torch.float32
