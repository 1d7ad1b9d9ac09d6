"""Singular values of products of many matrices, and Lyapunov exponents, against many digits and known answers."""

import math
from functools import reduce

import mpmath
import numpy as np
import pytest
import scipy.linalg
import sympy
import torch
from deepdynamics.jacobian import layer_jacobians, lyapunov_exponents, product_singular_values
from deepdynamics.jacobian.chain import multiplied
from deepdynamics.networks import MLP, generator, haar
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import digamma

F64 = torch.float64
SMOOTH = MLP((6, 9, 8, 4), "tanh", weight_var=2.0, bias_var=0.1, seed=0, dtype=F64)
WIDENING = MLP((3, 9, 8), "erf", weight_var=2.0, bias_var=0.1, readout="activated", seed=1, dtype=F64)


def point(shape, seed=5):
    return torch.randn(shape, generator=generator(seed), dtype=F64)


def gaussian_factors(count, n, seed, draw=None):
    draw = draw or generator(seed)
    return [torch.randn(n, n, generator=draw, dtype=F64) for _ in range(count)]


# ------------------------------------------------------------------------------------------- products of many factors


def many_digits(factors, digits):
    """log singular values by an eigendecomposition of P Pᵀ with ``digits`` digits."""
    with mpmath.workdps(digits):
        product = reduce(lambda p, a: mpmath.matrix(a.tolist()) * p, factors, mpmath.eye(factors[0].shape[1]))
        squares = mpmath.eigsy(product * product.T, eigvals_only=True)
        return np.sort([float(mpmath.log(s) / 2) for s in squares])[::-1]


@pytest.mark.parametrize(("count", "digits", "bound"), [(10, 80, 1e-11), (60, 300, 1e-10)])
def test_gaussian_products_against_many_digits(count, digits, bound):
    factors = gaussian_factors(count, 12, seed=0)
    ours = product_singular_values(factors).numpy()
    # Rounding 1e-16 times the condition of the factors (up to about 1e3 here), a few times.
    assert np.abs(ours - many_digits(factors, digits)).max() < bound
    if count == 60:  # what the ordinary SVD makes of it: noise instead of the smallest
        svd = torch.linalg.svdvals(multiplied(factors)).log().numpy()
        assert np.abs(ours - svd).max() > 5


def test_powers_of_a_hilbert_matrix():
    hilbert = scipy.linalg.hilbert(6)
    logs = product_singular_values([torch.tensor(hilbert)] * 8).numpy()
    with mpmath.workdps(60):
        eigenvalues = mpmath.eigsy(mpmath.matrix(hilbert.tolist()), eigvals_only=True)
        expected = np.sort([8 * float(mpmath.log(e)) for e in eigenvalues])[::-1]
    assert logs[[0, -1]] / math.log(10) == pytest.approx([1.674, -55.724], abs=5e-4)
    # The condition of the matrix, 1.5e7, times rounding, at each of 8 factors.
    np.testing.assert_allclose(logs, expected, rtol=0, atol=1e-8)


