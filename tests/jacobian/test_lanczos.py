"""Leading singular triplets against dense SVDs, known spectra and identities."""

import math

import numpy as np
import pytest
import torch
from deepdynamics.jacobian import (
    NotConverged,
    cumulative_spectra,
    cumulative_triplets,
    jacobian,
    linearised,
    top_singular,
)
from deepdynamics.networks import CNN, MLP, generator, haar, squeezenet1_0
from hypothesis import given, settings
from hypothesis import strategies as st

F32, F64 = torch.float32, torch.float64
EXACT = {F32: 1e-5, F64: 1e-9}  # of the leading values, the goals of the library


def normal(shape, seed=0, dtype=F64):
    return torch.randn(shape, generator=generator(seed), dtype=F64).to(dtype)


def with_spectrum(out, inputs, values, seed=0):
    """A matrix with these singular values and Haar vectors, in float64."""
    left, right = haar(out, len(values), seed=seed), haar(inputs, len(values), seed=seed + 1)
    return (left * torch.as_tensor(values, dtype=F64)) @ right.T


DEFAULT = {F32: 40 * torch.finfo(F32).eps, F64: 1e-6}  # residuals that are asked for without a word


def check(f, x, k, found):
    """Values and residuals against the dense Jacobian in float64; orthonormality; order."""
    U, s, V, residuals, products = found
    J = jacobian(f, x).double()
    dense = torch.linalg.svdvals(J)[:k]
    rounding = 8 * torch.finfo(x.dtype).eps * dense[0]  # of the products, absolute
    allowed = EXACT[x.dtype] * dense + 20 * rounding if dense[0] > 0 else torch.zeros(k)
    assert ((s.double() - dense).abs() <= allowed).all()
    assert (s[:-1] >= s[1:]).all() and s.dtype == U.dtype == V.dtype == x.dtype
    U, s, V = U.double(), s.double(), V.double()
    top = float(s[0]) or 1.0
    honest = torch.maximum((J.T @ U - s * V).norm(dim=0), (J @ V - s * U).norm(dim=0)) / top
    floor = 30 * torch.finfo(x.dtype).eps
    assert (residuals <= DEFAULT[x.dtype]).all() and (honest <= DEFAULT[x.dtype] + floor).all()
    assert ((honest - residuals.double()).abs() <= floor + 1e-3 * residuals.double()).all()
    for frame in (U, V):
        assert (frame.T @ frame - torch.eye(k, dtype=F64)).abs().max() < 30 * torch.finfo(x.dtype).eps
    assert products > 0


NETWORKS = {
    "tall": (lambda dtype: MLP((30, 80, 90), "tanh", weight_var=2.0, seed=0, dtype=dtype), (30,), 30),
    "wide": (lambda dtype: MLP((90, 80, 30), "tanh", weight_var=2.0, seed=1, dtype=dtype), (90,), 12),
    "square": (lambda dtype: MLP((70, 70, 70), "relu", weight_var=2.0, seed=2, dtype=dtype), (70,), 10),
    "CNN": (
        lambda dtype: CNN((3, 12, 12), (8, 6), 5, "relu", pool_after=(1,), weight_var=2.0, seed=3, dtype=dtype),
        (3, 12, 12),
        5,
    ),
    "one layer": (lambda dtype: MLP((40, 60), "erf", weight_var=1.0, seed=4, dtype=dtype), (40,), 7),
}


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", NETWORKS)
def test_against_a_dense_svd(name, dtype):
    build, shape, k = NETWORKS[name]
    f, x = build(dtype), normal(shape, 5, dtype)
    check(f, x, k, top_singular(f, x, k))