@given(
    n=st.integers(1, 8),
    depth=st.integers(1, 40),
    spread=st.floats(0, 4),
    seed=st.integers(0, 10**6),
    sizes=st.booleans(),
)
@settings(max_examples=60)
def test_products_with_known_answers(n, depth, spread, seed, sizes):
    # J^l = U_l diag(s_l) U_{l-1}ᵀ with the s_l of every layer in the same order: the logs add up. Spans up to
    # 4 · 40 · n e-folds go through the pieces. Layers of other widths carry the same n singular values.
    draw = generator(seed)
    widths = [n + (seed // 7**i) % 4 if sizes else n for i in range(depth + 1)]
    bases = [haar(w, n, seed=draw) for w in widths]
    gaps = spread * torch.rand(depth, n, generator=draw, dtype=F64)
    logs = torch.randn(depth, 1, generator=draw, dtype=F64) - gaps.cumsum(1)
    factors = [bases[i + 1] * logs[i].exp() @ bases[i].T for i in range(depth)]
    expected = logs.sum(0).sort(descending=True).values
    ours = product_singular_values(factors)[:n]
    # One factor has a condition of up to e^{4n}; 1e-16 times that, depth times.
    bound = 1e-13 * depth * math.exp(gaps.sum(1).max().item())
    torch.testing.assert_close(ours, expected, rtol=0, atol=max(bound, 1e-11))


def test_pieces_join_without_a_seam():
    # 16 x 16 Gaussian factors, 300 of them: 500 e-folds, so three pieces. The determinant is the sum of all logs, and
    # the transposed product has the same singular values with everything running the other way.
    factors = gaussian_factors(300, 16, seed=3)
    logs = product_singular_values(factors)
    assert logs[0] - logs[-1] > 450 and (logs.diff() < 0).all()
    determinants = sum(torch.linalg.slogdet(f).logabsdet for f in factors)
    assert logs.sum().item() == pytest.approx(determinants.item(), abs=1e-9)
    torch.testing.assert_close(product_singular_values([f.T for f in factors[::-1]]), logs, rtol=0, atol=1e-10)
    with pytest.raises(RuntimeError, match="within sweeps = 1"):
        product_singular_values(factors, sweeps=1)


@given(seed=st.integers(0, 10**6), scale=st.floats(-5, 5))
@settings(max_examples=25)
def test_invariances(seed, scale):
    draw = generator(seed)
    factors = gaussian_factors(6, 7, seed, draw)
    logs = product_singular_values(factors)
    rotation = haar(7, 7, seed=draw)
    turned = [*factors[:3], rotation, rotation.T, *factors[3:], rotation]
    # Condition of random 7 x 7 matrices: nearly always below 1e4.
    torch.testing.assert_close(product_singular_values(turned), logs, rtol=0, atol=1e-9)
    scaled = [math.exp(scale) * f for f in factors]
    torch.testing.assert_close(product_singular_values(scaled), logs + 6 * scale, rtol=0, atol=1e-9)
    grouped = [factors[1] @ factors[0], *factors[2:]]
    torch.testing.assert_close(product_singular_values(grouped), logs, rtol=0, atol=1e-7)


@pytest.mark.parametrize("size", [1e155, 1e-165, 1e300])
def test_factors_of_any_size(size):
    logs = product_singular_values([size * torch.eye(2, dtype=F64)] * 3)
    assert logs.tolist() == pytest.approx([3 * math.log(size)] * 2, rel=1e-14)


@given(seed=st.integers(0, 10**6), depth=st.integers(1, 6), n=st.integers(1, 6), keep=st.integers(1, 6))
@example(seed=2, depth=3, n=2, keep=2)  # rank one, which the last factor cancels
@settings(max_examples=60)
def test_exact_zeros_are_exact(seed, depth, n, keep):
    # Small integers and masked rows, as in a ReLU network: the rank is known exactly.
    rng = np.random.default_rng(seed)
    integers = [rng.integers(-2, 3, (n, n)) * (rng.random((n, 1)) < keep / 6) for _ in range(depth)]
    rank = sympy.Matrix(reduce(lambda p, a: a @ p, integers)).rank()
    logs = product_singular_values([torch.tensor(a, dtype=F64) for a in integers])
    assert torch.isfinite(logs[:rank]).all() and (logs[rank:] == -math.inf).all() and len(logs) == n


def test_rectangular_factors():
    factors = [torch.randn(s, generator=generator(i), dtype=F64) for i, s in enumerate([(9, 5), (4, 9), (7, 4)])]
    logs = product_singular_values(factors)
    expected = torch.linalg.svdvals(multiplied(factors))
    assert logs.shape == (5,) and logs[4] == -math.inf
    torch.testing.assert_close(logs[:4], expected[:4].log(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("factors", "options", "message"),
    [
        ([], {}, "factors is empty"),
        ([torch.ones(2, 3), torch.ones(2, 3)], {}, r"factors\[1\] of shape \(2, 3\)"),
        ([torch.tensor([[math.nan]])], {}, r"factors\[0\]"),
        ([torch.ones(2)], {}, r"factors\[0\]"),
        ([torch.ones(2, 2)], {"sweeps": 0}, "sweeps = 0"),
    ],
)
def test_product_rejects(factors, options, message):
    with pytest.raises(ValueError, match=message):
        product_singular_values(factors, **options)


# ------------------------------------------------------------------------------------------------- Lyapunov exponents


def test_lyapunov_exponents_are_those_of_every_prefix():
    net = MLP((6, 9, 8, 4), "relu", weight_var=2.0, bias_var=0.1, seed=2, dtype=F64)
    x = point(6)
    exponents = lyapunov_exponents(net.layers, x)
    factors = layer_jacobians(net.layers, x)
    assert exponents.shape == (3, 6)
    for depth in range(1, 4):
        alone = product_singular_values(factors[:depth]) / depth
        torch.testing.assert_close(exponents[depth - 1, : len(alone)], alone, rtol=1e-12, atol=1e-12)
        assert (exponents[depth - 1, len(alone) :] == -math.inf).all()


def test_lyapunov_exponents_of_a_deep_network_against_many_digits():
    net = MLP((8,) * 41, "tanh", weight_var=1.0, bias_var=0.05, readout="activated", seed=2, dtype=F64)
    x = point(8)
    exponents = lyapunov_exponents(net.layers, x)[-1].numpy()
    expected = many_digits([f.numpy() for f in layer_jacobians(net.layers, x)], 200) / 40
    np.testing.assert_allclose(exponents, expected, rtol=0, atol=1e-12)


def test_lyapunov_exponents_of_orthogonal_layers_are_log_sigma():
    net = MLP((10,) * 31, "linear", weight_var=1.69, init="orthogonal", seed=0, dtype=F64)
    torch.testing.assert_close(
        lyapunov_exponents(net.layers, point(10)), torch.full((30, 10), math.log(1.3), dtype=F64), rtol=0, atol=1e-13
    )


def test_lyapunov_sum_of_gaussian_layers():
    # E log |det W| = n/2 log(2 σ²/n) + Σ ψ(i/2)/2 for W_ij ~ N(0, σ²/n): exact at every width and depth.
    n, depth, nets = 12, 20, 30
    sums = [
        lyapunov_exponents(
            MLP((n,) * (depth + 1), "linear", weight_var=1.5, seed=seed, dtype=F64).layers, torch.ones(n, dtype=F64)
        )[-1].sum()
        for seed in range(nets)
    ]
    expected = 0.5 * n * math.log(2 * 1.5 / n) + 0.5 * digamma(np.arange(1, n + 1) / 2).sum()
    error = np.std(sums, ddof=1) / math.sqrt(nets)
    assert abs(np.mean(sums) - expected) < 4 * error and error < 0.05 * abs(expected)