@pytest.mark.parametrize("dtype", [F32, F64])
def test_leading_values_of_a_large_layer(dtype):
    layer = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 5, stride=2, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    )
    with torch.no_grad():
        layer[0].weight.copy_(normal((16, 3, 5, 5), 1) / 5)
        layer[0].bias.copy_(normal(16, 2) / 5)
    layer, x = layer.to(dtype), normal((3, 19, 22), 3, dtype)
    check(layer, x, 25, top_singular(layer, x, 25))


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 40), st.integers(0, 10**6), st.data())
def test_known_spectra(out, inputs, k, rank, seed, data):
    """Any shape, any rank, equal values or not, any block."""
    size = min(out, inputs)
    k, rank = min(k, size), min(rank, size)
    choice = data.draw(st.sampled_from(("generic", "equal", "pairs", "steep")))
    values = {
        "generic": np.linspace(3.0, 0.5, rank),
        "equal": np.full(rank, 2.0),
        "pairs": np.repeat(np.linspace(3.0, 0.5, (rank + 1) // 2), 2)[:rank],
        "steep": 2.0 ** -np.arange(rank),
    }[choice]
    A = with_spectrum(out, inputs, values, seed)
    block = data.draw(st.integers(1, 6))
    U, s, V, residuals, _ = top_singular(lambda x: A @ x, normal(inputs, seed), k, seed=seed, block=block)
    expected = torch.zeros(k, dtype=F64)
    expected[: min(rank, k)] = torch.as_tensor(values[:k].copy())
    torch.testing.assert_close(s, expected, rtol=1e-9, atol=1e-13)
    assert (residuals <= 1e-6).all()
    for frame in (U, V):
        torch.testing.assert_close(frame.T @ frame, torch.eye(k, dtype=F64), rtol=0, atol=1e-12)


def test_a_value_of_higher_multiplicity_than_the_block():
    """Forty copies of sixty different values: a Krylov space of one block holds four of each."""
    values = np.concatenate([np.full(40, 2.0), np.linspace(1.9, 0.1, 160)])
    A = with_spectrum(210, 200, values)
    s = top_singular(lambda x: A @ x, normal(200), 45, block=4).s
    torch.testing.assert_close(s, torch.as_tensor(values[:45].copy()), rtol=1e-9, atol=0)


def test_patches():
    """A layer that treats patches alike: every value as often as there are patches."""
    layer = torch.nn.Conv2d(3, 12, 4, stride=4).double().requires_grad_(False)
    one = torch.linalg.svdvals(layer.weight.reshape(12, 48))
    s = top_singular(layer, normal((3, 24, 24)), 80).s
    torch.testing.assert_close(s, one.repeat_interleave(36)[:80], rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_below_the_rank_are_zeros_and_an_orthonormal_completion(dtype):
    A = with_spectrum(60, 50, [3.0, 2.0, 1.0]).to(dtype)
    found = top_singular(lambda x: A @ x, normal(50, 1, dtype), 8)
    check(lambda x: A @ x, normal(50, 1, dtype), 8, found)
    assert (found.s[3:] == 0).all() and (found.s[:3] > 0).all()


@pytest.mark.parametrize("f", [lambda x: 0 * x, lambda x: torch.ones(4), torch.sign])
def test_a_jacobian_of_zeros(f):
    U, s, V, residuals, _ = top_singular(f, torch.ones(4), 3)
    assert (s == 0).all() and (residuals == 0).all()
    torch.testing.assert_close(U.T @ U, torch.eye(3))
    torch.testing.assert_close(V.T @ V, torch.eye(3))


def test_seeds_and_blocks_change_nothing_and_global_state_is_left_alone():
    f, x = NETWORKS["square"][0](F64), normal(70, 5)
    state = torch.random.get_rng_state()
    first, again = top_singular(f, x, 6), top_singular(f, x, 6)
    assert all(torch.equal(a, b) for a, b in zip(tuple(first)[:4], tuple(again)[:4], strict=True))
    assert torch.equal(state, torch.random.get_rng_state())
    for other in (top_singular(f, x, 6, seed=7), top_singular(f, x, 6, block=1), top_singular(f, x, 6, block=9)):
        torch.testing.assert_close(other.s, first.s, rtol=1e-11, atol=0)
        signs = (other.V * first.V).sum(dim=0).sign()
        torch.testing.assert_close(other.V * signs, first.V, rtol=0, atol=1e-5)


def test_wide_gaps_need_few_products():
    A = with_spectrum(300, 200, 0.7 ** np.arange(200))
    assert top_singular(lambda x: A @ x, normal(200), 5).products < 100


def test_cumulative_spectra_against_dense_products():
    network = CNN((2, 10, 10), (6, 5), 4, "relu", pool_after=(1,), weight_var=2.0, seed=3, dtype=F64)
    x = normal((2, 10, 10), 4)
    spectra = cumulative_spectra(network.layers, x, 8)
    assert spectra.shape == (len(network.layers), 8)
    for depth, row in enumerate(spectra, start=1):
        dense = torch.linalg.svdvals(jacobian(torch.nn.Sequential(*network.layers[:depth]), x))
        rank = min(8, int((dense > 1e-12 * dense[0]).sum()))
        torch.testing.assert_close(row[:rank], dense[:rank], rtol=1e-9, atol=0)
        assert torch.isnan(row[rank:]).all()


def test_chain_rule_and_chosen_depths():
    layers = [MLP((12, 12), "tanh", weight_var=2.0, readout="activated", seed=i, dtype=F64) for i in range(4)]
    x = normal(12, 3)
    two, four = cumulative_triplets(layers, x, 3, depths=(2, 4))
    whole = top_singular(torch.nn.Sequential(*layers), x, 3)
    torch.testing.assert_close(four.s, whole.s, rtol=1e-11, atol=0)
    torch.testing.assert_close(two.s, top_singular(torch.nn.Sequential(*layers[:2]), x, 3).s, rtol=1e-11, atol=0)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("size", [32, 47])
def test_products_of_a_real_architecture(dtype, size):
    """Bias-free ReLU and max-pooling: J(x) x = f(x); ⟨u, Jv⟩ = ⟨Jᵀu, v⟩; torch's own derivatives."""
    network = squeezenet1_0(seed=1).to(dtype).requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    x, f = normal((3, size, size), 2, dtype), network.features
    point = linearised(f, x)
    v, u = normal((5, *x.shape), 3, dtype), normal((5, *point.value.shape), 4, dtype)
    rounding = 100 * torch.finfo(dtype).eps  # of sums over up to 1,000 terms and 18 layers
    assert (point.forward(x[None])[0] - f(x)).norm() <= rounding * f(x).norm()
    ahead, back = point.forward(v), point.adjoint(u)
    gap = ((ahead * u).flatten(1).sum(1) - (back * v).flatten(1).sum(1)).abs()
    assert (gap <= rounding * ahead.flatten(1).norm(dim=1) * u.flatten(1).norm(dim=1)).all()
    expected = torch.func.jvp(f, (x,), (v[3],))[1]
    assert (ahead[3] - expected).norm() <= rounding * expected.norm()
    expected = torch.func.vjp(f, x)[1](u[3])[0]
    assert (back[3] - expected).norm() <= rounding * expected.norm()


class Residual(torch.nn.Module):
    """What a trace has to cope with: a sum of two ways, means, in-place activations, a matrix, a normalisation."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 5, 3, padding=1, groups=1)
        self.second = torch.nn.Conv2d(5, 5, (3, 1), padding=(1, 0), dilation=1)
        self.third = torch.nn.Conv2d(5, 10, 3, stride=2, groups=5)
        self.norm = torch.nn.BatchNorm2d(10).eval()
        self.last = torch.nn.Linear(10, 7)

    def forward(self, x):
        y = torch.nn.functional.relu(self.first(x), inplace=True)
        y = y + torch.tanh(self.second(y))
        y = torch.nn.functional.gelu(self.norm(self.third(y)[None])[0])
        y = torch.nn.functional.avg_pool2d(y, 2) * torch.sigmoid(y.mean())
        return torch.log_softmax(self.last(y.mean((1, 2))), dim=0)


def test_any_module():
    state = torch.random.get_rng_state()
    torch.default_generator.manual_seed(0)
    f = Residual().double()
    torch.random.set_rng_state(state)
    x = normal((3, 9, 11), 1)
    check(f, x, 6, top_singular(f, x, 6))


def test_control_flow_on_the_data():
    def f(x):
        return 2 * x if float(x.sum()) > 0 else x

    torch.testing.assert_close(top_singular(f, torch.ones(3, dtype=F64), 2).s, torch.tensor([2.0, 2.0], dtype=F64))


def test_what_cannot_be_reached_is_said():
    A = with_spectrum(200, 150, np.linspace(2, 1, 150)).to(F32)
    with pytest.raises(NotConverged, match=r"tol = 1e-09.*float32 reaches about") as caught:
        top_singular(lambda x: A @ x, normal(150, 1, F32), 5, tol=1e-9)
    assert caught.value.residuals.shape == (5,) and 1e-9 < float(caught.value.residuals.max()) < 1e-5
    assert caught.value.products > 10
    with pytest.raises(NotConverged, match="max_products = 20") as caught:
        top_singular(lambda x: A @ x, normal(150, 1, F32), 5, max_products=20)
    assert float(caught.value.residuals.max()) > 1e-6


def test_without_a_word_rounding_of_the_products_is_forgiven():
    """Adjoint products that are wrong by 3e-6 s₁, as they are in float32 on some processors and large networks."""
    A, noise = with_spectrum(80, 60, np.linspace(2, 0.1, 60)).to(F32), normal((80, 60), 1, F32)
    wrong = A + 6e-6 / float(torch.linalg.matrix_norm(noise, 2)) * noise

    class Rounded(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return A @ x

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, u):
            return wrong.T @ u

        @staticmethod
        def jvp(ctx, v):
            return A @ v

    x = normal(60, 2, F32)
    with pytest.raises(NotConverged, match="tol = 1e-06"):
        top_singular(Rounded.apply, x, 5, tol=1e-6)
    found = top_singular(Rounded.apply, x, 5)
    assert 1e-6 < float(found.residuals.max()) <= DEFAULT[F32]


LINEAR = torch.nn.Linear(4, 3)
BROKEN = torch.nn.Linear(4, 3)
with torch.no_grad():
    BROKEN.weight[0, 0] = math.inf


@pytest.mark.parametrize(
    ("f", "x", "arguments", "message"),
    [
        (LINEAR, torch.ones(4), {"k": 4}, r"k = 4: .* min\(3, 4\)"),
        (LINEAR, torch.ones(4), {"k": 0}, "k = 0"),
        (LINEAR, torch.ones(4), {"k": 1.5}, "k = 1.5"),
        (LINEAR, torch.ones(4), {"k": 1, "tol": 0.0}, "tol = 0.0"),
        (LINEAR, torch.ones(4), {"k": 1, "tol": math.nan}, "tol = nan"),
        (LINEAR, torch.ones(4), {"k": 1, "block": 0}, "block = 0"),
        (LINEAR, torch.ones(4), {"k": 1, "seed": -1}, "seed = -1"),
        (LINEAR, torch.tensor([1.0, math.nan, 0.0, 0.0]), {"k": 1}, r"x of shape \(4,\)"),
        (LINEAR, torch.ones(4, dtype=torch.int64), {"k": 1}, "int64"),
        (LINEAR, "abcd", {"k": 1}, "x of type"),
        (LINEAR, np.ones(4) * 1j, {"k": 1}, "x of type complex"),
        (BROKEN, torch.ones(4), {"k": 1}, r"f\(x\) of shape \(3,\)"),
        (lambda x: (x, x), torch.ones(4), {"k": 1}, "f returns tuple"),
        (lambda x: x[:0], torch.ones(4), {"k": 1}, "entries are needed"),
        (torch.argsort, torch.ones(4), {"k": 1}, "int64"),
        (torch.sqrt, torch.zeros(4), {"k": 1}, "not finite"),
        (LINEAR, torch.randn(5, 4, generator=generator(0)), {"k": 1}, "batch axis.* 5 separate"),
        (torch.nn.Conv2d(2, 3, 3), torch.randn(4, 2, 5, 5, generator=generator(0)), {"k": 1}, "4 separate"),
    ],
)
def test_bad_input(f, x, arguments, message):
    with pytest.raises(ValueError, match=message):
        top_singular(f, x, **arguments)


def test_bad_input_of_cumulative_spectra():
    x = torch.ones(4)
    with pytest.raises(ValueError, match="layers is empty"):
        cumulative_spectra([], x, 1)
    with pytest.raises(ValueError, match="k = 5"):
        cumulative_spectra([LINEAR], x, 5)
    with pytest.raises(ValueError, match=r"depths = \[2\]"):
        next(cumulative_triplets([LINEAR], x, 1, depths=[2]))


def test_entry_by_entry_is_not_a_batch():
    assert torch.allclose(top_singular(torch.relu, torch.ones(3, 4), 5).s, torch.ones(5))


@given(
    st.integers(5, 20), st.integers(0, 3), st.sampled_from([0.9, 0.98]), st.sampled_from([2, 4]), st.integers(0, 10**6)
)
@settings(max_examples=25)
def test_values_of_any_multiplicity_before_a_close_one(copies, fewer, following, block, seed):
    """More equal values than random vectors, then one that is nearly as large."""
    draw = torch.Generator().manual_seed(seed)
    s = torch.cat((torch.ones(copies), torch.linspace(following, 0.1, 90))).double()
    U, V = (torch.linalg.qr(torch.randn(n, len(s), generator=draw, dtype=torch.float64))[0] for n in (120, 115))
    J, k = (U * s) @ V.T, copies + 2 - fewer
    found = top_singular(lambda x: J @ x, torch.zeros(115, dtype=torch.float64), k, block=block, seed=seed)
    torch.testing.assert_close(found.s, s[:k], rtol=1e-9, atol=0)


def test_a_function_that_works_in_place_leaves_the_input_alone():
    x = torch.tensor([1.0, -2.0, 3.0])
    net = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Linear(3, 2, bias=False))
    found = top_singular(net, x, 2)
    torch.testing.assert_close(found.s, torch.linalg.svdvals(net[1].weight.detach() * torch.tensor([1.0, 0.0, 1.0])))
    assert x.tolist() == [1.0, -2.0, 3.0]
    twice = top_singular(lambda x: x.mul_(2.0), x, 1)
    assert float(twice.s) == pytest.approx(2.0, rel=1e-6) and x.tolist() == [1.0, -2.0, 3.0]


def test_counts_of_numpy_are_integers():
    assert len(top_singular(torch.tanh, torch.zeros(3), np.int64(2)).s) == 2


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e20])
def test_values_far_from_one_keep_their_digits(scale):
    J = scale * torch.randn(30, 20, generator=torch.Generator().manual_seed(0))
    found = top_singular(lambda x: J @ x, torch.zeros(20), 4)
    torch.testing.assert_close(found.s / scale, torch.linalg.svdvals(J / scale)[:4], rtol=1e-5, atol=0)
